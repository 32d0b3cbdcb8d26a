"""What the commands do that look into `.tflite` files: they load no TensorFlow, and answer at once."""

from collections.abc import Callable
from typing import Any

from bitat_tf._console import show_or_write
from bitat_tf.tflite_file import dump, inspect


def inspect_file(options: dict[str, Any]) -> int:
    """Run `bitat-tf inspect`; returns the exit code."""
    show_or_write(inspect(options["file"]), options["json"])
    return 0


def dump_file(options: dict[str, Any]) -> int:
    """Run `bitat-tf dump`; returns the exit code."""
    show_or_write(dump(options["file"], options["out"], options["overwrite"]), options["json"])
    return 0


COMMANDS: dict[str, Callable[[dict[str, Any]], int]] = {"inspect": inspect_file, "dump": dump_file}
