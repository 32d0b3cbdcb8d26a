"""Rules about what stands around a binary layer: what the converter can fold into it, and what it leaves as float operators."""

from collections.abc import Iterator, Mapping

from bitat_tf._keras import keras, tf
from bitat_tf.inspection.ends import first_calls, last_calls
from bitat_tf.inspection.findings import NOTE, WARNING, Finding
from bitat_tf.inspection.float_layers import float_operator
from bitat_tf.inspection.kernels import Kernel
from bitat_tf.layers import RPReLU
from bitat_tf.model_graph import CallGraph, LayerCall
from bitat_tf.quantizers import RSign

RELU_FUNCTIONS = (keras.activations.relu, tf.nn.relu)
_MANY_OPERATORS = (keras.layers.LayerNormalization, keras.layers.GroupNormalization)


def findings_of_neighbours(graph: CallGraph, kernels: Mapping[int, Kernel]) -> Iterator[Finding]:
    """Yield what rules 7 to 12, 20 and 24 to 25 find.

    Args:
        graph: The calls of the model.
        kernels: Their kernels, from `predict_kernels`.
    """
    binary = [call for call in graph.calls if id(call) in kernels and kernels[id(call)].binary]
    for call in binary:
        yield from _after(call, graph)
        yield from _before(call, graph)
    yield from _ends(graph, kernels)
    if binary:
        for call in graph.calls:
            yield from _slow_layers(call)


def _after(call: LayerCall, graph: CallGraph) -> Iterator[Finding]:
    consumers = graph.consumers(call)
    normalizations = [consumer for consumer in consumers if isinstance(consumer.layer, keras.layers.BatchNormalization)]
    if normalizations and len(consumers) + graph.is_output(call) > 1:
        effect = "the batch normalization after it is not folded into it, as others use its output too: MUL and ADD stay"
        yield Finding(7, NOTE, call.path, effect, "Let the normalization be the only consumer of the convolution.")
    if call.layer.activation is not keras.activations.linear:
        name = getattr(call.layer.activation, "__name__", "activation")
        if normalizations:
            effect = (
                f"its activation {name} stands before the normalization: {name}, MUL and ADD stay, unless it has no bias, "
                "the activation is ReLU, and the export folds the scales of its kernel"
            )
        else:
            effect = f"its activation {name} is not fused into a kernel with scales: one float operator stays"
        yield Finding(8, NOTE, call.path, effect, "Put the batch normalization right after the layer, then the activation.")
    for normalization in normalizations:
        for consumer in graph.consumers(normalization):
            if is_relu(consumer.layer):
                effect = "the ReLU after its batch normalization is not fused: one float operator stays"
                yield Finding(
                    8, NOTE, consumer.path, effect, "Keep it where accuracy needs it; a binary layer needs none before it."
                )


def _before(call: LayerCall, graph: CallGraph) -> Iterator[Finding]:
    source = call.inputs[0]
    layer = source.layer
    learned = isinstance(getattr(call.layer, "input_quantizer", None), RSign)
    if learned and not _absorbs_threshold(source, graph):
        effect = "its thresholds are not absorbed by a layer or normalization right before it: one ADD"
        yield Finding(10, NOTE, call.path, effect, "It pays in accuracy; to do without, use input_quantizer='ste_sign'.")
    if isinstance(layer, keras.layers.MaxPooling2D) and learned:
        effect = "max pooling before learned thresholds runs in float"
        yield Finding(12, NOTE, source.path, effect, "With input_quantizer='ste_sign' after it, it would run on bits.")
    if isinstance(layer, keras.layers.BatchNormalization) and isinstance(source.inputs[0].layer, keras.layers.MaxPooling2D):
        effect = "max pooling, then batch normalization, then sign: the pooling runs in float"
        path = source.inputs[0].path
        yield Finding(12, NOTE, path, effect, "Put the normalization before the pooling, which then runs on bits.")
    if isinstance(layer, keras.layers.AveragePooling2D):
        effect = "average pooling before a sign runs in float"
        yield Finding(12, NOTE, source.path, effect, "MaxPooling2D right before a sign without thresholds would run on bits.")
    if is_relu(layer) or getattr(layer, "activation", None) in RELU_FUNCTIONS:
        effect = "its input comes from a ReLU: without thresholds its sign would be +1 everywhere"
        cure = "Keep RSign, whose thresholds start at the channel means, or use activation='rprelu'."
        yield Finding(24, NOTE if learned else WARNING, call.path, effect, cure)


def is_relu(layer: keras.layers.Layer) -> bool:
    """Return whether a layer is a ReLU of any kind that is 0 for all negative inputs."""
    if type(layer) is keras.layers.ReLU:
        return not layer.negative_slope
    return type(layer) is keras.layers.Activation and layer.activation in RELU_FUNCTIONS


def _absorbs_threshold(source: LayerCall, graph: CallGraph) -> bool:
    """Return whether a threshold after a call is folded into it: into a normalization, or the bias of a linear layer."""
    if len(graph.consumers(source)) > 1 or graph.is_output(source):
        return False
    linear = getattr(source.layer, "activation", None) is keras.activations.linear
    return isinstance(source.layer, keras.layers.BatchNormalization) or (linear and float_operator(source.layer) is not None)


def _ends(graph: CallGraph, kernels: Mapping[int, Kernel]) -> Iterator[Finding]:
    """Yield the binary layers that are the first or the last ones of the network."""
    for ends, name in ((first_calls(graph), "first"), (last_calls(graph), "last")):
        for call in ends:
            if id(call) in kernels and kernels[id(call)].binary:
                effect = f"it is a {name} layer of the network: binary, it costs more accuracy than any other, and saves little"
                yield Finding(25, WARNING, call.path, effect, "Keep the first and the last layer float.")


def _slow_layers(call: LayerCall) -> Iterator[Finding]:
    layer = call.layer
    if isinstance(layer, (RPReLU, keras.layers.PReLU)):
        shifts = "; its shifts are folded at the export where the neighbours take them" if isinstance(layer, RPReLU) else ""
        effect = f"PReLU is never fused: a float PRELU{shifts}"
        yield Finding(9, NOTE, call.path, effect, "It is the price of the accuracy that it brings.")
    if isinstance(layer, _MANY_OPERATORS):
        effect = "it becomes about 15 float operators"
        yield Finding(20, WARNING, call.path, effect, "Use BatchNormalization, which is folded into the kernels.")
    if isinstance(layer, keras.layers.GlobalAveragePooling2D):
        effect = "it becomes MEAN, slower in larq-compute-engine than AVERAGE_POOL_2D"
        yield Finding(20, NOTE, call.path, effect, "Use AveragePooling2D of the whole picture, then Flatten.")
