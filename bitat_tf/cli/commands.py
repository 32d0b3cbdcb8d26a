"""What the commands of `bitat-tf` do."""

import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bitat_tf._console import say, show_or_write
from bitat_tf._files import file_hash
from bitat_tf.cli.chatter import Chatter
from bitat_tf.importing import import_model
from bitat_tf.inspection import check
from bitat_tf.inspection.model_summary import summary
from bitat_tf.layers import binary_layers, device_weights
from bitat_tf.workflow import BinarizeConfig, BinarizeJob, Job, RunFolder, TrainConfig, TrainJob, load_model
from bitat_tf.workflow.binarize import check_copy
from bitat_tf.workflow.keras_file import check_kind


def train(options: dict[str, Any]) -> int:
    """Run `bitat-tf train`; returns the exit code."""
    folder, chatter, resume, overwrite = _run_options(options)
    if resume:
        config = folder.resume(options, TrainConfig)
        if folder.finished:
            return _show_finished(folder)
    else:
        config = TrainConfig.for_data(**options)
        folder.check_free(overwrite)
    job = TrainJob(config)  # reads the data and checks all that can be checked, before anything is written
    if not resume:
        folder.begin(config, overwrite)
    return _finish(job, folder, chatter)


def binarize(options: dict[str, Any]) -> int:
    """Run `bitat-tf binarize`; returns the exit code."""
    folder, chatter, resume, overwrite = _run_options(options)
    any_size = options.pop("any_size", False)
    if resume:
        given = options.pop("model", None)
        config = folder.resume(options, BinarizeConfig)
        if folder.finished and given is None:
            return _show_finished(folder)
        check_copy(folder.source_model, config, given)
        if folder.finished:
            return _show_finished(folder)
        return _finish(BinarizeJob(config, folder.source_model, any_size=True), folder, chatter)
    missing = [name for option, name in (("model", "MODEL.keras"), ("data", "--data digits|DIR")) if option not in options]
    if missing:
        raise ValueError(
            f"binarize: {' and '.join(missing)} must be given, but for --resume. Received: neither --resume nor these."
        )
    model = Path(options["model"])
    # Before the hash: for what is no file at all, it has the messages.
    check_kind(model)
    config = BinarizeConfig.for_data(**options, sha256=file_hash(model))
    folder.check_free(overwrite)
    job = BinarizeJob(config, any_size=any_size)
    folder.begin(config, overwrite, model)
    return _finish(job, folder, chatter)


def check_model(options: dict[str, Any]) -> int:
    """Run `bitat-tf check`; returns the exit code: 1 with errors in the report."""
    report = check(load_model(options["model"], options["any_size"]))
    show_or_write(report, options["json"])
    return 0 if report.ok else 1


def summarize(options: dict[str, Any]) -> int:
    """Run `bitat-tf summary`; returns the exit code."""
    result = summary(load_model(options["model"], options["any_size"]))
    show_or_write(result, options["json"])
    return 0


def import_old_model(options: dict[str, Any]) -> int:
    """Run `bitat-tf import`; returns the exit code."""
    model = import_model(options["old"], options["new"], options["overwrite"], options["any_size"])
    parameters = sum(math.prod(weight.shape) for weight in device_weights(model))
    binary = len(binary_layers(model))
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
    return folder, chatter, resume, overwrite


def _show_finished(folder: RunFolder) -> int:
    sys.stdout.write(f"The run in {folder.path} is finished:\n\n{folder.report_markdown.read_text()}")
    return 0


def _finish(job: Job, folder: RunFolder, chatter: Chatter) -> int:
    chatter.keep_in(folder.chatter)
    job.run(folder)
    sys.stdout.write(f"All results are in {folder.path}; start with report.html.\n")
    return 0
