"""The options of `bitat-tf experiment`."""

import argparse

from bitat_tf.cli.file_options import ANY_SIZE, add_picture_options

_EXAMPLES = """\
examples:
  bitat-tf experiment cross-layer --data cifar100 --out runs/cross-layer
  bitat-tf experiment gap --data cifar100 --out runs/gap --subset 20000 --width 0.5
  bitat-tf experiment gap --out runs/gap --resume
"""


def add_experiment(commands) -> None:
    """Add `experiment` and the experiments to the parser."""
    experiment = commands.add_parser(
        "experiment",
        help="run an experiment of the paper's appendix on data of your own",
        description="Runs an experiment of the paper's appendix: trains what it needs,\nwrites figures, tables and report.md.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    kinds = experiment.add_subparsers(dest="experiment", required=True, metavar="EXPERIMENT")
    _add_cross_layer(kinds)
    _add_gap(kinds)


def _add_cross_layer(kinds) -> None:
    cross_layer = _add(
        kinds,
        "cross-layer",
        "noise along the principal directions of every layer (7.3, Fig. 3)",
        "Trains a MobileNetV2, then adds noise to the top or bottom five rows of every layer's disentangled weights, with "
        "covariances measured layer after layer or all at first, and draws accuracy against the scale of the noise.",
        data="folder of class folders of images, as in `train`, of 32x32 pixels or more; digits with --model only",
        epochs=30,
        batch_size=128,
        learning_rate="0.05",
    )
    cross_layer.add_argument(
        "--weight-decay", type=float, metavar="X", help="of the float training, on kernels, decoupled (default 5e-4)"
    )
    cross_layer.add_argument(
        "--scales",
        type=float,
        nargs="+",
        metavar="X",
        help="scales of the noise, in root mean squares of a layer's weights (default 0 0.25 0.5 1 1.5 2 3 4)",
    )
    cross_layer.add_argument(
        "--test-images", type=int, metavar="N", help="test images that accuracy under noise is measured on (default 2000)"
    )


def _add_gap(kinds) -> None:
    gap = _add(
        kinds,
        "gap",
        "Q_orig and Q_ours of ReActNet's training and of BiTAT's (7.4, Fig. 8)",
        "Trains a float ReActNet, makes it binary in ReActNet's two steps and with BiTAT, in the same number of steps, and "
        "compares accuracy, Q_orig, Q_ours and the curve of their ratio.",
        data="'digits' (default) or a folder of class folders of images, as in `train`",
        epochs=20,
        batch_size=64,
        learning_rate="1e-3",
    )
    gap.add_argument("--blocks", type=int, metavar="N", help="blocks of two binary layers each (default as in `train`)")
    gap.add_argument("--binarization-epochs", type=int, metavar="N", help="epochs of either binarization (default 20)")
    gap.add_argument(
        "--binarization-learning-rate", type=float, metavar="RATE", help="of either, decays linearly (default 1e-2)"
    )
    gap.add_argument(
        "--joint-share",
        type=float,
        metavar="SHARE",
        help="share of BiTAT's epochs in which all layers train, at the end (default 0.5; the paper's: 0)",
    )
    gap.add_argument(
        "--float-reference",
        action="store_true",
        help="pull at the float weights, as in the paper (default: at those re-targeted to binary inputs)",
    )
    gap.add_argument(
        "--strength", type=float, metavar="LAMBDA", help="weight of the disentangled loss (default: what the layers say, or 1)"
    )


def _add(
    kinds, name: str, short: str, long: str, data: str, epochs: int, batch_size: int, learning_rate: str
) -> argparse.ArgumentParser:
    parser = kinds.add_parser(
        name,
        help=short,
        description=long,
        argument_default=argparse.SUPPRESS,  # so that only the options that were given are seen
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="folder of the experiment")
    parser.add_argument("--resume", action="store_true", help="continue the experiment in DIR with its own settings")
    parser.add_argument("--overwrite", action="store_true", help="replace the experiment that DIR holds")
    parser.add_argument("--data", metavar="digits|DIR", help=data)
    parser.add_argument(
        "--model",
        metavar="MODEL.keras",
        help="a trained float network that takes pixels 0..255, to start from (default: one is trained)",
    )
    parser.add_argument("--any-size", **ANY_SIZE)
    parser.add_argument("--image-size", type=int, metavar="PIXELS", help="side that images are scaled to")
    parser.add_argument("--subset", type=int, metavar="N", help="use N training images, evenly over the classes (default: all)")
    add_picture_options(parser)
    parser.add_argument("--width", type=float, metavar="FACTOR", help="multiplier of the network's filters (default 1.0)")
    parser.add_argument("--epochs", type=int, metavar="N", help=f"epochs of the float training (default {epochs})")
    parser.add_argument("--batch-size", type=int, metavar="N", help=f"images of a step (default {batch_size})")
    parser.add_argument(
        "--learning-rate", type=float, metavar="RATE", help=f"of the float training, decays (default {learning_rate})"
    )
    parser.add_argument("--calibration", type=int, metavar="N", help="training images for the covariances (default 512)")
    parser.add_argument("--repeats", type=int, metavar="N", help="number of seeds (default 3)")
    parser.add_argument("--seed", type=int, metavar="N", help="the first of them (default 0)")
    return parser
