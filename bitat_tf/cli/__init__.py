"""The command line: `bitat-tf`.

| module | what it holds |
|---|---|
| `options` | the parser: commands, options and their help |
| `commands` | what the commands for networks do |
| `file_options` | the options of the commands on `.tflite` files |
| `look_commands`, `file_commands` | what these do: the first looks into files, the other makes and runs them |
| `experiment_options`, `experiment_command` | the same for the experiments of the paper |

What a command does is loaded when it is run: help and a look into a file need not wait for TensorFlow.
"""

import logging
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

from bitat_tf.cli.options import NEGATIVE_CHOICES, build_parser
from bitat_tf.tflite_file.engines import MissingEngineError

__all__ = ["build_parser", "main"]

_RESUMABLE = ("train", "binarize", "experiment")
_MODULES = {
    "commands": ("train", "binarize", "check", "summary", "import"),
    "look_commands": ("inspect", "dump"),
    "file_commands": ("export", "verify", "benchmark", "kit"),
    "experiment_command": ("experiment",),
}


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
    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # its notes would bury the command's own lines
    try:
        return _handler(command)(options)
    except _errors() as error:
        sys.stderr.write(f"bitat-tf: {error}\n")
        return 2
    except KeyboardInterrupt:
        cure = f" `bitat-tf {full_command} --out {out} --resume` continues." if _can_continue(command, out) else ""
        sys.stderr.write(f"bitat-tf: stopped.{cure}\n")
        return 130


def _handler(command: str) -> Callable[[dict[str, Any]], int]:
    module = next(module for module, commands in _MODULES.items() if command in commands)
    return import_module(f"{__name__}.{module}").COMMANDS[command]


def _errors() -> tuple[type[Exception], ...]:
    """Return the errors that the user can mend; TensorFlow has some of its own, where it is loaded."""
    errors = (ValueError, TypeError, OSError, MissingEngineError)
    if "tensorflow" not in sys.modules:
        return errors
    import tensorflow as tf

    return (*errors, tf.errors.ResourceExhaustedError, tf.errors.PermissionDeniedError)


def _can_continue(command: str, out: str | None) -> bool:
    if command not in _RESUMABLE or out is None:
        return False
    from bitat_tf.workflow import RunFolder

    return RunFolder(out).config.exists()


def _joined(arguments: Sequence[str]) -> list[str]:
    """Return the arguments, with values that begin with a dash joined to their option: argparse takes them for options."""
    joined: list[str] = []
    for argument in arguments:
        if argument in NEGATIVE_CHOICES and joined:
            joined[-1] += f"={argument}"
        else:
            joined.append(argument)
    return joined
