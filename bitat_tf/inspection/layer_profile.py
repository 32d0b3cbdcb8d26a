"""Parameters and multiply-accumulates of a layer call, and the size of a file, about."""

import math
from dataclasses import dataclass
from typing import Any

import keras

from bitat_tf.inspection.kernel_layers import float_operator, is_binary
from bitat_tf.layers import RPReLU, device_weights
from bitat_tf.model_graph import Shape

_BYTES_OF_A_CALL = 200
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


def layer_parameters(layer: keras.layers.Layer, binary_kernel: bool) -> Parameters:
    """Return the parameters of a layer as the device keeps them: batch normalization counts as the two vectors it becomes.

    The flags that say whether a layer is binary are not counted. A float layer that is to become binary gets thresholds.

    Args:
        layer: A built layer.
        binary_kernel: Whether its kernel takes one bit a weight on the device.

    Examples:
        >>> layer = bitat_tf.layers.BinaryConv2D(8, 3)
        >>> layer.build((None, 4, 4, 2))
        >>> layer_parameters(layer, binary_kernel=True)
        Parameters(binary=144, floats=10, trainable=154)
    """
    weights = device_weights(layer)
    if isinstance(layer, keras.layers.BatchNormalization):
        weights = [layer.moving_mean, layer.moving_variance]  # as large as the factor and the summand
    count = sum(math.prod(weight.shape) for weight in weights)
    trainable = sum(math.prod(weight.shape) for weight in getattr(layer, "trainable_weights", ()))
    if not binary_kernel:
        return Parameters(0, count, trainable)
    binary = math.prod(layer.kernel.shape)
    thresholds = 0 if is_binary(layer) else layer.kernel.shape[-2] * getattr(layer, "groups", 1)
    return Parameters(binary, count - binary + thresholds, trainable)


def estimate_file_size(weight_bytes: int, calls: int) -> int:
    """Return about how many bytes the file of a model has: its weights, and 200 bytes for what a layer call adds to the graph.

    Within 10 % for files above 100 kB; below, names and versions in the file, which are not counted, weigh more.

    Args:
        weight_bytes: What all weights take on the device.
        calls: Number of layer calls.

    Examples:
        >>> estimate_file_size(10_000, calls=5)
        11000
    """
    return weight_bytes + _BYTES_OF_A_CALL * calls


def input_precision(layer: keras.layers.Layer) -> int | None:
    """Return the bits of the inputs that a layer's kernel multiplies with, once it is binary; None for layers without a kernel.

    Examples:
        >>> input_precision(keras.layers.Dense(3)), input_precision(bitat_tf.layers.BinaryDense(3))
        (32, 1)
    """
    if float_operator(layer) is None:
        return None
    return 1 if is_binary(layer) else 32


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
        return _times(pixels, layer.kernel)
    if isinstance(layer, _CONVOLUTIONS):
        return _times(pixels, layer.kernel)  # that of a grouped one has the channels of one group
    if isinstance(layer, keras.layers.Dense):
        return _times(_known_product(input_shape[1:-1]), layer.kernel)
    holds_matrices = any(len(weight.shape) > 1 for weight in getattr(layer, "trainable_weights", ()))
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
