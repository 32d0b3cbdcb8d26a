"""What the commands do that make `.tflite` files, run them, or take them to a device."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from bitat_tf import deployment, kits, workflow  # Keras is loaded when the options have been checked
from bitat_tf._console import say, show_or_write, warn
from bitat_tf.kits.targets import ALL
from bitat_tf.workflow.settings import Pictures


def export(options: dict[str, Any]) -> int:
    """Run `bitat-tf export`; returns the exit code."""
    as_json, pictures = options.pop("json", False), Pictures.taken_from(options, "export")
    asked = workflow.ExportOptions(**options, pictures=pictures)
    show_or_write(workflow.export_file(asked), as_json)
    return 0


def verify(options: dict[str, Any]) -> int:
    """Run `bitat-tf verify`; returns the exit code: 1 unless the file was seen to do what the model does."""
    as_json, pictures = options.pop("json", False), Pictures.taken_from(options, "verify")
    report = workflow.verify_file(options.pop("model"), options.pop("file"), pictures, **options)
    show_or_write(report, as_json)
    return 0 if report.ok else 1


def benchmark_file(options: dict[str, Any]) -> int:
    """Run `bitat-tf benchmark`; returns the exit code."""
    model = None if options["model"] is None else workflow.load_model(options["model"], options["any_size"])
    report = deployment.benchmark(options["file"], options["against"], model, threads=options["threads"], runs=options["runs"])
    show_or_write(report, options["json"])
    return 0


def kit(options: dict[str, Any]) -> int:
    """Run `bitat-tf kit`; returns the exit code."""
    names = None if options["labels"] is None else _names(Path(options["labels"]))
    target, picture = options["target"], options["picture"]
    source = workflow.source_of_kit(options["file"], with_picture=picture is None)
    written = kits.write_kit(
        source.file,
        options["out"],
        names,
        options["pixels"],
        options["overwrite"],
        target,
        source.picture if picture is None else picture,
        options["runtime"],
    )
    for note in (*source.notes, *written.notes):
        warn(note)
    start = "the README.md of each folder" if target == ALL else "README.md"
    say(f"The kit is in {written.folder}; start with {start}.")
    return 0


COMMANDS: dict[str, Callable[[dict[str, Any]], int]] = {
    "export": export,
    "verify": verify,
    "benchmark": benchmark_file,
    "kit": kit,
}


def _names(path: Path) -> list[str]:
    try:
        return path.read_text("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"kit: --labels must be a text in UTF-8. Received: {path}, which is none ({error}).") from error
