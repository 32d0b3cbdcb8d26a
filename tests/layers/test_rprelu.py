"""RPReLU against its formula, for every rank."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from bitat_tf.layers import RPReLU


@pytest.mark.parametrize("shape", [(5, 3), (2, 4, 3), (2, 4, 5, 3)])
def test_values_and_gradients(shape):
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    layer = RPReLU()
    layer(x)
    before, after, slope = np.array([0.1, -0.3, 0.0]), np.array([1.0, 0.0, -2.0]), np.array([0.25, 0.5, -0.1])
    layer.shift_before.assign(before)
    layer.shift_after.assign(after)
    layer.prelu.alpha.assign(slope.reshape(layer.prelu.alpha.shape))
    shifted = x - before
    np.testing.assert_allclose(layer(x), np.where(shifted > 0, shifted, slope * shifted) + after, atol=1e-6)
    variable = tf.Variable(x)
    with tf.GradientTape() as tape:
        output = tf.reduce_sum(layer(variable))
    np.testing.assert_allclose(tape.gradient(output, variable), np.where(shifted > 0, 1.0, slope), atol=1e-6)


def test_one_value_per_channel():
    layer = RPReLU()
    layer.build((None, 7, 9, 6))
    assert sum(int(np.prod(weight.shape)) for weight in layer.weights) == 3 * 6


def test_saved_and_loaded(tmp_path):
    model = keras.Sequential([keras.Input((4, 4, 3)), RPReLU(slope_initializer=0.1)])
    model.layers[0].shift_after.assign([1.0, 2.0, 3.0])
    model.save(tmp_path / "m.keras")
    x = np.random.default_rng(0).normal(size=(2, 4, 4, 3)).astype(np.float32)
    np.testing.assert_array_equal(keras.models.load_model(tmp_path / "m.keras")(x), model(x))


def test_unknown_channels_are_an_error():
    with pytest.raises(ValueError, match="RPReLU: the input needs a last axis of channels"):
        RPReLU().build((None, None))
