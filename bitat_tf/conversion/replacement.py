"""Binary layers in place of float ones: the same arguments, the same outputs in float state."""

from collections.abc import Callable

import numpy as np

from bitat_tf._keras import keras
from bitat_tf.layers import BinaryConv2D, BinaryDense
from bitat_tf.model_graph import config_with_activation
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
        regularizer: Copied for every binary layer; None for the default.
        linear: Whether the layer's activation is left out, as another layer takes its place.
        name: Name of the binary layer.
        unique: Makes the name of a further layer unique in the model.

    Attributes:
        layers: The binary layers, to be called one after the other.
    """

    def __init__(
        self,
        layer: keras.layers.Layer,
        regularizer: DisentangledRegularizer | None,
        linear: bool,
        name: str,
        unique: Callable[[str], str],
    ):
        self._layer = layer
        self._config = {**config_with_activation(layer), "name": name}
        self._unique = unique
        self._regularizer = regularizer
        self._activation = {"activation": None} if linear else {}
        self.layers: list[BinaryConv2D | BinaryDense]
        if isinstance(layer, keras.layers.SeparableConv2D):
            self.layers = [self._full_convolution(), self._pointwise()]
        elif isinstance(layer, keras.layers.DepthwiseConv2D):
            self.layers = [self._full_convolution()]
        else:
            kind = BinaryDense if isinstance(layer, keras.layers.Dense) else BinaryConv2D
            self.layers = [self._make(kind, {**self._config, **self._activation})]

    def __call__(self, inputs):
        """Call the binary layers one after the other."""
        for layer in self.layers:
            inputs = layer(inputs)
        return inputs

    def copy_weights(self) -> None:
        """Give the binary layers, once they are built, the weights of the float layer."""
        layer = self._layer
        if isinstance(layer, keras.layers.SeparableConv2D):
            self.layers[0].kernel.assign(full_kernel(layer.depthwise_kernel.numpy()))
            self.layers[1].kernel.assign(layer.pointwise_kernel)
        elif isinstance(layer, keras.layers.DepthwiseConv2D):
            self.layers[0].kernel.assign(full_kernel(layer.depthwise_kernel.numpy()))
        else:
            self.layers[0].kernel.assign(layer.kernel)
        if layer.use_bias:
            self.layers[-1].bias.assign(layer.bias)

    def _make(self, kind: Callable, config: dict) -> BinaryConv2D | BinaryDense:
        if self._regularizer is not None:
            own = DisentangledRegularizer.from_config(self._regularizer.get_config())
            config["disentangled_regularizer"] = own
        return kind(**config)

    def _full_convolution(self) -> BinaryConv2D:
        """Return the full convolution of a depthwise one: zero where a filter did not look."""
        layer = self._layer
        config = dict(self._config)
        separable = isinstance(layer, keras.layers.SeparableConv2D)
        kernel = {ours: config[theirs] for ours, theirs in _FROM_DEPTHWISE.items()}
        for name in (*_ONLY_DEPTHWISE, *(name for name in config if name.startswith("pointwise"))):
            config.pop(name, None)
        config.update(kernel, filters=int(np.prod(layer.depthwise_kernel.shape[2:])), **self._activation)
        if separable:
            name = self._unique(f"{layer.name}_depthwise")
            config.update(name=name, use_bias=False, activation=None, activity_regularizer=None)
        return self._make(BinaryConv2D, config)

    def _pointwise(self) -> BinaryConv2D:
        config = self._config
        bias = ("use_bias", "bias_initializer", "bias_regularizer", "bias_constraint")
        kept = ("name", "trainable", "dtype", "filters", "activation", "activity_regularizer", *bias)
        pointwise = {f"kernel_{what}": config[f"pointwise_{what}"] for what in ("initializer", "regularizer", "constraint")}
        own = {name: config[name] for name in kept if name in config}
        return self._make(BinaryConv2D, {**own, **pointwise, "kernel_size": 1, **self._activation})


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
