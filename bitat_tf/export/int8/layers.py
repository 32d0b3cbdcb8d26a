"""Fake quantization as Keras layers: float values on the grid that int8 will have on the device."""

import larq as lq
import numpy as np

from bitat_tf._keras import keras, tf
from bitat_tf.quantizers import RSign

LEVELS = 255
INPUT_TYPES = ("float32", "int8", "uint8")


@keras.saving.register_keras_serializable(package="bitat_tf")
class FakeQuantization(keras.layers.Layer):
    r"""Rounds to the 256 values of an 8-bit grid between a minimum and a maximum, of which 0 is one.

    \[ q(x) = s \left( \mathrm{clip}\left(\mathrm{round}(x / s) + z, 0, 255\right) - z \right), \qquad
    s = (\mathrm{maximum} - \mathrm{minimum}) / 255 \]

    with the integer z next to -minimum / s. The gradient is 1 for x between the two and 0 elsewhere; minimum and maximum are
    weights, with the gradients of what is clipped; 0 stays between them, or the converter could not write them.

    Args:
        minimum, maximum: The range; minimum <= 0 <= maximum, and they are not both 0.
        fixed: Whether the range is what the device demands or what is exact, and not to be trained.
        input_type: Of the quantization of a model's input: what the exported file takes, "float32", "int8" or "uint8".
        **kwargs: Keyword arguments of a Keras layer.

    Input shape:
        Any.

    Output shape:
        As the input.

    Raises:
        ValueError: If the range is empty or does not hold 0, or the type is another one.

    Examples:
        >>> FakeQuantization(0.0, 2.55)(tf.constant([-1.0, 0.004, 0.006, 3.0])).numpy()
        array([0.  , 0.  , 0.01, 2.55], dtype=float32)

    References:
        - [Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
            Inference](https://arxiv.org/abs/1712.05877), section 3
    """

    def __init__(self, minimum: float, maximum: float, fixed: bool = False, input_type: str = "float32", **kwargs):
        super().__init__(**kwargs)
        if not minimum <= 0.0 <= maximum or minimum == maximum or not np.isfinite([minimum, maximum]).all():
            raise ValueError(
                "FakeQuantization: the range must hold 0 and more than that: finite minimum <= 0 <= maximum. Received: "
                f"minimum={minimum}, maximum={maximum}. A tensor that is 0 on all data has no range: give more data."
            )
        if input_type not in INPUT_TYPES:
            raise ValueError(f"FakeQuantization: `input_type` must be one of {INPUT_TYPES}. Received: {input_type!r}.")
        self.initial_range, self.fixed, self.input_type = (float(minimum), float(maximum)), bool(fixed), input_type

    def build(self, input_shape):
        """Create minimum and maximum."""
        for name, value, constraint in zip(("minimum", "maximum"), self.initial_range, (_at_most_0, _at_least_0), strict=True):
            initializer = keras.initializers.Constant(value)
            weight = self.add_weight(name, shape=(), initializer=initializer, trainable=not self.fixed, constraint=constraint)
            setattr(self, name, weight)
        super().build(input_shape)

    def call(self, inputs):
        """Return the inputs on the grid."""
        if self.fixed:  # as numbers of the graph, exact for the converter
            return tf.quantization.fake_quant_with_min_max_args(inputs, *self.initial_range)
        return tf.quantization.fake_quant_with_min_max_vars(inputs, self.minimum, self.maximum)

    def get_config(self):
        """Return the arguments of the constructor."""
        minimum, maximum = self.initial_range
        own = {"minimum": minimum, "maximum": maximum, "fixed": self.fixed, "input_type": self.input_type}
        return {**super().get_config(), **own}


def _at_most_0(weight):
    return tf.minimum(weight, 0.0)


def _at_least_0(weight):
    return tf.maximum(weight, 0.0)


@keras.saving.register_keras_serializable(package="bitat_tf")
class FakeQuantizedSign(RSign):
    r"""`RSign` whose sum is int8 on the device: sign(q(x + beta)), q a grid of step `step` around 0.

    Values beyond the grid keep their sign, so that the step can be small.

    Args:
        step: Distance of two values of the grid, > 0.
        **kwargs: Arguments of `RSign`.

    Raises:
        ValueError: If the step is not positive.

    Examples:
        >>> FakeQuantizedSign(step=0.1)(tf.constant([[-0.2, -0.01, 0.2]])).numpy()
        array([[-1.,  1.,  1.]], dtype=float32)
    """

    def __init__(self, step: float, **kwargs):
        super().__init__(**kwargs)
        if not step > 0:
            raise ValueError(f"FakeQuantizedSign: `step` must be positive. Received: step={step}.")
        self.step = float(step)

    def call(self, inputs):
        """Return sign(q(inputs + beta))."""
        limits = -128 * self.step, 127 * self.step
        sums = tf.quantization.fake_quant_with_min_max_args(inputs + self.threshold, *limits)
        return lq.quantizers.approx_sign(sums)

    def get_config(self):
        """Return the arguments of the constructor."""
        return {**super().get_config(), "step": self.step}
