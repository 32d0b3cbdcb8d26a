"""A convolution that starts as a float layer and becomes binary."""

import keras
from keras import ops

from bitat_tf.dependency import PatchGeometry
from bitat_tf.layers.binary_layer import BinaryLayer


@keras.saving.register_keras_serializable(package="bitat_tf")
class BinaryConv2D(BinaryLayer, keras.layers.Conv2D):
    """2D convolution that is exactly a `keras.layers.Conv2D` until it is made binary.

    Once binary, the input goes through RSign, the kernel becomes `alpha * sign(w)` with alpha = mean|w| of the output
    channel, and "same" pads with +1, so that it is one `LceBconv2d` on the device. Signs are convolved first and multiplied by
    alpha afterwards: the sums are integers, as there. `SequentialBinarization` makes the layers of a model binary one after the
    other; `set_binary` does it by hand. The state is saved with the model.

    Args:
        filters, kernel_size, strides, padding, data_format, dilation_rate, groups, activation, use_bias: As in
            `keras.layers.Conv2D`; only `data_format="channels_last"`.
        pad_values: What "same" pads with once the input is binary, 1 or 0. Default 1. Larq's name.
        input_quantizer: A quantizer layer or its name. Default `bitat_tf.quantizers.RSign()`.
        kernel_quantizer: A quantizer or its name. Default `bitat_tf.quantizers.MagnitudeAwareSign` (alpha * sign, one alpha per
            output channel).
        disentangled_regularizer: A `DisentangledRegularizer`. `SequentialBinarization` switches it on while the layer is
            quantized, with the strength and l1 that it names, or those of the schedule. Default one that names none, and is
            switched off otherwise.
        float_activation: Activation of the layer's *input* for as long as the input is float, in the place that the sign takes
            afterwards: a function or its name. For networks whose only non-linearity is the sign, "hard_tanh" (Larq's
            clip(x, -1, 1)), as Bi-Real Net's pre-training does. Default None: the input as it is.
        **kwargs: Initializers, regularizers and constraints, as in `keras.layers.Conv2D`.

    Input shape:
        (batch, height, width, channels).

    Output shape:
        (batch, new_height, new_width, filters).

    Raises:
        ValueError: If the number of channels is unknown, a quantizer is missing, the data format is another one, or
            `float_activation` is no known name.
        TypeError: If `float_activation` is a layer.

    Examples:
        >>> layer = BinaryConv2D(16, 3, padding="same", use_bias=False)
        >>> tuple(layer(keras.ops.ones((1, 8, 8, 4))).shape)
        (1, 8, 8, 16)
        >>> layer.state
        'float'
        >>> layer.set_binary()
        >>> layer.state
        'binary'
    """

    def __init__(
        self,
        filters,
        kernel_size,
        strides=(1, 1),
        padding="valid",
        pad_values=1.0,
        data_format=None,
        dilation_rate=(1, 1),
        groups=1,
        activation=None,
        use_bias=True,
        input_quantizer=None,
        kernel_quantizer="magnitude_aware_sign",
        *,
        disentangled_regularizer=None,
        float_activation=None,
        **kwargs,
    ):
        super().__init__(
            filters,
            kernel_size,
            strides=strides,
            padding=padding,
            data_format=data_format,
            dilation_rate=dilation_rate,
            groups=groups,
            activation=activation,
            use_bias=use_bias,
            **kwargs,
        )
        if self.data_format != "channels_last":
            raise ValueError(
                "BinaryConv2D: binary kernels run channels-last models only. Received: "
                f"data_format={self.data_format!r}. Use data_format='channels_last'."
            )
        self.pad_values = pad_values
        self._prepare_binary(input_quantizer, kernel_quantizer, disentangled_regularizer, float_activation)

    def _convolved(self, inputs, kernel):
        padding = self.padding
        if padding == "same" and self.pad_values:
            inputs, padding = self._padded(inputs), "valid"
        return ops.conv(inputs, kernel, list(self.strides), padding, self.data_format, self.dilation_rate)

    def _padded(self, inputs):
        """Return the input with a border of `pad_values` once it is binary, of 0 while it is float."""
        sides = self.geometry(binary=True).paddings(*ops.shape(inputs)[1:3])
        value = ops.where(ops.cast(self.input_is_binary, "bool"), ops.cast(self.pad_values, inputs.dtype), 0.0)
        value = ops.cast(value, inputs.dtype)
        # Around 0, since not every backend pads with a tensor; exact for signs, and for the 0 of the float layer.
        return ops.pad(inputs - value, [(0, 0), *sides, (0, 0)]) + value

    def geometry(self, binary: bool) -> PatchGeometry:
        """Return which pixels the kernel sees, and what pads them, in the binary or in the float layer."""
        pad_value = float(self.pad_values) if binary else 0.0
        return PatchGeometry(self.kernel_size, self.strides, self.dilation_rate, self.padding, pad_value)

    def get_config(self):
        """Return the arguments of the constructor."""
        return {**super().get_config(), "pad_values": self.pad_values}
