"""Binary layers in place of float ones: the same arguments, the same outputs in float state."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from bitat_tf.layers import BinaryConv2D, BinaryDense
from bitat_tf.model_graph import Names
from bitat_tf.regularizers import DisentangledRegularizer

# What a Conv2D has and a depthwise convolution calls otherwise, or has not.
_FROM_DEPTHWISE = {
    "kernel_initializer": "depthwise_initializer",
    "kernel_regularizer": "depthwise_regularizer",
    "kernel_constraint": "depthwise_constraint",
}
_ONLY_DEPTHWISE = ("depth_multiplier", "filters", "groups", *_FROM_DEPTHWISE.values())


class Replacement:
    """One or two binary layers that compute what a float layer does.

    Args:
        layer: The built float layer: a `Conv2D`, `Dense`, `DepthwiseConv2D` or `SeparableConv2D`.
        config: Its configuration, with the name and the activation that the binary layer gets.
        regularizer: Copied for every binary layer; None for the default.
        names: Of the model, for a further layer.

    Attributes:
        layers: The binary layers, to be called one after the other.
    """

    def __init__(
        self, layer: keras.layers.Layer, config: dict[str, Any], regularizer: DisentangledRegularizer | None, names: Names
    ):
        self._layer = layer
        self._config = config
        self._regularizer = regularizer
        self.layers: list[BinaryConv2D | BinaryDense]
        if isinstance(layer, keras.layers.SeparableConv2D):
            first = {"name": names.free(f"{layer.name}_depthwise"), "use_bias": False}
            self.layers = [self._full_convolution(**first, activation=None, activity_regularizer=None), self._pointwise()]
        elif isinstance(layer, keras.layers.DepthwiseConv2D):
            self.layers = [self._full_convolution()]
        else:
            kind = BinaryDense if isinstance(layer, keras.layers.Dense) else BinaryConv2D
            self.layers = [self._make(kind, dict(config))]

    def __call__(self, inputs):
        """Call the binary layers one after the other."""
        for layer in self.layers:
            inputs = layer(inputs)
        return inputs

    def take_weights(self) -> None:
        """Give the binary layers, once they are built, the weights of the float layer."""
        layer = self._layer
        if isinstance(layer, keras.layers.SeparableConv2D):
            self.layers[0].kernel.assign(full_kernel(layer.depthwise_kernel.numpy()))
            self.layers[1].kernel.assign(layer.pointwise_kernel)
        elif isinstance(layer, keras.layers.DepthwiseConv2D):
            self.layers[0].kernel.assign(full_kernel(layer.kernel.numpy()))
        else:
            self.layers[0].kernel.assign(layer.kernel)
        if layer.use_bias:
            self.layers[-1].bias.assign(layer.bias)

    def _make(self, kind: Callable, config: dict) -> BinaryConv2D | BinaryDense:
        if self._regularizer is not None:
            own = DisentangledRegularizer.from_config(self._regularizer.get_config())
            config["disentangled_regularizer"] = own
        return kind(**config)

    def _full_convolution(self, **changes: Any) -> BinaryConv2D:
        """Return the full convolution of a depthwise one: zero where a filter did not look."""
        dropped = (*_ONLY_DEPTHWISE, *(name for name in self._config if name.startswith("pointwise")))
        config = {name: value for name, value in self._config.items() if name not in dropped}
        kernel = {ours: self._config[theirs] for ours, theirs in _FROM_DEPTHWISE.items()}
        filters = int(np.prod(_depthwise_kernel(self._layer).shape[2:]))
        return self._make(BinaryConv2D, {**config, **kernel, "filters": filters, **changes})

    def _pointwise(self) -> BinaryConv2D:
        config = self._config
        bias = ("use_bias", "bias_initializer", "bias_regularizer", "bias_constraint")
        kept = ("name", "trainable", "dtype", "filters", "activation", "activity_regularizer", *bias)
        pointwise = {f"kernel_{what}": config[f"pointwise_{what}"] for what in ("initializer", "regularizer", "constraint")}
        own = {name: config[name] for name in kept if name in config}
        return self._make(BinaryConv2D, {**own, **pointwise, "kernel_size": 1})


def _depthwise_kernel(layer: keras.layers.Layer) -> Any:
    return layer.depthwise_kernel if isinstance(layer, keras.layers.SeparableConv2D) else layer.kernel


def full_kernel(depthwise: np.ndarray) -> np.ndarray:
    """Return the kernel of the full convolution that computes what a depthwise one does.

    Args:
        depthwise: Shape (kh, kw, channels, multiplier).

    Returns:
        Shape (kh, kw, channels, channels * multiplier), zero but for input channel c of filters c * multiplier + q.

    Examples:
        >>> full_kernel(np.array([[[[2.0], [3.0]]]]))[0, 0]
        array([[2., 0.],
               [0., 3.]])
    """
    height, width, channels, multiplier = depthwise.shape
    full = np.zeros((height, width, channels, channels, multiplier), depthwise.dtype)
    every = np.arange(channels)
    full[:, :, every, every] = depthwise
    return full.reshape(height, width, channels, channels * multiplier)
