"""ReActNet's sign with learned thresholds."""

import keras
from keras import ops

from bitat_tf._validation import channel_count
from bitat_tf.quantizers.functions import approx_sign
from bitat_tf.quantizers.layers import Quantizer


@keras.saving.register_keras_serializable(package="bitat_tf")
class RSign(Quantizer):
    r"""Sign with a learned threshold per channel, as in ReActNet.

    \[ q(x)_c = \mathrm{sign}(x_c + \beta_c), \qquad \mathrm{sign}(0) = +1 \]

    The gradient is ApproxSign's, (2 - 2|x + beta|) for |x + beta| <= 1 and 0 elsewhere; the same gradient, summed over all
    positions of a channel, trains beta. Use it as `input_quantizer` of a layer; on the device the threshold becomes an
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
        >>> quantizer = RSign(threshold_initializer=keras.initializers.Constant(0.5))
        >>> np.asarray(quantizer(np.array([[-1.0, -0.5, 0.0]])))
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
        self.threshold = self.add_weight(name="threshold", shape=(channels,), initializer=self.threshold_initializer)

    def call(self, inputs):
        """Return sign(inputs + beta)."""
        return approx_sign(inputs + ops.cast(self.threshold, inputs.dtype))

    def get_config(self):
        """Return the arguments of the constructor."""
        return {
            **super().get_config(),
            "threshold_initializer": keras.initializers.serialize(self.threshold_initializer),
        }
