"""A transposed convolution as a convolution of small pictures, each of whose outputs holds a block of the large one.

TFLite's own operator for it takes the size of its output as a tensor, the number of samples included: of files that take any
number of samples it is known only while the network runs, and no binary operator can follow.
"""

from typing import NamedTuple

import numpy as np


class BlockConvolution(NamedTuple):
    """What a transposed convolution with the same stride s in both directions is made of.

    Attributes:
        kernel: Of a convolution with stride 1, (height, width, channels, s * s * filters): a filter for each pixel of a block.
        pads: Zeros before and after the rows and the columns of its input.
        size: Rows and columns of the output; where the blocks are more, the last ones are cut off.
    """

    kernel: np.ndarray
    pads: tuple[tuple[int, int], tuple[int, int]]
    size: tuple[int, int]


def block_convolution(kernel: np.ndarray, stride: int, size: tuple[int, int], padding: str) -> BlockConvolution:
    r"""Return a transposed convolution as a convolution.

    Along an axis, \( y_{s i + a} = \sum_t x_{i - t} \, w_{s t + a + p} \) for the pixel a of block i, where p is what the
    convolution that is transposed pads before its input: a convolution of x for each a.

    Args:
        kernel: As Keras' `Conv2DTranspose` has it, (height, width, filters, channels).
        stride: s >= 1.
        size: Rows and columns of the input.
        padding: "same" or "valid".
    """
    rows, columns = (_taps(length, taps, stride, padding) for length, taps in zip(size, kernel.shape[:2], strict=True))
    filters, channels = kernel.shape[2:]
    blocks = np.zeros((len(rows.taps), len(columns.taps), channels, stride, stride, filters))
    for row, of_row in enumerate(rows.taps):
        for column, of_column in enumerate(columns.taps):
            for a, tap in enumerate(of_row):
                for b, other in enumerate(of_column):
                    if 0 <= tap < kernel.shape[0] and 0 <= other < kernel.shape[1]:
                        blocks[row, column, :, a, b] = kernel[tap, other].T
    return BlockConvolution(blocks.reshape(*blocks.shape[:3], -1), (rows.pads, columns.pads), (rows.length, columns.length))


class _Axis(NamedTuple):
    taps: list[list[int]]  # of each place of the new kernel, for each pixel of a block
    pads: tuple[int, int]
    length: int


def _taps(length: int, taps: int, stride: int, padding: str) -> _Axis:
    full = (length - 1) * stride + taps
    output = length * stride if padding == "same" else (length - 1) * stride + max(taps, stride)
    before = max(full - output, 0) // 2
    first, last = -((stride - 1 + before) // stride), (taps - 1 - before) // stride  # of t
    found = [[stride * t + a + before for a in range(stride)] for t in range(last, first - 1, -1)]
    blocks = -(-output // stride)
    return _Axis(found, (last, blocks - length - first), output)
