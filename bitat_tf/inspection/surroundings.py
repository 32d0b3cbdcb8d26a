"""Rules about what stands around a binary layer: what cannot adapt, what costs accuracy, what keeps bits from going on."""

from collections.abc import Iterator, Set

import keras

from bitat_tf.inspection import rules
from bitat_tf.inspection.adaptation import frozen_layers, layers_that_must_train
from bitat_tf.inspection.findings import NOTE, WARNING, Finding
from bitat_tf.inspection.kernel_layers import NORMALIZATIONS, first_calls, float_operator, is_binary, last_calls
from bitat_tf.layers import RPReLU
from bitat_tf.model_graph import CallGraph, LayerCall, activation_of, layers_inside, relu_bounds
from bitat_tf.quantizers import RSign

_RESHAPES = (keras.layers.Reshape, keras.layers.Flatten, keras.layers.Permute)
# What a kernel's thresholds take in, or what runs on bits, between a binary layer and the next sign.
_FOLDED = (
    keras.layers.BatchNormalization,
    keras.layers.PReLU,
    RPReLU,
    keras.layers.MaxPooling2D,
    keras.layers.Dropout,
    keras.layers.SpatialDropout2D,
)


def findings_of_surroundings(graph: CallGraph, binary: Set[int]) -> Iterator[Finding]:
    """Yield what stands around binary layers that costs accuracy or time.

    Args:
        graph: The calls of the model.
        binary: `id` of the layers that are binary, or are to become so.
    """
    last = {id(call) for call in last_calls(graph)}
    heads = {id(call) for call in last_calls(graph) if id(call.layer) not in binary}
    for call in graph.calls:
        if id(call.layer) not in binary:
            continue
        if id(call) not in last and not _is_normalized(call, graph, heads):
            effect = "no normalization follows it: one bit carries no scale and no mean, and nothing gives them back"
            cure = "Put a BatchNormalization right after it."
            yield Finding(rules.NORMALIZATION, WARNING, call.path, effect, cure)
        yield from _relu_before(call)
        yield from _reshape_before(call, graph, binary)
    yield from _ends(graph, binary)


def findings_of_adaptation(model: keras.Model, graph: CallGraph) -> Iterator[Finding]:
    """Yield the binary layers, and the normalizations that they lead to, that are frozen.

    Other layers may be frozen for a reason, as the blur filters of a QuickNet are.

    Args:
        model: The model.
        graph: Its calls.
    """
    must_train = layers_that_must_train(graph)
    followers = {layer for layer in layers_inside(model) if id(layer) in must_train and isinstance(layer, NORMALIZATIONS)}
    binary = {id(layer) for layer in layers_inside(model) if is_binary(layer)}
    for kind, effect in (
        (binary, "a layer that becomes binary has to train"),
        ({*map(id, followers)}, "what reaches it changes once layers before it are binary, and it cannot adapt"),
    ):
        for path in frozen_layers(model, kind):
            cure = "Set model.trainable = True before model.compile, for the training that makes layers binary."
            yield Finding(rules.FROZEN, WARNING, path, f"it is frozen (trainable=False): {effect}", cure)


def _is_normalized(call: LayerCall, graph: CallGraph, heads: Set[int]) -> bool:
    """Return whether a normalization follows a call before the next convolution or dense layer, through sums and joins too.

    The head of a network does as well: the last layer, if it is float, has a scale and a bias of its own for every input.
    """
    waiting, seen, next_layers = [call], {id(call)}, []
    while waiting:
        for consumer in graph.consumers(waiting.pop()):
            if isinstance(consumer.layer, NORMALIZATIONS):
                return True
            if float_operator(consumer.layer) is not None:
                next_layers.append(consumer)
            elif id(consumer) not in seen:
                seen.add(id(consumer))
                waiting.append(consumer)
    return bool(next_layers) and all(id(following) in heads for following in next_layers)


def _relu_before(call: LayerCall) -> Iterator[Finding]:
    layer, quantizer = call.inputs[0].layer, getattr(call.layer, "input_quantizer", None)
    if quantizer is None or isinstance(quantizer, RSign):
        return  # which becomes RSign, or is: its thresholds start at the means of the channels
    bounds = relu_bounds(layer) or relu_bounds(activation_of(layer))
    if bounds is not None and not bounds.negative_slope:
        effect = "its input comes from a ReLU, and its sign has no thresholds: it is +1 everywhere"
        cure = "Use RSign, whose thresholds are learned, or leave the ReLU out."
        yield Finding(rules.RELU_BEFORE_SIGN, WARNING, call.path, effect, cure)


def _reshape_before(call: LayerCall, graph: CallGraph, binary: Set[int]) -> Iterator[Finding]:
    """Look back from a sign to the binary layer before it, through what would otherwise be folded."""
    reshapes, reader, source = [], call, call.inputs[0]
    while len(source.inputs) == 1 and graph.only_consumer(source) is reader and id(source.layer) not in binary:
        if isinstance(source.layer, _RESHAPES):
            reshapes.append(source.path)
        elif not (isinstance(source.layer, _FOLDED) or relu_bounds(source.layer)):
            return
        reader, source = source, source.inputs[0]
    if reshapes and id(source.layer) in binary and graph.only_consumer(source) is reader:
        for path in reshapes:
            effect = f"it stands between binary layers: {source.path} gives floats, and {call.path} packs them into bits again"
            cure = "Leave it out where you can: a BinaryConv2D as large as its pictures does what Flatten and BinaryDense do."
            yield Finding(rules.RESHAPE, NOTE, path, effect, cure)


def _ends(graph: CallGraph, binary: Set[int]) -> Iterator[Finding]:
    """Yield the binary layers that are the first or the last ones of the network."""
    for ends, name in ((first_calls(graph), "first"), (last_calls(graph), "last")):
        for call in ends:
            if id(call.layer) in binary:
                effect = f"it is a {name} layer of the network: binary, it costs more accuracy than any other, and saves little"
                yield Finding(rules.ENDS, WARNING, call.path, effect, "Keep the first and the last layer float.")
