"""What a Keras layer is: its function, geometry and constants, as a layer of Keras or as an operator."""

import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from bitat_tf.export.lowering.steps import Shape
from bitat_tf.layers import BinaryLayer
from bitat_tf.model_graph import LayerCall, relu_bounds
from bitat_tf.quantizers import hard_tanh

L = keras.layers
DEPTHWISE = (L.DepthwiseConv2D,)
FLOAT_KERNELS = (*DEPTHWISE, L.Conv2D, L.Dense)
_WITHOUT_EFFECT = (
    L.Dropout,
    L.SpatialDropout1D,
    L.SpatialDropout2D,
    L.SpatialDropout3D,
    L.GaussianNoise,
    L.GaussianDropout,
    L.AlphaDropout,
    L.ActivityRegularization,
    # Keras' augmentations, but for RandomCrop, leave what they are given as it is at inference; not every Keras 3 has all.
    *(
        getattr(L, name)
        for name in (
            *("AugMix", "CutMix", "MixUp", "RandAugment", "RandomBrightness", "RandomColorDegeneration", "RandomColorJitter"),
            *("RandomContrast", "RandomElasticTransform", "RandomErasing", "RandomFlip", "RandomGaussianBlur"),
            *("RandomGrayscale", "RandomHue", "RandomInvert", "RandomPerspective", "RandomPosterization", "RandomRotation"),
            *("RandomSaturation", "RandomSharpness", "RandomShear", "RandomTranslation", "RandomZoom"),
        )
        if hasattr(L, name)
    ),
)


def _operator(function: Callable, *tensors: Any) -> type:
    """Return the class of what a function of `keras.ops` becomes in a model's graph."""
    return type(function(*tensors)._keras_history.operation)


_TENSOR = keras.KerasTensor((1, 2))
ADD = _operator(keras.ops.add, _TENSOR, _TENSOR)
_CAST = _operator(keras.ops.cast, _TENSOR, "float16")
_SOFTMAX = _operator(keras.ops.softmax, _TENSOR)
# Functions of one tensor that have the same name and no settings as an operator.
_FUNCTIONS = {
    _operator(getattr(keras.ops, name), _TENSOR): getattr(keras.activations, name) for name in ("sigmoid", "softplus", "tanh")
}


def without_effect(layer: Any) -> bool:
    """Return whether a layer does nothing at inference."""
    return type(layer) in _WITHOUT_EFFECT


def is_cast(layer: Any) -> bool:
    """Return whether a layer is an operator that makes another kind of floats of a tensor."""
    return type(layer) is _CAST and tf.as_dtype(getattr(layer, "dtype", None)).is_floating


def clamp_bounds(function: Any) -> tuple[float, float] | None:
    """Return the bounds of a function or layer min(max(x, low), high); None if it is another one."""
    bounds = relu_bounds(function)
    if bounds is not None:
        return None if bounds.negative_slope else (bounds.low, bounds.high)
    return (-1.0, 1.0) if function is hard_tanh else None


def elementwise_function(layer: keras.layers.Layer) -> Any:
    """Return the element-wise function that a layer computes, or a softmax; None if it is another one."""
    if clamp_bounds(layer) is not None:
        return layer
    if type(layer) is L.Activation:
        return layer.activation
    if type(layer) in (L.Softmax, _SOFTMAX):
        return keras.activations.softmax if layer.axis == -1 else None
    return _FUNCTIONS.get(type(layer))


def is_quantized(layer: keras.layers.Layer) -> bool:
    """Return whether Keras itself has made a layer's kernel one of integers."""
    return getattr(layer, "quantization_mode", None) is not None


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
    return as_array(layer.kernel)


def latent_or_binary(layer: BinaryLayer, kernel_is_binary: bool) -> np.ndarray:
    """Return the kernel that a layer in the middle of its binarization computes with."""
    kernel = layer.latent_kernel
    return as_array(layer.quantized_kernel(kernel) if kernel_is_binary else kernel)


def as_array(values: Any) -> np.ndarray:
    """Return a variable or tensor as float64."""
    return keras.ops.convert_to_numpy(values).astype(np.float64)


def sample_shape(call: LayerCall) -> Shape:
    """Return the shape of a call's first output, without the batch."""
    return tuple(call.output_shapes[0][1:])
