"""Patches: Eq. 14 against TensorFlow's convolution and against plain loops."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from bitat_tf._keras import keras, tf
from bitat_tf.dependency.patches import dense_rows, extract_patches, same_padding

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
    patches = extract_patches(images, kernel_size, strides, dilation_rate, padding).numpy()
    np.testing.assert_array_equal(patches @ kernel.reshape(-1, 4), expected.reshape(-1, 4))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dilation_rate", DILATIONS)
@pytest.mark.parametrize("strides", STRIDES)
@pytest.mark.parametrize("kernel_size", KERNELS)
def test_one_padding_is_a_convolution_of_images_padded_with_ones(kernel_size, strides, dilation_rate, size):
    images, kernel = whole_numbers(2, *size, 3), whole_numbers(*kernel_size, 3, 4, seed=1)
    padded = pad_images(images, 1, kernel_size, strides, dilation_rate)
    expected = convolve(padded, kernel, strides, dilation_rate, "valid")
    patches = extract_patches(images, kernel_size, strides, dilation_rate, "same", pad_value=1.0).numpy()
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
    np.testing.assert_array_equal(got.numpy(), expected)


def test_defaults_are_valid_stride_one_and_zero_padding():
    images = whole_numbers(1, 4, 4, 2) + 5
    np.testing.assert_array_equal(extract_patches(images, (3, 3)).numpy(), patches_by_loops(images, (3, 3), (1, 1), (1, 1)))
    corner = extract_patches(images, (3, 3), padding="same").numpy()[0].reshape(3, 3, 2)
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
    patches = extract_patches(images, kernel_size, (stride, stride), padding=padding).numpy()
    np.testing.assert_array_equal(patches @ kernel.reshape(-1, 2), expected.reshape(-1, 2))


@pytest.mark.parametrize("shape", [(5, 3), (4, 5, 3), (2, 4, 5, 3)])
def test_dense_rows_keeps_every_row_in_order(shape):
    inputs = whole_numbers(*shape)
    rows = dense_rows(inputs).numpy()
    expected = [inputs[index] for index in np.ndindex(*shape[:-1])]
    np.testing.assert_array_equal(rows, expected)


def test_dense_rows_gives_the_output_of_a_dense_layer():
    inputs, kernel = whole_numbers(2, 3, 4, 5), whole_numbers(5, 6, seed=1)
    layer = keras.layers.Dense(6, use_bias=False, weights=[kernel])
    expected = layer(inputs).numpy()
    assert expected.shape == (2, 3, 4, 6)
    np.testing.assert_array_equal(dense_rows(inputs).numpy() @ kernel, expected.reshape(-1, 6))


def test_unknown_padding_is_an_error():
    with pytest.raises(ValueError, match="`padding` must be one of 'valid', 'same'. Received: padding='SAME'"):
        extract_patches(np.ones((1, 4, 4, 1), np.float32), (3, 3), padding="SAME")
