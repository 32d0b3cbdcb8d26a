"""What TensorFlow and native code write to stderr while a command runs: it does not reach the terminal.

Native code writes to file descriptor 2, whatever `sys.stderr` is. So the descriptor itself leads into a file for the time of a
command, and Python's loggers write there, too; `sys.stderr` is a stream to where the descriptor led before.
"""

import contextlib
import faulthandler
import logging
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TextIO

_STDERR = 2
_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_HEADER = re.compile(r"([IWEF])\d{4} |\d{4}-\d\d-\d\d \S+ ([A-Z])")  # of native code, of Python's loggers
_OF_NO_USE = ("WARNING: All log messages before absl::InitializeLog()", "failed call to cuInit")  # the latter: there is no GPU


class Chatter:
    """The file that it goes into.

    Args:
        file: The file; None where stderr is left alone.
    """

    def __init__(self, file: IO[bytes] | None):
        self._file = file
        self._kept_in: Path | None = None

    def keep_in(self, path: Path) -> None:
        """Let it be written at the end of a file from now on, what came before as well."""
        if self._file is None:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as kept:
            self._file.seek(0)
            shutil.copyfileobj(self._file, kept)
            kept.flush()
            os.dup2(kept.fileno(), _STDERR)
        self._kept_in = path

    def explanation(self) -> str:
        """Return what a user should see of it when a command has failed: warnings and errors, or the file that holds it all."""
        if self._kept_in is not None:
            return f"What TensorFlow wrote meanwhile is in {self._kept_in}.\n"
        if self._file is None:
            return ""
        self._file.seek(0)
        return _warnings_and_errors(self._file.read().decode(errors="replace"))


@contextlib.contextmanager
def chatter_apart() -> Iterator[Chatter]:
    """Lead what is written to descriptor 2 into a file, and `sys.stderr` to where the descriptor led.

    Where `sys.stderr` is not the stream of the process, as in notebooks and under pytest, it is somebody else's: there
    TensorFlow's loggers are told to be quiet, and nothing else is done.
    """
    if not _is_stderr_of_the_process():
        logging.getLogger("tensorflow").setLevel(logging.ERROR)  # its notes would bury the command's own lines
        yield Chatter(None)
        return
    sys.stderr.flush()
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(tempfile.TemporaryFile())
        before = os.dup(_STDERR)
        terminal = stack.enter_context(
            os.fdopen(before, "w", buffering=1, encoding=sys.stderr.encoding, errors="backslashreplace")
        )
        os.dup2(file.fileno(), _STDERR)
        stack.callback(os.dup2, before, _STDERR)
        stack.enter_context(_loggers_into(sys.stderr))
        stack.enter_context(_crashes_to(terminal))
        stack.enter_context(contextlib.redirect_stderr(terminal))
        yield Chatter(file)


def _is_stderr_of_the_process() -> bool:
    stream = sys.__stderr__
    if stream is None or sys.stderr is not stream:
        return False
    try:
        return stream.fileno() == _STDERR
    except (OSError, ValueError):  # without a descriptor, or closed
        return False


@contextlib.contextmanager
def _loggers_into(stream: TextIO) -> Iterator[None]:
    """Let Python's loggers write to a stream: TensorFlow's and absl's make none of their own where there is one already."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter(_FORMAT))
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)
        stream.flush()


@contextlib.contextmanager
def _crashes_to(stream: TextIO) -> Iterator[None]:
    """Let a crash of native code say on a stream where it was: its own message has gone into the file."""
    if faulthandler.is_enabled():
        yield
        return
    faulthandler.enable(stream)
    try:
        yield
    finally:
        faulthandler.disable()


def _warnings_and_errors(text: str) -> str:
    """Return the lines of a log that are no mere information, with those that continue them."""
    kept, shown = [], False
    for line in text.splitlines(keepends=True):
        header = _HEADER.match(line)
        if any(text in line for text in _OF_NO_USE):
            shown = False
        elif header:
            shown = (header[1] or header[2]) != "I"
        if shown:
            kept.append(line)
    return "".join(kept)
