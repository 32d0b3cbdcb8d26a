"""Convolutions and dense layers: what the device runs for each, why some cannot be made binary, which are first and last."""

from typing import Any

import keras

from bitat_tf.layers import BinaryLayer
from bitat_tf.model_graph import CallGraph, LayerCall, is_graph, layers_inside

WORD = 32  # binary channels that are packed into one word
BINARY_OPERATOR = "LceBconv2d"
NORMALIZATIONS = (
    keras.layers.BatchNormalization,
    keras.layers.LayerNormalization,
    keras.layers.GroupNormalization,
    keras.layers.UnitNormalization,
)
# The first that fits: in Keras, a depthwise or transposed convolution is a kind of convolution.
_OPERATORS: tuple[tuple[type, str], ...] = (
    (keras.layers.SeparableConv2D, "DEPTHWISE_CONV_2D + CONV_2D"),
    (keras.layers.SeparableConv1D, "DEPTHWISE_CONV_2D + CONV_2D"),
    (keras.layers.DepthwiseConv2D, "DEPTHWISE_CONV_2D"),
    (keras.layers.DepthwiseConv1D, "DEPTHWISE_CONV_2D"),
    (keras.layers.Conv3DTranspose, "CONV_3D_TRANSPOSE"),
    (keras.layers.Conv2DTranspose, "TRANSPOSE_CONV"),
    (keras.layers.Conv1DTranspose, "TRANSPOSE_CONV"),
    (keras.layers.Conv3D, "CONV_3D"),
    (keras.layers.Conv2D, "CONV_2D"),
    (keras.layers.Conv1D, "CONV_2D"),
    (keras.layers.Dense, "FULLY_CONNECTED"),
)


def float_operator(layer: keras.layers.Layer) -> str | None:
    """Return the operator of a convolution or dense layer in float, None for a layer of another kind.

    Examples:
        >>> float_operator(keras.layers.DepthwiseConv2D(3)), float_operator(keras.layers.ReLU())
        ('DEPTHWISE_CONV_2D', None)
    """
    for kind, operator in _OPERATORS:
        if isinstance(layer, kind):
            return operator
    return None


def holds_binary(layer: keras.layers.Layer) -> bool:
    """Return whether a layer, or one inside of it, is one of this package's binary layers."""
    return any(is_binary(part) for part in (layer, *layers_inside(layer)))


def is_binary(layer: Any) -> bool:
    """Return whether a layer runs in a binary kernel once it is binary.

    Examples:
        >>> is_binary(bitat_tf.layers.BinaryConv2D(8, 3)), is_binary(keras.layers.Conv2D(8, 3))
        (True, False)
    """
    return isinstance(layer, BinaryLayer)


def device_operator(layer: keras.layers.Layer) -> str | None:
    """Return the operator that runs a convolution or dense layer on the device, binary layers taken as binary already.

    Examples:
        >>> device_operator(bitat_tf.layers.BinaryDense(8)), device_operator(keras.layers.Dense(8))
        ('LceBconv2d', 'FULLY_CONNECTED')
    """
    return BINARY_OPERATOR if is_binary(layer) else float_operator(layer)


def first_calls(graph: CallGraph) -> list[LayerCall]:
    """Return the calls of convolutions and dense layers below which there is no other one."""
    below: dict[int, bool] = {id(source): False for source in graph.sources}
    first = []
    for call in graph.calls:
        has = any(below[id(source)] for source in call.inputs)
        computes = float_operator(call.layer) is not None
        if computes and not has:
            first.append(call)
        below[id(call)] = has or computes
    return first


def last_calls(graph: CallGraph) -> list[LayerCall]:
    """Return the calls of convolutions and dense layers above which there is no other one."""
    above: dict[int, bool] = {}
    last = []
    for call in reversed(graph.calls):
        has = any(above[id(consumer)] for consumer in graph.consumers(call))
        computes = float_operator(call.layer) is not None
        if computes and not has:
            last.append(call)
        above[id(call)] = has or computes
    return last[::-1]


def obstacle(layer: keras.layers.Layer) -> tuple[str, str] | None:
    """Return why a float layer that computes with weights cannot usefully be made binary, and the cure.

    Args:
        layer: A built layer, no functional or sequential model.

    Returns:
        (reason, cure); None for a `Conv2D` or `Dense` that can be made binary, and for layers without kernels, which are
        none of `binarize`'s business.

    Examples:
        >>> layer = keras.layers.DepthwiseConv2D(3)
        >>> layer.build((None, 8, 8, 4))
        >>> obstacle(layer)[0]
        'a depthwise convolution has no binary kernel on the device'
    """
    if isinstance(layer, keras.layers.DepthwiseConv2D):
        reason = "a depthwise convolution has no binary kernel on the device"
        return reason, "Pass depthwise='expand' to binarize, for a full convolution."
    if isinstance(layer, keras.layers.SeparableConv2D):
        reason = "a separable convolution is a depthwise one, without a binary kernel, and a 1x1 one"
        return reason, "Pass depthwise='expand' to binarize, for a full convolution and a binary 1x1 one."
    if isinstance(layer, (keras.layers.Conv2DTranspose, keras.layers.Conv1DTranspose, keras.layers.Conv3DTranspose)):
        return "a transposed convolution has no binary kernel on the device", "Use UpSampling2D and a Conv2D."
    if isinstance(layer, (keras.layers.Conv1D, keras.layers.SeparableConv1D, keras.layers.DepthwiseConv1D)):
        return "a convolution in one dimension has no binary kernel on the device", "Use a Conv2D over pictures of height 1."
    if isinstance(layer, keras.layers.Conv3D):
        return "a convolution in three dimensions has no binary kernel on the device", "Use Conv2D on slices."
    if isinstance(layer, (keras.layers.Conv2D, keras.layers.Dense)):
        return _obstacle_of_kind(layer)
    return _obstacle_inside(layer)


def _obstacle_of_kind(layer: keras.layers.Layer) -> tuple[str, str] | None:
    if type(layer) not in (keras.layers.Conv2D, keras.layers.Dense):
        name = type(layer).__name__
        return (
            f"{name} is a layer of its own kind, which may compute something else",
            "Replace it by a BinaryConv2D or BinaryDense.",
        )
    if layer.compute_dtype != "float32":
        reason = f"it computes in {layer.compute_dtype}, and only float32 layers are made binary"
        return reason, "Build the model with the float32 policy."
    if isinstance(layer.activation, keras.layers.Layer) and layer.activation.weights:
        reason = f"its activation is a layer with weights, {type(layer.activation).__name__}"
        return reason, "Put that layer after this one."
    if isinstance(layer, keras.layers.Dense):
        return None
    if layer.data_format != "channels_last":
        return "the device runs channels-last models only", "Build the model with data_format='channels_last'."
    channels = layer.kernel.shape[2]  # of one group
    if layer.groups > 1 and channels % WORD:
        reason = f"its groups have {channels} channels, no multiple of the 32 that a binary kernel packs into a word"
        return reason, "Use groups of 32, 64, ... channels, or groups=1."
    return None


def _obstacle_inside(layer: keras.layers.Layer) -> tuple[str, str] | None:
    """Say why kernels inside of another layer stay float."""
    if is_graph(layer) or not _holds_kernels(layer):
        return None
    name = type(layer).__name__
    if isinstance(layer, keras.Model):
        reason = f"it is a subclassed model ({name}), which cannot be looked into"
        return reason, "Build it with keras.Model(inputs, outputs), or use BinaryConv2D and BinaryDense in it."
    return f"its kernels are inside a {name}, for which there is no binary form", "Build it of Conv2D and Dense layers."


def _holds_kernels(layer: keras.layers.Layer) -> bool:
    # Kernels and embeddings are matrices at least; what normalizations have are vectors, and PReLU has slopes.
    return any(
        len(weight.shape) > 1
        for part in (layer, *layers_inside(layer))
        if not isinstance(part, keras.layers.PReLU)
        for weight in getattr(part, "_trainable_variables", ())  # an operator has none
    )
