"""`bitat-tf import`: a model of Keras 2 becomes one of Keras 3, its layers made anew and its weights taken over."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from bitat_tf._files import save_model
from bitat_tf._validation import first_line
from bitat_tf.workflow import keras2_child

_TOLERANCE, _TOLERANCE_OF_HALF = 1e-3, 2e-2  # of the largest output
_KINDS = ("input", "output")  # of the arrays that are no weights
_MODELS = ("Functional", "Sequential", "Model")
_LAYERS_INSIDE = ("layer", "backward_layer", "cell")
_RENAMED = {"LeakyReLU": {"alpha": "negative_slope"}, "InputLayer": {"batch_input_shape": "batch_shape"}}
# Arguments of Keras 2 that say nothing that Keras 3 does not know, where its layer does not take them.
_IDLE = {
    "batch_input_shape",
    "bias_sparsity",
    "build_input_shape",
    "experimental_run_tf_function",
    "implementation",
    "kernel_constraint",  # of depthwise convolutions, which have their own
    "kernel_initializer",
    "kernel_regularizer",
    "key_shape",
    "query_shape",
    "ragged",
    "value_shape",
}


def import_model(old: str | os.PathLike, new: str | os.PathLike, overwrite: bool = False) -> keras.Model:
    """Make a `.keras` file of Keras 3 of a functional or sequential model of Keras 2 that has only layers of Keras' own.

    Keras 2 (`tf_keras`, which must be installed) reads the model in a process of its own; Python code in a file is not run. The
    new model gives the same outputs for random inputs, or nothing is written.

    Args:
        old: A `.keras` or `.h5` file, or the folder of a SavedModel.
        new: The file to write; its name ends with `.keras`.
        overwrite: Whether a file that is there is replaced.

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
    if not old.exists():
        raise FileNotFoundError(f"import: there is no {old}. Check the path. Expected: a .keras or .h5 file, or a SavedModel.")
    if new.exists() and not overwrite:
        raise FileExistsError(f"import: {new} is there already. Nothing was changed. Pass --overwrite to replace it.")
    with tempfile.TemporaryDirectory() as folder:
        _read(old, folder)
        described = json.loads((Path(folder) / "model.json").read_text())
        with np.load(Path(folder) / "arrays.npz") as stored:
            arrays = {name.replace("\\", "/"): stored[name] for name in stored}
    try:
        model = _model(described["class_name"], described["config"])
        _take_weights(model, arrays)
        _compare(model, arrays)
    except (ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
        reason = first_line(error)
        raise ValueError(
            f"import: no model of Keras 3 can be made of {old}: {reason} Build it with Keras 3 and take the weights over with "
            "set_weights."
        ) from error
    save_model(model, new)
    return model


def _read(old: Path, folder: str) -> None:
    environment = {**os.environ, "TF_USE_LEGACY_KERAS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, str(Path(keras2_child.__file__)), str(old.absolute()), folder]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, errors="replace", check=False)
    if result.returncode == 0:
        return
    last = (result.stderr.strip().splitlines() or ["it was stopped"])[-1]
    if last == "tf_keras":
        raise ValueError(
            "import: Keras 2 reads its models. Received: a Python without tf_keras. Install it: pip install tf_keras."
        )
    reason = last.removeprefix("UNUSABLE ").rstrip(".")
    raise ValueError(f"import: {old} cannot be imported: {reason}.")


def _model(kind: str, config: Mapping[str, Any]) -> keras.Model:
    """Return the model of a configuration of Keras 2, with weights of its own."""
    if kind == "Sequential":
        model = keras.Sequential([_layer(entry) for entry in config["layers"]], name=config.get("name"))
        if not model.built:
            model.build(tuple(config["build_input_shape"]))
        return model
    layers = {entry["config"]["name"]: _layer(entry) for entry in config["layers"]}
    # The first node of a nested model is the one that made it.
    outputs: dict[str, list] = {name: [None] if isinstance(layer, keras.Model) else [] for name, layer in layers.items()}
    waiting = []
    for entry in config["layers"]:
        name = entry["config"]["name"]
        if entry["class_name"] == "InputLayer":
            outputs[name].append([layers[name].output])
        waiting += [(name, node) for node in entry["inbound_nodes"]]
    while waiting:
        later = []
        blocked: set[str] = set()  # the calls of a layer keep their order
        for name, node in waiting:
            if name in blocked or not _is_there(node, outputs):
                blocked.add(name)
                later.append((name, node))
                continue
            outputs[name].append(keras.tree.flatten(_call(layers[name], node, outputs)))
        if len(later) == len(waiting):
            raise ValueError(f"the inputs of layer {later[0][0]} are not known.")
        waiting = later
    ends = [[_tensor(end, outputs) for end in _references(config[key])] for key in ("input_layers", "output_layers")]
    inputs, results = (tensors[0] if len(tensors) == 1 else tensors for tensors in ends)
    return keras.Model(inputs, results, name=config.get("name"))


def _references(ends: Any) -> list:
    """Return the names of a model's inputs or outputs, of which a single one may stand by itself."""
    if isinstance(ends, Mapping):
        raise ValueError("its inputs or outputs are a dictionary.")
    return [ends] if _is_reference(ends) else [*ends]


def _is_reference(value: Any) -> bool:
    return isinstance(value, list) and len(value) >= 3 and isinstance(value[0], str) and all(type(n) is int for n in value[1:3])


def _tensor(reference: list, outputs: Mapping[str, list]) -> Any:
    name, node, number = reference[:3]
    return outputs[name][node][number]


def _is_there(value: Any, outputs: Mapping[str, list]) -> bool:
    if _is_reference(value):
        if value[0] not in outputs:
            raise ValueError(f"layer {value[0]} is missing.")
        options = value[3] if len(value) > 3 else {}
        return len(outputs[value[0]]) > value[1] and _is_there(options, outputs)
    inner: Iterable = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    return all(_is_there(part, outputs) for part in inner)


def _call(layer: Any, node: Any, outputs: Mapping[str, list]) -> Any:
    """Call a layer as a node of Keras 2 says: the outputs that it takes, each with the other arguments of the call."""
    if not isinstance(node, list) or not all(map(_is_reference, node)):
        raise ValueError(f"layer {layer.name} is called in a way that is not imported.")
    tensors = [_tensor(reference, outputs) for reference in node]
    given = {name: value for reference in node for name, value in (reference[3:4] or [{}])[0].items() if value is not None}
    options = {name: _tensor(value, outputs) if _is_reference(value) else value for name, value in given.items()}
    return layer(tensors[0] if len(tensors) == 1 else tensors, **options)


def _layer(entry: Mapping[str, Any]) -> Any:
    """Return a layer of Keras 3 for an entry of Keras 2."""
    kind, given = entry["class_name"], entry["config"]
    if kind in _MODELS:
        return _model(kind, given)
    layer_class = getattr(keras.layers, kind, None)
    if not (isinstance(layer_class, type) and issubclass(layer_class, keras.layers.Layer)):
        raise ValueError(f"Keras 3 has no layer {kind}.")
    accepted = {name for base in layer_class.__mro__ for name in _arguments(base)} | {"name", "trainable", "dtype"}
    config: dict[str, Any] = {}
    for name, value in given.items():
        name = _RENAMED.get(kind, {}).get(name, name)
        if name in _LAYERS_INSIDE and isinstance(value, dict):
            value = _layer(value)
        elif name == "dtype" and isinstance(value, dict):
            value = value["config"]["name"]
        elif name == "axis" and kind == "BatchNormalization" and isinstance(value, list):
            (value,) = value
        elif isinstance(value, dict) and "class_name" in value:
            inner = value["config"]  # of a function its name
            if isinstance(inner, dict):
                own = {key: kept for key, kept in inner.items() if key != "dtype"}
                value = {"class_name": value["class_name"], "config": own}
            else:
                value = inner
        if name in accepted:
            config[name] = value
        elif name not in _IDLE and value not in (None, False, 1, [], {}):
            raise ValueError(f"{kind} of Keras 3 has no {name}={value!r}.")
    return layer_class(**config)


def _arguments(layer_class: type) -> Iterable[str]:
    code = getattr(layer_class.__dict__.get("__init__"), "__code__", None)
    return code.co_varnames[1 : code.co_argcount + code.co_kwonlyargcount] if code else ()


def _take_weights(model: keras.Model, arrays: Mapping[str, np.ndarray], prefix: str = "") -> None:
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            _take_weights(layer, arrays, f"{prefix}{layer.name}/")
            continue
        names = [f"{prefix}{layer.name}:{number}" for number in range(len(arrays))]
        weights = [arrays[name] for name in names if name in arrays]
        if isinstance(layer, keras.layers.Normalization):
            weights = weights[: len(layer.weights)]  # less the count of what it has seen
        if [tuple(weight.shape) for weight in layer.weights] != [weight.shape for weight in weights]:
            raise ValueError(f"layer {prefix}{layer.name} ({type(layer).__name__}) has other weights in Keras 3.")
        layer.set_weights(weights)
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()


def _compare(model: keras.Model, arrays: Mapping[str, np.ndarray]) -> None:
    """Raise ValueError unless a model gives the outputs that the one of Keras 2 has given."""
    inputs, expected = (
        [arrays[f"{kind} {number}"] for number in range(100) if f"{kind} {number}" in arrays] for kind in _KINDS
    )
    found = keras.tree.flatten(model(inputs if len(inputs) > 1 else inputs[0], training=False))
    half = any("16" in str(getattr(layer, "compute_dtype", "")) for layer in model.layers)
    for ours, theirs in zip(map(keras.ops.convert_to_numpy, found), expected, strict=True):
        largest = max(1e-6, float(np.abs(theirs.astype(np.float64)).max()))
        if not np.allclose(ours, theirs, rtol=0, atol=(_TOLERANCE_OF_HALF if half else _TOLERANCE) * largest, equal_nan=True):
            difference = float(np.abs(ours.astype(np.float64) - theirs).max())
            raise ValueError(f"its outputs differ by {difference:.3g} from those of Keras 2 (the largest is {largest:.3g}).")
