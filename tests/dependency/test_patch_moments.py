"""Moments of patches: from pictures, against numpy on the patches themselves."""

import contextlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitat_tf.dependency import patch_moments
from bitat_tf.dependency.moments import InputMoments
from bitat_tf.dependency.patch_moments import PatchMoments
from bitat_tf.dependency.patches import PatchGeometry

KERNELS = [(1, 1), (3, 3), (2, 3), (1, 3), (5, 5)]
STRIDES = [(1, 1), (2, 2), (1, 2), (3, 3)]
BORDERS = [("valid", 0.0), ("same", 0.0), ("same", 1.0)]
# Odd and even, wide and high; outputs of one pixel; outputs smaller than the kernel; pictures smaller than the kernel.
SIZES = [(7, 7), (8, 11), (5, 5), (6, 5), (4, 3), (2, 2), (1, 4), (1, 1)]
PATHS = {"direct": 10**6, "structured": 0}
WAYS = [("direct", 2**24), ("direct", 1), ("structured", 2**24), ("structured", 200), ("structured", 1)]
FLOAT32 = {"rtol": 1e-4, "atol": 1e-5}


@contextlib.contextmanager
def way(path, chunk_values=2**24):
    """One of the two ways of computation, and how much of the pictures it works on at once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(patch_moments, "FEW_CHANNELS", PATHS[path])
        patch.setattr(patch_moments, "_CHUNK_VALUES", chunk_values)
        yield


def rows_by_loops(geometry, images):
    """All patches in float64, output pixel by output pixel; the padding as TensorFlow documents it."""
    extents = [(k - 1) * d + 1 for k, d in zip(geometry.kernel_size, geometry.dilation_rate, strict=True)]
    if geometry.padding == "same":
        totals = [
            max(extent - (size % stride or stride), 0)
            for extent, size, stride in zip(extents, images.shape[1:3], geometry.strides, strict=True)
        ]
        sides = [(0, 0), *((total // 2, total - total // 2) for total in totals), (0, 0)]
        images = np.pad(images, sides, constant_values=geometry.pad_value)
    outputs = [range(0, n - e + 1, s) for n, e, s in zip(images.shape[1:3], extents, geometry.strides, strict=True)]
    down, right = geometry.dilation_rate
    patches = [
        image[top : top + extents[0] : down, left : left + extents[1] : right].ravel()
        for image in images
        for top in outputs[0]
        for left in outputs[1]
    ]
    return np.array(patches, np.float64).reshape(-1, geometry.taps * images.shape[-1])


def pictures(*shape, seed=0, dtype=np.float64):
    """Pictures whose neighbouring pixels and channels depend on each other; each channel has its own mean."""
    noise = np.random.default_rng(seed).normal(size=shape)
    return (noise + 0.5 * np.roll(noise, 1, 1) - 0.7 * np.roll(noise, (1, 1), (2, 3)) + np.arange(shape[-1]) % 3).astype(dtype)


def targets_for(rows, width, seed=1):
    """Targets that depend on the rows, with a mean."""
    rng = np.random.default_rng(seed)
    return rows @ rng.normal(size=(rows.shape[1], width)) + rng.normal(size=(len(rows), width)) + 3


def centre(rows):
    return rows - rows.mean(axis=0)


def assert_moments_of(moments, rows, targets=None, atol=1e-9, rtol=1e-9):
    assert moments.count == len(rows)
    np.testing.assert_allclose(moments.mean, rows.mean(axis=0), atol=atol, rtol=rtol)
    expected = np.cov(rows.T, bias=True).reshape(2 * rows.shape[1:])
    np.testing.assert_allclose(moments.covariance, expected, atol=atol, rtol=rtol)
    np.testing.assert_array_equal(moments.covariance, moments.covariance.T)
    np.testing.assert_allclose(moments.variance, np.diag(expected), atol=atol, rtol=rtol)
    if targets is not None:
        np.testing.assert_allclose(moments.target_mean, targets.mean(axis=0), atol=atol, rtol=rtol)
        np.testing.assert_allclose(moments.cross_covariance, centre(rows).T @ centre(targets) / len(rows), atol=atol, rtol=rtol)


@pytest.mark.parametrize(("padding", "pad_value"), BORDERS)
@pytest.mark.parametrize("dilation_rate", [(1, 1), (2, 2)])
@pytest.mark.parametrize("strides", STRIDES)
@pytest.mark.parametrize("kernel_size", KERNELS)
def test_moments_are_those_of_the_patches(kernel_size, strides, dilation_rate, padding, pad_value):
    geometry = PatchGeometry(kernel_size, strides, dilation_rate, padding, pad_value)
    for number, size in enumerate(SIZES):
        images = pictures(*((3, *size, 2) if number % 2 else (1, *size, 1)), seed=number)
        rows = rows_by_loops(geometry, images)
        if len(rows):
            np.testing.assert_array_equal(geometry.patches(images), rows)
        targets = targets_for(rows, number % 3)
        for path in PATHS:
            with way(path, (2**24, 100, 1)[number // 2 % 3]):
                moments = PatchMoments(geometry, images.shape[-1], targets.shape[1])
                moments.update(images, targets if targets.shape[1] else None)
            if len(rows):
                assert_moments_of(moments, rows, targets if targets.shape[1] else None)
            else:
                assert moments.count == 0


@settings(deadline=None, max_examples=100)
@given(
    sides=st.tuples(*[st.tuples(st.integers(1, high), st.integers(1, high)) for high in (4, 4, 3)]),
    border=st.sampled_from(BORDERS),
    shapes=st.lists(st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=3),
    channels=st.integers(1, 4),
    targets=st.integers(0, 2),
    how=st.sampled_from(WAYS),
    seed=st.integers(0, 1000),
)
def test_any_geometry_and_batches_of_any_sizes(sides, border, shapes, channels, targets, how, seed):
    geometry = PatchGeometry(*sides, *border)
    batches = [pictures(*shape, channels, seed=seed + number) for number, shape in enumerate(shapes)]
    rows = [rows_by_loops(geometry, images) for images in batches]
    theirs = [targets_for(part, targets) if targets else None for part in rows]
    with way(*how):
        whole, merged = [PatchMoments(geometry, channels, targets) for _ in range(2)]
        for images, part in zip(batches, theirs, strict=True):
            half = PatchMoments(geometry, channels, targets)
            for moments in (whole, half):
                moments.update(images, part)
            merged.merge(half)
    if not sum(map(len, rows)):
        assert whole.count == merged.count == 0
        return
    for moments in (whole, merged):
        assert_moments_of(moments, np.concatenate(rows), np.concatenate(theirs) if targets else None, atol=1e-8)


@pytest.mark.parametrize(("channels", "path"), [(31, "direct"), (32, "structured"), (40, "structured")])
def test_the_number_of_channels_decides_on_the_way(monkeypatch, channels, path):
    unused = {"direct": "_windows", "structured": "InputMoments.update"}[path]
    monkeypatch.setattr(f"bitat_tf.dependency.patch_moments.{unused}", lambda *_: pytest.fail("the other way was taken"))
    geometry = PatchGeometry((3, 3), (1, 2), padding="same", pad_value=1.0)
    images = pictures(4, 6, 5, channels, dtype=np.float32)
    moments = PatchMoments(geometry, channels)
    moments.update(images)
    assert_moments_of(moments, rows_by_loops(geometry, images), **FLOAT32)


@pytest.mark.parametrize("path", PATHS)
def test_cross_covariance_with_the_patches_of_other_pictures_is_that_of_the_retargeting(path):
    # A binary layer pads with 1, the float layer it stands for with 0.
    binary_geometry, geometry = (PatchGeometry((3, 3), (2, 1), padding="same", pad_value=value) for value in (1.0, 0.0))
    images = pictures(5, 6, 7, 3)
    binary = np.where(images >= 0.4, 1.0, -1.0)
    rows, targets = rows_by_loops(binary_geometry, binary), rows_by_loops(geometry, images)
    with way(path, 500):
        moments = PatchMoments(binary_geometry, 3, targets.shape[1])
        for part in (slice(2), slice(2, 5)):
            moments.update(binary[part], geometry.patches(images[part]))
    assert_moments_of(moments, rows, targets)


@pytest.mark.parametrize("dtype", [np.int8, np.int64, np.bool_, np.float16, np.float32])
@pytest.mark.parametrize("path", PATHS)
def test_pictures_of_any_type(path, dtype):
    geometry, images = PatchGeometry((3, 3), padding="same", pad_value=1.0), (pictures(4, 6, 5, 2) > 0.5).astype(dtype)
    rows = rows_by_loops(geometry, images.astype(float))
    with way(path):
        moments = PatchMoments(geometry, 2)
        moments.update(images)
    assert_moments_of(moments, rows, **FLOAT32)


def test_default_geometry_gives_the_moments_of_rows():
    rows = pictures(40, 1, 1, 5)
    moments, expected = PatchMoments(PatchGeometry(), 5, 2), InputMoments(5, 2)
    targets = targets_for(rows.reshape(40, 5), 2)
    moments.update(rows, targets)
    expected.update(rows.reshape(40, 5), targets)
    assert_moments_of(moments, rows.reshape(40, 5), targets)
    np.testing.assert_allclose(moments.covariance, expected.covariance, atol=1e-12)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("border", BORDERS)
def test_large_means_cost_no_accuracy(border, path):
    geometry = PatchGeometry((3, 3), (1, 1), (1, 1), *border)
    images = [pictures(6, 9, 8, 3, seed=seed, dtype=np.float32) + np.float32([1000, -5000, seed]) for seed in range(4)]
    with way(path, 2000):
        moments, other = PatchMoments(geometry, 3, 27), PatchMoments(geometry, 3, 27)
        for batch, into in zip(images, 2 * [moments, other], strict=True):
            into.update(batch, geometry.patches(batch[::-1]))
        moments.merge(other)
    rows, targets = [np.concatenate([rows_by_loops(geometry, batch[::step]) for batch in images]) for step in (1, -1)]
    # In units of what each feature varies by: by the noise alone, or by the large mean where it sees a border.
    scale = rows.std(axis=0)
    units = np.outer(scale, scale)
    np.testing.assert_allclose(moments.mean, rows.mean(axis=0), rtol=1e-7, atol=1e-5)
    np.testing.assert_allclose(moments.covariance / units, np.cov(rows.T, bias=True) / units, atol=1e-4)
    cross = centre(rows).T @ centre(targets) / len(rows)
    np.testing.assert_allclose(moments.cross_covariance / units, cross / units, atol=1e-4)


@pytest.mark.parametrize("path", PATHS)
def test_dead_and_constant_channels_do_not_vary(path):
    images = pictures(4, 5, 6, 4, dtype=np.float32)
    images[..., 1], images[..., 3] = 0, 1
    for border, still in ((("valid", 0.0), [1, 3]), (("same", 0.0), [1]), (("same", 1.0), [3])):
        geometry = PatchGeometry((3, 3), (1, 1), (1, 1), *border)
        with way(path):
            moments = PatchMoments(geometry, 4)
            moments.update(images[:1])
            moments.update(images[1:])
        assert_moments_of(moments, rows_by_loops(geometry, images), **FLOAT32)
        features = [tap * 4 + channel for tap in range(9) for channel in still]
        np.testing.assert_allclose(moments.covariance[features], 0, atol=1e-6)
        assert np.all(moments.variance >= 0)


@pytest.mark.parametrize("path", PATHS)
def test_nothing_varies_in_constant_pictures(path):
    with way(path):
        moments = PatchMoments(PatchGeometry((2, 2)), 3, 1)
        moments.update(np.full((2, 4, 4, 3), 0.1, np.float32), np.full((18, 1), 7.0))
    np.testing.assert_allclose(moments.covariance, 0, atol=1e-14)
    np.testing.assert_allclose(moments.cross_covariance, 0, atol=1e-14)
    np.testing.assert_allclose(moments.mean, np.full(12, np.float32(0.1)))
    np.testing.assert_allclose(moments.target_mean, [7])


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("empty_first", [False, True])
def test_merged_accumulators_go_on_counting_on_their_own(path, empty_first):
    geometry = PatchGeometry((2, 3), padding="same", pad_value=1.0)
    batches = [pictures(2, *size, 2, seed=size[0]) for size in ((5, 6), (4, 4), (3, 7))]
    rows = [rows_by_loops(geometry, images) for images in batches]
    with way(path):
        first, second = PatchMoments(geometry, 2), PatchMoments(geometry, 2)
        second.update(batches[1])
        if not empty_first:
            first.update(batches[0])
        first.merge(second)
        first.merge(PatchMoments(geometry, 2))
        first.update(batches[2])
        second.update(batches[0])
    assert_moments_of(first, np.concatenate(rows[1:] if empty_first else rows))
    assert_moments_of(second, np.concatenate([rows[1], rows[0]]))


@pytest.mark.parametrize(
    "other",
    [
        InputMoments(12),
        PatchMoments(PatchGeometry((2, 3)), 1),
        PatchMoments(PatchGeometry((2, 3)), 2, targets=1),
        PatchMoments(PatchGeometry((3, 2)), 2),  # d = 12 in all of these: only the geometry differs
        PatchMoments(PatchGeometry((1, 1)), 12),
        PatchMoments(PatchGeometry((2, 3), padding="same"), 2),
        PatchMoments(PatchGeometry((2, 3), (2, 2)), 2),
    ],
)
def test_only_accumulators_of_one_kind_merge(other):
    with pytest.raises(ValueError, match="PatchMoments: only accumulators of one kind can be merged"):
        PatchMoments(PatchGeometry((2, 3)), 2).merge(other)


GOOD = pictures(2, 4, 5, 2), np.ones((2 * 2 * 3, 2))
BROKEN = [np.where(np.arange(size).reshape(shape) == 7, np.nan, 1.0) for size, shape in ((80, (2, 4, 5, 2)), (24, (12, 2)))]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("images", "targets", "message"),
    [
        (GOOD[0][..., :1], GOOD[1], r"PatchMoments: images must have shape \(n, height, width, 2\). Received: \(2, 4, 5, 1\)"),
        (GOOD[0][0], GOOD[1], r"images must have shape .* Received: \(4, 5, 2\)"),
        (GOOD[0].reshape(-1, 2), GOOD[1], r"images must have shape .* Received: \(40, 2\)"),
        (BROKEN[0], GOOD[1], "PatchMoments: .*must be finite. Received: 1 NaN"),
        (np.where(np.isnan(BROKEN[0]), -np.inf, 1), GOOD[1], "1 infinite"),
        (GOOD[0], BROKEN[1], "must be finite. Received: 1 NaN"),
        (GOOD[0], GOOD[1][:, :1], r"PatchMoments: targets must have shape \(n, 2\)"),
        (GOOD[0], GOOD[1][:-1], "12 rows came with targets of 11 rows"),
        (GOOD[0][:1], GOOD[1], "6 rows came with targets of 12 rows"),
        (GOOD[0][:, :2], GOOD[1], "0 rows came with targets of 12 rows"),
        (GOOD[0], None, "targets=2 and no targets"),
    ],
)
def test_refused_pictures_leave_the_moments_as_they_were(path, images, targets, message):
    geometry = PatchGeometry((3, 3))
    targets_of_good = targets_for(rows_by_loops(geometry, GOOD[0]), 2)
    with way(path, 1):
        moments = PatchMoments(geometry, 2, targets=2)
        for _ in range(2):  # before any picture, and between
            with pytest.raises(ValueError, match=message):
                moments.update(images, targets)
            moments.update(GOOD[0], targets_of_good)
    rows = rows_by_loops(geometry, GOOD[0])
    assert_moments_of(moments, np.vstack([rows, rows]), np.vstack([targets_of_good, targets_of_good]))


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("shape", [(0, 5, 5, 2), (3, 2, 5, 2), (3, 5, 1, 2)])
def test_without_patches_there_are_no_moments(path, shape):
    with way(path):
        moments = PatchMoments(PatchGeometry((3, 3)), 2, targets=1)
        moments.update(np.zeros(shape), np.zeros((0, 1)))
    assert moments.count == 0
    for name in ("mean", "target_mean", "variance", "covariance", "cross_covariance"):
        with pytest.raises(ValueError, match="PatchMoments: no rows.*not be smaller than the kernel"):
            getattr(moments, name)
    with pytest.raises(ValueError, match="targets=0 and targets"):
        PatchMoments(PatchGeometry(), 2).update(np.ones((1, 1, 1, 2)), np.ones((1, 1)))
