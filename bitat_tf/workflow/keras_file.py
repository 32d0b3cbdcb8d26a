"""What stands in a `.keras` file, looked at before Keras makes objects of it: Keras imports and calls what the file names."""

import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bitat_tf._keras import keras

_WEIGHTS = ("model.weights.h5", "model.weights.npz")
_HDF5 = b"\x89HDF\r\n\x1a\n"
_RESAVE = (
    'with TF_USE_LEGACY_KERAS=1 in the environment: import tf_keras; tf_keras.models.load_model("{path}", compile=False)'
    '.save("model.keras")'
)
_OWN_MODULES = ("keras", "tf_keras")
_INITIALIZERS = "tensorflow.python.ops.init_ops_v2"  # of TensorFlow itself: EfficientNetV2 has them
# Where Keras looks for functions of which a file holds the name only.
_FUNCTIONS = ("activations", "constraints", "initializers", "losses", "metrics", "optimizers", "regularizers")
_CODE = ("Lambda", "TensorFlowOpLayer", "__lambda__")
# Operators of TensorFlow that reach beyond the network, or call Python.
_FORBIDDEN_OPERATORS = ("io.", "raw_ops.", "py_function", "numpy_function", "saved_model.", "train.", "summary.", "debugging.")


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
                f"there is no file {path}. Check the path. Expected: a Keras 2 model as model.save('model.keras') writes it."
            )
        with path.open("rb") as file:
            start = file.read(8)
    except PermissionError as error:
        raise PermissionError(
            f"{path} is not readable ({error.strerror}). Give yourself the right to read it, and to enter the folders above."
        ) from error
    if start == _HDF5:
        raise ValueError(
            f"{path} is an HDF5 file, the old format of Keras (.h5). Expected: a .keras file. Save it again, "
            f"{_RESAVE.format(path=path)}. If it holds weights only, build the model first and use model.load_weights."
        )
    if path.suffix != ".keras":
        raise ValueError(f"the model must be a .keras file. Received: {path}. Save the model with model.save('model.keras').")
    if not zipfile.is_zipfile(path):
        kind = "cut short (its end is missing)" if start[:2] == b"PK" else "empty" if not start else "no .keras file"
        raise ValueError(
            f"{path} is {kind}. Expected: a zip archive as model.save('model.keras') writes it. Copy or save it again."
        )


def read_config(path: Path) -> dict[str, Any]:
    """Return the configuration of the model that a `.keras` file holds.

    Raises:
        ValueError: If the file is damaged, holds no model, or was saved by Keras 3.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
            if damaged is not None:
                raise ValueError(f"{path} is damaged: {damaged} in it has another checksum. Copy or save it again.")
            names = archive.namelist()
            metadata = _json(archive, "metadata.json") if "metadata.json" in names else {}
            config = _json(archive, "config.json") if "config.json" in names else None
    except (
        zipfile.BadZipFile,
        NotImplementedError,
        RuntimeError,
        EOFError,
        OSError,
        UnicodeDecodeError,
        RecursionError,
    ) as error:
        raise ValueError(f"{path} is damaged ({error}). Copy or save it again.") from error
    saved_by = str(metadata.get("keras_version", "")) if isinstance(metadata, dict) else ""
    if re.match(r"[3-9]\.", saved_by):
        raise ValueError(
            f"{path} was saved by Keras {saved_by}. Expected: Keras 2 (tf_keras), as Larq needs it. Where it was saved: "
            "numpy.savez('weights.npz', *model.get_weights()). Then, with TF_USE_LEGACY_KERAS=1 in the environment, build the "
            "model by the same code and tf_keras in place of keras: "
            "model.set_weights(list(numpy.load('weights.npz').values())); model.save('model.keras')."
        )
    if not isinstance(config, dict) or not any(weights in names for weights in _WEIGHTS):
        missing = "config.json" if config is None else "a configuration" if not isinstance(config, dict) else _WEIGHTS[0]
        raise ValueError(
            f"{path} is a zip archive without {missing}. Expected: a model as model.save('model.keras') writes it. "
            f"Received: {', '.join(names[:5]) or 'an empty archive'}."
        )
    return config


def check_config(path: Path, config: dict[str, Any]) -> None:
    """Raise ValueError unless everything that Keras would make of a configuration is Keras', Larq's, ours or registered.

    Args:
        path: The file, for the message.
        config: From `read_config`. How the model was compiled does not count: that is not loaded.
    """
    code, unknown = [], []
    for entry in _objects({key: value for key, value in config.items() if key != "compile_config"}):
        kind, inner = str(entry["class_name"]), entry["config"]
        name = inner.get("name") if isinstance(inner, dict) else None
        names = {kind, str(entry.get("registered_name")).rsplit(">")[-1]}
        operator = str(inner.get("function", "")) if isinstance(inner, dict) and kind == "TFOpLambda" else ""
        if names & {*_CODE} or operator.startswith(_FORBIDDEN_OPERATORS):
            code.append(f"{name or kind} ({operator or kind})")
        elif not _is_known(entry):
            unknown.append(str(inner) if kind == "function" else kind)
    if code:
        raise ValueError(
            f"{path} holds code, which is not run: {_listed(code)}. Replace Lambda layers by layers of Keras (Rescaling, "
            "Resizing, Reshape, Activation) or by a registered class, and save the model again; if you trust the file, load it "
            "in Python and use bitat_tf.binarize, bitat_tf.check and bitat_tf.summary there."
        )
    if unknown:
        raise ValueError(
            f"{path} holds classes or functions that are not known here: {_listed(unknown)}. Expected: those of Keras 2, Larq "
            "and bitat_tf. In Python, decorate yours with @keras.saving.register_keras_serializable(), load the model and use "
            "bitat_tf.binarize, bitat_tf.check and bitat_tf.summary."
        )


def _refuse_folder(path: Path) -> None:
    if (path / "saved_model.pb").exists():
        raise IsADirectoryError(
            f"{path} is a SavedModel folder. Expected: a .keras file. Save it again, {_RESAVE.format(path=path)}."
        )
    raise IsADirectoryError(f"{path} is a folder. Expected: a .keras file, as model.save('model.keras') writes it.")


def _json(archive: zipfile.ZipFile, name: str) -> Any:
    try:
        return json.loads(archive.read(name))
    except json.JSONDecodeError as error:
        raise ValueError(f"{archive.filename} is damaged: {name} in it is no JSON ({error}). Save the model again.") from error


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    """Yield all that Keras would make an object or a function of, at any depth."""
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            if "class_name" in value and "config" in value:
                yield value
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value


def _is_known(entry: dict[str, Any]) -> bool:
    kind, registered, module = entry["class_name"], entry.get("registered_name"), entry.get("module")
    if kind == "function":
        function = str(entry["config"])
        known = module == "builtins" and any(hasattr(getattr(keras, part), function) for part in _FUNCTIONS)
        return known or keras.saving.get_registered_object(function) is not None
    if "module" not in entry or keras.saving.get_registered_object(registered) is not None:
        return True  # in the older form, without a module, Keras looks among its own and the registered ones
    # A class by its name, not a function: that would be called with what stands in the file.
    a_class = re.fullmatch(r"[A-Z]\w*|__(numpy|tensor|bytes)__", str(kind)) is not None
    ours = str(module).split(".")[0] in _OWN_MODULES or module == _INITIALIZERS
    return ours and a_class and registered in (None, kind)


def _listed(names: list[str]) -> str:
    unique = list(dict.fromkeys(names))
    return ", ".join(unique[:10]) + (f" and {len(unique) - 10} more" if len(unique) > 10 else "")
