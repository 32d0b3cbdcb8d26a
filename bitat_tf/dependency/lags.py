"""Which blocks of a patch covariance share their products.

The block of the covariance between taps t and t' of a kernel is a sum over output pixels p of x(p s + o_t) x(p s + o_t')^T,
where o is the offset of a tap in pixels and s the stride: a correlation of the picture with itself, shifted by the lag
o_t' - o_t, over a window that starts at o_t. Tap pairs of one lag (and of one position of o_t within the stride) differ only
in where their windows lie. So the union of their windows is cut into cells, which every window either holds or does not,
the products are formed once a cell, and each block is the sum of its cells. A 3x3 kernel has 45 blocks in the upper triangle
and 13 such lags: the products of 13 blocks, and those of the borders, instead of 45.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from bitat_tf.dependency.patches import PatchGeometry


@dataclass(frozen=True)
class AxisLag:
    """Pairs of taps along one axis that share a lag.

    Attributes:
        lag: Pixels from the first tap of each pair to the second.
        pairs: The pairs of taps.
        cells: Pixels of the first tap, one slice a cell.
        members: Whether the window of a pair holds a cell, shape (pairs, cells).
    """

    lag: int
    pairs: tuple[tuple[int, int], ...]
    cells: tuple[slice, ...]
    members: np.ndarray


def axis_lags(kernel_size: int, stride: int, dilation_rate: int, output_size: int) -> list[AxisLag]:
    """Return the lags along one axis, of all ordered pairs of taps."""
    groups: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
    for first in range(kernel_size):
        for second in range(kernel_size):
            groups[(second - first) * dilation_rate, first * dilation_rate % stride].append((first, second))
    lags = []
    for (lag, phase), pairs in groups.items():
        # Windows in steps of the stride, among the pixels of this phase.
        starts = [(first * dilation_rate - phase) // stride for first, _ in pairs]
        edges = sorted({edge for start in starts for edge in (start, start + output_size)})
        cells, members = [], []
        for left, right in zip(edges, edges[1:], strict=False):
            inside = [start <= left and right <= start + output_size for start in starts]
            if any(inside):
                cells.append(slice(phase + left * stride, phase + (right - 1) * stride + 1, stride))
                members.append(inside)
        lags.append(AxisLag(lag, tuple(pairs), tuple(cells), np.array(members, np.float32).T))
    return lags


@dataclass(frozen=True)
class BlockLag:
    """Blocks of the upper triangle of a patch covariance that share their products.

    Attributes:
        rows, columns: The lag along each axis.
        blocks: The pairs of taps, numbered along the rows of the kernel, in the order of `sums`.
    """

    rows: AxisLag
    columns: AxisLag
    blocks: tuple[tuple[int, int], ...]

    @property
    def symmetric(self) -> bool:
        """Whether each product is one of an array with itself."""
        return self.rows.lag == self.columns.lag == 0

    def cells(self) -> Iterator[tuple[tuple[slice, slice], tuple[slice, slice]]]:
        """Yield the pixels of the first taps and those of the second taps, cell by cell."""
        for row in self.rows.cells:
            for column in self.columns.cells:
                yield (row, column), (_moved(row, self.rows.lag), _moved(column, self.columns.lag))

    def sums(self, products: np.ndarray) -> np.ndarray:
        """Return the blocks, shape (blocks, c, c), from the products of all cells, shape (cells, c, c)."""
        members = np.kron(self.rows.members, self.columns.members)
        return (members @ products.reshape(len(products), -1)).reshape(-1, *products.shape[1:])


def block_lags(geometry: PatchGeometry, output_size: tuple[int, int]) -> list[BlockLag]:
    """Return lags that together hold every block of the upper triangle once."""
    along_rows, along_columns = (
        axis_lags(kernel, stride, dilation, size)
        for kernel, stride, dilation, size in zip(
            geometry.kernel_size, geometry.strides, geometry.dilation_rate, output_size, strict=True
        )
    )
    width = geometry.kernel_size[1]
    return [
        BlockLag(rows, columns, tuple((a * width + b, c * width + d) for a, c in rows.pairs for b, d in columns.pairs))
        for rows in along_rows
        for columns in along_columns
        if (rows.lag, columns.lag) >= (0, 0)  # a later tap: the upper triangle
    ]


def _moved(pixels: slice, lag: int) -> slice:
    return slice(pixels.start + lag, pixels.stop + lag, pixels.step)
