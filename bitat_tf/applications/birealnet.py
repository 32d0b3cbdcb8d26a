"""Bi-Real Net: a ResNet with a shortcut around every binary convolution."""

from collections.abc import Sequence

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
from bitat_tf.applications._resnet import RESNET18_UNITS, RESNET34_UNITS, resnet_features, resnet_shortcut
from bitat_tf.regularizers import DisentangledRegularizer

__all__ = ["BiRealNet18", "BiRealNet34", "preprocess_input"]


def BiRealNet18(  # noqa: N802 (the name of a model, as in keras.applications)
    input_shape: tuple[int, int, int] = (224, 224, 3),
    classes: int = 1000,
    weights: Weights = None,
    width: float = 1.0,
    include_top: bool = True,
    pooling: str | None = None,
    include_preprocessing: bool = True,
    classifier_activation: str | None = None,
    disentangled_regularizer: DisentangledRegularizer | None = None,
    name: str = "birealnet18",
) -> keras.Model:
    """Build a Bi-Real Net of 18 layers, whose 16 3x3 convolutions are `BinaryConv2D`, in float state.

    y = BN(bconv(sign(x))) + shortcut(x); the shortcut around a convolution of stride 2 is an average pooling, a real 1x1
    convolution and a batch normalization. The sign is the network's only non-linearity: while a layer is float, the clip
    of Bi-Real Net's own pre-training, min(max(x, -1), 1), stands in its place. First and last layer stay float.

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
        >>> model = BiRealNet18((16, 16, 3), classes=10, width=0.125)
        >>> len(bitat_tf.layers.binary_layers(model)), model.output_shape
        (16, (None, 10))

    References:
        - [Bi-Real Net: Enhancing the Performance of 1-bit CNNs With Improved Representational Capability and Advanced
            Training Algorithm](https://arxiv.org/abs/1808.00278)
    """
    check_arguments("BiRealNet18", input_shape, classes, weights, width, pooling)
    inputs, x = image_input(input_shape, include_preprocessing)
    x = _features("BiRealNet18", x, input_shape, width, RESNET18_UNITS, disentangled_regularizer)
    return build_model(inputs, x, classes, weights, include_top, pooling, classifier_activation, name)


def BiRealNet34(  # noqa: N802
    input_shape: tuple[int, int, int] = (224, 224, 3),
    classes: int = 1000,
    weights: Weights = None,
    width: float = 1.0,
    include_top: bool = True,
    pooling: str | None = None,
    include_preprocessing: bool = True,
    classifier_activation: str | None = None,
    disentangled_regularizer: DisentangledRegularizer | None = None,
    name: str = "birealnet34",
) -> keras.Model:
    """Build a Bi-Real Net of 34 layers, whose 32 3x3 convolutions are `BinaryConv2D`, in float state.

    As `BiRealNet18`, with 6, 8, 12 and 6 convolutions in its four stages.

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
        >>> model = BiRealNet34((16, 16, 3), width=0.125, include_top=False)
        >>> len(bitat_tf.layers.binary_layers(model)), model.output_shape
        (32, (None, 2, 2, 64))

    References:
        - [Bi-Real Net: Enhancing the Performance of 1-bit CNNs With Improved Representational Capability and Advanced
            Training Algorithm](https://arxiv.org/abs/1808.00278)
    """
    check_arguments("BiRealNet34", input_shape, classes, weights, width, pooling)
    inputs, x = image_input(input_shape, include_preprocessing)
    x = _features("BiRealNet34", x, input_shape, width, RESNET34_UNITS, disentangled_regularizer)
    return build_model(inputs, x, classes, weights, include_top, pooling, classifier_activation, name)


def _features(where: str, x, input_shape, width: float, units: Sequence[int], regularizer: DisentangledRegularizer | None):
    def unit(x, filters: int, stride: int, name: str):
        y = binary_convolution(
            filters, 3, stride, f"{name}_conv", regularizer, input_quantizer="approx_sign", float_activation="hard_tanh"
        )(x)
        y = batch_normalization(name=f"{name}_bn")(y)
        return keras.layers.Add(name=f"{name}_add")([y, resnet_shortcut(x, filters, stride, name)])

    return resnet_features(where, x, input_shape, width, units, unit)
