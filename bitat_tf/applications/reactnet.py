"""ReActNet: the MobileNet of the paper, with full 3x3 convolutions in place of depthwise ones."""

import os
from collections.abc import Sequence

from bitat_tf._keras import keras
from bitat_tf._validation import check_number
from bitat_tf.layers import BinaryConv2D, RPReLU
from bitat_tf.regularizers import DisentangledRegularizer

# (filters, stride) of the 13 blocks of ReActNet-A: 26 binary layers, over a stem of 32 filters.
REACTNET_A_BLOCKS = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *((512, 1),) * 5, (1024, 2), (1024, 1))
STEM_FILTERS = 32
_SMALL_IMAGE = 96  # up to this side the stem does not reduce the picture


def ReActNet(  # noqa: N802 (the name of a model, as in tf.keras.applications)
    input_shape: tuple[int, int, int] = (224, 224, 3),
    classes: int = 1000,
    weights: str | os.PathLike | None = None,
    width: float = 1.0,
    blocks: Sequence[tuple[int, int]] = REACTNET_A_BLOCKS,
    include_preprocessing: bool = True,
    classifier_activation: str | None = None,
    disentangled_regularizer: DisentangledRegularizer | None = None,
    name: str = "reactnet",
) -> keras.Model:
    """Build a ReActNet whose 3x3 and 1x1 convolutions are `BinaryConv2D`, in float state.

    A block is a 3x3 and a 1x1 binary convolution, each with RSign before, batch normalization and a shortcut after it, then
    RPReLU. Where the filters double, the shortcut of the 1x1 convolution is the input twice: this is the original's pair of
    parallel convolutions, written as one. First and last layer stay float. The default blocks are ReActNet-A's: 26 binary
    layers.

    Args:
        input_shape: (height, width, channels) of the pictures. Up to 96 pixels the stem has stride 1, above stride 2.
        classes: Number of classes.
        weights: None, or the path of a file of weights (`model.save_weights`) of the same network.
        width: Multiplier of all filters, > 0; results are rounded to multiples of 8, at least 8 in the stem.
        blocks: (filters, stride) of each block, before `width`. Filters stay or double from block to block.
        include_preprocessing: Whether the network takes pixels from 0 to 255 and scales them to [-1, 1] itself.
        classifier_activation: Activation of the last layer. Default None: logits.
        disentangled_regularizer: Of every binary layer: each gets a copy of it, as it holds that layer's statistics. Default
            as in `BinaryConv2D`.
        name: Name of the model.

    Returns:
        A `keras.Model`, not compiled.

    Raises:
        ValueError: If a value is out of range, the filters neither stay nor double, or the pictures are too small.

    Example:
        >>> model = ReActNet((8, 8, 1), classes=10, width=0.5, blocks=((64, 1), (128, 2)))
        >>> len(bitat_tf.layers.binary_layers(model)), model.output_shape
        (4, (None, 10))

    References:
        - [ReActNet: Towards Precise Binary Neural Network with Generalized Activation
            Functions](https://arxiv.org/abs/2003.03488)
    """
    check_number("ReActNet", "width", width, exclusive=True)
    check_number("ReActNet", "classes", classes, minimum=2)
    if len(input_shape) != 3 or any(not isinstance(size, int) or size < 1 for size in input_shape):
        raise ValueError(
            "ReActNet: `input_shape` must be (height, width, channels) with known sizes, as the converter needs them. "
            f"Received: input_shape={input_shape}."
        )
    filters = _scaled_filters(blocks, width)

    inputs = keras.Input(input_shape)
    x = inputs
    if include_preprocessing:
        x = keras.layers.Rescaling(1 / 127.5, offset=-1.0, name="rescaling")(x)
    stem_stride = 1 if max(input_shape[:2]) <= _SMALL_IMAGE else 2
    x = keras.layers.Conv2D(filters[0], 3, stem_stride, padding="same", use_bias=False, name="stem_conv")(x)
    x = _batch_normalization(name="stem_bn")(x)
    for number, (block_filters, (_, stride)) in enumerate(zip(filters[1:], blocks, strict=True), 1):
        if stride > 1 and min(x.shape[1:3]) < stride:
            raise ValueError(
                f"ReActNet: pictures of {input_shape[0]}x{input_shape[1]} are too small for these blocks: block {number} of "
                f"stride {stride} receives {x.shape[1]}x{x.shape[2]}. Use larger pictures, or fewer blocks of stride 2."
            )
        x = _block(x, block_filters, stride, f"block_{number}", disentangled_regularizer)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    outputs = keras.layers.Dense(classes, activation=classifier_activation, name="logits")(x)
    model = keras.Model(inputs, outputs, name=name)
    if weights is not None:
        if not os.path.exists(weights) and not os.path.exists(f"{os.fspath(weights)}.index"):  # the latter: TensorFlow's format
            raise ValueError(f"ReActNet: `weights` must be None or the path of a weights file. Received: {str(weights)!r}.")
        model.load_weights(weights)
    return model


def _scaled_filters(blocks: Sequence[tuple[int, int]], width: float) -> list[int]:
    """Return the filters of the stem and of every block, after `width`, checking that they stay or double."""
    if not blocks:
        raise ValueError("ReActNet: `blocks` must hold at least one (filters, stride).")
    previous, scaled = STEM_FILTERS, [max(8, int(STEM_FILTERS * width + 4) // 8 * 8)]
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

    def convolution(*arguments, **keywords):
        own = None if regularizer is None else DisentangledRegularizer.from_config(regularizer.get_config())
        return BinaryConv2D(*arguments, use_bias=False, disentangled_regularizer=own, **keywords)

    channels = x.shape[-1]
    y = convolution(channels, 3, stride, padding="same", name=f"{name}_conv3x3")(x)
    y = _batch_normalization(name=f"{name}_bn3x3")(y)
    if stride > 1:
        x = keras.layers.AveragePooling2D(stride, padding="same", name=f"{name}_pool")(x)
    x = keras.layers.Add(name=f"{name}_add3x3")([x, y])
    x = RPReLU(name=f"{name}_rprelu3x3")(x)

    y = convolution(filters, 1, name=f"{name}_conv1x1")(x)
    y = _batch_normalization(name=f"{name}_bn1x1")(y)
    if filters != channels:
        x = keras.layers.Concatenate(name=f"{name}_double")([x, x])
    x = keras.layers.Add(name=f"{name}_add1x1")([x, y])
    return RPReLU(name=f"{name}_rprelu1x1")(x)


def _batch_normalization(name: str):
    # The original's momentum. Keras' 0.99 would follow a layer that has just become binary too slowly for short phases.
    return keras.layers.BatchNormalization(momentum=0.9, name=name)
