"""SIGTERM, by which batch systems and containers stop a program, taken as Ctrl-C is."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType


class Terminated(KeyboardInterrupt):
    """Raised where the program is when SIGTERM arrives."""


@contextlib.contextmanager
def termination_raised() -> Iterator[None]:
    """Let SIGTERM raise `Terminated`, unless the program does something with it already."""
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, _raise)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _raise(number: int, frame: FrameType | None) -> None:
    raise Terminated
