"""Models of Keras 2, with layers of Larq or without, become models of Keras 3."""

import json
import os
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import keras
import numpy as np

from bitat_tf._files import save_model
from bitat_tf._validation import first_line
from bitat_tf.importing import keras2_child
from bitat_tf.importing.file_sizes import ARCHIVE, HDF5, check_packing, kind_of
from bitat_tf.importing.hdf5_files import is_of_keras3, way_out_of
from bitat_tf.importing.keras2_model import model_of
from bitat_tf.layers import BinaryLayer, binary_layers

_TOLERANCE, _TOLERANCE_OF_HALF = 1e-3, 2e-2  # of the largest output
_METADATA = 10_000  # bytes, of a file that Keras writes with less than 100
_SHAKEN = 2  # times what rounding does to the outputs of Keras 2


def from_larq(path: str | os.PathLike, any_size: bool = False) -> keras.Model:
    """Read a network that Larq has saved into a model of Keras 3 with binary layers of this package, in binary state.

    Keras 2 (`tf_keras`, which must be installed; Larq need not be) reads the file in a process of its own; Python code in it is
    not run. The new model gives the same outputs for random inputs, or none is returned. Layers keep their names, and:

    | Larq's | becomes |
    |---|---|
    | `QuantConv2D`, `QuantDense` with 1-bit input and kernel | `BinaryConv2D`, `BinaryDense`: same quantizers, latent kernel |
    | other layers of it | the layer of Keras beneath with the quantized kernel, after a quantizer where the input has one |
    | quantizers as layers or activations, `hard_tanh` | those of `bitat_tf.quantizers` |
    | layers of Keras | themselves |

    What only trains is dropped: the optimizer, `WeightClip` constraints, Larq's metrics. `DoReFa`, `SteHeaviside`, `NoOp`,
    `leaky_tanh` and quantizers of your own have no counterpart, and are refused. A model of Keras 2 without layers of Larq is
    read too.

    Args:
        path: A `.keras` or `.h5` file, or the folder of a SavedModel, as `model.save` writes them of a functional or sequential
            model. Files of weights alone, as of `save_weights` and of Larq Zoo, do not say what the model is.
        any_size: As of `bitat_tf.workflow.load_model`.

    Returns:
        The model, not compiled. It can be trained, exported and looked into as any other.

    Raises:
        FileNotFoundError: If there is no such model.
        ValueError: If the model cannot be read, or holds what has no counterpart; says what. If tf_keras is not installed.

    Examples:
        Where Larq was, `model.save("binarynet.h5")`; here

            model = bitat_tf.from_larq("binarynet.h5")
            bitat_tf.export.to_tflite(model, "binarynet.tflite", images)
    """
    return _imported("from_larq", Path(path), any_size)


def import_model(
    old: str | os.PathLike, new: str | os.PathLike, overwrite: bool = False, any_size: bool = False
) -> keras.Model:
    """Make a `.keras` file of Keras 3 of a functional or sequential model of Keras 2 with layers of Keras' own and of Larq.

    `bitat_tf.from_larq` says what becomes of Larq's layers. The file is written only if both models give the same outputs.

    Args:
        old: A `.keras` or `.h5` file, or the folder of a SavedModel.
        new: The file to write; its name ends with `.keras`.
        overwrite: Whether a file that is there is replaced.
        any_size: Whether the old one may take more than 256 MB or 20 times its file, and call layers more than 50,000 times.

    Returns:
        The new model, not compiled.

    Raises:
        FileNotFoundError: If there is no such model.
        FileExistsError: If the new file is there already.
        ValueError: If the model cannot be read, or holds what Keras 3 does not have; says what. If tf_keras is not installed.
        OSError: If the new file cannot be written.
    """
    old, new = Path(old), Path(new)
    if new.suffix != ".keras":
        raise ValueError(f"import: the new file must be a .keras file. Received: {new}.")
    if old.exists() and new.exists() and not overwrite:
        raise FileExistsError(f"import: {new} is there already. Nothing was changed. Pass --overwrite to replace it.")
    model = _imported("import", old, any_size)
    save_model(model, new)
    return model


def _imported(where: str, old: Path, any_size: bool) -> keras.Model:
    """Return the model of a file; `where` is the public function, for messages."""
    if not old.exists():
        raise FileNotFoundError(f"{where}: there is no {old}. Check the path. Expected: a .keras or .h5 file, or a SavedModel.")
    try:
        kind = kind_of(os.fspath(old))
    except ValueError as error:
        raise ValueError(f"{where}: {old} cannot be imported: {error}.") from error
    if kind == ARCHIVE and _saved_by_keras3(old):
        raise ValueError(f"{where}: expected a model of Keras 2. Received: {old}, of Keras 3 already. Use it as it is.")
    if kind == HDF5 and is_of_keras3(old):
        raise ValueError(f"{where}: expected a model of Keras 2. Received: {old}, of Keras 3. {way_out_of(old)}")
    with tempfile.TemporaryDirectory() as folder:
        _read(where, old, folder, any_size)
        described = json.loads((Path(folder) / "model.json").read_text())
        with np.load(Path(folder) / "arrays.npz") as stored:
            arrays = {name.replace("\\", "/"): stored[name] for name in stored}
    try:
        model = model_of(described["class_name"], described["config"])
        _take_weights(model, arrays)
        for layer in binary_layers(model):
            layer.set_binary()
        _compare(model, arrays)
    except (ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
        raise ValueError(
            f"{where}: no model of Keras 3 can be made of {old}: {first_line(error)} Build it with Keras 3 and take the "
            "weights over with set_weights."
        ) from error
    return model


def _saved_by_keras3(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            check_packing(archive)
            with archive.open("metadata.json") as file:
                found = json.loads(file.read(_METADATA))
    except (OSError, KeyError, ValueError, RuntimeError, NotImplementedError, EOFError, zipfile.BadZipFile, zlib.error):
        return False  # the child says what is wrong with it
    return isinstance(found, dict) and str(found.get("keras_version")).startswith("3")


def _read(where: str, old: Path, folder: str, any_size: bool) -> None:
    environment = {**os.environ, "TF_USE_LEGACY_KERAS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, str(Path(keras2_child.__file__)), str(old.absolute()), folder]
    command += [keras2_child.ANY_SIZE] if any_size else []
    result = subprocess.run(command, env=environment, capture_output=True, text=True, errors="replace", check=False)
    if result.returncode == 0:
        return
    last = (result.stderr.strip().splitlines() or ["it was stopped"])[-1]
    if last == "tf_keras":
        raise ValueError(
            f"{where}: Keras 2 reads its models. Received: a Python without tf_keras. Install it: pip install tf_keras."
        )
    reason = last.removeprefix("UNUSABLE ").rstrip(".")
    raise ValueError(f"{where}: {old} cannot be imported: {reason}.")


def _take_weights(model: keras.Model, arrays: Mapping[str, np.ndarray], prefix: str = "") -> None:
    """Give the layers of a model the weights of those of Keras 2: latent kernels to binary layers, quantized ones to others."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            _take_weights(layer, arrays, f"{prefix}{layer.name}/")
            continue
        name, own = f"{prefix}{layer.name}", layer.weights
        stored = [f"{name}:{number}" for number in range(len(arrays)) if f"{name}:{number}" in arrays]
        weights = [arrays[one] for one in stored]
        if isinstance(layer, BinaryLayer):
            own = [layer.kernel, layer.bias] if layer.use_bias else [layer.kernel]
        else:
            weights = [arrays.get(f"{one}:quantized", arrays[one]) for one in stored]
        if isinstance(layer, keras.layers.Normalization):
            weights = weights[: len(own)]  # less the count of what it has seen
        if [tuple(weight.shape) for weight in own] != [weight.shape for weight in weights]:
            raise ValueError(f"layer {name} ({type(layer).__name__}) has other weights in Keras 3.")
        for weight, values in zip(own, weights, strict=True):
            weight.assign(values)
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()


def _compare(model: keras.Model, arrays: Mapping[str, np.ndarray]) -> None:
    """Raise ValueError unless a model gives the outputs that the one of Keras 2 has given, but for rounding.

    Where the argument of a sign is nearly 0, rounding turns it, and the outputs differ by more: as those of Keras 2 do with
    weights that differ by rounding.
    """
    inputs, expected, shaken = (
        [arrays[f"{kind} {number}"] for number in range(len(arrays)) if f"{kind} {number}" in arrays]
        for kind in ("input", "output", "shaken output")
    )
    found = keras.tree.flatten(model(inputs if len(inputs) > 1 else inputs[0], training=False))
    half = any("16" in str(getattr(layer, "compute_dtype", "")) for layer in model.layers)
    for ours, theirs, moved in zip(map(keras.ops.convert_to_numpy, found), expected, shaken, strict=True):
        theirs = theirs.astype(np.float64)
        largest = max(1e-6, float(np.abs(theirs).max()))
        allowed = max((_TOLERANCE_OF_HALF if half else _TOLERANCE) * largest, _SHAKEN * float(np.abs(moved - theirs).max()))
        if not np.allclose(ours, theirs, rtol=0, atol=allowed, equal_nan=True):
            difference = float(np.abs(ours - theirs).max())
            raise ValueError(f"its outputs differ by {difference:.3g} from those of Keras 2 (the largest is {largest:.3g}).")
