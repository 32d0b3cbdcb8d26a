"""Moments of the patches of pictures, without forming the patches."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from keras import ops

from bitat_tf._validation import check_finite
from bitat_tf.dependency.grouping import reduce_inputs, reduction_matrix
from bitat_tf.dependency.lags import block_lags
from bitat_tf.dependency.moments import MEMORY_LIMIT, InputMoments
from bitat_tf.dependency.patches import PatchGeometry

_CHUNK_VALUES = 2**24  # values of the padded pictures that are worked on at once (64 MiB)
FEW_CHANNELS = 32  # below, products of single taps are too small to be fast, and patches are small


class PatchMoments(InputMoments):
    """`InputMoments` of all patches that a convolution sees, from its pictures.

    The covariance is that of `geometry.patches(images)`, exactly: blocks between taps that are the same shift apart share
    their products (see `lags`), so that a 3x3 convolution costs about 14 products of c x c instead of 45 and no array of
    patches. A 1x1 convolution and a dense layer (the default geometry) need one product.

    Args:
        geometry: The pixels that a kernel sees.
        channels: Number c of channels of the pictures; d = kh * kw * c.
        targets, memory_limit: As in `InputMoments`.

    Examples:
        >>> images = np.random.default_rng(0).normal(size=(4, 6, 6, 2)).astype(np.float32)
        >>> geometry = PatchGeometry((3, 3), padding="same")
        >>> moments = PatchMoments(geometry, channels=2)
        >>> moments.update(images)
        >>> rows = geometry.patches(images)
        >>> bool(np.allclose(moments.covariance, np.cov(rows.T, bias=True), atol=1e-6))
        True
    """

    def __init__(self, geometry: PatchGeometry, channels: int, targets: int = 0, memory_limit: int = MEMORY_LIMIT):
        super().__init__(geometry.taps * channels, targets, memory_limit)
        self.geometry = geometry
        self.channels = channels

    def update(self, images: np.ndarray, targets: np.ndarray | None = None) -> None:  # type: ignore[override]
        """Add the patches of images.

        Args:
            images: What the convolution sees without its border, shape (n, height, width, c).
            targets: One row for each output pixel, shape (n * out_height * out_width, t); needed exactly if `targets` > 0.

        Raises:
            ValueError: If a shape does not fit, or a value is not finite.
        """
        images = checked_images(self, images, self.channels)
        size = self.geometry.output_size(*images.shape[1:3])
        rows = len(images) * size[0] * size[1]
        targets = self._checked_targets(targets, rows)
        if not rows:
            return
        if self.channels < FEW_CHANNELS and self.geometry.taps > 1:
            for part, part_targets in _parts(images, targets, self.dim * size[0] * size[1]):
                super().update(self.geometry.patches(part), part_targets)
            return
        if self._shift is None:
            self._shift = np.tile(_channel_shift(images), self.geometry.taps)
        shift = self._shift[: self.channels].astype(images.dtype)
        for part, part_targets in _parts(images, targets, images[0].size):
            centred: np.ndarray = self.geometry.pad(part) - shift
            self._sum += tap_sums(self.geometry, centred, size)
            self._add_products(centred, size)
            if part_targets is not None:
                self._add_targets(centred, size, self._centred_targets(part_targets))
        self.count += rows

    def merge(self, other: InputMoments) -> None:
        """Add what another accumulator of the same geometry has seen."""
        if isinstance(other, PatchMoments) and other.geometry != self.geometry:
            raise ValueError(
                f"PatchMoments: only accumulators of one kind can be merged. Received: {self.geometry} and {other.geometry}."
            )
        super().merge(other)

    def _add_products(self, centred: np.ndarray, size: tuple[int, int]) -> None:
        channels = self.channels
        for lag in block_lags(self.geometry, size):
            products = np.stack([_product(centred, first, first if lag.symmetric else second) for first, second in lag.cells()])
            for (first, second), block in zip(lag.blocks, lag.sums(products), strict=True):
                self._second[_tap(first, channels), _tap(second, channels)] += block

    def _add_targets(self, centred: np.ndarray, size: tuple[int, int], targets: np.ndarray) -> None:
        for tap, pixels in enumerate(_windows(self.geometry, size)):
            rows = centred[:, pixels[0], pixels[1]].reshape(-1, self.channels)
            self._cross[_tap(tap, self.channels)] += rows.T @ targets


class GroupedMoments:
    """Moments of patches in the space of k groups of their d features: C_k = P C P^T, without d x d numbers.

    P x is formed for every patch as a convolution with P as its kernel, and tr C, which the residual term needs, from sums
    of the pictures.

    Args:
        geometry: The pixels that a kernel sees.
        groups: Group of each feature, shape (d,), groups 0..k-1, as `group_inputs` gives them.

    Raises:
        ValueError: If d is no multiple of the taps.

    Examples:
        >>> moments = GroupedMoments(PatchGeometry(), np.array([0, 0, 1]))
        >>> moments.update(np.array([[1.0, 1, -1], [-1, -1, -1]]).reshape(2, 1, 1, 3))
        >>> moments.covariance.round(6)
        array([[2., 0.],
               [0., 0.]])
        >>> moments.total
        2.0
    """

    def __init__(self, geometry: PatchGeometry, groups: np.ndarray):
        self.geometry = geometry
        self.groups = np.asarray(groups, np.int32)
        if len(self.groups) % geometry.taps:
            raise ValueError(
                f"GroupedMoments: d must be a multiple of the {geometry.taps} taps of the kernel. Received: groups of "
                f"{len(self.groups)} features."
            )
        self.channels = len(self.groups) // geometry.taps
        matrix = reduction_matrix(self.groups)
        self._kernel = matrix.T.reshape(*geometry.kernel_size, self.channels, len(matrix)).astype(np.float32)
        self._grouped = InputMoments(len(matrix))
        self._shift: np.ndarray | None = None
        self._sum, self._squares = np.zeros(len(self.groups)), np.zeros(len(self.groups))

    def update(self, images: np.ndarray) -> None:
        """Add the patches of images of shape (n, height, width, c)."""
        images = checked_images(self, images, self.channels).astype(np.float32, copy=False)
        size = self.geometry.output_size(*images.shape[1:3])
        if not len(images) * size[0] * size[1]:
            return
        if self._shift is None:
            self._shift = _channel_shift(images)
        groups = self._grouped.dim
        # Where Keras has no convolution, with strides and dilation, patches too.
        spread = max(self.geometry.strides) > 1 and max(self.geometry.dilation_rate) > 1
        few = spread or (self.channels < FEW_CHANNELS and self.geometry.taps > 1)
        values = (len(self.groups) if few else groups) * size[0] * size[1]
        for part, _ in _parts(images, None, max(images[0].size, values)):
            # Around the channel means: they are removed from the covariance, and cost accuracy in float32 where they are large.
            centred: np.ndarray = self.geometry.pad(part) - self._shift.astype(np.float32)
            self._sum += tap_sums(self.geometry, centred, size)
            self._squares += tap_sums(self.geometry, np.square(centred), size)
            self._grouped.update(self._reduced(centred, few))

    def _reduced(self, centred: np.ndarray, few: bool) -> np.ndarray:
        """Return P x of every patch, shape (n, k)."""
        geometry = self.geometry
        if few:  # the patches are small; and TensorFlow's convolution of one channel is wrong for some strides
            return reduce_inputs(self.groups, replace(geometry, padding="valid").patches(centred))
        reduced = ops.conv(centred, self._kernel, geometry.strides, "valid", "channels_last", geometry.dilation_rate)
        return ops.convert_to_numpy(reduced).reshape(-1, self._grouped.dim)

    def merge(self, other: "GroupedMoments") -> None:
        """Add what another accumulator of the same geometry and groups has seen."""
        if other.geometry != self.geometry or not np.array_equal(other.groups, self.groups):
            raise ValueError("GroupedMoments: only accumulators of the same geometry and the same groups can be merged.")
        if other._shift is None:
            return
        if self._shift is None:
            self._shift = other._shift
        move = np.tile(other._shift - self._shift, self.geometry.taps)
        # The same rows, around this accumulator's shift.
        moved = InputMoments(self._grouped.dim)
        moved.merge(other._grouped)
        moved._shift = moved._shift + reduction_matrix(self.groups) @ move  # type: ignore[operator]
        self._grouped.merge(moved)
        self._squares += other._squares + 2 * move * other._sum + other.count * move**2
        self._sum += other._sum + other.count * move

    @property
    def count(self) -> int:
        """Number of patches seen."""
        return self._grouped.count

    @property
    def covariance(self) -> np.ndarray:
        """C_k = P C P^T, shape (k, k)."""
        return self._grouped.covariance

    @property
    def total(self) -> float:
        """Tr C, the sum of the variances of all d features."""
        self._grouped._require_rows()
        return float(np.sum(np.maximum(self._squares / self.count - (self._sum / self.count) ** 2, 0)))


def tap_sums(geometry: PatchGeometry, padded: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return the sum over all patches of each feature, shape (d,), in float64."""
    picture = padded.sum(axis=0, dtype=np.float64)
    return np.concatenate([picture[pixels].sum(axis=(0, 1)) for pixels in _windows(geometry, size)])


def checked_images(owner: object, images: np.ndarray, channels: int) -> np.ndarray:
    """Return images of shape (n, height, width, channels) in a floating type of at least 32 bits, or raise ValueError."""
    where, images = type(owner).__name__, np.asarray(images)
    if images.ndim != 4 or images.shape[3] != channels:
        raise ValueError(f"{where}: images must have shape (n, height, width, {channels}). Received: {images.shape}.")
    images = images.astype(np.result_type(images, np.float32), copy=False)
    check_finite(where, "the input of a layer", images)
    return images


def _windows(geometry: PatchGeometry, size: tuple[int, int]) -> list[tuple[slice, slice]]:
    """Return the pixels of the padded picture that each tap sees."""
    rows, columns = (
        [slice(tap * dilation, tap * dilation + (outputs - 1) * stride + 1, stride) for tap in range(kernel)]
        for kernel, stride, dilation, outputs in zip(
            geometry.kernel_size, geometry.strides, geometry.dilation_rate, size, strict=True
        )
    )
    return [(row, column) for row in rows for column in columns]


def _product(images: np.ndarray, first: tuple[slice, slice], second: tuple[slice, slice]) -> np.ndarray:
    channels = images.shape[-1]
    left = images[:, first[0], first[1]].reshape(-1, channels)
    # numpy sees where both are the same array, which halves the work.
    right = left if second == first else images[:, second[0], second[1]].reshape(-1, channels)
    return left.T @ right


def _parts(images: np.ndarray, targets: np.ndarray | None, values: int) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
    """Yield images (and their targets) in parts of at most _CHUNK_VALUES, at `values` numbers an image."""
    size = max(_CHUNK_VALUES // max(values, 1), 1)
    rows = 0 if targets is None else len(targets) // len(images)
    for start in range(0, len(images), size):
        part = images[start : start + size]
        yield part, None if targets is None else targets[start * rows : start * rows + len(part) * rows]


def _channel_shift(images: np.ndarray) -> np.ndarray:
    """Return the channel means as float64, rounded to the images' own precision."""
    return images.mean(axis=(0, 1, 2), dtype=np.float64).astype(images.dtype).astype(np.float64)


def _tap(tap: int, channels: int) -> slice:
    return slice(tap * channels, (tap + 1) * channels)
