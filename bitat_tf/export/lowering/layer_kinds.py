"""What a Keras layer is: its function, geometry and constants, whatever of Keras', TensorFlow's or Larq's classes it has."""

import math
from collections.abc import Callable
from typing import Any

import keras
import larq as lq
import numpy as np
import tensorflow as tf

from bitat_tf.export.lowering.steps import Shape
from bitat_tf.layers import BinaryLayer
from bitat_tf.model_graph import LayerCall, copy_layer, copy_weights, float32_policy, relu_bounds

L = keras.layers
DEPTHWISE = (L.DepthwiseConv2D, lq.layers.QuantDepthwiseConv2D)
FLOAT_KERNELS = (*DEPTHWISE, L.Conv2D, lq.layers.QuantConv2D, L.Dense, lq.layers.QuantDense)
# Keras' augmentations, but for RandomCrop, leave what they are given as it is at inference.
WITHOUT_EFFECT = (
    L.Dropout,
    L.SpatialDropout1D,
    L.SpatialDropout2D,
    L.SpatialDropout3D,
    L.GaussianNoise,
    L.GaussianDropout,
    L.AlphaDropout,
    L.ActivityRegularization,
    L.RandomBrightness,
    L.RandomContrast,
    L.RandomFlip,
    L.RandomHeight,
    L.RandomRotation,
    L.RandomTranslation,
    L.RandomWidth,
    L.RandomZoom,
)


def in_float32(layer: keras.layers.Layer) -> keras.layers.Layer:
    """Return a layer, or a copy of one that computes in another precision, which the device does not get."""
    if layer.compute_dtype in (None, "float32") or not tf.as_dtype(layer.compute_dtype).is_floating:
        return layer
    with float32_policy():
        copy = copy_layer(layer, in_float32=True)
        shapes = [tuple(tensor.shape) for tensor in tf.nest.flatten(layer.input)] if layer.inbound_nodes else []
        if layer.weights and shapes:
            copy.build(shapes[0] if len(shapes) == 1 else shapes)
        copy_weights(layer, copy)
    return copy


def clamp_bounds(function: Any) -> tuple[float, float] | None:
    """Return the bounds of a function or layer min(max(x, low), high); None if it is another one."""
    bounds = relu_bounds(function)
    if bounds is not None:
        return None if bounds.negative_slope else (bounds.low, bounds.high)
    return (-1.0, 1.0) if function is lq.activations.hard_tanh else None


def elementwise_function(layer: keras.layers.Layer) -> Any:
    """Return the element-wise function that a layer computes, or a softmax; None if it is another one."""
    if clamp_bounds(layer) is not None:
        return layer
    if type(layer) is L.Activation:
        return layer.activation
    return keras.activations.softmax if type(layer) is L.Softmax and layer.axis == -1 else None


def is_operator(layer: keras.layers.Layer, symbol: str) -> bool:
    """Return whether a layer is an operator of TensorFlow that was used on Keras tensors."""
    return type(layer).__name__ == "TFOpLambda" and getattr(layer, "symbol", None) == symbol


def is_binary(layer: keras.layers.Layer) -> bool:
    """Return whether a layer of Larq has a quantizer."""
    names = ("input_quantizer", "kernel_quantizer", "depthwise_quantizer")
    return any(getattr(layer, name, None) is not None for name in names)


def is_binary_layer_of_larq(layer: keras.layers.Layer) -> bool:
    """Return whether a layer of Larq has signs for its input and its kernel."""
    quantizers = getattr(layer, "input_quantizer", None), getattr(layer, "kernel_quantizer", None)
    known = type(layer) in (lq.layers.QuantConv2D, lq.layers.QuantDense) and is_channels_last(layer)
    return known and all(getattr(quantizer, "precision", None) == 1 for quantizer in quantizers)


def is_channels_last(layer: keras.layers.Layer) -> bool:
    """Return whether a layer's channels are its last axis."""
    return getattr(layer, "data_format", "channels_last") == "channels_last"


def normalizes_channels(layer: keras.layers.Layer, call: LayerCall) -> bool:
    """Return whether a layer is a batch normalization, as Keras has it, of the last axis."""
    if not isinstance(layer, L.BatchNormalization) or type(layer).call is not L.BatchNormalization.call:
        return False
    axes = layer.axis if isinstance(layer.axis, (list, tuple)) else [layer.axis]
    return len(axes) == 1 and axes[0] in (-1, len(call.input_shapes[0]) - 1)


def normalization(layer: keras.layers.BatchNormalization) -> tuple[np.ndarray, np.ndarray]:
    """Return scale and shift of a batch normalization at inference."""
    scale = 1 / np.sqrt(as_array(layer.moving_variance) + layer.epsilon)
    scale = scale if layer.gamma is None else scale * as_array(layer.gamma)
    shift = -scale * as_array(layer.moving_mean)
    return scale, shift if layer.beta is None else shift + as_array(layer.beta)


def sample_normalization(layer: keras.layers.Layer, call: LayerCall) -> Callable | None:
    """Return what a layer or group normalization of the last axis computes of a tensor, before its scale and shift; or None.

    Keras writes them with the number of samples as a tensor, so that a file has some ten operators more, and group
    normalizations some that TFLite cannot run.
    """
    last = len(call.input_shapes[0]) - 1
    axes = layer.axis if isinstance(getattr(layer, "axis", None), (list, tuple)) else [getattr(layer, "axis", None)]
    if len(axes) != 1 or axes[0] not in (-1, last):
        return None
    if type(layer) is L.LayerNormalization:
        return lambda inputs: _normalized(inputs, [-1], layer.epsilon)
    if type(layer) is not L.GroupNormalization or None in sample_shape(call):
        return None
    shape = tuple(int(size or 0) for size in sample_shape(call))
    groups = shape[-1] if layer.groups == -1 else layer.groups

    def of_groups(inputs: Any) -> Any:
        grouped = tf.reshape(inputs, (-1, math.prod(shape[:-1]), groups, shape[-1] // groups))
        return tf.reshape(_normalized(grouped, [1, 3], layer.epsilon), (-1, *shape))

    return of_groups


def _normalized(inputs: Any, axes: list[int], epsilon: float) -> Any:
    centred = inputs - tf.reduce_mean(inputs, axes, keepdims=True)
    return centred * tf.math.rsqrt(tf.reduce_mean(tf.square(centred), axes, keepdims=True) + epsilon)


def geometry_of(layer: keras.layers.Layer) -> dict[str, Any]:
    """Return strides, dilation and padding of a convolution."""
    return {"strides": tuple(layer.strides), "dilation": tuple(layer.dilation_rate), "padding": layer.padding}


def kernel_of(layer: keras.layers.Layer) -> np.ndarray:
    """Return the kernel of a float layer, float64."""
    return as_array(layer.depthwise_kernel if isinstance(layer, DEPTHWISE) else layer.kernel)


def latent_or_binary(layer: BinaryLayer, kernel_is_binary: bool) -> np.ndarray:
    """Return the kernel that a layer in the middle of its binarization computes with."""
    kernel = layer.latent_kernel
    return as_array(layer.kernel_quantizer(kernel) if kernel_is_binary else kernel)


def as_array(values: Any) -> np.ndarray:
    """Return a variable or tensor as float64."""
    return np.asarray(tf.convert_to_tensor(values), np.float64)


def sample_shape(call: LayerCall) -> Shape:
    """Return the shape of a call's first output, without the batch."""
    return tuple(call.output_shapes[0][1:])
