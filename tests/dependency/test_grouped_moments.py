"""Moments in the space of groups: against P C P^T of the patches, with a dense P."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitat_tf.dependency import patch_moments
from bitat_tf.dependency.patch_moments import GroupedMoments
from bitat_tf.dependency.patches import PatchGeometry

KERNELS = [(1, 1), (3, 3), (2, 3), (1, 3), (5, 5)]
STRIDES = [(1, 1), (2, 2), (1, 2), (3, 3)]
BORDERS = [("valid", 0.0), ("same", 0.0), ("same", 1.0)]
SIZES = [(7, 7), (8, 11), (5, 5), (6, 5), (4, 3), (2, 2), (1, 4), (1, 1)]


def dense_matrix(groups):
    """P by its definition: row g holds 1/sqrt(n_g) on the members of group g."""
    matrix = np.equal.outer(np.arange(max(groups) + 1), groups).astype(float)
    return matrix / np.sqrt(matrix.sum(axis=1, keepdims=True))


def some_groups(dim, k, seed=0):
    """Groups 0..k-1, all in use, in no order."""
    return np.random.default_rng(seed).permutation(np.arange(dim) % k)


def pictures(*shape, seed=0):
    """Pictures whose neighbouring pixels and channels depend on each other; each channel has its own mean."""
    noise = np.random.default_rng(seed).normal(size=shape)
    pixels = noise + 0.5 * np.roll(noise, 1, 1) - 0.7 * np.roll(noise, (1, 1), (2, 3)) + np.arange(shape[-1]) % 3
    return pixels.astype(np.float32)


def patches(geometry, *batches):
    """The patches of all batches in float64, padded by numpy; without tf.image where the picture has no output."""
    rows = [
        geometry.patches_at(images, np.arange(len(images) * np.prod(geometry.output_size(*images.shape[1:3]))))
        for images in batches
    ]
    return np.concatenate(rows).astype(float)


def covariance_of(rows):
    return np.cov(rows.T, bias=True).reshape(2 * rows.shape[1:])


def assert_moments_of(moments, rows, groups, atol=1e-4):
    """In units of what the groups and all features vary by."""
    covariance, matrix = covariance_of(rows), dense_matrix(groups)
    expected = matrix @ covariance @ matrix.T
    units = np.sqrt(np.maximum(np.outer(np.diag(expected), np.diag(expected)), 1))
    assert moments.count == len(rows)
    np.testing.assert_allclose(moments.covariance / units, expected / units, atol=atol)
    np.testing.assert_array_equal(moments.covariance, moments.covariance.T)
    np.testing.assert_allclose(moments.total, np.trace(covariance), rtol=1e-5, atol=atol)


@pytest.mark.parametrize(("padding", "pad_value"), BORDERS)
@pytest.mark.parametrize("dilation_rate", [(1, 1), (2, 2)])
@pytest.mark.parametrize("strides", STRIDES)
@pytest.mark.parametrize("kernel_size", KERNELS)
def test_moments_are_those_of_the_grouped_patches(kernel_size, strides, dilation_rate, padding, pad_value):
    geometry = PatchGeometry(kernel_size, strides, dilation_rate, padding, pad_value)
    for number, size in enumerate(SIZES):
        images = pictures(*((3, *size, 2) if number % 2 else (1, *size, 1)), seed=number)
        rows = patches(geometry, images)
        dim = rows.shape[1]
        for k in sorted({1, min(4, dim), dim}):
            groups = some_groups(dim, k)
            moments = GroupedMoments(geometry, groups)
            moments.update(images)
            if len(rows):
                assert_moments_of(moments, rows, groups)
            else:
                assert moments.count == 0


@pytest.mark.parametrize(("padding", "pad_value"), BORDERS)
@pytest.mark.parametrize(("strides", "dilation_rate"), [((1, 1), (1, 1)), ((2, 2), (1, 1)), ((1, 2), (1, 1)), ((1, 1), (2, 2))])
@pytest.mark.parametrize("kernel_size", KERNELS)
def test_as_a_convolution_it_gives_the_same(kernel_size, strides, dilation_rate, padding, pad_value, monkeypatch):
    """The way of many channels: P as the kernel of a convolution."""
    monkeypatch.setattr(patch_moments, "FEW_CHANNELS", 0)
    geometry = PatchGeometry(kernel_size, strides, dilation_rate, padding, pad_value)
    for size in [(9, 11), (10, 9)]:
        images = pictures(3, *size, 4)
        rows = patches(geometry, images)
        groups = some_groups(rows.shape[1], 3)
        moments = GroupedMoments(geometry, groups)
        moments.update(images)
        assert_moments_of(moments, rows, groups)


@settings(deadline=None, max_examples=80)
@given(
    sides=st.tuples(*[st.tuples(st.integers(1, high), st.integers(1, high)) for high in (4, 3, 2)]),
    border=st.sampled_from(BORDERS),
    shapes=st.lists(st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=3),
    channels=st.integers(1, 4),
    k=st.integers(1, 20),
    chunk_values=st.sampled_from([2**24, 200, 1]),
    seed=st.integers(0, 1000),
)
def test_any_geometry_and_batches_of_any_sizes(sides, border, shapes, channels, k, chunk_values, seed):
    geometry = PatchGeometry(*sides, *border)
    batches = [pictures(*shape, channels, seed=seed + number) + number for number, shape in enumerate(shapes)]
    rows = patches(geometry, *batches)
    groups = some_groups(geometry.taps * channels, min(k, geometry.taps * channels), seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(patch_moments, "_CHUNK_VALUES", chunk_values)
        whole, merged = GroupedMoments(geometry, groups), GroupedMoments(geometry, groups)
        for images in batches:
            half = GroupedMoments(geometry, groups)
            whole.update(images)
            half.update(images)
            merged.merge(half)
    for moments in (whole, merged):
        if len(rows):
            assert_moments_of(moments, rows, groups)
        else:
            assert moments.count == 0


@pytest.mark.parametrize("size", [(5, 3), (7, 4), (4, 3)])
def test_one_channel_and_an_output_one_pixel_wide(size):
    # With strides (1, n) the conv2d of TensorFlow itself is wrong here on CPU (2.21; right with TF_ENABLE_ONEDNN_OPTS=0).
    geometry, groups, images = PatchGeometry((3, 3), (1, 2)), some_groups(9, 3), pictures(2, *size, 1)
    moments = GroupedMoments(geometry, groups)
    moments.update(images)
    assert geometry.output_size(*size)[1] == 1
    assert_moments_of(moments, patches(geometry, images), groups)


def test_one_group_sees_the_sum_and_all_groups_see_everything():
    geometry, images = PatchGeometry((2, 2)), pictures(5, 6, 6, 3)
    rows = patches(geometry, images)
    one, all_of_them = GroupedMoments(geometry, np.zeros(12, int)), GroupedMoments(geometry, np.arange(12))
    for moments in (one, all_of_them):
        moments.update(images)
        np.testing.assert_allclose(moments.total, rows.var(axis=0).sum(), rtol=1e-5)
    np.testing.assert_allclose(one.covariance, [[rows.sum(axis=1).var() / 12]], rtol=1e-5)
    np.testing.assert_allclose(all_of_them.covariance, covariance_of(rows), atol=1e-5)
    np.testing.assert_allclose(np.trace(all_of_them.covariance), all_of_them.total, rtol=1e-5)


@pytest.mark.parametrize("k", [1, 7, 27])
@pytest.mark.parametrize("border", BORDERS)
def test_large_means_cost_no_accuracy(border, k):
    geometry, groups = PatchGeometry((3, 3), (1, 1), (1, 1), *border), some_groups(27, k)
    batches = [pictures(6, 9, 8, 3, seed=seed) + np.float32([1000, -5000, seed]) for seed in range(4)]
    moments, other = GroupedMoments(geometry, groups), GroupedMoments(geometry, groups)
    for batch, into in zip(batches, 2 * [moments, other], strict=True):
        into.update(batch)
    moments.merge(other)
    assert_moments_of(moments, patches(geometry, *batches), groups, atol=1e-3)


def test_dead_and_constant_channels_do_not_vary():
    images = pictures(4, 5, 6, 3)
    images[..., 1], images[..., 2] = 0, 0.1
    groups = np.tile([0, 1, 2], 9)
    moments = GroupedMoments(PatchGeometry((3, 3)), groups)
    moments.update(images)
    np.testing.assert_allclose(moments.covariance[1:], 0, atol=1e-12)
    moments.update(images)
    assert_moments_of(moments, patches(PatchGeometry((3, 3)), images, images), groups)


def test_nothing_varies_in_constant_pictures():
    moments = GroupedMoments(PatchGeometry((2, 2)), some_groups(12, 5))
    moments.update(np.full((2, 4, 4, 3), 0.1, np.float32))
    np.testing.assert_allclose(moments.covariance, 0, atol=1e-14)
    assert 0 <= moments.total < 1e-13


@pytest.mark.parametrize("empty_first", [False, True])
def test_merged_accumulators_go_on_counting_on_their_own(empty_first):
    geometry, groups = PatchGeometry((2, 3), padding="same", pad_value=1.0), some_groups(12, 5)
    batches = [pictures(2, *size, 2, seed=size[0]) + size[0] for size in ((5, 6), (4, 4), (3, 7))]
    first, second = GroupedMoments(geometry, groups), GroupedMoments(geometry, groups)
    second.update(batches[1])
    if not empty_first:
        first.update(batches[0])
    first.merge(second)
    first.merge(GroupedMoments(geometry, groups))
    first.update(batches[2])
    second.update(batches[0])
    assert_moments_of(first, patches(geometry, *batches[empty_first:]), groups)
    assert_moments_of(second, patches(geometry, batches[1], batches[0]), groups)


@pytest.mark.parametrize("dtype", [np.int8, np.bool_, np.float16, np.float64])
def test_pictures_of_any_type(dtype):
    images = (pictures(4, 6, 5, 2) > 0.5).astype(dtype)
    geometry, groups = PatchGeometry((3, 3), (2, 2)), some_groups(18, 4)
    moments = GroupedMoments(geometry, groups)
    moments.update(images)
    assert_moments_of(moments, patches(geometry, images), groups)


@pytest.mark.parametrize(
    "other",
    [
        GroupedMoments(PatchGeometry((1, 2)), [0, 1, 1, 0]),
        GroupedMoments(PatchGeometry((1, 2)), [0, 0, 1, 2]),
        GroupedMoments(PatchGeometry((1, 2)), [0, 0, 1, 1, 1, 1]),
        GroupedMoments(PatchGeometry((2, 1)), [0, 0, 1, 1]),
        GroupedMoments(PatchGeometry((1, 2), padding="same"), [0, 0, 1, 1]),
    ],
)
def test_only_accumulators_of_one_kind_merge(other):
    with pytest.raises(ValueError, match="GroupedMoments: .*same geometry and the same groups"):
        GroupedMoments(PatchGeometry((1, 2)), [0, 0, 1, 1]).merge(other)


def test_the_features_must_be_a_multiple_of_the_taps():
    with pytest.raises(ValueError, match="multiple of the 9 taps of the kernel. Received: groups of 20 features"):
        GroupedMoments(PatchGeometry((3, 3)), np.arange(20))


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.ones((2, 4, 5, 1)), r"GroupedMoments: images must have shape \(n, height, width, 2\). Received: \(2, 4, 5, 1\)"),
        (np.ones((4, 5, 2)), r"images must have shape .* Received: \(4, 5, 2\)"),
        (np.full((1, 4, 5, 2), np.nan), "GroupedMoments: .*must be finite. Received: 40 NaN and 0 infinite"),
        (np.full((1, 4, 5, 2), np.inf), "0 NaN and 40 infinite"),
    ],
)
def test_refused_pictures_leave_the_moments_as_they_were(images, message):
    geometry, groups, good = PatchGeometry((3, 3)), some_groups(18, 4), pictures(2, 4, 5, 2)
    moments = GroupedMoments(geometry, groups)
    for _ in range(2):  # before any picture, and between
        with pytest.raises(ValueError, match=message):
            moments.update(images)
        moments.update(good)
    assert_moments_of(moments, patches(geometry, good, good), groups)


@pytest.mark.parametrize("shape", [None, (0, 5, 5, 2), (3, 2, 5, 2), (3, 5, 1, 2)])
def test_without_patches_there_are_no_moments(shape):
    moments = GroupedMoments(PatchGeometry((3, 3)), np.zeros(18, int))
    if shape:
        moments.update(np.zeros(shape))
    assert moments.count == 0
    for name in ("covariance", "total"):
        with pytest.raises(ValueError, match="no rows.*not be smaller than the kernel"):
            getattr(moments, name)
