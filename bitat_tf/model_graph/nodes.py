"""Keras' nodes, one for each call of a layer or operator; what is read of Keras' inside is read in this file alone."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import keras
from keras.src.models.functional import Functional

Shape = tuple[int | None, ...]

FUNCTIONAL = Functional  # what keras.Model(inputs, outputs) makes; Keras publishes no name of it
# A functional model may be of a subclass with a `call` of its own, which does what it likes with the graph.
_CALLS_OF_GRAPHS = (keras.Sequential.call, FUNCTIONAL.call)


def is_graph(layer: Any) -> bool:
    """Return whether a layer is a functional or sequential model, which does nothing but call its layers."""
    if isinstance(layer, keras.Sequential):
        return type(layer).call in _CALLS_OF_GRAPHS and layer.built and layer._functional is not None
    return isinstance(layer, FUNCTIONAL) and type(layer).call in _CALLS_OF_GRAPHS


def functional_of(model: keras.Model) -> Any:
    """Return the functional model that a functional or sequential one is, or holds."""
    return model._functional if isinstance(model, keras.Sequential) else model


def layer_nodes(model: keras.Model) -> Iterator[Any]:
    """Yield Keras' nodes, one for each call in a functional model, in the order in which Keras runs them."""
    nodes = functional_of(model)._nodes_by_depth
    for depth in sorted(nodes, reverse=True):
        yield from (node for node in nodes[depth] if not node.is_input)


def input_layer(tensor: Any) -> Any:
    """Return the layer that a tensor of a model's graph comes from."""
    return tensor._keras_history.operation


def fixed_batch_size(model: keras.Model) -> int | None:
    """Return the number of samples of a batch that a model was built for; None where it takes any number, or is subclassed."""
    inputs = getattr(model, "inputs", None) or ()
    return next((int(tensor.shape[0]) for tensor in inputs if tensor.shape[0] is not None), None)


def inbound_nodes(layer: Any) -> list[Any]:
    """Return the nodes of all calls of a layer, in every model that it stands in."""
    return list(layer._inbound_nodes)


def layers_inside(layer: Any) -> list[keras.layers.Layer]:
    """Return all layers inside of a model or layer, those of nested ones included, each once, a model before its layers."""
    found: dict[int, keras.layers.Layer] = {}
    if not isinstance(layer, keras.layers.Layer):  # an operator
        return []

    def walk(outer: keras.layers.Layer) -> None:
        for inner in outer._flatten_layers(include_self=False, recursive=False):
            if id(inner) not in found:
                found[id(inner)] = inner
                walk(inner)

    walk(functional_of(layer) if is_graph(layer) else layer)
    return list(found.values())


def operations_inside(model: keras.Model) -> list[Any]:
    """Return all layers and operators that a functional model and those nested in it call; `layers_inside` has layers alone."""
    found: dict[int, Any] = {id(layer): layer for layer in layers_inside(model)}
    for part in (model, *layers_inside(model)):
        if is_graph(part):
            found.update((id(node.operation), node.operation) for node in layer_nodes(part))
    return list(found.values())


def input_keys(node: Any) -> list[str]:
    """Return what the tensors that a call takes are called in a dictionary of a model's tensors, in order."""
    return tensor_keys(node.input_tensors)


def output_keys(node: Any) -> list[str]:
    """Return the same of the tensors that a call returns."""
    return tensor_keys(node.outputs)


def tensor_keys(tensors: Iterable[Any]) -> list[str]:
    """Return the same of a model's inputs or outputs."""
    return [str(id(tensor)) for tensor in tensors]


def shapes_at(node: Any) -> tuple[list[tuple], list[tuple]]:
    """Return the shapes of what a call takes and returns, as the model that the layer stands in knows them."""
    return [tuple(tensor.shape) for tensor in node.input_tensors], [tuple(tensor.shape) for tensor in node.outputs]


def call_arguments(node: Any, tensors: Mapping[str, Any]) -> tuple[tuple, dict[str, Any]]:
    """Return the arguments of a call with other tensors in the places of its own.

    Args:
        node: Keras' node of the call.
        tensors: What stands in the places of the tensors that the call takes, by `input_keys`.
    """

    def replaced(argument: Any) -> Any:
        return tensors[str(id(argument))] if isinstance(argument, keras.KerasTensor) else argument

    arguments, keywords = node.arguments.args, node.arguments.kwargs
    return keras.tree.map_structure(replaced, arguments), keras.tree.map_structure(replaced, keywords)


def layer_uses(model: keras.Model) -> Counter[str]:
    """Return how often each layer is used in a functional model, nested models included, by name."""
    uses: Counter[str] = Counter()
    for node in layer_nodes(model):
        if is_graph(node.operation):
            uses.update(layer_uses(node.operation))
        else:
            uses[node.operation.name] += 1
    return uses
