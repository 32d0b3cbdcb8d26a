"""The options of the commands for `.tflite` files."""

import argparse
from collections.abc import Callable
from typing import Any

from bitat_tf._pixels import BYTES, PIXELS
from bitat_tf.kits.targets import ALL, TARGETS
from bitat_tf.workflow.export_options import ExportOptions
from bitat_tf.workflow.options import add_options
from bitat_tf.workflow.settings import FOLDERS, Pictures

MODEL = "a Keras 3 model, saved with model.save('model.keras')"
_FILE = "a .tflite file"
_LEAST_RUNS = 3  # of which there is a median
ANY_SIZE: dict[str, Any] = {
    "action": "store_true",
    "help": "take a model of any size (default: at most 256 MB or 20 times the file once it is unpacked, and 50,000 calls of "
    "layers)",
}


def add_file_commands(commands) -> None:
    """Add `export`, `verify`, `inspect`, `benchmark`, `kit` and `dump` to the parser."""
    _add_export(commands)
    _add_verify(commands)
    inspect = _add(
        commands,
        "inspect",
        "show what is in a .tflite file: operators, binary and float, bytes, operations",
        "Shows every operator of a .tflite file, how much of the work binary kernels do, and which float operators are left "
        "between them, and why. A damaged file is refused.",
    )
    inspect.add_argument("file", metavar="model.tflite", help=_FILE)
    _add_benchmark(commands)
    _add_kit(commands)
    dump = _add(
        commands,
        "dump",
        "write packed weights, thresholds and scales of a .tflite file for programs of your own",
        "Writes the weights as they are packed, thresholds, scales and the graph of a .tflite file as .npz.",
    )
    dump.add_argument("file", metavar="model.tflite", help=_FILE)
    dump.add_argument("--out", required=True, metavar="bits.npz", help="where the arrays go: a file, or a folder")
    dump.add_argument("--overwrite", action="store_true", help="replace a file that is there")


def _add(commands, name: str, short: str, long: str, json: bool = True, **arguments: Any) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=short, description=f"{long} Exit code: 0, or 2 for unusable input.", **arguments)
    if json:
        command.add_argument("--json", action="store_true", help="print one JSON object")
    return command


def at_least(minimum: int) -> Callable[[str], int]:
    """Return the type of an option that is a whole number, for argparse, which refuses others before anything is loaded."""

    def number(text: str) -> int:
        if not text.lstrip("-").isdecimal() or int(text) < minimum:
            raise argparse.ArgumentTypeError(f"expected a whole number >= {minimum}. Received: {text!r}")
        return int(text)

    return number


def _add_export(commands) -> None:
    export = _add(
        commands,
        "export",
        "write a binarized model as a verified .tflite file, on demand with int8 for the rest",
        "Writes a binarized model as a .tflite file with larq-compute-engine's operators, and checks that it does what the "
        "model does.",
        argument_default=argparse.SUPPRESS,
    )
    export.add_argument("model", metavar="MODEL.keras", help=MODEL)
    export.add_argument("out", metavar="model.tflite", help="where the file goes")
    export.add_argument("--any-size", **ANY_SIZE)
    _add_pictures(export, "images for the verification, and for the ranges of int8")
    add_options(export, ExportOptions)


def _add_verify(commands) -> None:
    verify = commands.add_parser(
        "verify",
        help="compare a .tflite file with the model that it was exported from",
        description="Compares outputs on all test images, and the signs before binary layers on some: where the two first "
        "differ, and whether values on a threshold explain it. Exit code: 0 if the file does what the model does, 1 if it does "
        "something else or the images cannot tell (no verdict), 2 for unusable input.",
        argument_default=argparse.SUPPRESS,
    )
    verify.add_argument("model", metavar="MODEL.keras", help=MODEL)
    verify.add_argument("file", metavar="model.tflite", help=_FILE)
    verify.add_argument("--any-size", **ANY_SIZE)
    _add_pictures(verify, "the images")
    add_options(verify, ExportOptions, only=("pixels", "engine"))
    verify.add_argument("--traced", type=at_least(0), metavar="N", help="images whose signs inside are compared (default 8)")
    verify.add_argument("--json", action="store_true", help="print one JSON object")


def _add_benchmark(commands) -> None:
    benchmark = _add(
        commands,
        "benchmark",
        "time a .tflite file on this machine against its float and int8 twins and other files",
        "Times a file with bitat-runtime, with every kernel of larq-compute-engine if that is installed, and against others, "
        "in turns, in one run: medians and ratios. larq-compute-engine's kernels are made for 64-bit ARM; on another machine "
        "its times say nothing of a phone.",
    )
    benchmark.add_argument("file", metavar="model.tflite", help=_FILE)
    benchmark.add_argument("--model", metavar="MODEL.keras", help="its Keras model: float and int8 twins are timed as well")
    benchmark.add_argument("--any-size", **ANY_SIZE)
    benchmark.add_argument(
        "--against", action="append", default=[], metavar="other.tflite", help="another file; may be given several times"
    )
    benchmark.add_argument(
        "--threads", type=at_least(1), nargs="+", default=[1, 2], metavar="N", help="numbers of threads (default 1 2)"
    )
    benchmark.add_argument(
        "--runs", type=at_least(_LEAST_RUNS), default=31, metavar="N", help="timed runs of each (default 31)"
    )


def _add_kit(commands) -> None:
    kit = _add(
        commands,
        "kit",
        "write a project that runs a .tflite file on Android, a Raspberry Pi, or from C++",
        "Writes a project with the file, its labels, a picture and instructions. It runs the file in a stock interpreter with "
        "bitat-runtime: 'android' is a complete app on LiteRT, 'cpp' a program with TensorFlow Lite's C API, 'raspberry_pi' a "
        "Python script.",
        json=False,
    )
    kit.add_argument("file", metavar="model.tflite|RUN", help=f"{_FILE}, or the folder of a run")
    kit.add_argument(
        "--target", choices=(*TARGETS, ALL), default=ALL, help="what the kit is for (default all: one of each, in its folder)"
    )
    kit.add_argument("--out", required=True, metavar="DIR", help="a new or empty folder")
    kit.add_argument("--labels", metavar="labels.txt", help="names of the classes, one a line (default: those in the file)")
    kit.add_argument(
        "--pixels", choices=(*PIXELS, BYTES), help="what the file expects of pixels (default: what it says itself)"
    )
    kit.add_argument("--picture", metavar="PICTURE", help="a picture to classify (default: one of a run's data)")
    kit.add_argument(
        "--runtime", metavar="DIR", help="C++ sources of bitat-runtime, for android, cpp and all (default: the installed ones)"
    )
    kit.add_argument("--overwrite", action="store_true", help="replace files that the folder holds")


def _add_pictures(command: argparse.ArgumentParser, what: str) -> None:
    command.add_argument("--data", metavar="digits|DIR", help=f"{what}: {FOLDERS} (default: random inputs)")
    add_options(command, Pictures, without=("data", "subset"))
