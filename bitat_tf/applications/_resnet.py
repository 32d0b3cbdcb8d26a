"""The frame of the binary ResNets: one shortcut around every 3x3 convolution, four stages."""

from collections.abc import Callable, Sequence

import keras

from bitat_tf.applications._building import (
    batch_normalization,
    check_reducible,
    float_convolution,
    keeps_resolution,
    scaled_filters,
)

RESNET18_UNITS = (4, 4, 4, 4)  # 3x3 convolutions of each stage: two for each block of the float ResNet
RESNET34_UNITS = (6, 8, 12, 6)
_FILTERS = 64

Unit = Callable[..., object]


def resnet_features(where: str, x, input_shape, width: float, units: Sequence[int], unit: Unit, stem_activation=None):
    """Return the last feature map of a ResNet over the pictures `x`.

    Args:
        where: Name of the network, for messages.
        x: Pictures in [-1, 1].
        input_shape: Their (height, width, channels).
        width: Multiplier of the filters.
        units: Number of units in each stage. Stages double the filters, and from the second on halve the resolution.
        unit: Called as `unit(x, filters, stride, name)`; one binary convolution with all that belongs to it.
        stem_activation: A layer after the stem's batch normalization; None for none.
    """
    filters = scaled_filters(_FILTERS, width)
    small = keeps_resolution(input_shape)
    x = float_convolution(filters, 7, 1 if small else 2, name="stem_conv")(x)
    x = batch_normalization(name="stem_bn")(x)
    if stem_activation is not None:
        x = stem_activation(x)
    if not small:
        check_reducible(where, x, input_shape, "stem_pool")
        x = keras.layers.MaxPooling2D(3, 2, padding="same", name="stem_pool")(x)
    for stage, count in enumerate(units, 1):
        for number in range(1, count + 1):
            name, stride = f"stage_{stage}_unit_{number}", 2 if stage > 1 and number == 1 else 1
            if stride == 2:
                check_reducible(where, x, input_shape, name)
            x = unit(x, filters * 2 ** (stage - 1), stride, name)
    return x


def resnet_shortcut(x, filters: int, stride: int, name: str):
    """Return the way around a unit: the input itself, or pooled and widened by a real 1x1 convolution."""
    if stride == 1:
        return x
    x = keras.layers.AveragePooling2D(2, 2, padding="same", name=f"{name}_shortcut_pool")(x)
    x = float_convolution(filters, 1, 1, name=f"{name}_shortcut_conv")(x)
    return batch_normalization(name=f"{name}_shortcut_bn")(x)
