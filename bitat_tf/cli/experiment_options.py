"""The options of `bitat-tf experiment`."""

import argparse

from bitat_tf.cli.file_options import ANY_SIZE
from bitat_tf.workflow.experiments.settings import CrossLayerSettings, ExperimentSettings, GapSettings
from bitat_tf.workflow.options import add_options

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
    _add(
        kinds,
        "cross-layer",
        "noise along the principal directions of every layer (7.3, Fig. 3)",
        "Trains a MobileNetV2, then adds noise to the top or bottom five rows of every layer's disentangled weights, with "
        "covariances measured layer after layer or all at first, and draws accuracy against the scale of the noise.",
        CrossLayerSettings,
    )
    _add(
        kinds,
        "gap",
        "Q_orig and Q_ours of ReActNet's training and of BiTAT's (7.4, Fig. 8)",
        "Trains a float ReActNet, makes it binary in ReActNet's two steps and with BiTAT, in the same number of steps, and "
        "compares accuracy, Q_orig, Q_ours and the curve of their ratio.",
        GapSettings,
    )


def _add(kinds, name: str, short: str, long: str, settings: type[ExperimentSettings]) -> None:
    parser = kinds.add_parser(
        name,
        help=short,
        description=long,
        argument_default=argparse.SUPPRESS,  # so that only the options that were given are seen
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="folder of the experiment")
    parser.add_argument("--resume", action="store_true", help="continue the experiment in DIR with its own settings")
    parser.add_argument("--overwrite", action="store_true", help="replace the experiment that DIR holds")
    parser.add_argument("--any-size", **ANY_SIZE)
    add_options(parser, settings)
