"""A dense layer that starts as a float layer and becomes binary."""

import keras
from keras import ops

from bitat_tf.dependency import PatchGeometry
from bitat_tf.layers.binary_layer import BinaryLayer


@keras.saving.register_keras_serializable(package="bitat_tf")
class BinaryDense(BinaryLayer, keras.layers.Dense):
    """Dense layer that is exactly a `keras.layers.Dense` until it is made binary.

    Once binary, the input goes through RSign and the kernel becomes `alpha * sign(w)`, as in `BinaryConv2D`. There is no binary
    dense kernel on the device: `bitat_tf.export.to_tflite` writes it as a binary 1x1 convolution.

    Args:
        units, activation, use_bias: As in `keras.layers.Dense`.
        input_quantizer, kernel_quantizer, disentangled_regularizer, float_activation: As in `BinaryConv2D`.
        **kwargs: Initializers, regularizers and constraints, as in `keras.layers.Dense`.

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
        >>> tuple(layer(keras.ops.ones((2, 8))).shape)
        (2, 16)
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
        super().__init__(units, activation=activation, use_bias=use_bias, **kwargs)
        self._prepare_binary(input_quantizer, kernel_quantizer, disentangled_regularizer, float_activation)

    def _convolved(self, inputs, kernel):
        return ops.matmul(inputs, kernel)

    def geometry(self, binary: bool) -> PatchGeometry:
        """Return the geometry of a dense layer: every row is a picture of one pixel."""
        return PatchGeometry()

    def input_images(self, inputs, binary: bool):
        """Return the inputs as pictures of one pixel, shape (n, 1, 1, d), of the binary or of the float layer."""
        images = super().input_images(inputs, binary)
        return ops.reshape(images, (-1, 1, 1, images.shape[-1]))
