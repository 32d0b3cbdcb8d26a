"""Real-to-Binary Net: a binary ResNet whose convolutions are scaled by gates computed from their real input."""

import keras

from bitat_tf.applications._building import (
    Weights,
    batch_normalization,
    binary_convolution,
    build_model,
    check_arguments,
    image_input,
    preprocess_input,
)
from bitat_tf.applications._resnet import RESNET18_UNITS, resnet_features, resnet_shortcut
from bitat_tf.regularizers import DisentangledRegularizer

__all__ = ["RealToBinNet18", "preprocess_input"]

_REDUCTION = 8  # of the channels inside a gate


def RealToBinNet18(  # noqa: N802 (the name of a model, as in keras.applications)
    input_shape: tuple[int, int, int] = (224, 224, 3),
    classes: int = 1000,
    weights: Weights = None,
    width: float = 1.0,
    include_top: bool = True,
    pooling: str | None = None,
    include_preprocessing: bool = True,
    classifier_activation: str | None = None,
    disentangled_regularizer: DisentangledRegularizer | None = None,
    name: str = "realtobinnet18",
) -> keras.Model:
    """Build a Real-to-Binary ResNet-18, whose 16 3x3 convolutions are `BinaryConv2D`, in float state.

    With c = BN(x): y = PReLU(bconv(sign(c)) * gate(c)) + shortcut(x), gate(c) = sigmoid(W2 relu(W1 mean(c))) over the
    pixels' mean, a factor for every output channel. The shortcut around a convolution of stride 2 is an average pooling, a
    real 1x1 convolution and a batch normalization. While a layer is float, tanh stands in the place of its sign, as in the
    first stage of the paper's training. First and last layer, gates and shortcuts stay float.

    Args:
        input_shape: (height, width, channels) of the pictures. Up to 96 pixels the stem keeps their size (7x7 convolution of
            stride 1, no pooling), above it makes them four times smaller (stride 2, then max pooling).
        classes: Number of classes, >= 2.
        weights: None, or the path of a file of weights (`model.save_weights`) of the same network.
        width: Multiplier of all filters, > 0; those of the stem are rounded to a multiple of 8, each stage doubles them.
        include_top: Whether the network ends with the classifier. Without it the output is the last feature map.
        pooling: "avg" or "max" pools the feature map where there is no classifier; None (default) leaves it.
        include_preprocessing: Whether the network takes pixels from 0 to 255 and scales them to [-1, 1] itself.
        classifier_activation: Activation of the last layer. Default None: logits.
        disentangled_regularizer: Of every binary layer: each gets a copy of it, as it holds that layer's statistics. Default
            as in `BinaryConv2D`.
        name: Name of the model.

    Returns:
        A `keras.Model`, not compiled.

    Raises:
        ValueError: If a value is out of range, or the pictures are too small.

    Examples:
        >>> model = RealToBinNet18((16, 16, 3), classes=10, width=0.125)
        >>> len(bitat_tf.layers.binary_layers(model)), model.output_shape
        (16, (None, 10))

    References:
        - [Training Binary Neural Networks with Real-to-Binary Convolutions](https://arxiv.org/abs/2003.11535)
    """
    check_arguments("RealToBinNet18", input_shape, classes, weights, width, pooling)
    inputs, x = image_input(input_shape, include_preprocessing)

    def unit(x, filters: int, stride: int, name: str):
        c = batch_normalization(name=f"{name}_bn")(x)
        y = binary_convolution(
            filters,
            3,
            stride,
            f"{name}_conv",
            disentangled_regularizer,
            input_quantizer="ste_sign",
            float_activation="tanh",
        )(c)
        y = keras.layers.Multiply(name=f"{name}_scale")([y, _gate(c, filters, name)])
        y = _prelu(f"{name}_prelu")(y)
        return keras.layers.Add(name=f"{name}_add")([y, resnet_shortcut(x, filters, stride, name)])

    x = resnet_features("RealToBinNet18", x, input_shape, width, RESNET18_UNITS, unit, _prelu("stem_prelu"))
    return build_model(inputs, x, classes, weights, include_top, pooling, classifier_activation, name)


def _prelu(name: str) -> keras.layers.Layer:
    return keras.layers.PReLU(alpha_initializer=keras.initializers.Constant(0.25), shared_axes=[1, 2], name=name)


def _gate(c, filters: int, name: str):
    """Return a factor between 0 and 1 for every output channel of a convolution, shape (batch, 1, 1, filters)."""
    hidden = max(1, c.shape[-1] // _REDUCTION)
    z = keras.layers.GlobalAveragePooling2D(name=f"{name}_gate_pool")(c)
    z = keras.layers.Dense(hidden, activation="relu", use_bias=False, name=f"{name}_gate_reduce")(z)
    z = keras.layers.Dense(filters, activation="sigmoid", use_bias=False, name=f"{name}_gate_expand")(z)
    return keras.layers.Reshape((1, 1, filters), name=f"{name}_gate_reshape")(z)
