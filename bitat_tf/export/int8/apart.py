"""Layers of several operators taken apart where a tensor between two of them needs a grid of its own."""

from collections.abc import Callable
from typing import Any

import numpy as np

from bitat_tf._keras import keras
from bitat_tf.export.folding.parts import Normalization, PartlyShiftedPReLU, part_of
from bitat_tf.export.int8.placement import is_fused
from bitat_tf.layers import RPReLU
from bitat_tf.model_graph import CallGraph, LayerCall, call_again, free_name

_FUSED = (None, keras.activations.linear, keras.activations.relu)  # the same operator computes these


@keras.saving.register_keras_serializable(package="bitat_tf")
class PerChannel(keras.layers.Layer):
    """Adds or multiplies a value per channel: one operator on the device.

    Args:
        operation: "add" or "multiply".
        **kwargs: Keyword arguments of a Keras layer.
    """

    def __init__(self, operation: str, **kwargs):
        super().__init__(**kwargs)
        self.operation = operation

    def build(self, input_shape):
        """Create the values."""
        self.values = self.add_weight("values", shape=(input_shape[-1],), initializer="zeros")
        super().build(input_shape)

    def call(self, inputs):
        """Return inputs + values, or inputs * values."""
        return inputs + self.values if self.operation == "add" else inputs * self.values

    def get_config(self):
        """Return the arguments of the constructor."""
        return {**super().get_config(), "operation": self.operation}


def taken_apart(network: keras.Model) -> keras.Model:
    """Return a network whose layers are one operator each on the device, as far as a grid stands after each.

    - Functions inside of convolutions and dense layers, but ReLU, stand behind them.
    - The shifts that an `RPReLU` still has are layers before and after a `PReLU`.
    - A batch normalization that does not become part of a convolution is a multiplication and an addition.

    Args:
        network: A plain Larq network; its layers become those of the new one, and lose their functions.
    """
    graph = CallGraph(network)
    steps = {id(call): _steps(graph, call) for call in graph.calls}
    if not any(steps.values()):
        return network
    names = {layer.name for layer in network._flatten_layers()}
    inputs = keras.Input(graph.sources[0].output_shapes[0][1:], name=graph.sources[0].layer.name)
    tensors: dict[int, Any] = {id(graph.sources[0]): inputs}
    made: dict[tuple[int, str], keras.layers.Layer] = {}  # a layer that is called twice is taken apart once
    for call in graph.calls:
        layer, replaced = call.layer, steps[id(call)]
        if replaced and _holds_function(layer):
            layer.activation = keras.activations.linear
        outputs = call_again(call, tensors) if not replaced or replaced[0][0] == "activation" else tensors[id(call.inputs[0])]
        for suffix, make, weights in replaced:
            if (id(layer), suffix) not in made:
                made[id(layer), suffix] = make(name=free_name(f"{layer.name}_{suffix}", names))
            outputs = made[id(layer), suffix](outputs)
            made[id(layer), suffix].set_weights(weights)
        tensors[id(call)] = outputs
    return keras.Model(inputs, tensors[id(graph.outputs[0])], name=network.name)


Step = tuple[str, Callable[..., keras.layers.Layer], list[np.ndarray]]


def _steps(graph: CallGraph, call: LayerCall) -> list[Step]:
    """Return what a layer is taken apart into: suffix of the name, how to make the layer, its weights."""
    layer = call.layer
    if _holds_function(layer):
        function = layer.activation
        return [("activation", lambda **keywords: keras.layers.Activation(function, **keywords), [])]
    if type(layer) in (RPReLU, PartlyShiftedPReLU):
        shifts = (getattr(layer, name, None) for name in ("shift_before", "shift_after"))
        before, after = (None if shift is None else shift.numpy() for shift in shifts)
        axes = list(range(1, layer.prelu.alpha.shape.rank)) or None
        steps: list[Step] = [] if before is None else [("shift_before", _adding, [-before])]
        slopes = layer.prelu.alpha.numpy()
        steps.append(("prelu", lambda **keywords: keras.layers.PReLU(shared_axes=axes, **keywords), [slopes]))
        return steps if after is None else [*steps, ("shift_after", _adding, [after])]
    part = part_of(layer)
    if isinstance(part, Normalization) and not is_fused(graph, call.inputs[0]):
        scale = part.gamma / np.sqrt(part.variance + layer.epsilon)
        return [("scale", _multiplying, [scale]), ("shift", _adding, [part.beta - scale * part.mean])]
    return []


def _adding(**keywords) -> PerChannel:
    return PerChannel("add", **keywords)


def _multiplying(**keywords) -> PerChannel:
    return PerChannel("multiply", **keywords)


def _holds_function(layer: keras.layers.Layer) -> bool:
    kinds = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D, keras.layers.SeparableConv2D, keras.layers.Dense)
    return isinstance(layer, kinds) and layer.activation not in _FUSED
