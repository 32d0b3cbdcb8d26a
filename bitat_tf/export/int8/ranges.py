"""The ranges of tensors, measured on data."""

from collections.abc import Sequence

import numpy as np

from bitat_tf._keras import keras, tf

_BATCH = 32


def channel_ranges(inputs, tensors: Sequence, data: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the smallest and the largest value of each tensor of a functional network on data, channel by channel.

    Args:
        inputs: The input of the network, a Keras tensor.
        tensors: Tensors that follow from it.
        data: Shape (n, ...), n >= 1.

    Returns:
        For each tensor two arrays of shape (channels,), float64.
    """
    network = keras.Model(inputs, list(tensors))

    @tf.function
    def reduced(batch):
        outputs = tf.nest.flatten(network(batch, training=False))
        axes = [list(range(output.shape.rank - 1)) for output in outputs]
        lowest = [tf.reduce_min(output, axis) for output, axis in zip(outputs, axes, strict=True)]
        return lowest, [tf.reduce_max(output, axis) for output, axis in zip(outputs, axes, strict=True)]

    found = [reduced(tf.constant(data[start : start + _BATCH])) for start in range(0, len(data), _BATCH)]
    ranges = []
    for number in range(len(tensors)):
        lowest = np.min([low[number].numpy() for low, _ in found], axis=0)
        highest = np.max([high[number].numpy() for _, high in found], axis=0)
        ranges.append((lowest.astype(float), highest.astype(float)))
    return ranges


def range_with_zero(lowest: np.ndarray, highest: np.ndarray) -> tuple[float, float]:
    """Return the range of a whole tensor, widened to hold 0 and at least a little more."""
    minimum, maximum = min(0.0, float(lowest.min())), max(0.0, float(highest.max()))
    # A tensor that is 0 everywhere needs some range: its values stay 0 under any.
    return (minimum, maximum) if maximum > minimum else (0.0, 1.0)
