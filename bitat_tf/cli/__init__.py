"""The command line: `bitat-tf`.

| module | what it holds |
|---|---|
| `options` | the parser: commands, options and their help |
| `commands` | what the commands for networks do |
| `file_options` | the options of the commands on `.tflite` files |
| `look_commands`, `file_commands` | what these do: the first looks into files, the other makes and runs them |
| `experiment_options`, `experiment_command` | the same for the experiments of the paper |
| `chatter` | what TensorFlow writes to stderr does not reach the terminal |
| `stopping` | SIGTERM is taken as Ctrl-C is |
| `shortage` | too little memory and full disks, in words |

What a command does is loaded when it is run: help and a look into a file need not wait for TensorFlow.
"""

import contextlib
import io
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from bitat_tf._printable import message, printable
from bitat_tf.cli.chatter import chatter_apart
from bitat_tf.cli.options import NEGATIVE_CHOICES, build_parser
from bitat_tf.cli.shortage import check_memory_limit, in_words
from bitat_tf.cli.stopping import Terminated, termination_raised
from bitat_tf.tflite_file.engines import MissingEngineError

__all__ = ["build_parser", "main"]

UNUSABLE, STOPPED, TERMINATED = 2, 130, 143  # the last two as shells have them: 128 and the number of the signal
_RESUMABLE = ("train", "binarize", "experiment")
_WITHOUT_TENSORFLOW = ("inspect", "dump")
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
        does; 2 for an error that the user can mend; 130 when stopped, 143 by SIGTERM.
    """
    options = vars(build_parser().parse_args(_joined(sys.argv[1:] if arguments is None else arguments)))
    command, out = options.pop("command"), options.get("out")
    full_command = " ".join([command, *([options["experiment"]] if "experiment" in options else [])])
    with contextlib.ExitStack() as stack:
        chatter = stack.enter_context(chatter_apart())
        stack.enter_context(_any_name_written())
        explained = stack.enter_context(contextlib.ExitStack())
        explained.callback(lambda: sys.stderr.write(printable(chatter.explanation(), lines=True)))  # also before a traceback
        if command in _RESUMABLE:
            options["chatter"] = chatter
            stack.enter_context(termination_raised())
        try:
            sys.stderr.write("" if command in _WITHOUT_TENSORFLOW else check_memory_limit(command in _RESUMABLE))
            code = _handler(command)(options)
        except KeyboardInterrupt as stop:  # before the errors: TensorFlow's cannot be had where its import was interrupted
            sys.stderr.write(f"bitat-tf: stopped.{_continuation(full_command, out)}\n")
            code = TERMINATED if isinstance(stop, Terminated) else STOPPED
        except _errors() as error:
            sys.stderr.write(f"bitat-tf: {message(in_words(error))}\n")
            return UNUSABLE
        explained.pop_all()
        return code


@contextlib.contextmanager
def _any_name_written() -> Iterator[None]:
    """Let standard output take what its encoding has no character for, as standard error does: escaped."""
    stream = sys.stdout
    if not isinstance(stream, io.TextIOWrapper):  # of a notebook
        yield
        return
    before = stream.errors
    stream.reconfigure(errors="backslashreplace")
    try:
        yield
    finally:
        stream.reconfigure(errors=before)


def _handler(command: str) -> Callable[[dict[str, Any]], int]:
    module = next(module for module, commands in _MODULES.items() if command in commands)
    return import_module(f"{__name__}.{module}").COMMANDS[command]


def _errors() -> tuple[type[Exception], ...]:
    """Return the errors that the user can mend; TensorFlow has some of its own, where it is loaded."""
    errors = (ValueError, TypeError, OSError, MemoryError, MissingEngineError)
    if "tensorflow" not in sys.modules:
        return errors
    import tensorflow as tf

    return (*errors, tf.errors.ResourceExhaustedError, tf.errors.PermissionDeniedError)


def _continuation(command: str, out: str | None) -> str:
    """Return the sentence that says how a command that was stopped goes on; empty where it cannot."""
    # The file by its name: where an import was interrupted, `RunFolder` may not be had any more.
    if command.split()[0] not in _RESUMABLE or out is None or not Path(out, "config.json").exists():
        return ""
    return f" `bitat-tf {command} --out {shlex.quote(str(out))} --resume` continues."


def _joined(arguments: Sequence[str]) -> list[str]:
    """Return the arguments, with values that begin with a dash joined to their option: argparse takes them for options."""
    joined: list[str] = []
    for argument in arguments:
        if argument in NEGATIVE_CHOICES and joined:
            joined[-1] += f"={argument}"
        else:
            joined.append(argument)
    return joined
