"""What stands in a `.keras` file, looked at before Keras makes objects of it: Keras imports and calls what the file names."""

import contextlib
import json
import re
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bitat_tf._printable import printable, shortened
from bitat_tf.importing import file_sizes
from bitat_tf.importing.hdf5_files import way_out_of
from bitat_tf.importing.saved_graph import check_graph
from bitat_tf.workflow.keras_objects import CODE, is_called_at_once, is_known, is_operator, names_an_operator, objects_in

_WEIGHTS = "model.weights.h5"
# What zipfile, zlib and json raise for what is damaged.
_DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    NotImplementedError,
    RuntimeError,
    EOFError,
    OSError,
    UnicodeDecodeError,
    RecursionError,
)
_LONGEST_NAME, _SHOWN = 1_000, 200  # characters: of a layer, and of a name in a message
_IMPORT = "`bitat-tf import {path} NEW.keras` makes one of it."


def check_kind(path: Path) -> None:
    """Raise unless `path` is a readable file in a form that can be a `.keras` file.

    Raises:
        OSError: If it is missing, a folder, or not readable.
        ValueError: If it is a file of another kind, or damaged.
    """
    try:
        if path.is_dir():
            _refuse_folder(path)
        if not path.is_file():
            raise FileNotFoundError(
                f"there is no file {path}. Check the path. Expected: a model of Keras 3 as model.save('model.keras') writes it."
            )
        with path.open("rb") as file:
            start = file.read(8)
    except PermissionError as error:
        raise PermissionError(
            f"{path} is not readable ({error.strerror}). Give yourself the right to read it, and to enter the folders above."
        ) from error
    if start == file_sizes.HDF5_SIGNATURE:
        raise ValueError(f"{path} is an HDF5 file, the old format of Keras (.h5). Expected: a .keras file. {way_out_of(path)}")
    if path.suffix != ".keras":
        raise ValueError(f"the model must be a .keras file. Received: {path}. Save the model with model.save('model.keras').")
    if not zipfile.is_zipfile(path):
        kind = "cut short (its end is missing)" if start[:2] == b"PK" else "empty" if not start else "no .keras file"
        raise ValueError(
            f"{path} is {kind}. Expected: a zip archive as model.save('model.keras') writes it. Copy or save it again."
        )


def read_config(path: Path, any_size: bool = False) -> dict[str, Any]:
    """Return the configuration of the model that a `.keras` file holds.

    Args:
        path: The file.
        any_size: Whether it may unpack to any size.

    Raises:
        ValueError: If the file is damaged, too large once it is unpacked, holds no model, or was saved by Keras 2.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            with _named(path):
                file_sizes.check_archive(archive, path.stat().st_size, limited=not any_size)
            names = archive.namelist()
            metadata = _json(archive, "metadata.json") if "metadata.json" in names else {}
            config = _json(archive, "config.json") if "config.json" in names else None
    except _DAMAGED as error:
        raise ValueError(f"{path} is damaged ({error}). Copy or save it again.") from error
    saved_by = str(metadata.get("keras_version", "")) if isinstance(metadata, dict) else ""
    if re.match(r"[12]\.", saved_by):
        raise ValueError(f"{path} was saved by Keras {saved_by}. Expected: Keras 3. {_IMPORT.format(path=path)}")
    if not isinstance(config, dict) or _WEIGHTS not in names:
        missing = "config.json" if config is None else "a configuration" if not isinstance(config, dict) else _WEIGHTS
        raise ValueError(
            f"{path} is a zip archive without {missing}. Expected: a model as model.save('model.keras') writes it. "
            f"Received: {_listed(names) or 'an empty archive'}."
        )
    return config


def check_config(path: Path, config: dict[str, Any], any_size: bool = False) -> None:
    """Raise ValueError unless everything that Keras would make of a configuration, or call for it, is known to be harmless.

    Allowed are the published classes and functions of Keras that hold no code and read no further files, what we and the user
    have registered, and the operators of `is_operator`, on outputs of layers. All else is refused.

    Args:
        path: The file, for the message.
        config: From `read_config`. How the model was compiled does not count: that is not loaded.
        any_size: Whether its models may call layers any number of times; calls without end are refused in any case.
    """
    config = {key: value for key, value in config.items() if key != "compile_config"}
    code, operators, unknown, odd = [], [], [], []
    for entry in objects_in(config):
        kind, inner = str(entry.get("class_name")), entry.get("config")
        name = (inner.get("name") if isinstance(inner, dict) else None) or entry.get("name") or kind
        for text in (name, entry.get("name")):
            if isinstance(text, str) and (len(text) > _LONGEST_NAME or printable(text) != text):
                odd.append(repr(text))
        if {kind, str(entry.get("registered_name")).rsplit(">")[-1]} & {*CODE}:
            code.append(f"{name} ({kind})")
        elif is_called_at_once(entry):
            operators.append(f"{name} ({kind}, on constants alone)")
        elif "class_name" not in entry:
            continue
        elif names_an_operator(entry):
            if not is_operator(entry):
                operators.append(f"{name} ({kind})")
        elif not is_known(entry):
            unknown.append(str(inner) if kind == "function" else kind)
    if code:
        code = [one for one in code if not one.endswith("(__lambda__)")] or code  # inside of the others
        raise ValueError(
            f"{path} holds code, which is not run: {_listed(code)}. Replace Lambda layers by layers of Keras (Rescaling, "
            "Resizing, Reshape, Activation) or by a registered class, and save the model again; if you trust the file, load it "
            "in Python and use bitat_tf.binarize, bitat_tf.check and bitat_tf.summary there."
        )
    if operators:
        raise ValueError(
            f"{path} holds operators that are not called because a file says so: {_listed(operators)}. Expected: arithmetic, "
            "slices and operators of keras.ops that take no functions, on outputs of layers. Replace them by layers of Keras, "
            "and save the model again; if you trust the file, load it in Python and use bitat_tf.binarize, bitat_tf.check and "
            "bitat_tf.summary there."
        )
    if unknown:
        raise ValueError(
            f"{path} holds classes or functions that are not known here: {_listed(unknown)}. Expected: those of Keras 3 that "
            "read no further files, and of bitat_tf. In Python, decorate yours with "
            "@keras.saving.register_keras_serializable(), load the model and use bitat_tf.binarize, bitat_tf.check and "
            "bitat_tf.summary."
        )
    if odd:
        raise ValueError(
            f"{path} has names that cannot be shown: {_listed(odd)}. Expected: at most {_LONGEST_NAME:,} characters, none of "
            "which controls a terminal. Name the layers anew and save the model again."
        )
    with _named(path):
        check_graph(config, limited=not any_size)


def check_weights(path: Path, any_size: bool = False) -> None:
    """Raise ValueError if the weights of a `.keras` file are damaged, too large, or taken from other files, as HDF5 allows.

    Args:
        path: A file of which `read_config` says that it holds weights.
        any_size: Whether they may take any size.
    """
    with _named(path), zipfile.ZipFile(path) as archive:
        file_sizes.check_weights(file_sizes.weights_in(archive), path.stat().st_size, limited=not any_size)


def _refuse_folder(path: Path) -> None:
    if (path / "saved_model.pb").exists():
        raise IsADirectoryError(f"{path} is a SavedModel folder. Expected: a .keras file. {_IMPORT.format(path=path)}")
    raise IsADirectoryError(f"{path} is a folder. Expected: a .keras file, as model.save('model.keras') writes it.")


@contextlib.contextmanager
def _named(path: Path) -> Iterator[None]:
    """Let what is said of a file begin with its name."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{path} is not loaded: {printable(str(error))}.") from error
    except RecursionError as error:
        raise ValueError(f"{path} is damaged: its configuration is nested without end. Save the model again.") from error


def _json(archive: zipfile.ZipFile, name: str) -> Any:
    try:
        return json.loads(archive.read(name))
    except json.JSONDecodeError as error:
        raise ValueError(f"{archive.filename} is damaged: {name} in it is no JSON ({error}). Save the model again.") from error


def _listed(names: list[str]) -> str:
    unique = [printable(shortened(name, _SHOWN)) for name in dict.fromkeys(names)]
    return ", ".join(unique[:10]) + (f" and {len(unique) - 10} more" if len(unique) > 10 else "")
