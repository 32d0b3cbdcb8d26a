"""Activation functions taken out of the layers that hold them: the sum before a function needs a grid of its own."""

from bitat_tf._keras import keras
from bitat_tf.graph import CallGraph, call_again

_FUSED = (None, keras.activations.linear, keras.activations.relu)  # the same operator computes these


def activations_apart(network: keras.Model) -> keras.Model:
    """Return a network in which convolutions and dense layers have no functions but ReLU: those stand behind them.

    Args:
        network: A plain Larq network; its layers become those of the new one, and lose their functions.
    """
    graph = CallGraph(network)
    names = {layer.name for layer in network._flatten_layers()}
    apart = {id(call.layer): call.layer.activation for call in graph.calls if _holds_function(call.layer)}
    if not apart:
        return network
    inputs = keras.Input(graph.sources[0].output_shapes[0][1:], name=graph.sources[0].layer.name)
    tensors = {id(graph.sources[0]): inputs}
    for call in graph.calls:
        if id(call.layer) in apart:
            call.layer.activation = keras.activations.linear
        outputs = call_again(call, tensors)
        if id(call.layer) in apart:
            name = _free_name(f"{call.layer.name}_activation", names)
            outputs = keras.layers.Activation(apart[id(call.layer)], name=name)(outputs)
        tensors[id(call)] = outputs
    return keras.Model(inputs, tensors[id(graph.outputs[0])], name=network.name)


def _holds_function(layer: keras.layers.Layer) -> bool:
    kinds = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D, keras.layers.SeparableConv2D, keras.layers.Dense)
    return isinstance(layer, kinds) and layer.activation not in _FUSED


def _free_name(wanted: str, names: set[str]) -> str:
    name, number = wanted, 1
    while name in names:
        number += 1
        name = f"{wanted}_{number}"
    names.add(name)
    return name
