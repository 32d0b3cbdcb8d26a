"""What is a ReLU, and which: against what Keras computes."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from bitat_tf.model_graph import RELU, activation_of, relu_bounds

L = keras.layers
X = np.array([-100.0, -3.0, -0.5, 0.0, 0.5, 3.0, 6.0, 7.0, 100.0], np.float32)

RELUS = {
    "ReLU": L.ReLU(),
    "ReLU6": L.ReLU(6.0),
    "ReLU with slope": L.ReLU(negative_slope=0.25),
    "ReLU with slope and end": L.ReLU(4.0, 0.5),
    "LeakyReLU": L.LeakyReLU(),
    "LeakyReLU(0.01)": L.LeakyReLU(0.01),
    "relu": L.Activation("relu"),
    "relu6": L.Activation("relu6"),
    "leaky_relu": L.Activation("leaky_relu"),
    "tf.nn.relu": L.Activation(tf.nn.relu),
    "tf.nn.relu6": L.Activation(tf.nn.relu6),
    "activation of a layer": L.Activation(L.ReLU(3.0)),
    "function of Keras": keras.activations.relu,
    "function of TensorFlow": tf.nn.relu6,
    "of a dense layer": activation_of(L.Dense(3, activation="relu6")),
    "layer in a dense layer": activation_of(L.Dense(3, activation=L.LeakyReLU(0.1))),
}


@pytest.mark.parametrize("kind", RELUS)
def test_the_bounds_are_what_is_computed(kind):
    low, high, slope = relu_bounds(RELUS[kind])
    expected = np.where(X >= low, np.minimum(X, high), low + slope * (X - low))
    np.testing.assert_allclose(RELUS[kind](X), expected, rtol=1e-6)


def operator(function):
    return function(keras.Input((3,)))._keras_history.operation


def test_operators_on_outputs_of_layers():
    assert relu_bounds(operator(keras.ops.relu)) == RELU
    assert relu_bounds(operator(keras.ops.relu6)).high == 6.0
    assert relu_bounds(operator(keras.activations.relu)) == RELU
    assert relu_bounds(operator(lambda x: keras.activations.relu(x, max_value=2.0))).high == 2.0
    assert relu_bounds(operator(lambda x: keras.activations.relu(x, threshold=1.0))) is None
    assert relu_bounds(operator(lambda x: keras.ops.leaky_relu(x, 0.3))).negative_slope == 0.3
    assert relu_bounds(operator(keras.ops.elu)) is None


class Own(L.ReLU):
    """A ReLU that could compute anything."""


@pytest.mark.parametrize(
    "other",
    [
        L.ReLU(threshold=1.0),  # jumps from 0 to 1
        L.Activation("elu"), L.Activation(lambda x: x), L.PReLU(), L.ELU(), L.Dense(3, "relu"), L.Flatten(), Own(), None,
        keras.activations.linear,
    ],
)  # fmt: skip
def test_what_is_no_relu(other):
    assert relu_bounds(other) is None


def test_activations():
    assert activation_of(L.Conv2D(3, 1, activation="tanh")) is keras.activations.tanh
    assert activation_of(L.Conv2D(3, 1)) is None
    assert activation_of(L.Conv2D(3, 1, activation="linear")) is None
    assert activation_of(L.BatchNormalization()) is None
