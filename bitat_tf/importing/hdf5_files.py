"""What an HDF5 file of Keras holds, and how a model of Keras 3 comes out of it: Keras 3 still writes such files."""

import os

import h5py

from bitat_tf.importing.file_sizes import HDF5_ERRORS


def is_of_keras3(path: str | os.PathLike) -> bool:
    """Return whether a file is HDF5 that Keras 3 has written of a model."""
    return _version(path).startswith("3")


def way_out_of(path: str | os.PathLike) -> str:
    """Return, in a sentence or two, how a `.keras` file is made of what an HDF5 file holds.

    Args:
        path: The file.
    """
    version = _version(path)
    weights = f"build the same network, and then model.load_weights({os.fspath(path)!r}); model.save('model.keras')"
    if version == _WEIGHTS:
        return f"It holds weights and no model: {weights}."
    if version == _DAMAGED:
        return "It is damaged. Copy or save it again."
    if version.startswith("3"):
        return (
            f"Keras {version} wrote it, as ModelCheckpoint('best.h5') and model.save('model.h5') do: name these 'best.keras'. "
            f"To make one of it, {weights}, which takes every bit over. Without the network's code, and if you trust the file: "
            f"keras.models.load_model({os.fspath(path)!r}, compile=False).save('model.keras')."
        )
    return f"`bitat-tf import {path} NEW.keras` makes one of it."


_WEIGHTS, _DAMAGED = "weights", "damaged"


def _version(path: str | os.PathLike) -> str:
    """Return the version of Keras that wrote a model into a file, "2" where it does not say; `_WEIGHTS`; `_DAMAGED`."""
    try:
        with h5py.File(path, "r") as file:
            if "model_config" not in file.attrs:
                return _WEIGHTS
            if "keras_version" not in file.attrs:
                return "2"
            if file.attrs.get_id("keras_version").shape:  # not one text
                return _DAMAGED
            version = file.attrs["keras_version"]
            return version.decode(errors="replace") if isinstance(version, bytes) else str(version)
    except HDF5_ERRORS:
        return _DAMAGED
