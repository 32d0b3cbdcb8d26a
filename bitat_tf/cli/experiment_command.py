"""What `bitat-tf experiment` does."""

import sys
from pathlib import Path
from typing import Any

from bitat_tf.workflow.experiments import (
    CrossLayerExperiment,
    CrossLayerSettings,
    Experiment,
    ExperimentFolder,
    ExperimentSettings,
    GapExperiment,
    GapSettings,
)
from bitat_tf.workflow.keras_file import check_kind

_KINDS: dict[str, tuple[type[ExperimentSettings], type[Experiment]]] = {
    "cross-layer": (CrossLayerSettings, CrossLayerExperiment),
    "gap": (GapSettings, GapExperiment),
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
    if resume:
        config = folder.resume(options, settings)
        if folder.finished:
            sys.stdout.write(f"The experiment in {folder.path} is finished:\n\n{folder.report_markdown.read_text()}")
            return 0
        prepared = kind(config, _kept_model(folder) if config.model else None, any_size=True)
    else:
        config = settings.for_options(options)
        if config.model:
            check_kind(Path(config.model))
        folder.check_free(overwrite)
        prepared = kind(
            config, any_size=any_size
        )  # reads the data and checks all that can be checked, before anything is written
        folder.begin(config, overwrite, Path(config.model) if config.model else None)
    chatter.keep_in(folder.chatter)
    prepared.run(folder)
    sys.stdout.write(f"All results are in {folder.path}; start with report.md.\n")
    return 0


COMMANDS = {"experiment": experiment}
