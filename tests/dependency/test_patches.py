"""Patches: Eq. 14 against TensorFlow's convolution and against plain loops."""

from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from bitat_tf.dependency.patches import PatchGeometry, extract_patches, same_padding

KERNELS = [(1, 1), (3, 3), (2, 3)]
STRIDES = [(1, 1), (2, 2), (3, 3), (1, 2)]
DILATIONS = [(1, 1), (2, 2), (2, 1)]
SIZES = [(7, 9), (8, 11)]


def whole_numbers(*shape, seed=0):
    """Small whole numbers in float32: products and sums are exact, and comparisons need no tolerance."""
    return np.random.default_rng(seed).integers(-3, 4, shape).astype(np.float32)


def tf_documented_padding(size, kernel_size, stride, dilation_rate):
    """The padding of "SAME", in the form in which TensorFlow documents it."""
    extent = (kernel_size - 1) * dilation_rate + 1
    total = max(extent - (stride if size % stride == 0 else size % stride), 0)
    return total // 2, total - total // 2


def pad_images(images, value, *shape):
    sides = [tf_documented_padding(n, *one) for n, one in zip(images.shape[1:3], zip(*shape, strict=True), strict=True)]
    return np.pad(images, [(0, 0), *sides, (0, 0)], constant_values=value)


def patches_by_loops(images, kernel_size, strides, dilation_rate):
    """All patches of already padded images, pixel by pixel."""
    rows = []
    tops, lefts = (
        range(0, n - (k - 1) * d, s) for n, k, s, d in zip(images.shape[1:3], kernel_size, strides, dilation_rate, strict=True)
    )
    for image in images:
        for top in tops:
            for left in lefts:
                row = []
                for i in range(kernel_size[0]):
                    for j in range(kernel_size[1]):
                        row.extend(image[top + i * dilation_rate[0], left + j * dilation_rate[1]])
                rows.append(row)
    return np.array(rows)


def convolve(images, kernel, strides, dilation_rate, padding):
    return tf.nn.conv2d(images, kernel, list(strides), padding.upper(), dilations=list(dilation_rate)).numpy()


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dilation_rate", DILATIONS)
@pytest.mark.parametrize("strides", STRIDES)
@pytest.mark.parametrize("kernel_size", KERNELS)
def test_convolution_is_a_dense_layer_on_patches(kernel_size, strides, dilation_rate, size, padding):
    images, kernel = whole_numbers(2, *size, 3), whole_numbers(*kernel_size, 3, 4, seed=1)
    expected = convolve(images, kernel, strides, dilation_rate, padding)
    patches = extract_patches(images, kernel_size, strides, dilation_rate, padding)
    np.testing.assert_array_equal(patches @ kernel.reshape(-1, 4), expected.reshape(-1, 4))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dilation_rate", DILATIONS)
@pytest.mark.parametrize("strides", STRIDES)
@pytest.mark.parametrize("kernel_size", KERNELS)
def test_one_padding_is_a_convolution_of_images_padded_with_ones(kernel_size, strides, dilation_rate, size):
    images, kernel = whole_numbers(2, *size, 3), whole_numbers(*kernel_size, 3, 4, seed=1)
    padded = pad_images(images, 1, kernel_size, strides, dilation_rate)
    expected = convolve(padded, kernel, strides, dilation_rate, "valid")
    patches = extract_patches(images, kernel_size, strides, dilation_rate, "same", pad_value=1.0)
    np.testing.assert_array_equal(patches @ kernel.reshape(-1, 4), expected.reshape(-1, 4))


@pytest.mark.parametrize("pad_value", [None, 0.0, 1.0])
@pytest.mark.parametrize("shape", [((2, 3), (1, 2), (1, 1)), ((3, 2), (2, 1), (1, 1)), ((2, 2), (1, 1), (2, 1))])
def test_patches_equal_plain_loops(shape, pad_value):
    images = np.arange(2 * 4 * 5 * 2, dtype=np.float32).reshape(2, 4, 5, 2) + 2
    if pad_value is None:
        expected, got = patches_by_loops(images, *shape), extract_patches(images, *shape)
    else:
        expected = patches_by_loops(pad_images(images, pad_value, *shape), *shape)
        got = extract_patches(images, *shape, padding="same", pad_value=pad_value)
        assert (expected == pad_value).any(), "the case must reach the border"
    np.testing.assert_array_equal(got, expected)


def test_defaults_are_valid_stride_one_and_zero_padding():
    images = whole_numbers(1, 4, 4, 2) + 5
    np.testing.assert_array_equal(extract_patches(images, (3, 3)), patches_by_loops(images, (3, 3), (1, 1), (1, 1)))
    corner = extract_patches(images, (3, 3), padding="same")[0].reshape(3, 3, 2)
    assert not corner[0].any()
    assert not corner[:, 0].any()
    np.testing.assert_array_equal(corner[1:, 1:], images[0, :2, :2])


@settings(deadline=None, max_examples=60)
@given(
    size=st.integers(1, 20),
    kernel_size=st.integers(1, 5),
    stride=st.integers(1, 4),
    dilation_rate=st.integers(1, 3),
)
def test_same_padding_is_what_the_output_of_tensorflow_needs(size, kernel_size, stride, dilation_rate):
    extent = (kernel_size - 1) * dilation_rate + 1
    images, kernel = np.ones((1, size, 1, 1), np.float32), np.ones((kernel_size, 1, 1, 1), np.float32)
    out = convolve(images, kernel, (stride, 1), (dilation_rate, 1), "same").shape[1]
    before, after = same_padding(size, kernel_size, stride, dilation_rate)

    assert 0 <= before <= after <= before + 1
    assert (before, after) == tf_documented_padding(size, kernel_size, stride, dilation_rate)
    padded = size + before + after
    assert (padded - extent) // stride + 1 == out
    if before + after:  # not one pixel more than needed
        assert (padded - 1 - extent) // stride + 1 < out


@settings(deadline=None, max_examples=40)
@given(
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    channels=st.integers(1, 3),
    kernel_size=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    stride=st.integers(1, 3),
    padding=st.sampled_from(["valid", "same"]),
    seed=st.integers(0, 1000),
)
def test_any_convolution_is_a_dense_layer_on_patches(height, width, channels, kernel_size, stride, padding, seed):
    # One stride for both sides: with strides (1, n), one channel and an output one pixel wide, the conv2d of
    # TensorFlow itself is wrong on CPU (2.21; right with TF_ENABLE_ONEDNN_OPTS=0).
    assume(padding == "same" or (kernel_size[0] <= height and kernel_size[1] <= width))
    images, kernel = (
        whole_numbers(2, height, width, channels, seed=seed),
        whole_numbers(*kernel_size, channels, 2),
    )
    expected = convolve(images, kernel, (stride, stride), (1, 1), padding)
    patches = extract_patches(images, kernel_size, (stride, stride), padding=padding)
    np.testing.assert_array_equal(patches @ kernel.reshape(-1, 2), expected.reshape(-1, 2))


@st.composite
def geometries(draw):
    """Any geometry, also one whose kernel is larger than the picture."""
    sides = [draw(st.tuples(*2 * [st.integers(1, high)])) for high in (4, 3, 2)]
    return PatchGeometry(*sides, draw(st.sampled_from(["valid", "same"])), draw(st.sampled_from([0.0, 1.0, -0.5])))


SIDES = st.tuples(st.integers(1, 8), st.integers(1, 8))


def padded_by_definition(geometry, images):
    shape = geometry.kernel_size, geometry.strides, geometry.dilation_rate
    return pad_images(images, geometry.pad_value, *shape) if geometry.padding == "same" else images


def geometry_by_loops(geometry, images):
    rows = patches_by_loops(
        padded_by_definition(geometry, images), geometry.kernel_size, geometry.strides, geometry.dilation_rate
    )
    return rows.reshape(-1, geometry.taps * images.shape[-1])


@settings(deadline=None, max_examples=150)
@given(geometry=geometries(), size=SIDES, channels=st.integers(1, 3), seed=st.integers(0, 1000), data=st.data())
def test_geometry_equals_plain_loops(geometry, size, channels, seed, data):
    images = whole_numbers(2, *size, channels, seed=seed)
    expected = geometry_by_loops(geometry, images)
    rows, columns = geometry.output_size(*size)
    assert len(expected) == 2 * rows * columns
    np.testing.assert_array_equal(geometry.pad(images), padded_by_definition(geometry, images))
    np.testing.assert_array_equal(geometry.paddings(*size)[0][0], (geometry.pad(images).shape[1] - size[0]) // 2)
    if len(expected):
        np.testing.assert_array_equal(geometry.patches(images), expected)
    chosen = st.lists(st.integers(0, len(expected) - 1), max_size=6) if len(expected) else st.just([])
    indices = np.array(data.draw(chosen), int)  # in any order, also twice
    np.testing.assert_array_equal(geometry.patches_at(images, indices), expected[indices])
    np.testing.assert_array_equal(geometry.patches_at(images, np.arange(len(expected))), expected)


@settings(deadline=None, max_examples=60)
@given(geometry=geometries(), size=SIDES, strided=st.booleans())
def test_output_size_is_that_of_keras(geometry, size, strided):
    # Keras' own formula for the shape of a layer; it knows no strides together with dilation and no output of 0 pixels.
    geometry = replace(geometry, **{"dilation_rate" if strided else "strides": (1, 1)})
    if geometry.padding == "valid":
        extents = zip(size, geometry.kernel_size, geometry.dilation_rate, strict=True)
        size = [side + (kernel - 1) * dilation for side, kernel, dilation in extents]
    layer = keras.layers.Conv2D(
        1, geometry.kernel_size, geometry.strides, geometry.padding, dilation_rate=geometry.dilation_rate
    )
    assert geometry.output_size(*size) == tuple(layer.compute_output_shape((1, *size, 1))[1:3])


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("dilation_rate", DILATIONS)
@pytest.mark.parametrize("strides", STRIDES)
@pytest.mark.parametrize("kernel_size", KERNELS)
def test_output_size_is_the_number_of_places_of_the_kernel(kernel_size, strides, dilation_rate, padding):
    """Counted: the steps of the stride at which the kernel lies inside the padded picture."""
    geometry = PatchGeometry(kernel_size, strides, dilation_rate, padding)
    axes = list(zip(kernel_size, strides, dilation_rate, strict=True))
    for size in [(height, width) for height in range(1, 8) for width in range(1, 8)]:
        padded = [n + sum(tf_documented_padding(n, *axis)) * (padding == "same") for n, axis in zip(size, axes, strict=True)]
        places = [len(range(0, n - (k - 1) * d, s)) for n, (k, s, d) in zip(padded, axes, strict=True)]
        assert geometry.output_size(*size) == tuple(places)


@pytest.mark.parametrize("size", [(2, 9), (9, 2), (1, 1)])
def test_pictures_smaller_than_the_kernel_have_no_output(size):
    geometry = PatchGeometry((2, 2), dilation_rate=(2, 2))
    assert 0 in geometry.output_size(*size)
    assert geometry.patches_at(whole_numbers(3, *size, 2), np.array([], int)).shape == (0, 8)
    assert geometry.patches(whole_numbers(3, *size, 2)).shape == (0, 8)


@pytest.mark.parametrize("size", [(2, 9), (9, 2), (1, 1)])
def test_with_same_padding_every_picture_has_an_output(size):
    geometry, images = PatchGeometry((5, 4), dilation_rate=(2, 2), padding="same", pad_value=7.0), whole_numbers(3, *size, 2)
    expected = geometry_by_loops(geometry, images)
    assert expected.shape == (3 * size[0] * size[1], 40)
    np.testing.assert_array_equal(geometry.patches(images), expected)


def test_extract_patches_is_the_geometry_as_one_call():
    images = whole_numbers(2, 7, 8, 3)
    arguments = (3, 2), (2, 1), (1, 2), "same", 1.0
    expected = PatchGeometry(*arguments).patches(images)
    np.testing.assert_array_equal(extract_patches(images, *arguments), expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_geometry_keeps_the_type_and_the_images(dtype):
    images = whole_numbers(2, 4, 4, 2).astype(dtype)
    before, geometry = images.copy(), PatchGeometry((3, 3), padding="same", pad_value=1.0)
    assert geometry.pad(images).dtype == geometry.patches(images).dtype == dtype
    assert geometry.patches_at(images, np.arange(3)).dtype == dtype
    np.testing.assert_array_equal(images, before)


def test_geometries_compare_by_value_and_cannot_be_changed():
    geometry = PatchGeometry((3, 3), (2, 2))
    assert geometry == PatchGeometry((3, 3), (2, 2))
    assert geometry != PatchGeometry((3, 3), (2, 2), padding="same")
    with pytest.raises(AttributeError, match="padding"):
        geometry.padding = "same"


@pytest.mark.parametrize("shape", [(5, 3), (4, 5, 3), (2, 4, 5, 3)])
def test_the_default_geometry_keeps_every_row_in_order(shape):
    inputs = whole_numbers(*shape)
    expected = [inputs[index] for index in np.ndindex(*shape[:-1])]
    for images in (inputs.reshape(-1, 1, 1, shape[-1]), inputs.reshape(1, 1, -1, shape[-1])):
        rows = PatchGeometry().patches(images)
        np.testing.assert_array_equal(rows, expected)
        np.testing.assert_array_equal(PatchGeometry().patches_at(images, np.arange(len(rows))[::-1]), expected[::-1])
    assert PatchGeometry().output_size(1, 1) == (1, 1)
    assert PatchGeometry().taps == 1


def test_the_default_geometry_gives_the_output_of_a_dense_layer():
    inputs, kernel = whole_numbers(2, 3, 4, 5), whole_numbers(5, 6, seed=1)
    layer = keras.layers.Dense(6, use_bias=False)
    layer.build((None, 5))
    layer.set_weights([kernel])
    expected = layer(inputs).numpy()
    assert expected.shape == (2, 3, 4, 6)
    rows = PatchGeometry().patches(inputs.reshape(-1, 1, 1, 5))
    np.testing.assert_array_equal(rows @ kernel, expected.reshape(-1, 6))


@pytest.mark.parametrize("padding", ["SAME", "causal", None])
def test_unknown_padding_is_an_error(padding):
    message = f"`padding` must be one of 'valid', 'same'. Received: padding={padding!r}"
    with pytest.raises(ValueError, match=f"extract_patches: {message}"):
        extract_patches(np.ones((1, 4, 4, 1), np.float32), (3, 3), padding=padding)
    with pytest.raises(ValueError, match=f"PatchGeometry: {message}"):
        PatchGeometry((3, 3), padding=padding)
