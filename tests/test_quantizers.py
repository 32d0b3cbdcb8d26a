"""RSign: values, gradients against the formula, serialization."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from bitat_tf import quantizers
from bitat_tf.quantizers import RSign


def test_values_are_signs_of_the_shifted_input_with_zero_as_plus_one():
    quantizer = RSign()
    x = np.array([[-2.0, -0.5, 0.0], [0.25, 0.5, -0.25]], np.float32)
    quantizer(x)
    quantizer.threshold.assign([2.0, 0.0, 0.25])
    expected = np.where(x + np.array([2.0, 0.0, 0.25]) >= 0, 1.0, -1.0)
    np.testing.assert_array_equal(quantizer(x), expected)


def test_gradient_is_approx_sign_of_the_shifted_input_on_a_grid():
    grid = np.linspace(-2, 2, 81, dtype=np.float32)[:, None]
    x = tf.Variable(np.tile(grid, (1, 2)))
    quantizer = RSign()
    quantizer(x)
    quantizer.threshold.assign([0.0, 0.5])
    with tf.GradientTape() as tape:
        output = tf.reduce_sum(quantizer(x))
    by_input, by_threshold = tape.gradient(output, [x, quantizer.threshold])
    shifted = x.numpy() + np.array([0.0, 0.5], np.float32)
    expected = np.where(np.abs(shifted) <= 1, 2 - 2 * np.abs(shifted), 0)
    np.testing.assert_allclose(by_input, expected, atol=1e-6)
    np.testing.assert_allclose(by_threshold, expected.sum(axis=0), rtol=1e-5)


def test_integral_of_the_gradient_is_the_step_of_sign():
    # Bi-Real Net's surrogate is the derivative of a piecewise quadratic that goes from -1 to +1, as sign does.
    grid = np.linspace(-2, 2, 4001, dtype=np.float32)[:, None]
    x = tf.Variable(grid)
    with tf.GradientTape() as tape:
        output = tf.reduce_sum(RSign()(x))
    assert np.trapz(tape.gradient(output, x)[:, 0], grid[:, 0]) == pytest.approx(2.0, abs=1e-4)


@pytest.mark.parametrize("shape", [(None,), (4, None), (None, None, None, None)])
def test_unknown_channels_are_an_error_that_names_the_cure(shape):
    with pytest.raises(ValueError, match=r"last axis of channels of known size.*keras\.Input"):
        RSign().build(shape)


def test_config_round_trip_keeps_outputs():
    quantizer = RSign(threshold_initializer=keras.initializers.Constant(0.3))
    copy = quantizers.get(keras.saving.serialize_keras_object(quantizer))
    assert isinstance(copy, RSign)
    x = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    np.testing.assert_array_equal(copy(x), quantizer(x))
