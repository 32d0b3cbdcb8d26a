"""The command line: `bitat-tf`."""

import argparse
import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from bitat_tf._keras import tf
from bitat_tf.workflow import RunFolder, TrainConfig, TrainJob

_EPILOG = """\
examples:
  bitat-tf train --out runs/digits
  bitat-tf train --data pictures --out runs/pictures --image-size 64 --width 0.5
  bitat-tf train --out runs/pictures --resume
"""


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of `bitat-tf`."""
    parser = argparse.ArgumentParser(
        prog="bitat-tf", description="Binary networks with the BiTAT method: train, binarize, export for larq-compute-engine."
    )
    parser.add_argument("--version", action="version", version=version("bitat_tf"))
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    train = commands.add_parser(
        "train",
        help="train a float network on images, binarize it layer by layer, export and verify it",
        description="Trains a float ReActNet on images, makes it binary layer by layer, writes model.tflite for "
        "larq-compute-engine and checks that the file does what the network does. Everything goes into the folder of the run.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,  # so that only the options that were given are seen
    )
    _add_train_options(train)
    return parser


def _add_train_options(train: argparse.ArgumentParser) -> None:
    train.add_argument("--out", required=True, metavar="RUN", help="folder of the run")
    train.add_argument("--resume", action="store_true", help="continue the run in RUN with its own settings")
    train.add_argument("--overwrite", action="store_true", help="replace the run that RUN holds")

    data = train.add_argument_group("data")
    data.add_argument(
        "--data",
        metavar="digits|DIR",
        help="'digits' (default; scikit-learn's, embedded), or a folder of class folders of images, either in train/ and test/ "
        "or in one folder, of which a fifth becomes the test set",
    )
    data.add_argument(
        "--image-size", type=int, metavar="PIXELS", help="side that images are scaled to (default: theirs, up to 64)"
    )
    data.add_argument("--subset", type=int, metavar="N", help="use N training images, evenly over the classes (default: all)")
    data.add_argument("--skip-corrupt", action="store_true", help="leave images out that cannot be read (default: an error)")
    data.add_argument(
        "--augment",
        choices=("none", "shift", "shift-flip"),
        help="what happens to training images at random (default shift-flip, digits shift)",
    )

    network = train.add_argument_group("network")
    network.add_argument("--width", type=float, metavar="FACTOR", help="multiplier of the network's filters (default 1.0)")
    network.add_argument(
        "--blocks",
        type=int,
        metavar="N",
        help="blocks of two binary layers each (default: 13 as in ReActNet-A; pictures below 32 pixels 3)",
    )

    training = train.add_argument_group("training")
    training.add_argument("--epochs", type=int, metavar="N", help="epochs of the float training (default 30, digits 20)")
    training.add_argument(
        "--epochs-per-layer", type=float, metavar="X", help="epochs of each layer's binarization (default 1, digits 2)"
    )
    training.add_argument(
        "--joint-epochs", type=float, metavar="X", help="epochs at the end, with all layers binary (default 15, digits 20)"
    )
    training.add_argument("--batch-size", type=int, metavar="N", help="images of a step (default 64, digits 32)")
    training.add_argument("--learning-rate", type=float, metavar="RATE", help="at the start, decays linearly (default 1e-3)")
    training.add_argument("--strength", type=float, metavar="LAMBDA", help="weight of the disentangled loss (default 1.0)")
    training.add_argument(
        "--freeze",
        choices=("never", "quantization", "always"),
        help="when the layers below the current one are frozen (default never)",
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
    training.add_argument("--seed", type=int, metavar="N", help="seed of everything random (default 0)")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0, or 2 for an error that the user can mend."""
    options = vars(build_parser().parse_args(arguments))
    options.pop("command")
    out = options.pop("out")
    try:
        _train(out, options)
    except (ValueError, TypeError, OSError, tf.errors.ResourceExhaustedError, tf.errors.PermissionDeniedError) as error:
        sys.stderr.write(f"bitat-tf: {error}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write(f"bitat-tf: stopped. `bitat-tf train --out {out} --resume` continues.\n")
        return 130
    return 0


def _train(out: str, options: dict[str, Any]) -> None:
    tf.get_logger().setLevel("ERROR")  # its notes would bury the run's own lines
    folder = RunFolder(out)
    resume, overwrite = options.pop("resume", False), options.pop("overwrite", False)
    if resume and overwrite:
        raise ValueError("--resume continues a run and --overwrite replaces it. Received: both. Pass one of them.")
    if resume:
        config = folder.resume(options)
        if folder.finished:
            sys.stdout.write(f"The run in {folder.path} is finished:\n\n{folder.report_markdown.read_text()}")
            return
    else:
        config = TrainConfig.for_data(**options)
        folder.check_free(overwrite)
    job = TrainJob(config)  # reads the data and checks all that can be checked, before anything is written
    if not resume:
        folder.begin(config, overwrite)
    job.run(folder)
    sys.stdout.write(f"All results are in {folder.path}; start with report.md.\n")


if __name__ == "__main__":
    sys.exit(main())
