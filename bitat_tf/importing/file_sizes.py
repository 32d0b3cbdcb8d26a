"""What a model's file takes once it is unpacked, read from its directories before anything is unpacked.

Plain Python and h5py: also for the process of `keras2_child`, into which nothing of this package is imported.
"""

import contextlib
import io
import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterable
from typing import Any

import h5py
import numpy as np

ALWAYS = 256 * 2**20
"""Bytes that a file may always take unpacked."""
TIMES = 20
"""How many times its own size a file may take where that is more."""
MOST_TEXT = 32 * 2**20
"""Bytes of a configuration; those of Keras' applications take less than 2 MB."""

_OTHERWISE = "; larger ones if you trust the file and say so: --any-size, in Python any_size=True"
_WEIGHTS = "model.weights.h5"
_TEXTS = (".json", ".pb")
_IN_MEMORY = 3  # members: a configuration, its metadata and weights; Keras unpacks archives with more onto the disk


def check_file(path: str, limited: bool = True) -> None:
    """Raise ValueError unless `check_archive` and `check_datasets` allow a file of Keras 2, a `.keras` archive or HDF5."""
    size = os.path.getsize(path)
    with contextlib.ExitStack() as stack:
        weights: Any = path
        if zipfile.is_zipfile(path):
            archive = stack.enter_context(zipfile.ZipFile(path))
            check_archive(archive, size, limited)
            if _WEIGHTS not in archive.namelist():
                return
            weights = io.BytesIO(archive.read(_WEIGHTS))
        found: list[tuple[str, np.dtype, int]] = []

        def note(name: str, item: Any) -> None:
            if isinstance(item, h5py.Dataset):
                found.append((name, item.dtype, item.nbytes))

        stack.enter_context(h5py.File(weights, "r")).visititems(note)
    check_datasets(found, size, limited)


def check_archive(archive: zipfile.ZipFile, size: int, limited: bool = True) -> None:
    """Raise unless what an archive unpacks to is of a size that its own explains, and has room on the disk.

    Args:
        archive: The archive. zipfile never unpacks more of a member than the directory says.
        size: Its size in bytes.
        limited: Whether the limits hold; the disk always does, where Keras uses it.

    Raises:
        ValueError: If it is too large, or there is no room for it where temporary files go; says how large, not which file.
    """
    members = archive.infolist()
    unpacked = sum(member.file_size for member in members)
    if limited:
        _check("it unpacks to", unpacked, size)
        for member in members:
            if member.filename.endswith(_TEXTS) and member.file_size > MOST_TEXT:
                raise ValueError(
                    f"{member.filename} in it takes {_mb(member.file_size)}. Expected: at most {_mb(MOST_TEXT)}{_OTHERWISE}"
                )
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    if len(members) > _IN_MEMORY and unpacked > free:
        raise ValueError(f"it unpacks to {_mb(unpacked)}, and {folder} has room for {_mb(free)}. Free some space there")


def check_datasets(datasets: Iterable[tuple[str, np.dtype, int]], size: int, limited: bool = True) -> None:
    """Raise ValueError unless the data sets of an HDF5 file hold numbers, of a size that the file's explains.

    Args:
        datasets: Name, type and declared bytes of each.
        size: Size of the file in bytes.
        limited: Whether the limits hold.
    """
    total = 0
    for name, dtype, declared in datasets:
        if dtype.hasobject:  # texts and lists of any length, which the declared bytes do not count
            raise ValueError(f"{name} in its weights holds values of any length. Expected: numbers. Save the model again")
        total += declared
    if limited:
        _check("its weights take", total, size)


def _check(what: str, unpacked: int, size: int) -> None:
    most = max(ALWAYS, TIMES * size)
    if unpacked > most:
        raise ValueError(
            f"{what} {_mb(unpacked)}, the file takes {_mb(size)}. Expected: at most {_mb(ALWAYS)}, or {TIMES} times the "
            f"file{_OTHERWISE}"
        )


def _mb(size: int) -> str:
    return f"{size / 2**20:,.1f} MB"
