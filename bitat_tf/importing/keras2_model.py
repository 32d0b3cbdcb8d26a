"""A model of Keras 3 of what Keras 2 says of one: its layers made anew, and called as they were."""

from collections.abc import Iterable, Mapping
from typing import Any

import keras

from bitat_tf.importing.larq_layers import OWN, as_of_keras
from bitat_tf.layers import BinaryLayer

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


def model_of(kind: str, config: Mapping[str, Any]) -> keras.Model:
    """Return the model of a configuration of Keras 2, with weights of its own.

    Args:
        kind: "Functional", "Sequential" or "Model".
        config: What Keras 2 says of it.

    Raises:
        ValueError: If Keras 3 and this package have no such layers.
    """
    if kind == "Sequential":
        model = keras.Sequential([layer for entry in config["layers"] for layer in _chain(entry)], name=config.get("name"))
        if not model.built:
            model.build(tuple(config["build_input_shape"]))
        return model
    chains = {entry["config"]["name"]: _chain(entry) for entry in config["layers"]}
    # The first node of a nested model is the one that made it.
    outputs: dict[str, list] = {name: [None] if isinstance(chain[0], keras.Model) else [] for name, chain in chains.items()}
    waiting = []
    for entry in config["layers"]:
        name = entry["config"]["name"]
        if entry["class_name"] == "InputLayer":
            outputs[name].append([chains[name][0].output])
        waiting += [(name, node) for node in entry["inbound_nodes"]]
    while waiting:
        later = []
        blocked: set[str] = set()  # the calls of a layer keep their order
        for name, node in waiting:
            if name in blocked or not _is_there(node, outputs):
                blocked.add(name)
                later.append((name, node))
                continue
            outputs[name].append(keras.tree.flatten(_call(chains[name], node, outputs)))
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


def _call(chain: list, node: Any, outputs: Mapping[str, list]) -> Any:
    """Call layers as a node of Keras 2 says: the outputs that they take, each with the other arguments of the call."""
    first, *others = chain
    if not isinstance(node, list) or not all(map(_is_reference, node)):
        raise ValueError(f"layer {first.name} is called in a way that is not imported.")
    tensors = [_tensor(reference, outputs) for reference in node]
    given = {name: value for reference in node for name, value in (reference[3:4] or [{}])[0].items() if value is not None}
    options = {name: _tensor(value, outputs) if _is_reference(value) else value for name, value in given.items()}
    result = first(tensors[0] if len(tensors) == 1 else tensors, **options)
    for layer in others:
        result = layer(result)
    return result


def _chain(entry: Mapping[str, Any]) -> list:
    """Return the layers of Keras 3 that an entry of Keras 2 becomes, in the order in which they are called."""
    if entry["class_name"] in _MODELS:
        return [model_of(entry["class_name"], entry["config"])]
    return [_layer(one) for one in as_of_keras(entry)]


def _inside(name: str, entry: Mapping[str, Any]) -> Any:
    """Return the layer inside of another one, whose weights are read of that one."""
    chain = _chain(entry)
    if len(chain) > 1 or isinstance(chain[0], BinaryLayer):
        inner = entry["config"]["name"]
        raise ValueError(f"layer {name} holds {inner} ({entry['class_name']}), which is imported outside of other layers only.")
    return chain[0]


def _layer(entry: Mapping[str, Any]) -> Any:
    """Return a layer of Keras 3, or one of ours."""
    kind, given = entry["class_name"], entry["config"]
    layer_class = OWN.get(kind) or getattr(keras.layers, kind, None)
    if not (isinstance(layer_class, type) and issubclass(layer_class, keras.layers.Layer)):
        raise ValueError(f"Keras 3 has no layer {kind}.")
    accepted = {name for base in layer_class.__mro__ for name in _arguments(base)} | {"name", "trainable", "dtype"}
    config: dict[str, Any] = {}
    for name, value in given.items():
        name = _RENAMED.get(kind, {}).get(name, name)
        if name in _LAYERS_INSIDE and isinstance(value, dict):
            value = _inside(given["name"], value)
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
