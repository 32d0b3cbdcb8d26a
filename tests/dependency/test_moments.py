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


def collect(*batches):
    """The moments of batches: arrays of rows, or pairs (rows, targets)."""
    pairs = [batch if isinstance(batch, tuple) else (batch,) for batch in batches]
    moments = InputMoments(pairs[0][0].shape[1], *(targets.shape[1] for targets in pairs[0][1:]))
    for pair in pairs:
        moments.update(*pair)
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
    np.testing.assert_allclose(got.variance, expected.variance, atol=atol)
    if expected.targets:
        np.testing.assert_allclose(got.target_mean, expected.target_mean, atol=atol)
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
    assert_equal_moments(collect(*parts), collect(whole), atol=1e-5)


@settings(deadline=None, max_examples=60)
@given(rows=TABLES, data=st.data())
def test_merge_equals_the_whole(rows, data):
    cut = data.draw(st.integers(0, len(rows)))
    real = 3 * rows[::-1] - rows
    left, right = (collect((rows[part], real[part])) for part in (slice(cut), slice(cut, None)))
    left.merge(right)
    np.testing.assert_allclose(left.mean, rows.mean(axis=0), atol=1e-9)
    assert_equal_moments(left, collect((rows, real)), atol=1e-7)


@pytest.mark.parametrize("targets", [0, 4])
@pytest.mark.parametrize("empty_first", [False, True])
def test_merge_with_an_empty_accumulator(targets, empty_first):
    batch = signs_and_reals() if targets else signs_and_reals()[0]
    full, empty, expected = collect(batch), InputMoments(4, targets), collect(batch)
    target, source = (empty, full) if empty_first else (full, empty)
    target.merge(source)
    assert_equal_moments(target, expected, atol=1e-12)


def test_merged_accumulators_go_on_counting_on_their_own():
    binary, real = signs_and_reals()
    target, source = InputMoments(4, targets=4), collect((binary[:70], real[:70]))
    target.merge(source)
    target.update(binary[70:], real[70:])
    assert_equal_moments(target, collect((binary, real)), atol=1e-12)
    assert_equal_moments(source, collect((binary[:70], real[:70])), atol=1e-12)


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
    shuffled = collect(*(parts[i] for i in order))
    assert_equal_moments(shuffled, collect(*parts), atol=1e-10)


@pytest.mark.parametrize("width", [1, 3, 4, 9])
def test_covariances_equal_numpy_for_rows_and_targets(width):
    binary, real = signs_and_reals()
    real = real @ np.random.default_rng(1).normal(size=(4, width)) + np.arange(width)
    moments = collect((binary[:50], real[:50]), (binary[50:], real[50:]))
    np.testing.assert_allclose(moments.mean, binary.mean(axis=0), atol=1e-12)
    np.testing.assert_allclose(moments.covariance, expected_covariance(binary), atol=1e-12)
    np.testing.assert_allclose(moments.target_mean, real.mean(axis=0), atol=1e-12)
    assert moments.cross_covariance.shape == (4, width)
    np.testing.assert_allclose(moments.cross_covariance, expected_covariance(binary, real), atol=1e-12)
    if width == 4:
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

    batches = (extract_patches(image[None], (3, 3), padding="same", pad_value=1.0) for image in images)
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
    moments = collect(*parts[:3])
    if merge:
        moments.merge(collect(*parts[3:]))
    else:
        for part in parts[3:]:
            moments.update(*part)
    np.testing.assert_allclose(moments.mean, rows.mean(axis=0, dtype=np.float64), rtol=1e-7)
    np.testing.assert_allclose(moments.target_mean, real.mean(axis=0, dtype=np.float64), rtol=1e-7)
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


@pytest.mark.parametrize("mirror_rows", [1, 3, 7, 20])
@pytest.mark.parametrize("dim", [1, 3, 7, 8])
def test_covariance_is_mirrored_in_blocks(monkeypatch, dim, mirror_rows):
    monkeypatch.setattr("bitat_tf.dependency.moments._MIRROR_ROWS", mirror_rows)
    rows = np.random.default_rng(0).normal(size=(30, dim)) @ np.ones((dim, dim)) + np.arange(30 * dim).reshape(30, dim)
    moments = collect(*np.split(rows, [10]))
    moments._second[np.tril_indices(dim, -1)] = np.nan  # PatchMoments fills the upper triangle alone
    np.testing.assert_array_equal(moments.covariance, moments.covariance.T)
    np.testing.assert_allclose(moments.covariance, expected_covariance(rows), rtol=1e-9)
    np.testing.assert_allclose(moments.variance, np.diag(moments.covariance), rtol=1e-9)


@settings(deadline=None, max_examples=40)
@given(rows=TABLES)
def test_variance_is_that_of_numpy_and_never_negative(rows):
    moments = collect(*np.array_split(rows, 3))
    np.testing.assert_allclose(moments.variance, rows.var(axis=0), atol=1e-8)
    assert np.all(moments.variance >= 0)


def test_without_targets_their_mean_is_empty():
    assert collect(np.ones((5, 4))).target_mean.shape == (0,)


def test_reading_the_moments_does_not_change_them():
    moments = collect(signs_and_reals())
    for name in ("mean", "target_mean", "variance", "covariance", "cross_covariance"):
        before = getattr(moments, name).copy()
        getattr(moments, name)[...] = np.nan
        np.testing.assert_array_equal(getattr(moments, name), before)


def test_one_row_has_no_covariance():
    moments = collect((np.array([[3.0, -2.0]]), np.array([[5.0, 1.0]])))
    np.testing.assert_array_equal(moments.mean, [3, -2])
    np.testing.assert_array_equal(moments.target_mean, [5, 1])
    np.testing.assert_array_equal(moments.variance, np.zeros(2))
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
    moments = collect(*zip(np.split(binary, [30]), np.split(real, [30]), strict=True))
    np.testing.assert_allclose(moments.mean[1], value, atol=1e-12)
    np.testing.assert_allclose(moments.covariance[1], 0, atol=1e-12)
    np.testing.assert_allclose(moments.covariance[:, 1], 0, atol=1e-12)
    np.testing.assert_allclose(moments.cross_covariance[1], 0, atol=1e-12)
    np.testing.assert_allclose(moments.covariance, expected_covariance(binary), atol=1e-12)


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
