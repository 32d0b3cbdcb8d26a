"""Grouping: the reduction matrix P, its product without a dense P, and the k-means groups."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bitat_tf.dependency.grouping import group_inputs, reduce_inputs, reduction_matrix


@st.composite
def groupings(draw, max_dim=12):
    """Groups 0..g-1, all in use, of up to `max_dim` dimensions, in any order."""
    labels = draw(st.lists(st.integers(0, max_dim - 1), min_size=1, max_size=max_dim))
    return np.unique(labels, return_inverse=True)[1]


def dense_matrix(groups):
    """P by its definition: row g holds 1/sqrt(n_g) on the members of group g."""
    members = [[i for i, group in enumerate(groups) if group == g] for g in range(max(groups) + 1)]
    matrix = np.zeros((len(members), len(groups)))
    for g, indices in enumerate(members):
        for i in indices:
            matrix[g, i] = len(indices) ** -0.5
    return matrix


def signals_of(centres, copies, noise=0.0, n=30, seed=0):
    """Signals of `centres` well-separated kinds, `copies` of each, shuffled; and the kind of each column."""
    rng = np.random.default_rng(seed)
    kinds = rng.permutation(np.repeat(np.arange(centres), copies))
    signals = rng.normal(size=(n, centres))[:, kinds]
    return signals + noise * rng.normal(size=signals.shape), kinds


def same_partition(one, other):
    return np.array_equal(np.equal.outer(one, one), np.equal.outer(other, other))


@settings(deadline=None, max_examples=60)
@given(groups=groupings())
def test_rows_of_the_reduction_matrix_are_orthonormal(groups):
    matrix = reduction_matrix(groups)
    assert matrix.shape == (len(set(groups.tolist())), len(groups))
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(len(matrix)), atol=1e-12)
    np.testing.assert_allclose(matrix, dense_matrix(groups), atol=1e-15)


@settings(deadline=None, max_examples=60)
@given(groups=groupings(), n=st.integers(1, 5), seed=st.integers(0, 1000))
def test_reduce_inputs_is_the_product_with_the_dense_matrix(groups, n, seed):
    rows = np.random.default_rng(seed).normal(size=(n, len(groups)))
    np.testing.assert_allclose(reduce_inputs(groups, rows), rows @ dense_matrix(groups).T, atol=1e-12)


def test_reduce_inputs_keeps_float32():
    groups, rows = np.array([1, 0, 1, 2]), np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
    reduced = reduce_inputs(groups, rows)
    assert reduced.dtype == np.float32
    np.testing.assert_allclose(reduced, rows @ dense_matrix(groups).T, rtol=1e-5, atol=1e-6)


def test_reduction_keeps_what_is_equal_within_groups():
    groups = np.array([0, 1, 0, 2, 1, 0])
    constant = np.random.default_rng(0).normal(size=(5, 3))[:, groups]
    np.testing.assert_allclose(reduce_inputs(groups, constant) @ dense_matrix(groups), constant, atol=1e-12)


@pytest.mark.parametrize("num_groups", [6, 7, 100])
def test_as_many_groups_as_dimensions_gives_each_its_own_in_order(num_groups):
    signals = np.zeros((4, 6))  # even of equal signals
    groups = group_inputs(signals, num_groups)
    np.testing.assert_array_equal(groups, np.arange(6))
    np.testing.assert_array_equal(reduction_matrix(groups), np.eye(6))


def test_one_group_holds_all_dimensions():
    groups = group_inputs(signals_of(5, 2)[0], 1)
    np.testing.assert_array_equal(groups, np.zeros(10))
    np.testing.assert_allclose(reduction_matrix(groups), np.full((1, 10), 10**-0.5))


@settings(deadline=None, max_examples=20)
@given(
    centres=st.integers(1, 6),
    copies=st.integers(2, 4),
    num_groups=st.integers(1, 11),
    seed=st.integers(0, 100),
)
@example(centres=4, copies=4, num_groups=9, seed=4)  # rounding chose between two equal centres
def test_duplicate_signals_end_in_the_same_group(centres, copies, num_groups, seed):
    signals, kinds = signals_of(centres, copies, seed=seed)
    if num_groups >= signals.shape[1]:
        num_groups = signals.shape[1] - 1
    groups = group_inputs(signals, num_groups, seed=seed)
    assert groups.shape == kinds.shape
    for kind in range(centres):
        assert len(set(groups[kinds == kind])) == 1
    used = len(set(groups.tolist()))
    assert used <= min(num_groups, centres)
    assert set(groups.tolist()) == set(range(used)), "the groups are numbered without gaps"
    if num_groups >= centres:
        assert same_partition(groups, kinds)


def test_dimensions_that_behave_alike_are_found():
    # Two kinds far apart: any start of k-means finds them, whatever the noise.
    signals, kinds = signals_of(2, 8, noise=0.05)
    assert same_partition(group_inputs(signals, 2), kinds)


def test_the_groups_belong_to_columns_not_rows():
    signals = np.array([[0.0, 9.0, 0.1, 9.1, 0.0]])  # one row, five dimensions
    assert same_partition(group_inputs(signals, 2), np.array([0, 1, 0, 1, 0]))


def test_same_seed_same_groups():
    signals = np.random.default_rng(0).normal(size=(20, 60))
    first = group_inputs(signals, 7, seed=3)
    np.testing.assert_array_equal(group_inputs(signals.copy(), 7, seed=3), first)
    assert np.issubdtype(first.dtype, np.integer)
    assert len(set(first.tolist())) == 7
    others = [group_inputs(signals, 7, seed=seed) for seed in range(4, 8)]
    assert not all(same_partition(first, other) for other in others), "the seed must reach k-means"


@pytest.mark.filterwarnings("error")
def test_fewer_distinct_signals_than_groups_gives_no_warning():
    assert len(set(group_inputs(np.zeros((5, 8)), 3).tolist())) == 1


@pytest.mark.parametrize("num_groups", [0, -1])
def test_the_number_of_groups_must_be_positive(num_groups):
    with pytest.raises(ValueError, match=f"num_groups={num_groups}"):
        group_inputs(np.ones((3, 4)), num_groups)


@pytest.mark.parametrize("shape", [(0, 4), (4, 0), (4,), (2, 3, 4)])
def test_signals_must_be_a_table_with_content(shape):
    with pytest.raises(ValueError, match="signals must have shape"):
        group_inputs(np.ones(shape), 2)
