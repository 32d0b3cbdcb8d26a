"""The parser of `bitat-tf`: its commands, their options and help."""

import argparse
import textwrap
from importlib.metadata import version

from bitat_tf._pixels import NEGATIVE
from bitat_tf.cli.experiment_options import add_experiment
from bitat_tf.cli.file_options import ANY_SIZE, MODEL, add_file_commands
from bitat_tf.workflow.binarize_config import BinarizeConfig
from bitat_tf.workflow.config import TrainConfig
from bitat_tf.workflow.options import add_options

_WIDTH = 74
NEGATIVE_CHOICES = (NEGATIVE,)  # values that begin with a dash
_TRAIN_EXAMPLES = """\
examples:
  bitat-tf train --out runs/digits
  bitat-tf train --data pictures --out runs/pictures --image-size 64 --width 0.5
  bitat-tf train --out runs/pictures --resume
"""
_BINARIZE_EXAMPLES = """\
examples:
  bitat-tf binarize flowers.keras --data flowers --out runs/flowers --pixels 0..1
  bitat-tf binarize flowers.keras --data flowers --out runs/quick --pixels -1..1 --post-training --skip "block_1_*"
  bitat-tf binarize --out runs/flowers --resume
"""


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of `bitat-tf`."""
    parser = argparse.ArgumentParser(
        prog="bitat-tf", description="Binary networks with the BiTAT method: train, binarize, export, verify, deploy."
    )
    parser.add_argument("--version", action="version", version=version("bitat_tf"))
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_train(commands)
    _add_binarize(commands)
    for name, short, long in (
        (
            "check",
            "say what of a model will be binary on the device, and what will cost accuracy",
            "Tells of a model which layers cannot be binary on the device, and what will cost accuracy or time, before days of "
            "training are spent on it; of a float network, what `bitat-tf binarize` would make of it. Exit code: 0, 1 if a "
            "layer that is meant to be binary cannot be or the export fails, 2 if there is no usable model.",
        ),
        (
            "summary",
            "show the layers of a model: parameters, operations, size of the file",
            "Shows what every layer of a model costs on the device: parameters and operations, binary and float, and about "
            "the size of the file; of a float network, what `bitat-tf binarize` would make of it. Exit code: 0, or 2 if there "
            "is no usable model.",
        ),
    ):
        command = commands.add_parser(name, help=short, description=long)
        command.add_argument("model", metavar="MODEL.keras", help=MODEL)
        command.add_argument("--any-size", **ANY_SIZE)
        command.add_argument("--json", action="store_true", help="print one JSON object")
    _add_import(commands)
    add_file_commands(commands)
    add_experiment(commands)
    return parser


def _add_run(commands, name: str, short: str, long: str, epilog: str) -> argparse.ArgumentParser:
    return commands.add_parser(
        name,
        help=short,
        description=textwrap.fill(long, _WIDTH),  # for the sake of the examples it is shown as it stands
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,  # so that only the options that were given are seen
    )


def _add_train(commands) -> None:
    train = _add_run(
        commands,
        "train",
        "train a float network on images, binarize it layer by layer, export and verify it",
        "Trains a float ReActNet on images, makes it binary layer by layer, writes model.tflite and "
        "checks that the file does what the network does. Everything goes into the folder of the run.",
        _TRAIN_EXAMPLES,
    )
    _add_folder_options(train)
    add_options(train, TrainConfig)


def _add_binarize(commands) -> None:
    binarize = _add_run(
        commands,
        "binarize",
        "make a trained float network of your own binary, export and verify it",
        "Loads a trained float network, puts binary layers in place of its convolutions and dense layers, makes them binary "
        "layer by layer, writes model.tflite and checks that the file does what the network does. "
        "Everything goes into the folder of the run.",
        _BINARIZE_EXAMPLES,
    )
    binarize.add_argument("model", nargs="?", metavar="MODEL.keras", help=MODEL)
    binarize.add_argument("--any-size", **ANY_SIZE)
    _add_folder_options(binarize)
    add_options(binarize, BinarizeConfig)


def _add_import(commands) -> None:
    command = commands.add_parser(
        "import",
        help="make a Keras 3 model of a Keras 2 one, Larq's too",
        description="Makes a .keras file of Keras 3 of a functional or sequential model of Keras 2 that has only layers of "
        "Keras' own and of Larq, which become binary layers, and checks that both give the same outputs. Keras 2 must be "
        "installed: pip install tf_keras; Larq need not be. Exit code: 0, or 2 if the model cannot be imported.",
    )
    command.add_argument("old", metavar="OLD", help="a model of Keras 2: a .keras or .h5 file, or the folder of a SavedModel")
    command.add_argument("new", metavar="NEW.keras", help="where the model of Keras 3 goes")
    command.add_argument("--any-size", **ANY_SIZE)
    command.add_argument("--overwrite", action="store_true", help="replace a file that is there")


def _add_folder_options(run: argparse.ArgumentParser) -> None:
    run.add_argument("--out", required=True, metavar="RUN", help="folder of the run")
    run.add_argument("--resume", action="store_true", help="continue the run in RUN with its own settings")
    run.add_argument("--overwrite", action="store_true", help="replace the run that RUN holds")
