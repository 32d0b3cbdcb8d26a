"""Loading of models that the user brings, from files that may be anything."""

import os
import struct
import sys
import zipfile
from pathlib import Path

import keras

from bitat_tf._validation import check_model, first_line
from bitat_tf.workflow.keras_file import check_config, check_kind, check_weights, read_config

# What Keras raises for a file that passed our checks and still makes no model: it has no exception of its own for that.
_KERAS_ERRORS = (
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    ImportError,
    NotImplementedError,
    RuntimeError,
    AssertionError,
    OSError,
    EOFError,
    MemoryError,
    OverflowError,
    struct.error,
    zipfile.BadZipFile,
)


def _errors_of_loading() -> tuple[type[Exception], ...]:
    tensorflow = sys.modules.get("tensorflow")  # its errors are of no class of Python's
    return _KERAS_ERRORS if tensorflow is None else (*_KERAS_ERRORS, tensorflow.errors.OpError)


def load_model(path: str | os.PathLike, any_size: bool = False) -> keras.Model:
    """Load a Keras 3 model from a `.keras` file, without running code that stands in the file.

    The configuration is looked through before Keras gets it, since Keras imports, makes and calls what a file names. Allowed:

    - classes and functions that Keras publishes, but for those that hold code (`Lambda`) or read further files
      (`StringLookup`, ...); those of bitat_tf, and those that you have registered, whose code is yours;
    - operators, on outputs of layers: arithmetic, slices, and those of `keras.ops` that take no functions. They compute, and
      reach nothing beyond the network.

    All else is refused, so that no module is imported, no file but this one read and none written because the file says so. It
    is no protection from faults of Keras and its backend, or from a network that takes all memory.

    What a file takes once it is unpacked is read from its directories before anything is: at most 256 MB or 20 times the file,
    32 MB of that its configuration, and 50,000 calls of layers. A graph that has no end is refused.

    Args:
        path: The file.
        any_size: Whether it may be larger than that.

    Returns:
        The model, not compiled.

    Raises:
        OSError: If there is no such file, it is a folder, or it is not readable.
        ValueError: If it is no `.keras` file, is damaged or too large, was saved by Keras 2, holds code, unknown classes or
            other operators, takes weights from other files, or Keras cannot make a model of it. The message names the cure.

    Examples:
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
        >>> model.save(os.path.join(folder, "model.keras"))
        >>> load_model(os.path.join(folder, "model.keras")).count_params()
        10
    """
    path = Path(path)
    check_kind(path)
    check_config(path, read_config(path, any_size), any_size)
    check_weights(path, any_size)
    try:
        model = keras.models.load_model(path, compile=False, safe_mode=True)
    except _errors_of_loading() as error:
        reason = first_line(error)
        raise ValueError(
            f"Keras {keras.__version__} cannot make a model of {path}: {type(error).__name__}: {reason}. Expected: a file that "
            "keras.models.load_model takes. Load it in Python to see more, and save it again with this version."
        ) from error
    check_model(model, str(path))
    return model
