"""What the commands of `bitat-tf` do."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bitat_tf
from bitat_tf import workflow  # its jobs are loaded, and Keras with them, when the options have been checked
from bitat_tf._console import say, show_or_write
from bitat_tf._files import file_hash
from bitat_tf._printable import printable
from bitat_tf.cli.chatter import Chatter
from bitat_tf.workflow import BinarizeConfig, RunFolder, TrainConfig
from bitat_tf.workflow.binarize_config import check_copy

if TYPE_CHECKING:
    from bitat_tf.workflow import Job


def train(options: dict[str, Any]) -> int:
    """Run `bitat-tf train`; returns the exit code."""
    folder, chatter, resume, overwrite = _run_options(options)
    with folder:
        if resume:
            config = folder.resume(options, TrainConfig)
            if folder.finished:
                return _show_finished(folder)
        else:
            config = TrainConfig.for_data(**options)
            folder.check_free(overwrite)
        job = workflow.TrainJob(config)  # reads the data and checks all that can be checked, before anything is written
        if not resume:
            folder.begin(config, overwrite)
        return _finish(job, folder, chatter)


def binarize(options: dict[str, Any]) -> int:
    """Run `bitat-tf binarize`; returns the exit code."""
    folder, chatter, resume, overwrite = _run_options(options)
    any_size = options.pop("any_size", False)
    with folder:
        if resume:
            given = options.pop("model", None)
            config = folder.resume(options, BinarizeConfig)
            if folder.finished and given is None:
                return _show_finished(folder)
            check_copy(folder.source_model, config, given)
            if folder.finished:
                return _show_finished(folder)
            return _finish(workflow.BinarizeJob(config, folder.source_model, any_size=True), folder, chatter)
        missing = [name for option, name in (("model", "MODEL.keras"), ("data", "--data digits|DIR")) if option not in options]
        if missing:
            raise ValueError(
                f"binarize: {' and '.join(missing)} must be given, but for --resume. Received: neither --resume nor these."
            )
        config = BinarizeConfig.for_data(**options)
        folder.check_free(overwrite)
        model = Path(config.model)
        workflow.check_kind(model)  # before the hash: for what is no file at all, it has the messages
        config = replace(config, sha256=file_hash(model))
        job = workflow.BinarizeJob(config, any_size=any_size)
        folder.begin(config, overwrite, model)
        return _finish(job, folder, chatter)


def check_model(options: dict[str, Any]) -> int:
    """Run `bitat-tf check`; returns the exit code: 1 with errors in the report."""
    report = bitat_tf.check(workflow.load_model(options["model"], options["any_size"]))
    show_or_write(report, options["json"])
    return 0 if report.ok else 1


def summarize(options: dict[str, Any]) -> int:
    """Run `bitat-tf summary`; returns the exit code."""
    result = bitat_tf.summary(workflow.load_model(options["model"], options["any_size"]))
    show_or_write(result, options["json"])
    return 0


def import_old_model(options: dict[str, Any]) -> int:
    """Run `bitat-tf import`; returns the exit code."""
    model = workflow.import_model(options["old"], options["new"], options["overwrite"], options["any_size"])
    parameters = sum(math.prod(weight.shape) for weight in bitat_tf.layers.device_weights(model))
    binary = len(bitat_tf.layers.binary_layers(model))
    layers = f", {binary} binary layer{'s' if binary > 1 else ''}" if binary else ""
    say(f"{options['new']} holds {model.name} with {parameters:,} parameters{layers}.")
    return 0


COMMANDS: dict[str, Callable[[dict[str, Any]], int]] = {
    "train": train,
    "binarize": binarize,
    "check": check_model,
    "summary": summarize,
    "import": import_old_model,
}


def _run_options(options: dict[str, Any]) -> tuple[RunFolder, Chatter, bool, bool]:
    """Take what every run has out of the options: its folder, TensorFlow's lines, whether to resume, whether to overwrite."""
    folder, chatter = RunFolder(options.pop("out")), options.pop("chatter")
    resume, overwrite = options.pop("resume", False), options.pop("overwrite", False)
    if resume and overwrite:
        raise ValueError("--resume continues a run and --overwrite replaces it. Received: both. Pass one of them.")
    name = printable(str(folder.path))
    if options.get("tensorboard") and name != str(folder.path):
        raise ValueError(
            f"--tensorboard: TensorFlow writes only into folders whose names are UTF-8. Received: --out {name}. Choose another "
            "name, or leave --tensorboard out."
        )
    return folder, chatter, resume, overwrite


def _show_finished(folder: RunFolder) -> int:
    say(f"The run in {folder.path} is finished:\n\n{folder.report_markdown.read_text('utf-8')}")
    return 0


def _finish(job: "Job", folder: RunFolder, chatter: Chatter) -> int:
    chatter.keep_in(folder.chatter)
    job.run(folder)
    say(f"All results are in {folder.path}; start with report.html.")
    return 0
