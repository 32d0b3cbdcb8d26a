"""Which tensors of a network are quantized to int8: those that are written to memory on the device, and are not bits."""

from bitat_tf._keras import keras
from bitat_tf.model_graph import CallGraph, LayerCall

_LAYERS = keras.layers
_MATRIX = (_LAYERS.Conv2D, _LAYERS.DepthwiseConv2D, _LAYERS.Dense, _LAYERS.SeparableConv2D)
# Their outputs have the grid of their inputs.
_SAME_GRID = (
    _LAYERS.MaxPooling2D,
    _LAYERS.GlobalMaxPooling2D,
    _LAYERS.Reshape,
    _LAYERS.Flatten,
    _LAYERS.Dropout,
    _LAYERS.SpatialDropout2D,
    _LAYERS.GaussianNoise,
    _LAYERS.GaussianDropout,
    _LAYERS.ZeroPadding2D,
    _LAYERS.Cropping2D,
    _LAYERS.Permute,
)


def is_binary(layer: keras.layers.Layer) -> bool:
    """Return whether a layer of a plain Larq network takes signs."""
    return getattr(getattr(layer, "input_quantizer", None), "precision", None) == 1


def quantized_calls(graph: CallGraph) -> list[LayerCall]:
    """Return the calls whose outputs get a grid of their own."""
    return [call for call in graph.calls if not _has_no_grid(graph, call)]


def _has_no_grid(graph: CallGraph, call: LayerCall) -> bool:
    return type(call.layer) in _SAME_GRID or _is_linear(call) or is_fused(graph, call) or _becomes_bits(graph, call)


def _is_linear(call: LayerCall) -> bool:
    return type(call.layer) is _LAYERS.Activation and call.layer.activation is keras.activations.linear


def is_fused(graph: CallGraph, call: LayerCall) -> bool:
    """Return whether the one layer that reads the outputs becomes part of the same operator."""
    reader = graph.only_consumer(call)
    if reader is None:
        return False
    after = reader.layer
    if isinstance(after, _LAYERS.BatchNormalization):
        if _is_relu(call.layer):
            return _is_clamped_in_steps(graph, call.inputs[0])
        return isinstance(call.layer, _MATRIX) and (_is_sum(call.layer) or _is_clamped(call.layer))
    if not _is_relu(after):
        return False
    if is_binary(call.layer):
        return _is_clamped_in_steps(graph, call)
    if isinstance(call.layer, _LAYERS.BatchNormalization):
        return isinstance(call.inputs[0].layer, _MATRIX) and not is_binary(call.inputs[0].layer)
    return isinstance(call.layer, (*_MATRIX, _LAYERS.Add))


def _is_sum(layer: keras.layers.Layer) -> bool:
    return layer.activation in (None, keras.activations.linear)


def _is_clamped(layer: keras.layers.Layer) -> bool:
    """Return whether a binary kernel computes ReLU and the batch normalization after it."""
    return is_binary(layer) and layer.activation is keras.activations.relu and not layer.use_bias


def _is_clamped_in_steps(graph: CallGraph, call: LayerCall) -> bool:
    """Return whether a call is a binary convolution whose kernel computes the layers after it, ReLU and normalization, too."""
    if not is_binary(call.layer) or call.layer.use_bias or not _is_sum(call.layer):
        return False
    after = graph.only_consumer(call)
    if after is None or not _is_relu(after.layer) or getattr(after.layer, "max_value", None) is not None:
        return False
    last = graph.only_consumer(after)
    return last is not None and isinstance(last.layer, _LAYERS.BatchNormalization)


def _is_relu(layer: keras.layers.Layer) -> bool:
    if type(layer) is _LAYERS.Activation:
        return layer.activation is keras.activations.relu
    return type(layer) is _LAYERS.ReLU and layer.max_value in (None, 6.0) and not layer.negative_slope and not layer.threshold


def _becomes_bits(graph: CallGraph, call: LayerCall) -> bool:
    """Return whether a binary convolution writes the bits of the signs that follow it, and nothing else reads it."""
    producer = call.inputs[0] if isinstance(call.layer, _LAYERS.BatchNormalization) else call
    return is_binary(producer.layer) and not graph.is_output(call) and _only_signs(graph, call)


def _only_signs(graph: CallGraph, call: LayerCall) -> bool:
    consumers = graph.consumers(call)
    return bool(consumers) and not graph.is_output(call) and all(_is_sign(graph, one) for one in consumers)


def _is_sign(graph: CallGraph, call: LayerCall) -> bool:
    return is_binary(call.layer) or (type(call.layer) is _LAYERS.MaxPooling2D and _only_signs(graph, call))
