"""A convolution as a dense layer on patches (Eq. 14 of the paper)."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from bitat_tf._validation import check_choice


def same_padding(size: int, kernel_size: int, stride: int, dilation_rate: int) -> tuple[int, int]:
    """Rows (or columns) that "same" padding adds before and after a side of `size` pixels, as TensorFlow does it."""
    extent = (kernel_size - 1) * dilation_rate + 1
    total = max((-(-size // stride) - 1) * stride + extent - size, 0)
    return total // 2, total - total // 2


@dataclass(frozen=True)
class PatchGeometry:
    """Which pixels each output pixel of a convolution sees. The default is that of a dense layer: one pixel, all its channels.

    The features of a patch stand in the order of Keras' HWIO kernels reshaped to (kh * kw * c, m): tap by tap, the channels
    of a tap together.

    Attributes:
        kernel_size: Height and width of the kernel.
        strides: Strides along height and width.
        dilation_rate: Dilation along height and width.
        padding: "valid" or "same".
        pad_value: What "same" pads with: 0 for a float layer, 1 for a binary one.

    Raises:
        ValueError: If `padding` is neither.

    Examples:
        >>> geometry = PatchGeometry((3, 3), strides=(2, 2), padding="same", pad_value=1.0)
        >>> geometry.output_size(7, 9)
        (4, 5)
        >>> geometry.patches(np.ones((2, 7, 9, 3))).shape
        (40, 27)
    """

    kernel_size: tuple[int, int] = (1, 1)
    strides: tuple[int, int] = (1, 1)
    dilation_rate: tuple[int, int] = (1, 1)
    padding: str = "valid"
    pad_value: float = 0.0

    def __post_init__(self):
        check_choice("PatchGeometry", "padding", self.padding, ("valid", "same"))

    @property
    def taps(self) -> int:
        """Number of pixels of a patch, kh * kw."""
        return self.kernel_size[0] * self.kernel_size[1]

    @property
    def _axes(self) -> list[tuple[int, int, int]]:
        return list(zip(self.kernel_size, self.strides, self.dilation_rate, strict=True))

    def paddings(self, height: int, width: int) -> list[tuple[int, int]]:
        """Return how many rows come above and below, and how many columns left and right, of a picture."""
        if self.padding == "valid":
            return [(0, 0), (0, 0)]
        return [same_padding(size, *axis) for size, axis in zip((height, width), self._axes, strict=True)]

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        """Return the height and width of the convolution's output; 0 where the picture is smaller than the kernel."""
        padded = [size + sum(sides) for size, sides in zip((height, width), self.paddings(height, width), strict=True)]
        rows, columns = (
            max((size - (kernel - 1) * dilation - 1) // stride + 1, 0)
            for size, (kernel, stride, dilation) in zip(padded, self._axes, strict=True)
        )
        return rows, columns

    def pad(self, images: np.ndarray) -> np.ndarray:
        """Return images of shape (n, height, width, c) as the convolution sees them, with their border."""
        sides = self.paddings(*images.shape[1:3])
        if not any(map(any, sides)):
            return images
        return np.pad(images, [(0, 0), *sides, (0, 0)], constant_values=images.dtype.type(self.pad_value))

    def patches(self, images: np.ndarray) -> np.ndarray:
        """Return all patches of images of shape (n, height, width, c), shape (n * out_height * out_width, kh * kw * c)."""
        images = np.asarray(images)
        rows, columns = self.output_size(*images.shape[1:3])
        width = self.taps * images.shape[-1]
        if not rows * columns:
            return np.zeros((0, width), images.dtype)
        extents = [(kernel - 1) * dilation + 1 for kernel, _, dilation in self._axes]
        padded: Any = self.pad(images)
        windows = np.lib.stride_tricks.sliding_window_view(padded, extents, axis=(1, 2))  # type: ignore[call-overload]
        windows = windows[:, :: self.strides[0], :: self.strides[1], :, :: self.dilation_rate[0], :: self.dilation_rate[1]]
        return np.moveaxis(windows, 3, -1).reshape(-1, width)

    def patches_at(self, images: np.ndarray, indices: np.ndarray) -> np.ndarray:
        """Return the patches of some output pixels alone, `patches(images)[indices]`, without forming the others."""
        rows, columns = self.output_size(*images.shape[1:3])
        padded = self.pad(images)
        image, row, column = np.unravel_index(indices, (len(images), rows, columns))
        taps = [
            padded[
                image, row * self.strides[0] + i * self.dilation_rate[0], column * self.strides[1] + j * self.dilation_rate[1]
            ]
            for i in range(self.kernel_size[0])
            for j in range(self.kernel_size[1])
        ]
        return np.concatenate(taps, axis=1)


def extract_patches(
    inputs: np.ndarray,
    kernel_size: tuple[int, int],
    strides: tuple[int, int] = (1, 1),
    dilation_rate: tuple[int, int] = (1, 1),
    padding: str = "valid",
    pad_value: float = 0.0,
) -> np.ndarray:
    """Return every patch that a kernel sees, one a row: `PatchGeometry(...).patches(inputs)` as one call.

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

    Examples:
        >>> extract_patches(np.ones((2, 5, 5, 3)), (3, 3)).shape
        (18, 27)
    """
    check_choice("extract_patches", "padding", padding, ("valid", "same"))
    return PatchGeometry(kernel_size, strides, dilation_rate, padding, pad_value).patches(inputs)
