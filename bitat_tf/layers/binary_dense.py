"""A dense layer that starts as a float layer and becomes binary."""

import larq as lq

from bitat_tf._keras import keras, tf
from bitat_tf.dependency import PatchGeometry
from bitat_tf.layers.binary_layer import BinaryLayer, default_input_quantizer


@keras.saving.register_keras_serializable(package="bitat_tf")
class BinaryDense(BinaryLayer, lq.layers.QuantDense):
    """Dense layer that is exactly a `keras.layers.Dense` until it is made binary.

    Once binary, the input goes through RSign and the kernel becomes `alpha * sign(w)`, as in `BinaryConv2D`.
    larq-compute-engine has no binary dense kernel: `bitat_tf.export.to_tflite` writes it as a binary 1x1 convolution.

    Args:
        units, activation, use_bias: As in `larq.layers.QuantDense`.
        input_quantizer: Default `bitat_tf.quantizers.RSign()`.
        kernel_quantizer: Default `larq.quantizers.MagnitudeAwareSign`.
        disentangled_regularizer: A `DisentangledRegularizer`, for its `error`, `num_groups`, `residual` and `cross_layer`;
            `SequentialBinarization` sets its strength and l1 from the schedule. Default one that is switched off.
        float_activation: Activation of the layer's *input* for as long as the input is float, in the place that the sign takes
            afterwards: a function or its name. For networks whose only non-linearity is the sign, "hard_tanh" (Larq's
            clip(x, -1, 1)), as Bi-Real Net's pre-training does. Default None: the input as it is.
        **kwargs: Initializers, regularizers and constraints, as in `larq.layers.QuantDense`.

    Input shape:
        (batch, ..., input_dim).

    Output shape:
        (batch, ..., units).

    Raises:
        ValueError: If the number of input dimensions is unknown, a quantizer is missing, or `float_activation` is no known
            name.
        TypeError: If `float_activation` is a layer.

    Examples:
        >>> layer = BinaryDense(16)
        >>> layer(tf.ones((2, 8))).shape
        TensorShape([2, 16])
    """

    def __init__(
        self,
        units,
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
            units,
            activation=activation,
            use_bias=use_bias,
            input_quantizer=default_input_quantizer(input_quantizer),
            **kwargs,
        )
        self._prepare_binary(kernel_quantizer, disentangled_regularizer, float_activation)

    def _call_quantized(self, inputs):
        inputs = tf.cast(inputs, self._compute_dtype_object)
        kernel = tf.cast(self.kernel, inputs.dtype)
        sums = tf.matmul(inputs, kernel) if inputs.shape.rank == 2 else tf.tensordot(inputs, kernel, [[-1], [0]])
        outputs = self._scaled(sums)
        outputs = tf.nn.bias_add(outputs, self.bias) if self.use_bias else outputs
        return outputs if self.activation is None else self.activation(outputs)

    def geometry(self, binary: bool) -> PatchGeometry:
        """Return the geometry of a dense layer: every row is a picture of one pixel."""
        return PatchGeometry()

    def input_images(self, inputs: tf.Tensor, binary: bool) -> tf.Tensor:
        """Return the inputs as pictures of one pixel, shape (n, 1, 1, d), of the binary or of the float layer."""
        images = super().input_images(inputs, binary)
        return tf.reshape(images, (-1, 1, 1, images.shape[-1]))
