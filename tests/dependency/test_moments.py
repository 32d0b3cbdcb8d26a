"""Moments: streamed sums against numpy.cov, explicit loops, and themselves in other batches."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from bitat_tf.dependency.moments import InputMoments
from bitat_tf.dependency.patches import extract_patches

TABLES = arrays(
    np.float64,
    array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=12),
    elements=st.floats(-100, 100, allow_subnormal=False),
)


def collect(*batches, cross=False):
    """The moments of batches: arrays of rows, or pairs (binary, real) with `cross`."""
    first = batches[0][0] if cross else batches[0]
    moments = InputMoments(first.shape[1], cross=cross)
    for batch in batches:
        moments.update(*batch) if cross else moments.update(batch)
    return moments


def signs_and_reals(n=200, dim=4, seed=0):
    rng = np.random.default_rng(seed)
    real = rng.normal(size=(n, dim)) @ rng.normal(size=(dim, dim))
    return np.where(real + 0.3 >= 0, 1.0, -1.0), real


def expected_covariance(rows, other=None):
    """numpy.cov of the rows, or its block between the rows and the other rows."""
    rows = np.asarray(rows, np.float64)
    if other is None:
        return np.cov(rows.T, bias=True).reshape(rows.shape[1], rows.shape[1])
    dim = rows.shape[1]
    return np.cov(rows.T, np.asarray(other, np.float64).T, bias=True)[:dim, dim:]


def assert_equal_moments(got, expected, atol=1e-8):
    assert got.count == expected.count
    np.testing.assert_allclose(got.mean, expected.mean, atol=atol)
    np.testing.assert_allclose(got.covariance, expected.covariance, atol=atol)
    if expected.cross:
        np.testing.assert_allclose(got.cross_covariance, expected.cross_covariance, atol=atol)


@settings(deadline=None, max_examples=60)
@given(rows=TABLES)
def test_one_batch_equals_numpy(rows):
    moments = collect(rows)
    assert moments.count == len(rows)
    np.testing.assert_allclose(moments.mean, rows.mean(axis=0), atol=1e-9)
    np.testing.assert_allclose(moments.covariance, expected_covariance(rows), atol=1e-8)


@settings(deadline=None, max_examples=60)
@given(rows=TABLES, data=st.data())
def test_any_split_equals_one_batch(rows, data):
    cuts = sorted(data.draw(st.lists(st.integers(0, len(rows)), max_size=5)))  # empty batches included
    parts = list(zip(np.split(rows, cuts), np.split(rows[::-1] ** 2, cuts), strict=True))
    whole = (rows, rows[::-1] ** 2)
    assert_equal_moments(collect(*(part[0] for part in parts)), collect(rows), atol=1e-7)
    assert_equal_moments(collect(*parts, cross=True), collect(whole, cross=True), atol=1e-5)


@settings(deadline=None, max_examples=60)
@given(rows=TABLES, data=st.data())
def test_merge_equals_the_whole(rows, data):
    cut = data.draw(st.integers(0, len(rows)))
    real = 3 * rows[::-1] - rows
    left, right = (collect((rows[part], real[part]), cross=True) for part in (slice(cut), slice(cut, None)))
    left.merge(right)
    np.testing.assert_allclose(left.mean, rows.mean(axis=0), atol=1e-9)
    assert_equal_moments(left, collect((rows, real), cross=True), atol=1e-7)


@pytest.mark.parametrize("cross", [False, True])
@pytest.mark.parametrize("empty_first", [False, True])
def test_merge_with_an_empty_accumulator(cross, empty_first):
    binary, real = signs_and_reals()
    full, empty = collect((binary, real) if cross else binary, cross=cross), InputMoments(4, cross=cross)
    expected = collect((binary, real) if cross else binary, cross=cross)
    target, source = (empty, full) if empty_first else (full, empty)
    target.merge(source)
    assert_equal_moments(target, expected, atol=1e-12)


def test_merged_accumulators_go_on_counting_on_their_own():
    binary, real = signs_and_reals()
    target, source = InputMoments(4, cross=True), collect((binary[:70], real[:70]), cross=True)
    target.merge(source)
    target.update(binary[70:], real[70:])
    assert_equal_moments(target, collect((binary, real), cross=True), atol=1e-12)
    assert_equal_moments(source, collect((binary[:70], real[:70]), cross=True), atol=1e-12)


def test_merge_of_two_empty_accumulators_stays_empty():
    moments = InputMoments(3)
    moments.merge(InputMoments(3))
    assert moments.count == 0
    with pytest.raises(ValueError, match="no rows"):
        _ = moments.covariance


@settings(deadline=None, max_examples=30)
@given(order=st.permutations(range(5)))
def test_order_of_batches_and_rows_does_not_matter(order):
    binary, real = signs_and_reals(n=60)
    parts = list(zip(np.split(binary, [3, 4, 20, 50]), np.split(real, [3, 4, 20, 50]), strict=True))
    shuffled = collect(*(parts[i] for i in order), cross=True)
    assert_equal_moments(shuffled, collect(*parts, cross=True), atol=1e-10)


def test_covariances_equal_numpy_for_both_kinds_of_rows():
    binary, real = signs_and_reals()
    moments = collect((binary[:50], real[:50]), (binary[50:], real[50:]), cross=True)
    np.testing.assert_allclose(moments.mean, binary.mean(axis=0), atol=1e-12)
    np.testing.assert_allclose(moments.covariance, expected_covariance(binary), atol=1e-12)
    np.testing.assert_allclose(moments.cross_covariance, expected_covariance(binary, real), atol=1e-12)
    assert not np.allclose(moments.cross_covariance, moments.cross_covariance.T), "the case must tell G from G^T"


def test_covariance_equals_explicit_loops_over_all_patches():
    images = np.random.default_rng(3).normal(size=(3, 4, 5, 2))
    padded = np.pad(images, [(0, 0), (1, 1), (1, 1), (0, 0)], constant_values=1)
    dim, patches = 18, []
    for image in padded:
        for top in range(4):
            for left in range(5):
                patches.append(image[top : top + 3, left : left + 3].ravel())
    mean = [sum(patch[i] for patch in patches) / len(patches) for i in range(dim)]
    expected = np.zeros((dim, dim))
    for patch in patches:
        for i in range(dim):
            for j in range(dim):
                expected[i, j] += (patch[i] - mean[i]) * (patch[j] - mean[j]) / len(patches)

    batches = (extract_patches(image[None], (3, 3), padding="same", pad_value=1.0).numpy() for image in images)
    moments = collect(*batches)
    assert moments.count == 60
    np.testing.assert_allclose(moments.mean, mean, atol=1e-12)
    np.testing.assert_allclose(moments.covariance, expected, atol=1e-12)


@pytest.mark.parametrize("merge", [False, True])
def test_large_mean_costs_no_accuracy(merge):
    rng = np.random.default_rng(0)
    real = (rng.normal(size=(3000, 4)) @ rng.normal(size=(4, 4)) + 1e4).astype(np.float32)
    rows = (real[:, ::-1] + rng.normal(size=real.shape)).astype(np.float32)
    parts = list(zip(np.array_split(rows, 6), np.array_split(real, 6), strict=True))
    moments = collect(*parts[:3], cross=True)
    if merge:
        moments.merge(collect(*parts[3:], cross=True))
    else:
        for part in parts[3:]:
            moments.update(*part)
    np.testing.assert_allclose(moments.mean, rows.mean(axis=0, dtype=np.float64), rtol=1e-7)
    np.testing.assert_allclose(moments.covariance, expected_covariance(rows), atol=1e-4)
    np.testing.assert_allclose(moments.cross_covariance, expected_covariance(rows, real), atol=1e-4)


def test_many_float32_batches_stay_accurate():
    rows = np.where(np.random.default_rng(0).random((60_000, 3)) < [0.5, 0.1, 0.9], -1, 1).astype(np.float32)
    moments = collect(*np.array_split(rows, 300))
    assert moments.covariance.dtype == np.float64
    np.testing.assert_allclose(moments.mean, rows.mean(axis=0, dtype=np.float64), atol=1e-6)
    np.testing.assert_allclose(moments.covariance, expected_covariance(rows), atol=1e-6)


@settings(deadline=None, max_examples=40)
@given(flags=arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=12)))
def test_centred_signs_have_the_diagonal_one_minus_mean_squared(flags):
    moments = collect(*np.array_split(np.where(flags, 1.0, -1.0), min(3, len(flags))))
    np.testing.assert_allclose(np.diag(moments.covariance), 1 - moments.mean**2, atol=1e-12)
    assert np.all(np.abs(moments.mean) <= 1 + 1e-12)


@settings(deadline=None, max_examples=40)
@given(rows=TABLES)
def test_covariance_is_symmetric_and_positive_semidefinite(rows):
    covariance = collect(*np.array_split(rows, 3)).covariance
    np.testing.assert_array_equal(covariance, covariance.T)
    assert np.linalg.eigvalsh(covariance).min() >= -1e-8


def test_one_row_has_no_covariance():
    moments = collect((np.array([[3.0, -2.0]]), np.array([[5.0, 1.0]])), cross=True)
    np.testing.assert_array_equal(moments.mean, [3, -2])
    np.testing.assert_array_equal(moments.covariance, np.zeros((2, 2)))
    np.testing.assert_array_equal(moments.cross_covariance, np.zeros((2, 2)))


def test_one_feature():
    moments = collect(np.array([[1.0], [2.0]]), np.array([[6.0]]))
    np.testing.assert_allclose(moments.mean, [3])
    np.testing.assert_allclose(moments.covariance, [[14 / 3]])


@pytest.mark.parametrize("value", [0.0, 7.5, -1.0])
def test_dead_and_constant_features_do_not_vary(value):
    binary, real = signs_and_reals()
    binary[:, 1] = value
    moments = collect(*zip(np.split(binary, [30]), np.split(real, [30]), strict=True), cross=True)
    np.testing.assert_allclose(moments.mean[1], value, atol=1e-12)
    np.testing.assert_allclose(moments.covariance[1], 0, atol=1e-12)
    np.testing.assert_allclose(moments.covariance[:, 1], 0, atol=1e-12)
    np.testing.assert_allclose(moments.cross_covariance[1], 0, atol=1e-12)
    np.testing.assert_allclose(moments.covariance, expected_covariance(binary), atol=1e-12)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("batch", [0, 1])
@pytest.mark.parametrize("where", ["binary", "real"])
def test_values_that_are_not_finite_are_refused(bad, batch, where):
    moments = InputMoments(4, cross=True)
    binary, real = signs_and_reals(n=10)
    for _ in range(batch):
        moments.update(binary, real)
    broken = {"binary": binary.copy(), "real": real.copy()}
    broken[where][3, 2] = bad
    with pytest.raises(ValueError, match=r"(?i)finite|nan|inf"):
        moments.update(**broken)


@pytest.mark.parametrize("shape", [(5, 3), (5, 5), (4,), (2, 5, 4), (5, 0)])
def test_wrong_shapes_are_refused(shape):
    with pytest.raises(ValueError, match=r"shape \(n, 4\)"):
        InputMoments(4).update(np.ones(shape))
    with pytest.raises(ValueError, match=r"shape \(n, 4\)"):
        InputMoments(4, cross=True).update(np.ones((5, 4)), np.ones(shape))


def test_real_rows_must_be_as_many_as_binary_rows():
    with pytest.raises(ValueError, match=r"5 binary rows.*6 real rows"):
        InputMoments(4, cross=True).update(np.ones((5, 4)), np.ones((6, 4)))


def test_real_rows_exactly_with_cross():
    with pytest.raises(ValueError, match="cross=False"):
        InputMoments(4).update(np.ones((5, 4)), np.ones((5, 4)))
    with pytest.raises(ValueError, match="cross=True"):
        InputMoments(4, cross=True).update(np.ones((5, 4)))
    with pytest.raises(ValueError, match="needs cross=True"):
        _ = collect(np.ones((5, 4))).cross_covariance


@pytest.mark.parametrize("other", [InputMoments(3), InputMoments(4, cross=True)])
def test_only_accumulators_of_one_kind_merge(other):
    with pytest.raises(ValueError, match="one kind"):
        InputMoments(4).merge(other)


@pytest.mark.parametrize("name", ["mean", "covariance", "cross_covariance"])
@pytest.mark.parametrize("empty_batch", [False, True])
def test_no_rows_is_an_error(name, empty_batch):
    moments = InputMoments(2, cross=True)
    if empty_batch:
        moments.update(np.zeros((0, 2)), np.zeros((0, 2)))
    with pytest.raises(ValueError, match="no rows"):
        getattr(moments, name)


def test_refused_rows_leave_the_moments_as_they_were():
    rows = np.array([[1.0], [-1.0]])
    moments = InputMoments(1, cross=True)
    with pytest.raises(ValueError, match="must be finite"):
        moments.update(rows, np.array([[np.nan], [1.0]]))
    moments.update(rows, rows)
    for real, message in [(np.array([[np.nan], [1.0]]), "must be finite"), (np.ones((3, 1)), "2 binary rows came with 3")]:
        with pytest.raises(ValueError, match=message):
            moments.update(5 * rows, real)
    assert moments.count == 2
    np.testing.assert_allclose(moments.covariance, [[1.0]])


@pytest.mark.parametrize("dtype", [np.int8, np.int64, np.bool_, np.float16, np.float32])
def test_rows_of_any_type(dtype):
    rows = (np.arange(600).reshape(200, 3) % 2).astype(dtype)
    moments = InputMoments(3)
    for part in np.split(rows, 4):
        moments.update(part)
    np.testing.assert_allclose(moments.covariance, np.cov(rows.astype(float).T, bias=True), atol=1e-6)
    np.testing.assert_allclose(moments.mean, rows.astype(float).mean(axis=0), atol=1e-6)


def test_merging_parts_far_apart_is_exact():
    first, second = np.float32([[2**24], [2**24 + 2]]), np.float32([[2**24]])
    moments, other = InputMoments(1), InputMoments(1)
    moments.update(first)
    other.update(second)
    moments.merge(other)
    expected = np.concatenate([first, second]).astype(float)
    np.testing.assert_allclose(moments.mean, expected.mean(axis=0))
    np.testing.assert_allclose(moments.covariance, [[expected.var()]])
