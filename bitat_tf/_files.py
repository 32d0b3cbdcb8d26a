"""Writing files so that a half-written one never stands under its final name."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from bitat_tf._printable import readable

if TYPE_CHECKING:  # what writes bytes and text needs no Keras
    import keras

_TEMPORARY = ".writing-"  # what the names of temporary files begin with; the process that writes them follows


def write_atomically(path: str | os.PathLike, write: Callable[[Path], None]) -> Path:
    """Let `write` fill a temporary file beside `path`, then move it to `path` in one step.

    Args:
        path: The final name. What stood there stays untouched until the new file is complete and on disk.
        write: Called with the temporary path (it has the same suffix as `path`).

    Returns:
        `path` as a `pathlib.Path`.

    Raises:
        OSError: If the disk is full or the folder is not writable. The temporary file is removed.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=temporary_prefix(), suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        write(temporary)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except OSError as error:
        raise OSError(
            error.errno,
            f"could not write {path}: {error.strerror or error}. Nothing was left under that name; "
            "free some space or choose another folder",
        ) from error
    finally:
        temporary.unlink(missing_ok=True)
    return path


def check_room(folder: Path, size: int) -> None:
    """Raise OSError unless a file of `size` bytes can be written in a folder: HDF5 crashes where a disk is full in the end."""
    if hasattr(os, "posix_fallocate"):
        with tempfile.NamedTemporaryFile(prefix=temporary_prefix(), dir=folder) as file:
            try:
                os.posix_fallocate(file.fileno(), 0, size)
            except OSError as error:
                if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):  # some file systems cannot tell
                    raise


def temporary_prefix() -> str:
    """Return what the names of temporary files of this process begin with."""
    return f"{_TEMPORARY}{os.getpid()}-"


def is_temporary(path: Path) -> bool:
    """Whether a path is a file that is being written, or that a killed process has left."""
    return path.name.startswith(_TEMPORARY) and path.is_file()


def remove_temporary_files(folder: Path) -> None:
    """Remove what processes that were killed while they wrote have left in a folder, and in the folders in it.

    What another process of this machine is writing stays. This process must not be writing there itself: in a container a
    killed one had the same number.
    """
    for path in folder.rglob(f"{_TEMPORARY}*"):
        writer = re.match(rf"{re.escape(_TEMPORARY)}(\d{{1,9}})-", path.name)
        if is_temporary(path) and not (writer and _is_another_alive(int(writer[1]))):
            path.unlink(missing_ok=True)


def _is_another_alive(process: int) -> bool:
    if process == os.getpid() or os.name == "nt":  # where asking would end it, and where a run's folder is not locked either
        return False
    try:
        os.kill(process, 0)  # only asks
    except ProcessLookupError:
        return False
    except PermissionError:  # it is somebody else's
        pass
    return True


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_text(path: str | os.PathLike, text: str) -> Path:
    """Write UTF-8 `text` to `path` atomically, with `readable` names."""
    return write_atomically(path, lambda temporary: _write_bytes(temporary, readable(text).encode()))


def write_bytes(path: str | os.PathLike, content: bytes) -> Path:
    """Write `content` to `path` atomically."""
    return write_atomically(path, lambda temporary: _write_bytes(temporary, content))


def _write_bytes(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def save_model(model: keras.Model, path: str | os.PathLike) -> Path:
    """Save `model` in the `.keras` format at `path` atomically."""
    if Path(path).suffix != ".keras":
        raise ValueError(f"save_model: the path must end with .keras. Received: {str(path)!r}.")
    return write_atomically(path, lambda temporary: model.save(temporary))


def file_hash(path: str | os.PathLike) -> str:
    """Return the sha256 of a file, in hexadecimal digits."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while chunk := file.read(2**20):
            digest.update(chunk)
    return digest.hexdigest()
