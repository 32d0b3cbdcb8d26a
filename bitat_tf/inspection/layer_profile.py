"""Parameters and multiply-accumulates of a layer call."""

import math
from dataclasses import dataclass
from typing import Any

import larq as lq

from bitat_tf._keras import keras
from bitat_tf.inspection.float_layers import float_operator
from bitat_tf.layers import BinaryLayer, RPReLU
from bitat_tf.model_graph import Shape

_FLAGS = ("input_is_binary", "kernel_is_binary")
_TRANSPOSED = (keras.layers.Conv1DTranspose, keras.layers.Conv2DTranspose, keras.layers.Conv3DTranspose)
_CONVOLUTIONS = (keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D)
_DEPTHWISE = (keras.layers.DepthwiseConv1D, keras.layers.DepthwiseConv2D)
_SEPARABLE = (keras.layers.SeparableConv1D, keras.layers.SeparableConv2D)


@dataclass(frozen=True)
class Parameters:
    """Numbers of parameters of a layer as it runs on the device.

    Attributes:
        binary: Those that take 1 bit.
        floats: Those that take 32 bits.
        trainable: Those of both that training changes.
    """

    binary: int
    floats: int
    trainable: int

    @property
    def count(self) -> int:
        """Number of parameters."""
        return self.binary + self.floats

    @property
    def bits(self) -> int:
        """Bits that they take."""
        return self.binary + 32 * self.floats


class _Profile(lq.models.LayerProfile):
    """Larq's profile of the weights only: it asks layers for their one output shape, which not every layer has."""

    output_pixels = None


def layer_parameters(layer: keras.layers.Layer, binary_kernel: bool) -> Parameters:
    """Return the parameters of a layer, from Larq's profile of it: batch normalization counts as the two vectors it becomes.

    The flags that say whether a layer is binary are not counted.

    Args:
        layer: A built layer.
        binary_kernel: Whether the device computes with its bits: weights that are binary for training, but run in a float
            kernel, take 32 bits each.

    Examples:
        >>> layer = bitat_tf.layers.BinaryConv2D(8, 3)
        >>> layer.build((None, 4, 4, 2))
        >>> layer_parameters(layer, binary_kernel=True)
        Parameters(binary=144, floats=10, trainable=154)
    """
    profiles = [profile for profile in _Profile(layer).weight_profiles if not _is_flag(layer, profile._weight)]
    binary = sum(profile.count for profile in profiles if binary_kernel and profile.bitwidth == 1)
    # Not Larq's: of batch normalization it keeps the two vectors that are not trained.
    trainable = sum(math.prod(weight.shape) for weight in layer.trainable_weights)
    return Parameters(binary, sum(profile.count for profile in profiles) - binary, trainable)


def input_precision(layer: keras.layers.Layer) -> int | None:
    """Return the bits of the inputs that a layer's kernel multiplies with, once it is binary; None for layers without a kernel.

    Examples:
        >>> input_precision(keras.layers.Dense(3)), input_precision(bitat_tf.layers.BinaryDense(3))
        (32, 1)
    """
    if float_operator(layer) is None:
        return None
    return getattr(getattr(layer, "input_quantizer", None), "precision", 32)


def _is_flag(layer: keras.layers.Layer, weight: object) -> bool:
    return isinstance(layer, BinaryLayer) and any(weight is getattr(layer, name) for name in _FLAGS)


def call_macs(layer: keras.layers.Layer, input_shape: Shape, output_shape: Shape) -> int | None:
    """Return the multiply-accumulates of one call of a layer; 0 for layers without kernels, None where it is not known.

    Args:
        layer: A built layer.
        input_shape: Shape of its first input, the batch included.
        output_shape: That of its first output.

    Examples:
        >>> layer = keras.layers.Conv2D(8, 3, groups=2)
        >>> layer.build((None, 6, 6, 4))
        >>> call_macs(layer, (None, 6, 6, 4), (None, 4, 4, 8)), 4 * 4 * 8 * 3 * 3 * 2
        (2304, 2304)
    """
    pixels, input_pixels = _pixels(layer, output_shape), _pixels(layer, input_shape)
    if isinstance(layer, _TRANSPOSED):
        return _times(input_pixels, layer.kernel)  # each input pixel is spread over the kernel
    if isinstance(layer, _SEPARABLE):
        return _times(pixels, layer.depthwise_kernel, layer.pointwise_kernel)
    if isinstance(layer, _DEPTHWISE):
        return _times(pixels, layer.depthwise_kernel)
    if isinstance(layer, _CONVOLUTIONS):
        return _times(pixels, layer.kernel)  # that of a grouped one has the channels of one group
    if isinstance(layer, keras.layers.Dense):
        return _times(_known_product(input_shape[1:-1]), layer.kernel)
    holds_matrices = any(len(weight.shape) > 1 for weight in layer.trainable_weights)
    without_products = isinstance(layer, (keras.layers.PReLU, keras.layers.Embedding, RPReLU))
    return None if holds_matrices and not without_products else 0


def _pixels(layer: keras.layers.Layer, shape: Shape) -> int | None:
    first = getattr(layer, "data_format", "channels_last") == "channels_first"
    return _known_product(shape[2:] if first else shape[1:-1])


def _known_product(sizes: Shape) -> int | None:
    known = [size for size in sizes if size is not None]
    return math.prod(known) if len(known) == len(sizes) else None


def _times(pixels: int | None, *kernels: Any) -> int | None:
    return None if pixels is None else pixels * sum(math.prod(kernel.shape) for kernel in kernels)
