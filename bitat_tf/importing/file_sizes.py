"""What a model's file is, and what it takes once it is unpacked, looked at before Keras has it.

Plain Python and h5py: also for the process of `keras2_child`, into which nothing of this package is imported.
"""

import copy
import io
import os
import shutil
import tempfile
import zipfile
from typing import IO, Any

import h5py
import numpy as np

ARCHIVE, HDF5, FOLDER = "a .keras archive", "HDF5", "a folder"
ALWAYS = 256 * 2**20
"""Bytes that a file may always take unpacked."""
TIMES = 20
"""How many times its own size a file may take where that is more."""
MOST_TEXT = 32 * 2**20
"""Bytes of a configuration; those of Keras' applications take less than 2 MB."""
HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
HDF5_ERRORS = (OSError, RuntimeError, KeyError, TypeError, ValueError, AttributeError, OverflowError, SystemError)
"""What h5py raises for files that are damaged."""

_OTHERWISE = "; larger ones if you trust the file and say so: --any-size, in Python any_size=True"
_WEIGHTS = "model.weights.h5"
_PACKED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # zipfile unpacks a block of the others as a whole, however large
_AT_ONCE = 2**20  # bytes
_IN_MEMORY = 3  # members: a configuration, its metadata and weights; Keras unpacks archives with more onto the disk
_SHOWN = 5  # names


def kind_of(path: str) -> str:
    """Return `ARCHIVE`, `HDF5` or `FOLDER`: how Keras 2 reads a path, which goes by its name and its content.

    Asked once, before anything is read: what is looked at is then what is loaded.

    Raises:
        OSError: If it is not readable.
        ValueError: If Keras 2 could read it in two ways, or in none; says what it is, not which file.
    """
    if os.path.isdir(path):
        return FOLDER
    with open(path, "rb") as file:
        start = file.read(len(HDF5_SIGNATURE))
    named = path.endswith(".keras")
    if zipfile.is_zipfile(path):
        # h5py finds HDF5 behind 512, 1024, ... bytes too, where an archive may have its weights.
        if start == HDF5_SIGNATURE or not named and h5py.is_hdf5(path):
            raise ValueError("it is a zip archive and HDF5 at once, which Keras does not write. Save the model again")
        if not named:
            raise ValueError("it is a zip archive. Expected: HDF5, or a name that ends with .keras")
        return ARCHIVE
    if not h5py.is_hdf5(path):
        raise ValueError("it is neither a .keras archive nor HDF5. Copy or save it again")
    if not path.endswith((".keras", ".h5", ".hdf5")):  # Keras 2 may take the weights from files beside it
        raise ValueError("it is HDF5. Expected: a name that ends with .h5, .hdf5 or .keras")
    return HDF5


def check_file(path: str, kind: str, limited: bool = True) -> None:
    """Raise ValueError unless a file of Keras 2 holds all that belongs to it, of a size that its own explains.

    Args:
        path: The file, or the folder of a SavedModel.
        kind: From `kind_of`.
        limited: Whether the limits hold.
    """
    if kind == FOLDER:
        metadata = os.path.join(path, "keras_metadata.pb")
        if limited and os.path.exists(metadata):
            _check_text("keras_metadata.pb", os.path.getsize(metadata))
        return
    size = os.path.getsize(path)
    if kind == ARCHIVE:
        with zipfile.ZipFile(path) as archive:
            check_archive(archive, size, limited)
            if _WEIGHTS not in archive.namelist():
                raise ValueError(f"it has no {_WEIGHTS}. Expected: a model as model.save('model.keras') writes it")
            check_weights(weights_in(archive), size, limited)
        return
    check_weights(path, size, limited)
    try:
        with h5py.File(path, "r") as file:
            text = len(file.attrs.get("model_config", ""))  # not packed: at most as long as the file
    except HDF5_ERRORS as error:
        raise ValueError(f"its model_config is damaged ({error}). Copy or save it again") from error
    if limited:
        _check_text("model_config", text)


def check_archive(archive: zipfile.ZipFile, size: int, limited: bool = True) -> None:
    """Raise unless an archive unpacks to what its directory says, that is explained by its own size, and has room on the disk.

    The directory is looked at first, then all members are unpacked piece by piece: Keras reads them at once, and zipfile
    then unpacks up to 2 GiB of a member, whatever the directory says.

    Args:
        archive: The archive.
        size: Its size in bytes.
        limited: Whether the limits hold; the disk always does, where Keras uses it.

    Raises:
        ValueError: If it is too large, packed otherwise than Keras does, or there is no room for it where temporary files go;
            says how large, not which file.
        zipfile.BadZipFile: If a member is damaged, or of another size. zipfile and zlib raise others for that too.
    """
    members = archive.infolist()
    check_packing(archive)
    unpacked = sum(member.file_size for member in members)
    if limited:
        _check("it unpacks to", unpacked, size)
        for member in members:
            if member.filename.endswith(".json"):
                _check_text(f"{member.filename} in it", member.file_size)
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    if len(members) > _IN_MEMORY and unpacked > free:
        raise ValueError(f"it unpacks to {_mb(unpacked)}, and {folder} has room for {_mb(free)}. Free some space there")
    for member in members:
        more = copy.copy(member)
        more.file_size += 1  # so that zipfile goes on where there is more
        with archive.open(more) as file:
            found = sum(map(len, iter(lambda: file.read(_AT_ONCE), b"")))
        if found != member.file_size:
            raise zipfile.BadZipFile(f"{member.filename} in it is not of the size that it says")


def check_packing(archive: zipfile.ZipFile) -> None:
    """Raise ValueError if a member of an archive is packed so that zipfile cannot unpack a part of it."""
    for member in archive.infolist():
        if member.compress_type not in _PACKED:
            raise ValueError(
                f"{member.filename} in it is packed by method {member.compress_type} of zip. Expected: stored or deflated, as "
                "model.save('model.keras') writes it. Save the model again"
            )


def weights_in(archive: zipfile.ZipFile) -> IO[bytes]:
    """Return the weights of an archive that `check_archive` allows.

    From memory where they are packed: each step back would unpack all of them anew.
    """
    if archive.getinfo(_WEIGHTS).compress_type == zipfile.ZIP_STORED:
        return archive.open(_WEIGHTS)
    return io.BytesIO(archive.read(_WEIGHTS))


def check_weights(file: str | IO[bytes], size: int, limited: bool = True) -> None:
    """Raise ValueError unless HDF5 holds all of its weights itself: numbers, of a size that the file's explains.

    Args:
        file: The HDF5, or its path.
        size: Size in bytes of the file that it is or is in.
        limited: Whether the limits hold.
    """
    elsewhere: list[str] = []
    found: list[tuple[str, np.dtype, int]] = []

    def look_at_link(name: str, link: Any) -> None:
        if isinstance(link, h5py.ExternalLink):
            elsewhere.append(f"{name} in {link.filename}")

    def look_at(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            found.append((name, item.dtype, item.nbytes))
            if item.external or item.is_virtual:
                elsewhere.append(name)

    try:
        with h5py.File(file, "r") as weights:
            weights.visititems_links(look_at_link)
            weights.visititems(look_at)
    except HDF5_ERRORS as error:
        raise ValueError(f"its weights are damaged ({error}). Copy or save it again") from error
    for name, dtype, _ in found:
        if dtype.hasobject:  # texts and lists of any length, which the declared bytes do not count
            raise ValueError(f"{name} in its weights holds values of any length. Expected: numbers. Save the model again")
    if limited:
        _check("its weights take", sum(declared for _, _, declared in found), size)
    if elsewhere:
        more = f" and {len(elsewhere) - _SHOWN} more" if len(elsewhere) > _SHOWN else ""
        raise ValueError(
            f"it takes weights from other files, which are not read: {', '.join(elsewhere[:_SHOWN])}{more}. Expected: all "
            "weights in the file, as model.save writes it. Load the model where those files are, and save it again"
        )


def _check_text(what: str, size: int) -> None:
    if size > MOST_TEXT:
        raise ValueError(f"{what} takes {_mb(size)}. Expected: at most {_mb(MOST_TEXT)}{_OTHERWISE}")


def _check(what: str, unpacked: int, size: int) -> None:
    most = max(ALWAYS, TIMES * size)
    if unpacked > most:
        raise ValueError(
            f"{what} {_mb(unpacked)}, the file takes {_mb(size)}. Expected: at most {_mb(ALWAYS)}, or {TIMES} times the "
            f"file{_OTHERWISE}"
        )


def _mb(size: int) -> str:
    return f"{size / 2**20:,.1f} MB"
