"""PReLU with learned shifts."""

import keras
from keras import ops

from bitat_tf._validation import channel_count


@keras.saving.register_keras_serializable(package="bitat_tf")
class RPReLU(keras.layers.Layer):
    """PReLU with a learned shift before and after it, one value of each a channel, as in ReActNet.

        y_c = PReLU_c(x_c - gamma_c) + zeta_c

    Use it after the batch normalization (and the shortcut) of a binary layer. On the device it is PRELU: its shifts become
    parts of biases and thresholds beside it, where these can take them.

    Args:
        slope_initializer: Initializer of the slope for negative values. Default 0.25, PReLU's usual start.
        **kwargs: Keyword arguments of a Keras layer.

    Input shape:
        (batch, ..., channels), channels last, of known size.

    Output shape:
        As the input.

    Raises:
        ValueError: If the number of channels is unknown.

    Examples:
        >>> np.asarray(RPReLU()(np.array([[-2.0, 2.0]])))
        array([[-0.5,  2. ]], dtype=float32)

    References:
        - [ReActNet](https://arxiv.org/abs/2003.03488), Eq. 3
    """

    def __init__(self, slope_initializer=0.25, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True
        if isinstance(slope_initializer, (int, float)):
            slope_initializer = keras.initializers.Constant(slope_initializer)
        self.slope_initializer = keras.initializers.get(slope_initializer)

    def build(self, input_shape):
        """Create the shifts and the slopes."""
        channels = channel_count(input_shape, "RPReLU")
        rank = len(input_shape)
        self.shift_before = self.add_weight(name="shift_before", shape=(channels,), initializer="zeros")
        self.shift_after = self.add_weight(name="shift_after", shape=(channels,), initializer="zeros")
        self.prelu = keras.layers.PReLU(
            alpha_initializer=self.slope_initializer,
            shared_axes=list(range(1, rank - 1)) or None,
            name="prelu",
            dtype=self.dtype_policy,
        )
        self.prelu.build(input_shape)

    def call(self, inputs):
        """Return PReLU(inputs - gamma) + zeta."""
        before, after = ops.cast(self.shift_before, inputs.dtype), ops.cast(self.shift_after, inputs.dtype)
        return self.prelu(inputs - before) + after

    def compute_output_shape(self, input_shape):
        """Return the input's shape."""
        return input_shape

    def get_config(self):
        """Return the arguments of the constructor."""
        return {**super().get_config(), "slope_initializer": keras.initializers.serialize(self.slope_initializer)}
