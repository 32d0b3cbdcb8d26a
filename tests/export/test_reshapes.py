"""Reshapes in a file: where they vanish, and where they stay."""

import keras
import numpy as np
import pytest
from engines import run_everywhere
from file_against_keras import written
from small_networks import conv, small

from bitat_tf.export.lowering import lower
from bitat_tf.layers import BinaryDense, binary_layers
from bitat_tf.tflite_file import read_operators

L = keras.layers


@pytest.mark.parametrize("pooling", [L.GlobalAveragePooling2D, L.GlobalMaxPooling2D])
def test_a_gate_of_dense_layers_is_one_pixel_from_the_pooling_on(pooling):
    """As wide as there are samples: what had another rank than the picture would be spread over its columns."""

    def gated(x):
        y = L.Dense(4, activation="relu", name="squeeze")(pooling()(x))
        y = L.Dense(16, activation="sigmoid", name="excite")(y)
        return conv(16, name="last")(L.Multiply()([conv(16, name="first")(x), L.Reshape((1, 1, 16))(y)]))

    model = small(gated, (5, 5, 16))
    content = written(lower(model))
    operators = read_operators(content)
    assert "RESHAPE" not in [operator.name for operator in operators]
    (product,) = [operator for operator in operators if operator.name == "MUL"]
    assert sorted(tensor.shape for tensor in product.inputs) == [(1, 1, 1, 16), (1, 5, 5, 16)]
    x = np.random.default_rng(0).normal(size=(5, 5, 5, 16)).astype(np.float32)
    for engine, (found,) in run_everywhere(content, [x]):
        np.testing.assert_allclose(found, model(x).numpy(), atol=1e-4, err_msg=engine)


def test_what_is_pooled_for_others_too_stays_a_vector():
    def gated(x):
        pooled = L.GlobalAveragePooling2D()(x)
        y = L.Reshape((1, 1, 16))(L.Dense(16, activation="sigmoid")(pooled))
        return [L.Multiply()([conv(16, name="binary")(x), y]), L.Dense(3)(pooled)]

    model = small(gated, (5, 5, 16))
    x = np.random.default_rng(0).normal(size=(5, 5, 5, 16)).astype(np.float32)
    for engine, found in run_everywhere(written(lower(model)), [x]):
        for one, expected in zip(found, model(x), strict=True):
            np.testing.assert_allclose(one, expected.numpy(), atol=1e-4, err_msg=engine)


def test_what_is_reshaped_twice_is_not_changed_in_place():
    """Interpreters of some releases let an addition after a reshape overwrite what the reshape has read."""

    def build(x):
        x = L.ReLU()(conv(8, name="binary")(x))
        wide = BinaryDense(4, name="binary_dense")(L.Flatten()(x))
        return L.Concatenate()([wide, L.Dense(3)(L.Flatten()(x))])

    model = small(build, (4, 4, 8))
    binary_layers(model)[1].input_quantizer.threshold.assign(np.linspace(-1, 1, 128))
    content = written(lower(model))
    x = np.random.default_rng(0).normal(size=(3, 4, 4, 8)).astype(np.float32)
    for engine, (found,) in run_everywhere(content, [x]):
        np.testing.assert_allclose(found, model(x).numpy(), atol=1e-4, err_msg=engine)


def test_what_is_pooled_with_the_channels_first_is_left_as_it_is():
    def gated(x):
        pooled = L.GlobalAveragePooling2D(data_format="channels_first")(L.Permute((3, 1, 2))(x))
        return conv(16, name="binary")(L.Multiply()([x, L.Reshape((1, 1, 16))(pooled)]))

    model = small(gated, (5, 4, 16))
    x = np.random.default_rng(0).normal(size=(5, 5, 4, 16)).astype(np.float32)
    for engine, (found,) in run_everywhere(written(lower(model)), [x]):
        np.testing.assert_allclose(found, model(x).numpy(), atol=1e-4, err_msg=engine)
