"""The network without any schedule state: its signs and kernels as TensorFlow's own operators and constants."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from bitat_tf._validation import check_model
from bitat_tf.export.ends import as_model_takes, input_names
from bitat_tf.export.lowering.binary_kernel import gives_signs
from bitat_tf.export.lowering.layer_kinds import as_array
from bitat_tf.export.padding import trimmed_paddings
from bitat_tf.layers import BinaryConv2D, BinaryDense, BinaryLayer, required_binary_layers
from bitat_tf.model_graph import CallGraph, Substitute, float32_config, rebuilt
from bitat_tf.quantizers import RSign

_SMALLEST_SCALE = 1.5e-7  # above the float32 epsilon: see `revive_dead_channels`


class PlainLayer(keras.layers.Layer):
    """What a binary layer computes in its state of now, with constants in the places of its weights.

    Signs are sign(sign(x) + 0.1), which larq-compute-engine's converter knows, as it does a kernel of +-alpha and a border of
    ones. A dense layer on signs is a 1x1 convolution, since there is a binary kernel for that one only.

    Args:
        layer: A binary layer.

    Attributes:
        is_binary: Whether its input and its kernel are binary.
    """

    def __init__(self, layer: Any):
        super().__init__(name=layer.name, dtype="float32")
        self.is_binary = layer.state == "binary"
        self._computation = _computation(layer)
        self._output_shape = layer.compute_output_shape

    def compute_output_shape(self, input_shape):
        """Return the shape of the output, or Keras would trace `call`, with sparse tensors after `2.0 * x`."""
        return self._output_shape(input_shape)

    def call(self, inputs):
        """Return what the layer computes."""
        return self._computation(inputs)


def to_plain_network(model: keras.Model, allow_partial: bool = False) -> keras.Model:
    """Return a copy of a binarized model without any state of a schedule, with the same outputs.

    Each `BinaryConv2D` and `BinaryDense` becomes a `PlainLayer`: signs, and a convolution with a constant kernel of +-alpha.
    Layers that are still float have their `float_activation` before the kernel. The copy is of float32, layers of mixed
    precision in the model too; it is there to be called or converted, with TensorFlow, not to be trained or saved.

    Args:
        model: A functional or sequential model.
        allow_partial: Whether binary layers that are not binarized yet may stay float.

    Raises:
        ValueError: If the model is neither functional nor sequential, has no binary layers, or some are not binarized and
            `allow_partial` is False.
        TypeError: If it is no Keras 3 model.
    """
    check_model(model, "to_plain_network")
    layers = required_binary_layers("to_plain_network", model)
    missing = [f"{layer.name} ({layer.state})" for layer in layers if layer.state != "binary"]
    if missing and not allow_partial:
        raise ValueError(
            f"to_plain_network: every binary layer must be binarized. Received: {len(missing)} of {len(layers)} that are not: "
            f"{', '.join(missing[:10])}{', ...' if len(missing) > 10 else ''}. Finish the schedule, call `layer.set_binary()`, "
            "or pass allow_partial=True to leave them float."
        )
    paddings = trimmed_paddings(model)

    def plain_layer(layer: keras.layers.Layer) -> keras.layers.Layer | Substitute | None:
        if isinstance(layer, BinaryLayer):
            return Substitute(PlainLayer(layer))
        if id(layer) in paddings:
            return keras.layers.ZeroPadding2D.from_config(
                {**float32_config(layer.get_config()), "padding": paddings[id(layer)]}
            )
        return None

    return rebuilt(model, plain_layer, in_float32=True)


def plain_function(plain: keras.Model, batch: int | None = None) -> tuple[Any, tf.Module]:
    """Return a plain network at inference as a concrete function, and what holds its variables.

    Args:
        plain: From `to_plain_network`, or another functional model.
        batch: Number of samples that the function takes. Default: any.
    """
    kinds = zip(plain.inputs, input_names(plain), strict=True)
    signature = [tf.TensorSpec((batch, *tensor.shape[1:]), tensor.dtype, name=name) for tensor, name in kinds]

    @tf.function(autograph=False)
    def network(*inputs):
        return [tf.identity(output) for output in keras.tree.flatten(plain(as_model_takes(plain, inputs), training=False))]

    function = network.get_concrete_function(*signature)
    holder = tf.Module()
    holder.held = list(function.graph.variables)
    holder.network = network
    return function, holder


def revive_dead_channels(kernel: np.ndarray) -> np.ndarray:
    """Return a latent kernel, output channels last, whose scales larq-compute-engine's converter can tell from 0.

    It takes a kernel with a scale alpha = mean|w| below the float32 epsilon for a float one: a single dead channel, as
    pruning or a ReLU leaves it, would make the whole layer float. Such channels keep their signs at a scale just above.

    Args:
        kernel: Shape (..., m).

    Examples:
        >>> revive_dead_channels(np.array([[0.0, 0.5], [-1e-9, 2.0]]))
        array([[ 1.5e-07,  5.0e-01],
               [-1.5e-07,  2.0e+00]])
    """
    dead = np.abs(kernel).mean(axis=tuple(range(kernel.ndim - 1))) < _SMALLEST_SCALE
    return np.where(dead, np.where(kernel >= 0, _SMALLEST_SCALE, -_SMALLEST_SCALE), kernel).astype(kernel.dtype)


def count_binary_operators(plain: keras.Model) -> int:
    """Return how many binary convolutions the file of a plain network holds at least: what is the same is computed once."""
    layers = {id(call.layer): call.layer for call in CallGraph(plain).calls}
    return sum(isinstance(layer, PlainLayer) and layer.is_binary for layer in layers.values())


def _computation(layer: BinaryLayer) -> Callable[[Any], Any]:
    input_is_binary, kernel_is_binary = (bool(as_array(flag)) for flag in (layer.input_is_binary, layer.kernel_is_binary))
    kernel = layer.latent_kernel
    if kernel_is_binary:
        kernel = layer.quantized_kernel(revive_dead_channels(kernel))
    kernel = np.asarray(kernel, np.float32)
    bias = np.asarray(as_array(layer.bias), np.float32) if layer.use_bias else None
    activation = layer.activation
    quantized = _sign_function(layer) if input_is_binary else layer.float_activation
    if isinstance(layer, BinaryConv2D):
        convolved = _convolution(layer, kernel, input_is_binary)
    elif isinstance(layer, BinaryDense):
        convolved = _pixels(kernel) if input_is_binary else _rows(kernel)
    else:
        raise TypeError(f"to_plain_network: no plain form is known of layer {layer.name!r} of type {type(layer).__name__}.")

    def compute(inputs: Any) -> Any:
        def finished(sums: Any) -> Any:
            sums = sums if bias is None else tf.nn.bias_add(sums, bias)
            return sums if activation is None else activation(sums)

        return convolved(inputs, quantized or (lambda values: values), finished)

    return compute


def _sign_function(layer: BinaryLayer) -> Callable[[Any], Any]:
    quantizer = layer.input_quantizer
    threshold = np.asarray(as_array(quantizer.threshold), np.float32) if type(quantizer) is RSign else None
    if threshold is None and not gives_signs(quantizer):
        return quantizer

    def sign(inputs: Any) -> Any:
        sums = inputs if threshold is None else inputs + threshold
        return tf.sign(tf.sign(sums) + 0.1)

    return sign


def _convolution(layer: BinaryConv2D, kernel: np.ndarray, input_is_binary: bool) -> Callable:
    strides, dilations = tuple(layer.strides), tuple(layer.dilation_rate)
    value = float(layer.pad_values) if input_is_binary and layer.padding == "same" else 0.0

    def compute(inputs: Any, quantized: Callable, finished: Callable) -> Any:
        inputs, padding = quantized(inputs), layer.padding.upper()
        if value:
            sides = layer.geometry(binary=True).paddings(*inputs.shape[1:3])
            inputs, padding = tf.pad(inputs, [(0, 0), *sides, (0, 0)], constant_values=value), "VALID"
        return finished(tf.nn.conv2d(inputs, kernel, strides, padding, dilations=dilations))

    return compute


def _pixels(kernel: np.ndarray) -> Callable:
    def compute(inputs: Any, quantized: Callable, finished: Callable) -> Any:
        # The reshape comes before the sign: between sign and convolution it would keep the two from being fused.
        pixels = quantized(tf.reshape(inputs, (-1, 1, 1, len(kernel))))
        outputs = finished(tf.nn.conv2d(pixels, kernel[None, None], 1, "VALID"))
        return tf.reshape(outputs, (-1, *inputs.shape[1:-1], kernel.shape[-1]))

    return compute


def _rows(kernel: np.ndarray) -> Callable:
    def compute(inputs: Any, quantized: Callable, finished: Callable) -> Any:
        inputs = quantized(inputs)
        rows = inputs if len(inputs.shape) == 2 else tf.reshape(inputs, (-1, len(kernel)))
        outputs = finished(tf.matmul(rows, kernel))
        return outputs if rows is inputs else tf.reshape(outputs, (-1, *inputs.shape[1:-1], kernel.shape[-1]))

    return compute
