"""One process at a time in the folder of a run."""

import os
import platform
from datetime import datetime
from pathlib import Path
from typing import TextIO

from bitat_tf._console import warn
from bitat_tf._printable import printable

try:
    import fcntl
except ImportError:  # not on Windows, where nothing is locked
    fcntl = None  # type: ignore[assignment]

LOCK = ".lock"


class FolderLock:
    """A lock of the system on a file, which names its holder. That of a process that was killed is free.

    Args:
        folder: The folder, which must be there when the lock is taken.
    """

    def __init__(self, folder: Path):
        self._folder = folder
        self._file: TextIO | None = None

    def take(self) -> None:
        """Take the lock, if this object does not hold it already.

        Raises:
            BlockingIOError: If another process holds it.
            OSError: If the folder cannot be written.
        """
        if fcntl is None:
            return
        path = self._folder / LOCK
        while self._file is None:
            file = path.open("a+", encoding="utf-8")  # what stands there names the holder
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                file.seek(0)
                holder = file.read().strip() or "another process"
                file.close()
                raise BlockingIOError(
                    f"{printable(str(self._folder))} is in use by {holder}. Nothing was changed. Wait until that is done, end "
                    "it, or choose another folder as --out."
                ) from error
            except OSError as error:  # some file systems have no locks
                warn(f"{self._folder} cannot be locked ({error.strerror}): let no other process write there.")
            try:
                there = os.path.samestat(os.fstat(file.fileno()), path.stat())
            except FileNotFoundError:
                there = False
            if not there:
                file.close()  # its holder has removed it in between: this is the lock of nothing
                continue
            self._file = file
            file.truncate(0)
            file.write(f"process {os.getpid()} on {platform.node()}, since {datetime.now():%Y-%m-%d %H:%M:%S}\n")
            file.flush()

    def release(self) -> None:
        """Give the lock back, if this object holds it."""
        if self._file is not None:
            (self._folder / LOCK).unlink(missing_ok=True)
            self._file.close()
            self._file = None
