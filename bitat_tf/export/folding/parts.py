"""What of a layer can take up a constant per channel, at its input or at its output, without a change of what it computes."""

from abc import ABC, abstractmethod

import larq as lq
import numpy as np

from bitat_tf._keras import keras, tf
from bitat_tf.export.plain import PointwiseQuantDense
from bitat_tf.layers import RPReLU
from bitat_tf.model_graph import config_with_activation
from bitat_tf.quantizers import RSign

_SIGNS = (lq.quantizers.SteSign, lq.quantizers.ApproxSign, lq.quantizers.SwishSign)
_DENSE = (keras.layers.Dense, lq.layers.QuantDense, PointwiseQuantDense)
_DEPTHWISE = (keras.layers.DepthwiseConv2D, lq.layers.QuantDepthwiseConv2D)
_CONVOLUTIONS = (keras.layers.Conv2D, lq.layers.QuantConv2D)


class Part(ABC):
    """A layer as what it computes with, in float64; `layer` stays as it is, `rebuilt` is the changed one."""

    def __init__(self, layer: keras.layers.Layer):
        self.layer = layer

    def takes_input(self) -> bool:
        """Return whether `lower_input` can be called."""
        return False

    def lower_input(self, shift: np.ndarray) -> None:
        """Keep the outputs for inputs that are lower by `shift`, shape (channels,), than before."""
        raise NotImplementedError

    def takes_output(self) -> bool:
        """Return whether `raise_output` can be called."""
        return False

    def raise_output(self, shift: np.ndarray) -> None:
        """Make the outputs higher by `shift`, shape (channels,)."""
        raise NotImplementedError

    @abstractmethod
    def rebuilt(self) -> keras.layers.Layer:
        """Return the changed layer, not built."""

    @abstractmethod
    def set_weights(self, layer: keras.layers.Layer) -> None:
        """Give the changed layer, built, its weights."""


class Normalization(Part):
    """A batch normalization: gamma (x - mean) / sqrt(variance + epsilon) + beta."""

    def __init__(self, layer: keras.layers.BatchNormalization):
        super().__init__(layer)
        self.mean, self.variance = _array(layer.moving_mean), _array(layer.moving_variance)
        self.gamma = np.ones_like(self.mean) if layer.gamma is None else _array(layer.gamma)
        self.beta = np.zeros_like(self.mean) if layer.beta is None else _array(layer.beta)

    def takes_input(self) -> bool:
        """Return True."""
        return True

    def lower_input(self, shift: np.ndarray) -> None:
        """Lower the mean."""
        self.mean -= shift

    def takes_output(self) -> bool:
        """Return True."""
        return True

    def raise_output(self, shift: np.ndarray) -> None:
        """Raise beta."""
        self.beta += shift

    def scale_input(self, scale: np.ndarray) -> None:
        """Keep the outputs for inputs that were divided by `scale`, shape (channels,), > 0."""
        self.gamma, self.mean = self.gamma * scale, self.mean / scale

    def rebuilt(self) -> keras.layers.Layer:
        """Return a normalization with scale and center."""
        return type(self.layer).from_config({**self.layer.get_config(), "scale": True, "center": True})

    def set_weights(self, layer: keras.layers.Layer) -> None:
        """Set the four vectors."""
        layer.set_weights([self.gamma, self.beta, self.mean, self.variance])


class ShiftedPReLU(Part):
    """An `RPReLU`: PReLU(x - before) + after."""

    def __init__(self, layer: RPReLU):
        super().__init__(layer)
        self.before, self.after = _array(layer.shift_before), _array(layer.shift_after)

    def takes_input(self) -> bool:
        """Return True."""
        return True

    def lower_input(self, shift: np.ndarray) -> None:
        """Lower the first shift."""
        self.before -= shift

    def rebuilt(self) -> keras.layers.Layer:
        """Return a layer of the shifts that are left, a `PReLU` if none is."""
        config = keras.layers.Layer.get_config(self.layer)
        axes = list(range(1, len(self.layer.prelu.alpha.shape))) or None
        if not self.before.any() and not self.after.any():
            return keras.layers.PReLU(shared_axes=axes, **config)
        return PartlyShiftedPReLU(bool(self.before.any()), bool(self.after.any()), **config)

    def set_weights(self, layer: keras.layers.Layer) -> None:
        """Set the slopes and the shifts that are left."""
        shifts = [shift for shift in (self.before, self.after) if shift.any()]
        layer.set_weights([*shifts, self.layer.prelu.alpha.numpy()])


@keras.saving.register_keras_serializable(package="bitat_tf")
class PartlyShiftedPReLU(keras.layers.Layer):
    """`RPReLU` with one of its shifts only: adding zeros would be an operator all the same.

    Args:
        before, after: Which shift is there.
        **kwargs: Keyword arguments of a Keras layer.
    """

    def __init__(self, before: bool, after: bool, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True
        self.before, self.after = before, after
        self.prelu: keras.layers.PReLU | None = None

    def build(self, input_shape):
        """Create shifts and slopes."""
        if self.before:
            self.shift_before = self.add_weight("shift_before", shape=(input_shape[-1],), initializer="zeros")
        if self.after:
            self.shift_after = self.add_weight("shift_after", shape=(input_shape[-1],), initializer="zeros")
        self.prelu = keras.layers.PReLU(shared_axes=list(range(1, len(input_shape) - 1)) or None, name="prelu")
        self.prelu.build(input_shape)
        super().build(input_shape)

    def call(self, inputs):
        """Return PReLU(inputs - before) + after."""
        outputs = self.prelu(inputs - self.shift_before if self.before else inputs)
        return outputs + self.shift_after if self.after else outputs

    def get_config(self):
        """Return the arguments of the constructor."""
        return {**super().get_config(), "before": self.before, "after": self.after}


class Convolution(Part):
    """A convolution or dense layer: a bias at its output; at its input a threshold, or the bias through a float kernel."""

    def __init__(self, layer: keras.layers.Layer):
        super().__init__(layer)
        quantizer = getattr(layer, "input_quantizer", None)
        self.bias = _array(layer.bias) if layer.use_bias else None
        self.threshold = _array(quantizer.threshold) if type(quantizer) is RSign else None
        self.is_sign = type(quantizer) in (RSign, *_SIGNS)
        self.scale: np.ndarray | None = None  # of the kernel, once it was taken out
        self._quantized = quantizer is not None

    def takes_input(self) -> bool:
        """Return whether there is a sign, or no padding with zeros between a float input and the kernel."""
        if self.is_sign or isinstance(self.layer, _DENSE):
            return self.is_sign or not self._quantized
        unpadded = self.layer.padding == "valid" or set(self.layer.kernel_size) == {1}
        return unpadded and not self._quantized and self.layer.data_format == "channels_last"

    def lower_input(self, shift: np.ndarray) -> None:
        """Raise the threshold of the sign, sign(x + threshold), or the bias by what the kernel makes of `shift`."""
        if self.is_sign:
            self.threshold = shift + (0 if self.threshold is None else self.threshold)
        else:
            self.raise_output(self._through_kernel(shift))

    def takes_output(self) -> bool:
        """Return whether no activation follows the bias."""
        linear = self.layer.activation in (None, keras.activations.linear)
        return linear and getattr(self.layer, "data_format", "channels_last") == "channels_last"

    def raise_output(self, shift: np.ndarray) -> None:
        """Raise the bias."""
        self.bias = shift + (0 if self.bias is None else self.bias)

    def kernel_scale(self) -> np.ndarray | None:
        """Return alpha of a binary kernel alpha * sign(w), shape (filters,); None if it is another one."""
        quantizer = getattr(self.layer, "kernel_quantizer", None)
        if type(quantizer) is not lq.quantizers.MagnitudeAwareSign or isinstance(self.layer, _DEPTHWISE):
            return None
        return np.abs(_array(self.layer.kernel)).mean(axis=tuple(range(self.layer.kernel.shape.rank - 1)))

    def rebuilt(self) -> keras.layers.Layer:
        """Return the layer with a bias and a threshold, where it has them now."""
        config = {**config_with_activation(self.layer), "use_bias": self.bias is not None}
        if self.is_sign:
            config["input_quantizer"] = lq.quantizers.ApproxSign() if self.threshold is None else RSign()
        quantizers = {name: config.pop(name) for name in ("kernel_quantizer", "depthwise_quantizer") if name in config}
        layer = type(self.layer).from_config(config)
        # Set afterwards: Larq's constructor warns of training without a constraint of the kernel.
        for name in quantizers:
            quantizer = getattr(self.layer, name)
            setattr(layer, name, quantizer if self.scale is None else lq.quantizers.SteSign())
        return layer

    def set_weights(self, layer: keras.layers.Layer) -> None:
        """Set kernel, bias and threshold."""
        own, new = _kernel(self.layer), _kernel(layer)
        new.assign(own if self.scale is None else np.where(own.numpy() >= 0, 1.0, -1.0))
        if self.bias is not None:
            layer.bias.assign(self.bias)
        if self.threshold is not None:
            layer.input_quantizer.threshold.assign(self.threshold)
        elif not self.is_sign and self._quantized:
            layer.input_quantizer.set_weights(self.layer.input_quantizer.get_weights())

    def _through_kernel(self, shift: np.ndarray) -> np.ndarray:
        kernel = _quantized_kernel(self.layer)
        if isinstance(self.layer, _DENSE):
            return shift @ kernel
        if isinstance(self.layer, _DEPTHWISE):  # (rows, columns, channels, multiplier)
            return (kernel.sum(axis=(0, 1)) * shift[:, None]).ravel()
        groups = self.layer.groups
        summed = kernel.sum(axis=(0, 1)).reshape(kernel.shape[2], groups, -1)  # (channels of a group, group, filters)
        return np.einsum("cgf,gc->gf", summed, shift.reshape(groups, -1)).ravel()


def part_of(layer: keras.layers.Layer) -> Part | None:
    """Return the layer as a part that can take constants up, or None: of classes derived from known ones nothing is known."""
    if type(layer) is RPReLU:
        return ShiftedPReLU(layer)
    if isinstance(layer, keras.layers.BatchNormalization) and type(layer).call is keras.layers.BatchNormalization.call:
        axes = layer.axis if isinstance(layer.axis, (list, tuple)) else [layer.axis]
        return Normalization(layer) if len(axes) == 1 and axes[0] in (-1, layer.input_spec.ndim - 1) else None
    return Convolution(layer) if type(layer) in (*_CONVOLUTIONS, *_DEPTHWISE, *_DENSE) else None


def _array(values) -> np.ndarray:
    return np.asarray(tf.convert_to_tensor(values), np.float64)


def _kernel(layer: keras.layers.Layer) -> tf.Variable:
    return layer.depthwise_kernel if isinstance(layer, _DEPTHWISE) else layer.kernel


def _quantized_kernel(layer: keras.layers.Layer) -> np.ndarray:
    name = "depthwise_quantizer" if isinstance(layer, _DEPTHWISE) else "kernel_quantizer"
    quantizer = getattr(layer, name, None)
    kernel = tf.convert_to_tensor(_kernel(layer))
    return _array(kernel if quantizer is None else quantizer(kernel))
