"""ReActNets: the MobileNet of the paper, with full 3x3 convolutions in place of depthwise ones, and its ResNet."""

from collections.abc import Sequence

import keras

from bitat_tf._validation import check_choice
from bitat_tf.applications._building import (
    Weights,
    batch_normalization,
    binary_convolution,
    build_model,
    check_arguments,
    check_reducible,
    float_convolution,
    image_input,
    keeps_resolution,
    preprocess_input,
    scaled_filters,
)
from bitat_tf.applications._resnet import RESNET18_UNITS, resnet_features, resnet_shortcut
from bitat_tf.layers import RPReLU
from bitat_tf.regularizers import DisentangledRegularizer

__all__ = ["REACTNET_A_BLOCKS", "ReActNet", "ReActNet18", "ReActNetA", "preprocess_input"]

REACTNET_A_BLOCKS = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *((512, 1),) * 5, (1024, 2), (1024, 1))
"""(filters, stride) of the 13 blocks of ReActNet-A: 26 binary layers, over a stem of 32 filters."""
STEM_FILTERS = 32


def ReActNet(  # noqa: N802 (the name of a model, as in keras.applications)
    input_shape: tuple[int, int, int] = (224, 224, 3),
    classes: int = 1000,
    weights: Weights = None,
    width: float = 1.0,
    blocks: Sequence[tuple[int, int]] = REACTNET_A_BLOCKS,
    include_preprocessing: bool = True,
    classifier_activation: str | None = None,
    disentangled_regularizer: DisentangledRegularizer | None = None,
    name: str = "reactnet",
    *,
    include_top: bool = True,
    pooling: str | None = None,
    stem_stride: int | None = None,
) -> keras.Model:
    """Build a ReActNet whose 3x3 and 1x1 convolutions are `BinaryConv2D`, in float state.

    A block is a 3x3 and a 1x1 binary convolution, each with RSign before, batch normalization and a shortcut after it, then
    RPReLU. Where the filters double, the shortcut of the 1x1 convolution is the input twice: this is the original's pair of
    parallel convolutions, written as one. First and last layer stay float. The default blocks are ReActNet-A's: 26 binary
    layers.

    Args:
        input_shape: (height, width, channels) of the pictures.
        classes: Number of classes, >= 2.
        weights: None, or the path of a file of weights (`model.save_weights`) of the same network.
        width: Multiplier of all filters, > 0; results are rounded to multiples of 8, at least 8 in the stem.
        blocks: (filters, stride) of each block, before `width`. Filters stay or double from block to block.
        include_preprocessing: Whether the network takes pixels from 0 to 255 and scales them to [-1, 1] itself.
        classifier_activation: Activation of the last layer. Default None: logits.
        disentangled_regularizer: Of every binary layer: each gets a copy of it, as it holds that layer's statistics. Default
            as in `BinaryConv2D`.
        name: Name of the model.
        include_top: Whether the network ends with the classifier. Without it the output is the last feature map.
        pooling: "avg" or "max" pools the feature map where there is no classifier; None (default) leaves it.
        stem_stride: Stride of the first convolution, 1 or 2. Default: 1 for pictures up to 96 pixels, 2 above.

    Returns:
        A `keras.Model`, not compiled.

    Raises:
        ValueError: If a value is out of range, the filters neither stay nor double, or the pictures are too small.

    Examples:
        >>> model = ReActNet((8, 8, 1), classes=10, width=0.5, blocks=((64, 1), (128, 2)))
        >>> len(bitat_tf.layers.binary_layers(model)), model.output_shape
        (4, (None, 10))

    References:
        - [ReActNet: Towards Precise Binary Neural Network with Generalized Activation
            Functions](https://arxiv.org/abs/2003.03488)
    """
    check_arguments("ReActNet", input_shape, classes, weights, width, pooling)
    check_choice("ReActNet", "stem_stride", stem_stride, (None, 1, 2))
    filters = _block_filters(blocks, width)

    inputs, x = image_input(input_shape, include_preprocessing)
    stride = stem_stride or (1 if keeps_resolution(input_shape) else 2)
    x = float_convolution(filters[0], 3, stride, name="stem_conv")(x)
    x = batch_normalization(name="stem_bn")(x)
    for number, (block_filters, (_, stride)) in enumerate(zip(filters[1:], blocks, strict=True), 1):
        if stride > 1:
            cure = "Use larger pictures, or fewer blocks of stride 2."
            check_reducible("ReActNet", x, input_shape, f"block {number}", cure)
        x = _block(x, block_filters, stride, f"block_{number}", disentangled_regularizer)
    return build_model(inputs, x, classes, weights, include_top, pooling, classifier_activation, name)


def ReActNetA(  # noqa: N802
    input_shape: tuple[int, int, int] = (224, 224, 3),
    classes: int = 1000,
    weights: Weights = None,
    width: float = 1.0,
    include_top: bool = True,
    pooling: str | None = None,
    include_preprocessing: bool = True,
    classifier_activation: str | None = None,
    disentangled_regularizer: DisentangledRegularizer | None = None,
    name: str = "reactnet_a",
) -> keras.Model:
    """Build a ReActNet-A, whose 13 3x3 and 13 1x1 convolutions are `BinaryConv2D`, in float state.

    It is `ReActNet` with its default blocks, under the arguments that all networks of this package share.

    Args:
        input_shape: (height, width, channels) of the pictures. Up to 96 pixels the stem has stride 1, above stride 2.
        classes: Number of classes, >= 2.
        weights: None, or the path of a file of weights (`model.save_weights`) of the same network.
        width: Multiplier of all filters, > 0; those of the stem are rounded to a multiple of 8, all others follow.
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
        >>> model = ReActNetA((16, 16, 3), width=0.25, include_top=False)
        >>> len(bitat_tf.layers.binary_layers(model)), model.output_shape
        (26, (None, 1, 1, 256))

    References:
        - [ReActNet: Towards Precise Binary Neural Network with Generalized Activation
            Functions](https://arxiv.org/abs/2003.03488)
    """
    return ReActNet(
        input_shape,
        classes,
        weights,
        width,
        include_preprocessing=include_preprocessing,
        classifier_activation=classifier_activation,
        disentangled_regularizer=disentangled_regularizer,
        name=name,
        include_top=include_top,
        pooling=pooling,
    )


def ReActNet18(  # noqa: N802
    input_shape: tuple[int, int, int] = (224, 224, 3),
    classes: int = 1000,
    weights: Weights = None,
    width: float = 1.0,
    include_top: bool = True,
    pooling: str | None = None,
    include_preprocessing: bool = True,
    classifier_activation: str | None = None,
    disentangled_regularizer: DisentangledRegularizer | None = None,
    name: str = "reactnet18",
) -> keras.Model:
    """Build a ReActNet over ResNet-18, whose 16 3x3 convolutions are `BinaryConv2D`, in float state.

    y = RPReLU(BN(bconv(RSign(x))) + shortcut(x)); the shortcut around a convolution of stride 2 is an average pooling, a real
    1x1 convolution and a batch normalization. First and last layer and the shortcuts stay float.

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
        >>> model = ReActNet18((16, 16, 3), classes=10, width=0.125)
        >>> len(bitat_tf.layers.binary_layers(model)), model.output_shape
        (16, (None, 10))

    References:
        - [ReActNet: Towards Precise Binary Neural Network with Generalized Activation
            Functions](https://arxiv.org/abs/2003.03488)
    """
    check_arguments("ReActNet18", input_shape, classes, weights, width, pooling)
    inputs, x = image_input(input_shape, include_preprocessing)

    def unit(x, filters: int, stride: int, name: str):
        y = binary_convolution(filters, 3, stride, f"{name}_conv", disentangled_regularizer)(x)
        y = batch_normalization(name=f"{name}_bn")(y)
        y = keras.layers.Add(name=f"{name}_add")([y, resnet_shortcut(x, filters, stride, name)])
        return RPReLU(name=f"{name}_rprelu")(y)

    x = resnet_features("ReActNet18", x, input_shape, width, RESNET18_UNITS, unit)
    return build_model(inputs, x, classes, weights, include_top, pooling, classifier_activation, name)


def _block_filters(blocks: Sequence[tuple[int, int]], width: float) -> list[int]:
    """Return the filters of the stem and of every block, after `width`, checking that they stay or double."""
    if not blocks:
        raise ValueError("ReActNet: `blocks` must hold at least one (filters, stride).")
    previous, scaled = STEM_FILTERS, [scaled_filters(STEM_FILTERS, width)]
    for number, (filters, stride) in enumerate(blocks, 1):
        if filters not in (previous, 2 * previous) or stride not in (1, 2):
            raise ValueError(
                f"ReActNet: block {number} must have {previous} or {2 * previous} filters (the shortcut needs as many, or "
                f"twice as many) and stride 1 or 2. Received: filters={filters}, stride={stride}."
            )
        scaled.append(scaled[-1] * (filters // previous))
        previous = filters
    return scaled


def _block(x, filters: int, stride: int, name: str, regularizer: DisentangledRegularizer | None):
    """3x3 and 1x1 binary convolution, each with a shortcut around it."""
    channels = x.shape[-1]
    y = binary_convolution(channels, 3, stride, f"{name}_conv3x3", regularizer)(x)
    y = batch_normalization(name=f"{name}_bn3x3")(y)
    if stride > 1:
        x = keras.layers.AveragePooling2D(stride, padding="same", name=f"{name}_pool")(x)
    x = keras.layers.Add(name=f"{name}_add3x3")([x, y])
    x = RPReLU(name=f"{name}_rprelu3x3")(x)

    y = binary_convolution(filters, 1, 1, f"{name}_conv1x1", regularizer)(x)
    y = batch_normalization(name=f"{name}_bn1x1")(y)
    if filters != channels:
        x = keras.layers.Concatenate(name=f"{name}_double")([x, x])
    x = keras.layers.Add(name=f"{name}_add1x1")([x, y])
    return RPReLU(name=f"{name}_rprelu1x1")(x)
