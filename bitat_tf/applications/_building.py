"""What the networks share: checks, the input, the classifier, the weights file, layers in their usual form."""

import os
from typing import Any

import keras
import numpy as np

from bitat_tf._validation import check_choice, check_number
from bitat_tf.layers import BinaryConv2D
from bitat_tf.regularizers import DisentangledRegularizer

_SMALL_IMAGE = 96  # up to this side a stem does not reduce the picture
_SCALE, _OFFSET = 1 / 127.5, -1.0

Weights = str | os.PathLike | None


def preprocess_input(x: Any) -> Any:
    """Scale pixels from 0..255 to [-1, 1], as the networks do themselves with `include_preprocessing=True`.

    Args:
        x: Pixels, an array or a tensor of Keras' backend, of any shape and type; it stays as it is.

    Returns:
        float32 values x / 127.5 - 1 in the shape of `x`; an array for an array, a tensor for a tensor.

    Examples:
        >>> preprocess_input(np.array([0, 255]))
        array([-1.,  1.], dtype=float32)
    """
    if keras.ops.is_tensor(x):
        return keras.ops.cast(x, "float32") * _SCALE + _OFFSET
    return np.asarray(x, np.float32) * np.float32(_SCALE) + np.float32(_OFFSET)


def check_arguments(
    where: str,
    input_shape: tuple[int, int, int],
    classes: int,
    weights: Weights,
    width: float,
    pooling: str | None,
    minimum_width: float = 0.0,
) -> None:
    """Raise ValueError, under the name `where`, for values that the network does not take.

    A `minimum_width` of 0 stands for any width above 0.
    """
    check_number(where, "width", width, minimum=minimum_width, exclusive=minimum_width == 0)
    check_number(where, "classes", classes, minimum=2)
    check_choice(where, "pooling", pooling, (None, "avg", "max"))
    if len(input_shape) != 3 or any(not isinstance(size, int) or size < 1 for size in input_shape):
        raise ValueError(
            f"{where}: `input_shape` must be (height, width, channels) with known sizes, as the converter needs them. "
            f"Received: input_shape={input_shape}."
        )
    if weights is not None and not os.path.exists(weights):
        raise ValueError(f"{where}: `weights` must be None or the path of a weights file. Received: {str(weights)!r}.")


def check_reducible(where: str, x, input_shape: tuple[int, int, int], layer: str, cure: str = "Use larger pictures.") -> None:
    """Raise ValueError where a layer of stride 2 would receive less than 2x2 pixels."""
    if min(x.shape[1:3]) < 2:
        raise ValueError(
            f"{where}: pictures of {input_shape[0]}x{input_shape[1]} are too small for this network: {layer} of stride 2 "
            f"receives {x.shape[1]}x{x.shape[2]}. {cure}"
        )


def keeps_resolution(input_shape: tuple[int, int, int]) -> bool:
    """Whether the pictures are so small that the stem must not reduce them."""
    return max(input_shape[:2]) <= _SMALL_IMAGE


def scaled_filters(filters: int, width: float) -> int:
    """Return `width` times the filters, rounded to a multiple of 8, at least 8."""
    return max(8, int(filters * width + 4) // 8 * 8)


def image_input(input_shape: tuple[int, int, int], include_preprocessing: bool):
    """Return the input of a network, and the tensor of values in [-1, 1] that its first layer takes."""
    inputs = keras.Input(input_shape, name="image")
    if include_preprocessing:
        return inputs, keras.layers.Rescaling(_SCALE, offset=_OFFSET, name="rescaling")(inputs)
    return inputs, inputs


def build_model(
    inputs,
    x,
    classes: int,
    weights: Weights,
    include_top: bool,
    pooling: str | None,
    classifier_activation: str | None,
    name: str,
) -> keras.Model:
    """Return the network from its input to the feature map `x`, with its classifier or pooling, and load its weights."""
    if include_top or pooling == "avg":
        x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    elif pooling == "max":
        x = keras.layers.GlobalMaxPooling2D(name="pool")(x)
    if include_top:
        x = keras.layers.Dense(classes, activation=classifier_activation, name="logits")(x)
    model = keras.Model(inputs, x, name=name)
    if weights is not None:
        model.load_weights(weights)
    return model


def batch_normalization(name: str) -> keras.layers.Layer:
    """Return a batch normalization that follows its input fast.

    Keras' momentum of 0.99 would follow a layer that has just become binary too slowly for short phases; ReActNet has 0.9.
    """
    return keras.layers.BatchNormalization(momentum=0.9, name=name)


def float_convolution(filters: int, kernel_size: int, strides: int, name: str, groups: int = 1) -> keras.layers.Layer:
    """Return a convolution that stays float, without bias, as batch normalization follows it."""
    return keras.layers.Conv2D(filters, kernel_size, strides, padding="same", groups=groups, use_bias=False, name=name)


def binary_convolution(
    filters: int,
    kernel_size: int,
    strides: int,
    name: str,
    regularizer: DisentangledRegularizer | None,
    input_quantizer=None,
    float_activation: str | None = None,
) -> BinaryConv2D:
    """Return a binary convolution in float state, without bias, with a copy of the regularizer of its own.

    A regularizer holds the statistics of one layer, hence the copy.
    """
    return BinaryConv2D(
        filters,
        kernel_size,
        strides,
        padding="same",
        use_bias=False,
        input_quantizer=input_quantizer,
        disentangled_regularizer=None if regularizer is None else type(regularizer).from_config(regularizer.get_config()),
        float_activation=float_activation,
        name=name,
    )
