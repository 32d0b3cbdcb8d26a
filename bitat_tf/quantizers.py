"""Quantizers in Larq's manner. What Larq has (`ste_sign`, `approx_sign`, `magnitude_aware_sign`, ...) is used, not repeated."""

import larq as lq
import numpy as np

from bitat_tf._keras import keras, tf

__all__ = ["RSign"]

_SMALLEST_SCALE = 1.5e-7  # the converter's limit is 1.19e-7


@keras.saving.register_keras_serializable(package="bitat_tf")
class RSign(lq.quantizers.Quantizer):
    r"""Sign with a learned threshold per channel, as in ReActNet.

    \[ q(x)_c = \mathrm{sign}(x_c + \beta_c), \qquad \mathrm{sign}(0) = +1 \]

    The gradient is ApproxSign's, (2 - 2|x + beta|) for |x + beta| <= 1 and 0 elsewhere; the same gradient, summed over all
    positions of a channel, trains beta. Use it as `input_quantizer` of a layer. Unlike a threshold in a layer of its
    own, `larq.models.summary` then counts the layer's operations as binary; on the device the threshold becomes an
    addition before `LceQuantize`, or vanishes into a batch normalization right before it.

    Args:
        threshold_initializer: Initializer of beta, one value a channel. Default "zeros".
        **kwargs: Keyword arguments of a Keras layer.

    Input shape:
        (batch, ..., channels), channels last, of known size.

    Output shape:
        As the input; entries -1 and +1.

    Raises:
        ValueError: If the number of channels is unknown.

    Examples:
        >>> RSign(threshold_initializer=keras.initializers.Constant(0.5))(tf.constant([[-1.0, -0.5, 0.0]])).numpy()
        array([[-1.,  1.,  1.]], dtype=float32)

    References:
        - [ReActNet: Towards Precise Binary Neural Network with Generalized Activation
            Functions](https://arxiv.org/abs/2003.03488), Eq. 1
        - [Bi-Real Net](https://arxiv.org/abs/1808.00278) for the gradient
    """

    precision = 1

    def __init__(self, threshold_initializer="zeros", **kwargs):
        super().__init__(**kwargs)
        self.threshold_initializer = keras.initializers.get(threshold_initializer)

    def build(self, input_shape):
        """Create beta."""
        channels = channel_count(input_shape, "RSign")
        # "bias" in the name keeps Larq's summary from counting it as a kernel with multiplications.
        self.threshold = self.add_weight("threshold_bias", shape=(channels,), initializer=self.threshold_initializer)
        super().build(input_shape)

    def call(self, inputs):
        """Return sign(inputs + beta)."""
        return lq.quantizers.approx_sign(inputs + tf.cast(self.threshold, inputs.dtype))

    def get_config(self):
        """Return the arguments of the constructor."""
        return {
            **super().get_config(),
            "threshold_initializer": keras.initializers.serialize(self.threshold_initializer),
        }


def revive_dead_channels(kernel: np.ndarray) -> np.ndarray:
    """Return a latent kernel, output channels last, whose scales the converter can tell from 0.

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


def channel_count(input_shape, where: str) -> int:
    """Return the size of the last axis of a shape; raise ValueError if there is none or it is unknown."""
    shape = tf.TensorShape(input_shape)
    if shape.rank is None or shape.rank < 2 or shape[-1] is None:
        raise ValueError(
            f"{where}: the input needs a last axis of channels of known size. Received: input shape {shape}. "
            "Give the first layer of the model an input shape with the number of channels, as in "
            "keras.Input((None, None, 3)), with data_format='channels_last'."
        )
    return int(shape[-1])
