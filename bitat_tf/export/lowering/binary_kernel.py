"""The quantizers of a binary layer as what the device has: signs, and a scale for every filter."""

from typing import Any

import keras
import numpy as np

_UNEQUAL = 1e-5  # relative difference of scales that are one


def binary_kernel(layer: Any, path: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the signs of a binary layer's kernel and the scale alpha of every filter.

    Args:
        layer: A binary layer.
        path: Its name, for the message.

    Returns:
        Signs, int8, in the shape of the kernel, +1 for 0; and alpha >= 0, shape (filters,), float64. A filter of zeros (a dead
        one, as pruning leaves it) has alpha = 0.

    Raises:
        ValueError: If the quantizer gives other values than +-alpha with one alpha for all values of a filter.
    """
    latent = layer.latent_kernel.astype(np.float32)
    axes = tuple(range(latent.ndim - 1))
    values = layer.quantized_kernel(latent).astype(np.float64)
    scales = np.abs(values)
    alpha = scales.max(axis=axes)
    if (scales.min(axis=axes) < (1 - _UNEQUAL) * alpha).any():
        raise ValueError(
            f"to_tflite: the kernel quantizer of a binary layer must give +alpha and -alpha, with one alpha for each filter. "
            f"Received: {layer.kernel_quantizer!r} of layer {path!r}, which gives {len(np.unique(values))} values. Use "
            "'magnitude_aware_sign' or 'ste_sign'."
        )
    signs = np.where(np.where(alpha > 0, values, latent) >= 0, 1, -1)
    return signs.astype(np.int8), alpha


def check_groups(path: str, channels: int, of_group: int) -> None:
    """Raise ValueError for groups whose signs do not fill words of 32 bits: no device has a kernel for them.

    Args:
        path: Name of the layer.
        channels: Of its input.
        of_group: Channels of a group.
    """
    if channels != of_group and of_group % 32:
        raise ValueError(
            f"to_tflite: a group of a binary convolution needs a multiple of 32 channels. Received: {of_group} in each of "
            f"{channels // of_group} groups of layer {path!r}. Use fewer groups or more channels, or keep that layer float."
        )


def gives_signs(quantizer: Any) -> bool:
    """Return whether an input quantizer is a sign: -1 below 0, +1 from 0 on."""
    probe = np.concatenate([np.linspace(-3, 3, 121), [-1e-6, 0.0, 1e-6]]).astype(np.float32)
    found = keras.ops.convert_to_numpy(quantizer(keras.ops.convert_to_tensor(probe[None])))[0]
    return bool(np.array_equal(found, np.where(probe >= 0, 1.0, -1.0)))
