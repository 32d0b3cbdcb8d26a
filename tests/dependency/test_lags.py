"""Lags: every block of a patch covariance once, every window cut into cells; against sets of pixels."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitat_tf.dependency.lags import axis_lags, block_lags
from bitat_tf.dependency.patches import PatchGeometry

AXES = st.tuples(
    st.integers(1, 5), st.integers(1, 4), st.integers(1, 3), st.integers(1, 7)
)  # kernel, stride, dilation, outputs


def pixels(cell):
    return list(range(cell.start, cell.stop, cell.step))


def window(tap, stride, dilation, outputs):
    """The pixels that a tap sees, one an output pixel."""
    return [tap * dilation + output * stride for output in range(outputs)]


def geometry_of(rows, columns):
    kernel_size, strides, dilation_rate, output_size = zip(rows, columns, strict=True)
    return PatchGeometry(kernel_size, strides, dilation_rate), output_size


@settings(deadline=None, max_examples=200)
@given(axis=AXES)
def test_every_pair_of_taps_of_an_axis_once_and_at_its_lag(axis):
    kernel, _, dilation, _ = axis
    lags = axis_lags(*axis)
    pairs = Counter(pair for lag in lags for pair in lag.pairs)
    assert pairs == Counter((first, second) for first in range(kernel) for second in range(kernel))
    for lag in lags:
        assert {(second - first) * dilation for first, second in lag.pairs} == {lag.lag}


@settings(deadline=None, max_examples=200)
@given(axis=AXES)
def test_cells_are_disjoint_and_make_up_each_window(axis):
    _, stride, dilation, outputs = axis
    for lag in axis_lags(*axis):
        cells = [pixels(cell) for cell in lag.cells]
        assert all(cells), "an empty cell costs a product for nothing"
        assert max(Counter(sum(cells, [])).values()) == 1
        assert lag.members.shape == (len(lag.pairs), len(cells))
        assert set(np.unique(lag.members)) <= {0, 1}
        assert lag.members.any(axis=0).all(), "a cell that nobody needs"
        for (first, second), members in zip(lag.pairs, lag.members, strict=True):
            held = sorted(sum((cell for cell, member in zip(cells, members, strict=True) if member), []))
            assert held == window(first, stride, dilation, outputs)
            assert [pixel + lag.lag for pixel in held] == window(second, stride, dilation, outputs)


@settings(deadline=None, max_examples=200)
@given(rows=AXES, columns=AXES)
def test_every_block_of_the_upper_triangle_once(rows, columns):
    geometry, output_size = geometry_of(rows, columns)
    blocks = Counter(block for lag in block_lags(geometry, output_size) for block in lag.blocks)
    assert blocks == Counter((first, second) for first in range(geometry.taps) for second in range(first, geometry.taps))


@settings(deadline=None, max_examples=100)
@given(rows=AXES, columns=AXES)
def test_symmetric_are_the_blocks_on_the_diagonal(rows, columns):
    geometry, output_size = geometry_of(rows, columns)
    for lag in block_lags(geometry, output_size):
        assert {first == second for first, second in lag.blocks} == {lag.symmetric}
        for first, second in lag.cells():
            assert (first == second) == lag.symmetric


@settings(deadline=None, max_examples=100)
@given(rows=AXES, columns=AXES, seed=st.integers(0, 1000))
def test_sums_over_cells_are_sums_over_output_pixels(rows, columns, seed):
    geometry, output_size = geometry_of(rows, columns)
    sides = [(kernel - 1) * dilation + (outputs - 1) * stride + 1 for kernel, stride, dilation, outputs in (rows, columns)]
    picture = np.random.default_rng(seed).integers(-5, 6, (*sides, 2)).astype(float)
    taps = [(i, j) for i in range(rows[0]) for j in range(columns[0])]
    seen = [np.array([picture[i, j] for i in window(tap[0], *rows[1:]) for j in window(tap[1], *columns[1:])]) for tap in taps]
    for lag in block_lags(geometry, output_size):
        cells = list(lag.cells())
        products = np.array([np.einsum("ijc,ijd->cd", picture[first], picture[second]) for first, second in cells])
        assert products.shape == (len(cells), 2, 2)
        for (first, second), block in zip(lag.blocks, lag.sums(products), strict=True):
            np.testing.assert_array_equal(block, seen[first].T @ seen[second])


@pytest.mark.parametrize(
    ("kernel_size", "lags"),
    [((1, 1), 1), ((3, 3), 13), ((1, 3), 3), ((3, 1), 3), ((2, 3), 8), ((5, 5), 41)],
)
@pytest.mark.parametrize("dilation_rate", [(1, 1), (2, 3)])
def test_number_of_lags_at_stride_one(kernel_size, lags, dilation_rate):
    # (2 kh - 1)(2 kw - 1) shifts, of which one is its own mirror image and half of the others are needed.
    geometry = PatchGeometry(kernel_size, dilation_rate=dilation_rate)
    assert len(block_lags(geometry, (20, 30))) == lags == ((2 * kernel_size[0] - 1) * (2 * kernel_size[1] - 1) + 1) // 2


def test_the_products_of_a_large_picture_are_those_of_one_window_a_lag_and_of_borders():
    # A 3x3 kernel on a 20 x 20 output: all the cells of a lag together are hardly larger than one window.
    for lag in block_lags(PatchGeometry((3, 3)), (20, 20)):
        area = sum(len(pixels(row)) * len(pixels(column)) for (row, column), _ in lag.cells())
        assert 20 * 20 <= area <= 22 * 22


def test_windows_of_other_phases_share_nothing():
    # At stride 2 taps 0 and 2 see the even pixels, tap 1 the odd ones.
    by_pairs = {lag.pairs: lag for lag in axis_lags(3, 2, 1, 4)}
    assert set(by_pairs) == {((0, 0), (2, 2)), ((1, 1),), ((0, 1),), ((1, 2),), ((0, 2),), ((1, 0),), ((2, 1),), ((2, 0),)}
    assert [pixels(cell) for cell in by_pairs[(0, 0), (2, 2)].cells] == [[0], [2, 4, 6], [8]]
    assert [pixels(cell) for cell in by_pairs[((1, 1),)].cells] == [[1, 3, 5, 7]]
