"""The command line: `bitat-tf`.

| module | what it holds |
|---|---|
| `options` | the parser: commands, options and their help |
| `commands` | what the commands for networks do |
| `file_options`, `file_commands` | the same for those on `.tflite` files |
| `experiment_options`, `experiment_command` | the same for the experiments of the paper |
"""

import sys
from collections.abc import Sequence

from bitat_tf._keras import tf
from bitat_tf.cli.commands import COMMANDS
from bitat_tf.cli.experiment_command import experiment
from bitat_tf.cli.file_commands import FILE_COMMANDS
from bitat_tf.cli.options import NEGATIVE_CHOICES, build_parser
from bitat_tf.tflite_file.runtime import MissingRuntimeError
from bitat_tf.workflow import RunFolder

__all__ = ["build_parser", "main"]

_RESUMABLE = ("train", "binarize", "experiment")
_ERRORS = (
    ValueError,
    TypeError,
    OSError,
    MissingRuntimeError,
    tf.errors.ResourceExhaustedError,
    tf.errors.PermissionDeniedError,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: What stands after `bitat-tf`; None for that of this process.

    Returns:
        The exit code: 0; 1 where `check` finds errors in a model, or `verify` does not see that a file does what the model
        does; 2 for an error that the user can mend; 130 when stopped.
    """
    options = vars(build_parser().parse_args(_joined(sys.argv[1:] if arguments is None else arguments)))
    command, out = options.pop("command"), options.get("out")
    full_command = " ".join([command, *([options["experiment"]] if "experiment" in options else [])])
    tf.get_logger().setLevel("ERROR")  # its notes would bury the command's own lines
    try:
        return {**COMMANDS, **FILE_COMMANDS, "experiment": experiment}[command](options)
    except _ERRORS as error:
        sys.stderr.write(f"bitat-tf: {error}\n")
        return 2
    except KeyboardInterrupt:
        begun = command in _RESUMABLE and out is not None and RunFolder(out).config.exists()
        cure = f" `bitat-tf {full_command} --out {out} --resume` continues." if begun else ""
        sys.stderr.write(f"bitat-tf: stopped.{cure}\n")
        return 130


def _joined(arguments: Sequence[str]) -> list[str]:
    """Return the arguments, with values that begin with a dash joined to their option: argparse takes them for options."""
    joined: list[str] = []
    for argument in arguments:
        if argument in NEGATIVE_CHOICES and joined:
            joined[-1] += f"={argument}"
        else:
            joined.append(argument)
    return joined
