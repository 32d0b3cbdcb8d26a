"""Keras' nodes, one for each layer call: what of Keras' inside the graph of a model is read from, all in this file."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from bitat_tf._keras import keras, tf

Shape = tuple[int | None, ...]

# A functional model may be of a subclass with a `call` of its own, which does what it likes with the graph.
_CALLS_OF_GRAPHS = (keras.Sequential.call, keras.Sequential.__base__.call)


def is_graph(layer: keras.layers.Layer) -> bool:
    """Return whether a layer is a functional or sequential model, which does nothing but call its layers."""
    return isinstance(layer, keras.Model) and layer._is_graph_network and type(layer).call in _CALLS_OF_GRAPHS


def layer_nodes(model: keras.Model) -> Iterator[Any]:
    """Yield Keras' nodes, one for each layer call, of a functional model in the order in which Keras runs them."""
    for depth in sorted(model._nodes_by_depth, reverse=True):
        yield from (node for node in model._nodes_by_depth[depth] if not node.is_input)


def layers_inside(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    """Return all layers inside of a model or layer, those of nested ones included, each once, a model before its layers."""
    return list(dict.fromkeys(layer._flatten_layers(include_self=False)))


def input_keys(node: Any) -> list[str]:
    """Return what the tensors that a layer call takes are called in a dictionary of a model's tensors, in order."""
    return list(node.flat_input_ids)


def output_keys(node: Any) -> list[str]:
    """Return the same of the tensors that a layer call returns."""
    return list(node.flat_output_ids)


def tensor_keys(tensors: Iterable[Any]) -> list[str]:
    """Return the same of a model's inputs or outputs."""
    return [str(id(tensor)) for tensor in tensors]


def shapes_at(node: Any) -> tuple[list[tuple], list[tuple]]:
    """Return the shapes of what a layer call takes and returns, as the model that the layer stands in knows them."""
    inputs, outputs = node.keras_inputs, tf.nest.flatten(node.outputs)
    return [tuple(tensor.shape) for tensor in inputs], [tuple(tensor.shape) for tensor in outputs]


def call_arguments(node: Any, tensors: Mapping[str, Any]) -> tuple[tuple, dict[str, Any]]:
    """Return the arguments of a layer call with other tensors in the places of its own.

    Args:
        node: Keras' node of the call.
        tensors: What stands in the places of the tensors that the call takes, by `input_keys`.
    """
    keys = node.flat_input_ids
    # A list each, as Keras takes every use of a tensor off it.
    return node.map_arguments({key: [tensors[key]] * len(keys) for key in keys})


def fixed_training(node: Any) -> bool | None:
    """Return the `training` that a layer is called with, as in `backbone(inputs, training=False)`; None if it is the model's.

    Such a call ignores how the model is called: with False, batch normalizations in it keep their statistics while it is
    trained; with True, dropout in it never ends.
    """
    value = node.call_kwargs.get("training")
    if _takes_training_second(node.layer) and len(node.call_args) > 1:
        value = node.call_args[1]
    return bool(value) if isinstance(value, (bool, int)) else None


def calls_of_fixed_training(model: keras.Model, training: bool, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the path and the node of every call in a model and in its nested models whose `training` is fixed to a value."""
    for node in layer_nodes(model):
        path = prefix + node.layer.name
        if fixed_training(node) is training:
            yield path, node
        if is_graph(node.layer):
            yield from calls_of_fixed_training(node.layer, training, f"{path}/")


def call_arguments_free_to_train(node: Any, tensors: Mapping[str, Any]) -> tuple[tuple, dict[str, Any]]:
    """Return the arguments of a layer call, as `call_arguments`, without `training`: the model's own then decides."""
    arguments, keywords = call_arguments(node, tensors)
    keywords = {name: value for name, value in keywords.items() if name != "training"}
    if _takes_training_second(node.layer) and len(arguments) > 1:
        arguments = (arguments[0], None, *arguments[2:])
    return arguments, keywords


def _takes_training_second(layer: keras.layers.Layer) -> bool:
    return is_graph(layer) or isinstance(layer, keras.layers.BatchNormalization)


def layer_uses(model: keras.Model) -> Counter[str]:
    """Return how often each layer is used in a functional model, nested models included, by name."""
    uses: Counter[str] = Counter()
    for node in layer_nodes(model):
        if is_graph(node.layer):
            uses.update(layer_uses(node.layer))
        else:
            uses[node.layer.name] += 1
    return uses
