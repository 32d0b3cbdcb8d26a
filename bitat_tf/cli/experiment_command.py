"""What `bitat-tf experiment` does."""

from pathlib import Path
from typing import Any

from bitat_tf import workflow  # the experiments are loaded, and Keras with them, when the options have been checked
from bitat_tf._console import say, warn
from bitat_tf.workflow import experiments
from bitat_tf.workflow.experiments import CrossLayerSettings, ExperimentFolder, ExperimentSettings, GapSettings

_KINDS: dict[str, tuple[type[ExperimentSettings], str]] = {
    "cross-layer": (CrossLayerSettings, "CrossLayerExperiment"),
    "gap": (GapSettings, "GapExperiment"),
}


def _kept_model(folder: ExperimentFolder) -> Path:
    """Return the network that an experiment was begun with: its own copy, in one form or the other."""
    kept = [path for path in (folder.float_model, folder.source_model) if path.exists()]
    if not kept:
        raise FileNotFoundError(
            f"--resume: the copy of the model, {folder.source_model}, is missing. Start the experiment anew with --overwrite."
        )
    return kept[0]


def experiment(options: dict[str, Any]) -> int:
    """Run `bitat-tf experiment`; returns the exit code."""
    settings, kind = _KINDS[options.pop("experiment")]
    folder, chatter = ExperimentFolder(options.pop("out")), options.pop("chatter")
    resume, overwrite = options.pop("resume", False), options.pop("overwrite", False)
    any_size = options.pop("any_size", False)
    if resume and overwrite:
        raise ValueError("--resume continues an experiment and --overwrite replaces it. Received: both. Pass one of them.")
    with folder:
        if resume:
            config = folder.resume(options, settings)
            if folder.finished:
                page = folder.report_markdown.read_text("utf-8")
                say(f"The experiment in {folder.path} is finished:\n\n{page}")
                return 0
            prepared = getattr(experiments, kind)(config, _kept_model(folder) if config.model else None, any_size=True)
        else:
            config = settings.for_options(options)
            folder.check_free(overwrite)
            if config.model:
                workflow.check_kind(Path(config.model))
            # It reads the data and checks all that can be checked, before anything is written.
            prepared = getattr(experiments, kind)(config, any_size=any_size)
            folder.begin(config, overwrite, Path(config.model) if config.model else None)
        chatter.keep_in(folder.chatter)
        for text in prepared.images.notes:
            warn(text)
        prepared.run(folder)
        say(f"All results are in {folder.path}; start with report.md.")
        return 0


COMMANDS = {"experiment": experiment}
