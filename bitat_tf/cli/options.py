"""The parser of `bitat-tf`: its commands, their options and help."""

import argparse
import textwrap
from importlib.metadata import version

from bitat_tf._pixels import NEGATIVE, PIXELS
from bitat_tf.cli.experiment_options import add_experiment
from bitat_tf.cli.file_options import ANY_SIZE, add_file_commands, add_picture_options

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
        command.add_argument("model", metavar="MODEL.keras", help="a Keras 3 model, saved with model.save('model.keras')")
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
    data = train.add_argument_group("data")
    _add_data(data, "'digits' (default; scikit-learn's, embedded)")
    data.add_argument(
        "--image-size", type=int, metavar="PIXELS", help="side that images are scaled to (default: theirs, up to 64)"
    )
    _add_data_options(data)

    network = train.add_argument_group("network")
    network.add_argument("--width", type=float, metavar="FACTOR", help="multiplier of the network's filters (default 1.0)")
    network.add_argument(
        "--blocks",
        type=int,
        metavar="N",
        help="blocks of two binary layers each (default: 13 as in ReActNet-A; pictures below 32 pixels 3)",
    )
    _add_training_options(train, "epochs of the float training (default 30, digits 20)")


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
    binarize.add_argument(
        "model", nargs="?", metavar="MODEL.keras", help="a trained Keras 3 model, saved with model.save('model.keras')"
    )
    binarize.add_argument("--any-size", **ANY_SIZE)
    _add_folder_options(binarize)
    data = binarize.add_argument_group("data")
    _add_data(data, "what the model was trained on: 'digits' (scikit-learn's, embedded)")
    data.add_argument(
        "--pixels",
        choices=tuple(PIXELS),
        help="what the model expects of pixels 0..255 (default 0..255: as they are); the scaling becomes part of the exported "
        "network. imagenet: mean 0 and deviation 1 of ImageNet's channels; caffe: BGR less ImageNet's means (ResNet50, VGG)",
    )
    _add_data_options(data)

    network = binarize.add_argument_group("network")
    network.add_argument(
        "--skip",
        action="append",
        metavar="PATTERN",
        help='layers that stay float, by name or pattern ("block_1_*"); may be given several times',
    )
    network.add_argument("--first-and-last", action="store_true", help="make the first and the last layer binary as well")
    network.add_argument(
        "--activation",
        choices=("keep", "rprelu"),
        help="rprelu: every ReLU before a binary layer gets learned shifts and slopes",
    )
    network.add_argument(
        "--shortcuts", action="store_true", help="add a shortcut around each binary layer; needs float training (--epochs)"
    )
    network.add_argument(
        "--depthwise",
        choices=("keep", "expand"),
        help="expand: depthwise convolutions become full binary ones (default keep: float)",
    )
    _add_training_options(binarize, "epochs of float training before the binarization (default 0, with --shortcuts 5)")


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


def _add_data(data, digits: str) -> None:
    data.add_argument(
        "--data",
        metavar="digits|DIR",
        help=f"{digits}, or a folder of class folders of images, either in train/ and test/ or in one folder, of which a fifth "
        "becomes the test set",
    )


def _add_data_options(data) -> None:
    data.add_argument("--subset", type=int, metavar="N", help="use N training images, evenly over the classes (default: all)")
    add_picture_options(data)
    data.add_argument(
        "--augment",
        choices=("none", "shift", "shift-flip"),
        help="what happens to training images at random (default shift-flip, digits shift)",
    )


def _add_training_options(run: argparse.ArgumentParser, epochs: str) -> None:
    training = run.add_argument_group("training")
    training.add_argument("--epochs", type=int, metavar="N", help=epochs)
    training.add_argument(
        "--epochs-per-layer", type=float, metavar="X", help="epochs of each layer's binarization (default 1, digits 2)"
    )
    training.add_argument(
        "--joint-epochs", type=float, metavar="X", help="epochs at the end, with all layers binary (default 15, digits 20)"
    )
    training.add_argument("--batch-size", type=int, metavar="N", help="images of a step (default 64, digits 32)")
    training.add_argument(
        "--learning-rate", type=float, metavar="RATE", help="of the float training, decays linearly (default 1e-3)"
    )
    training.add_argument(
        "--binarization-learning-rate", type=float, metavar="RATE", help="of the binarization, decays linearly (default 1e-2)"
    )
    training.add_argument(
        "--strength", type=float, metavar="LAMBDA", help="weight of the disentangled loss (default: what the layers say, or 1)"
    )
    training.add_argument(
        "--freeze",
        choices=("never", "quantization", "always"),
        help="when the layers below the current one are frozen (default never)",
    )
    training.add_argument(
        "--distillation",
        type=float,
        metavar="SHARE",
        help="share of the loss, 0 to 1, that compares the outputs with the float network's; labels have the rest (default 0)",
    )
    training.add_argument(
        "--post-training",
        action="store_true",
        help="make the float network binary without training, from closed forms: minutes, and less accurate",
    )
    training.add_argument(
        "--calibration",
        type=int,
        metavar="N",
        help="training images for the statistics (default 512, with --post-training 2048)",
    )
    training.add_argument(
        "--tensorboard", action="store_true", help="write what is trained for TensorBoard: curves, stages and layers"
    )
    training.add_argument("--seed", type=int, metavar="N", help="seed of everything random (default 0)")
