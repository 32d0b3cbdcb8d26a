"""A convolution as a dense layer on patches (Eq. 14 of the paper)."""

import numpy as np

from bitat_tf._keras import tf
from bitat_tf._validation import check_choice


def same_padding(size: int, kernel_size: int, stride: int, dilation_rate: int) -> tuple[int, int]:
    """Rows (or columns) that "same" padding adds before and after a side of `size` pixels, as TensorFlow does it."""
    extent = (kernel_size - 1) * dilation_rate + 1
    total = max((-(-size // stride) - 1) * stride + extent - size, 0)
    return total // 2, total - total // 2


def extract_patches(
    inputs: tf.Tensor,
    kernel_size: tuple[int, int],
    strides: tuple[int, int] = (1, 1),
    dilation_rate: tuple[int, int] = (1, 1),
    padding: str = "valid",
    pad_value: float = 0.0,
) -> tf.Tensor:
    """Return every patch that a kernel sees, one a row.

    Eq. 14: with `w` the kernel reshaped to (kh * kw * c, m), `extract_patches(x, ...) @ w` holds the pixels of the
    convolution's output in row-major order.

    Args:
        inputs: Images of shape (n, height, width, c), channels last.
        kernel_size: Height and width of the kernel.
        strides: Strides along height and width.
        dilation_rate: Dilation along height and width.
        padding: "valid" or "same".
        pad_value: What "same" pads with: 0 for a float layer, 1 for a binary one.

    Returns:
        Patches of shape (n * out_height * out_width, kh * kw * c), the features in the order of Keras' HWIO kernels.

    Example:
        >>> extract_patches(tf.ones((2, 5, 5, 3)), (3, 3)).shape
        TensorShape([18, 27])
    """
    check_choice("extract_patches", "padding", padding, ("valid", "same"))
    inputs = tf.convert_to_tensor(inputs)
    if padding == "same":
        spatial = [
            same_padding(int(size), *shape)
            for size, shape in zip(inputs.shape[1:3], zip(kernel_size, strides, dilation_rate, strict=True), strict=True)
        ]
        inputs = tf.pad(inputs, [(0, 0), *spatial, (0, 0)], constant_values=tf.cast(pad_value, inputs.dtype))
    patches = tf.image.extract_patches(inputs, [1, *kernel_size, 1], [1, *strides, 1], [1, *dilation_rate, 1], padding="VALID")
    return tf.reshape(patches, (-1, int(np.prod(kernel_size)) * int(inputs.shape[-1])))


def dense_rows(inputs: tf.Tensor) -> tf.Tensor:
    """Return the inputs of a dense layer, shape (..., d), as rows of shape (n, d)."""
    inputs = tf.convert_to_tensor(inputs)
    return tf.reshape(inputs, (-1, int(inputs.shape[-1])))
