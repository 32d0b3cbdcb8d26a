"""What an output is: by the last layers, the loss and the labels of models that are built for it."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from bitat_tf.export.output_kinds import measures

L, losses = keras.layers, keras.losses
PICTURES = np.random.default_rng(0).normal(size=(12, 4, 4, 2)).astype(np.float32)
INDICES, ZERO_ONE = np.arange(12) % 3, np.arange(12) % 2


def kind(top, labels=None, loss=None, classes=()):
    """Return how the outputs of a network are judged whose last part is `top`."""
    inputs = keras.Input((4, 4, 2))
    model = keras.Model(inputs, top(L.Flatten()(inputs)))
    if loss is not None:
        model.compile("sgd", loss)
    (measure,) = measures("verify", model, [model.predict(PICTURES, verbose=0)], [labels], classes)
    return str(measure)


TOPS = {
    "softmax": (L.Dense(3, "softmax"), "top-1 (softmax)"),
    "softmax of TensorFlow": (L.Dense(3, tf.nn.softmax), "top-1 (softmax)"),
    "softmax layer": (lambda x: L.Softmax()(L.Dense(3)(x)), "top-1 (softmax)"),
    "softmax as an activation layer": (lambda x: L.Activation("softmax")(L.Dense(3)(x)), "top-1 (softmax)"),
    "softmax operator": (lambda x: keras.ops.softmax(L.Dense(3)(x)), "top-1 (softmax)"),
    "logarithms of a softmax": (lambda x: keras.ops.log_softmax(L.Dense(3)(x)), "top-1 (softmax)"),
    "softmax before a cast": (lambda x: L.Activation("linear", dtype="float32")(L.Dense(3, "softmax")(x)), "top-1 (softmax)"),
    "softmax of a map": (lambda x: L.Softmax()(L.Reshape((4, 4, 2))(x)), "top-1 (softmax)"),
    "softmax that nothing names": (lambda x: L.Lambda(tf.nn.softmax)(L.Dense(3)(x)), "top-1 (the units sum to 1)"),
    "mean of two": (lambda x: L.Average()([L.Dense(3, "softmax")(x) for _ in "ab"]), "top-1 (the units sum to 1)"),
    "sigmoid": (L.Dense(1, "sigmoid"), "decisions at 0.5 (sigmoid)"),
    "sigmoids": (L.Dense(3, "sigmoid"), "decisions at 0.5 (sigmoid)"),
    "hard sigmoid": (L.Dense(1, "hard_sigmoid"), "decisions at 0.5 (sigmoid)"),
    "mask": (lambda x: L.Reshape((4, 4, 1))(keras.ops.sigmoid(L.Dense(16)(x))), "decisions at 0.5 (sigmoid)"),
    "sigmoid without an axis for units": (
        lambda x: keras.ops.squeeze(L.Dense(1, "sigmoid")(x), -1),
        "decisions at 0.5 (sigmoid)",
    ),
    "one linear unit": (L.Dense(1), "values"),
    "linear units": (L.Dense(3), "values or top-1"),
    "normalization at the end": (lambda x: L.BatchNormalization()(L.Dense(3)(x)), "values or top-1"),
    "tanh": (L.Dense(1, "tanh"), "values"),
    "one unit of a softmax": (L.Dense(1, "softmax"), "values"),
}


@pytest.mark.parametrize("name", TOPS)
def test_the_last_activation_tells(name):
    top, expected = TOPS[name]
    assert kind(top) == expected


@pytest.mark.parametrize(
    ("loss", "units", "activation", "expected"),
    [
        ("sparse_categorical_crossentropy", 3, None, "top-1 (loss)"),
        (losses.SparseCategoricalCrossentropy(from_logits=True), 3, None, "top-1 (loss)"),
        (losses.categorical_crossentropy, 3, None, "top-1 (loss)"),
        (losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1), 3, "sigmoid", "top-1 (loss)"),
        (losses.BinaryCrossentropy(from_logits=True), 1, None, "decisions at 0 (loss)"),
        (losses.BinaryCrossentropy(from_logits=True), 3, None, "decisions at 0 (loss)"),
        ("binary_crossentropy", 3, "sigmoid", "decisions at 0.5 (loss)"),
        ("hinge", 1, "tanh", "decisions at 0 (loss)"),
        ("mse", 3, None, "values (loss)"),
        (losses.Huber(), 1, None, "values (loss)"),
        ("mae", 1, "sigmoid", "values (loss)"),
        ({"top": "mse"}, 3, None, "values (loss)"),
        (["mse"], 3, None, "values (loss)"),
        (lambda wanted, found: tf.reduce_mean(found), 3, None, "values or top-1"),
    ],
)
def test_the_loss_tells(loss, units, activation, expected):
    assert kind(L.Dense(units, activation, name="top"), loss=loss) == expected


@pytest.mark.parametrize(
    ("labels", "units", "activation", "expected"),
    [
        (INDICES, 3, None, "top-1"),
        (INDICES[:, None], 3, "sigmoid", "top-1"),
        (np.eye(3)[INDICES], 3, None, "top-1"),
        (np.eye(3)[INDICES], 3, "sigmoid", "decisions at 0.5"),
        (np.tile([1, 1, 0], (12, 1)), 3, "sigmoid", "decisions at 0.5"),
        (np.tile([1, 1, 0], (12, 1)), 3, None, "decisions at 0"),
        (ZERO_ONE, 1, None, "decisions at 0"),
        (ZERO_ONE[:, None], 1, "sigmoid", "decisions at 0.5"),
    ],
)
def test_labels_tell_most(labels, units, activation, expected):
    assert kind(L.Dense(units, activation), labels, loss="mse") == f"{expected} (labels)"


def test_probabilities_that_nothing_names_are_decided_at_a_half():
    assert kind(lambda x: L.Lambda(tf.sigmoid)(L.Dense(1)(x)), ZERO_ONE) == "decisions at 0.5 (labels)"


def test_names_of_classes_tell():
    assert kind(L.Dense(3), classes=("a", "b", "c")) == "top-1 (names of classes)"


def test_several_outputs_each_by_its_own():
    inputs = keras.Input((4, 4, 2))
    x = L.Flatten()(inputs)
    nested = keras.Sequential([keras.Input((32,)), L.Dense(3, "softmax")], name="kind")
    outputs = [nested(x), L.Dense(4, name="box")(x), L.Dense(1, "sigmoid", name="there")(x), L.Dense(1, name="age")(x)]
    model = keras.Model(inputs, outputs)
    arrays, none = model.predict(PICTURES, verbose=0), [None] * 4
    expected = ["top-1 (softmax)", "values or top-1", "decisions at 0.5 (sigmoid)", "values"]
    assert [str(one) for one in measures("verify", model, arrays, none)] == expected
    model.compile("sgd", {"box": "huber", "age": "mse"})
    expected[1:] = ["values (loss)", expected[2], "values (loss)"]
    assert [str(one) for one in measures("verify", model, arrays, none)] == expected
    labels = [None, None, ZERO_ONE, None]
    assert str(measures("verify", model, arrays, labels)[2]) == "decisions at 0.5 (labels)"
