"""Models of every kind through the export: other precisions and inputs, layers that are shared, float or random."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from engines import needs_one, run_everywhere
from file_against_keras import assert_close, outputs_of, written
from small_networks import conv, drawn, samples, small

from bitat_tf.export import to_tflite
from bitat_tf.export.lowering import expand_model, lower
from bitat_tf.layers import BinaryDense, RPReLU, binary_layers
from bitat_tf.tflite_file import inspect

L = keras.layers


@needs_one
def test_models_in_float64_are_written_in_float32(tmp_path):
    keras.config.set_dtype_policy("float64")
    try:
        model = small(lambda x: L.Dense(4)(L.Flatten()(L.UpSampling2D(2)(L.LayerNormalization()(RPReLU()(conv()(x)))))))
    finally:
        keras.config.set_dtype_policy("float32")
    report = to_tflite(model, tmp_path / "model.tflite", samples(model)[0])
    assert report.outputs[0].largest_difference < 2e-4
    types = {tensor.type for operator in inspect(tmp_path / "model.tflite").operators for tensor in operator.outputs}
    assert types == {"float32", "bits"}


def test_a_layer_that_is_called_twice_on_the_same(tmp_path):
    """What dropout hides from Keras' graph is one convolution or two, and the report says how many."""
    inputs = keras.Input((6, 6, 32))
    layer = conv(name="shared", use_bias=True)
    model = drawn(keras.Model(inputs, L.Add()([layer(inputs), layer(L.Dropout(0.5)(inputs))])))
    report = to_tflite(model, tmp_path / "model.tflite", verify=False)
    assert report.fused_binary == report.expected_binary == report.operators["LceBconv2d"]
    assert report.operators["LceQuantize"] == 1
    for engine, found in run_everywhere((tmp_path / "model.tflite").read_bytes(), samples(model)):
        np.testing.assert_allclose(found[0], model(samples(model)[0]), atol=1e-4, err_msg=engine)


def test_outputs_that_are_one_tensor():
    def build(x):
        y = L.BatchNormalization()(conv(8)(x))
        return [y, y, x, L.Dropout(0.5)(y), L.ReLU()(y)]

    model = small(build)
    inputs = samples(model)
    for _, found in run_everywhere(written(lower(model)), inputs):
        assert_close(found, [np.asarray(one) for one in model(inputs[0])], 1e-4)


@pytest.mark.parametrize("calibrated", [False, True], ids=["float32", "int8"])
def test_models_that_take_integers(calibrated, tmp_path):
    pixels, words = keras.Input((6, 6, 3), dtype="uint8", name="pixels"), keras.Input((4,), dtype="int32", name="words")
    x = L.Flatten()(conv(8)(L.Conv2D(32, 3, padding="same")(L.Rescaling(1 / 127.5, -1.0)(pixels))))
    x = L.Concatenate()([x, BinaryDense(8)(L.Flatten()(L.Embedding(10, 32)(words)))])
    model = drawn(keras.Model([pixels, words], L.Dense(3)(x)))
    generator = np.random.default_rng(0)
    data = [generator.integers(0, 256, (32, 6, 6, 3)).astype(np.uint8), generator.integers(0, 10, (32, 4)).astype(np.int32)]
    report = to_tflite(model, tmp_path / "model.tflite", calibration=data if calibrated else None, verify=False)
    assert report.fused_binary == 2
    assert [one.type for one in inspect(tmp_path / "model.tflite").inputs] == ["uint8", "int32"]
    expected = model(data).numpy()
    for engine, (found,) in run_everywhere((tmp_path / "model.tflite").read_bytes(), data):
        assert np.abs(found - expected).mean() < (0.3 if calibrated else 1e-4) * expected.std(), engine


@pytest.mark.parametrize("state", [(True, False), (False, True)], ids=["input", "kernel"])
def test_layers_in_the_middle_of_their_binarization(state):
    """Against Keras, which computes them with float kernels: signs padded with ones, dense layers, strides."""

    def build(x):
        x = conv(8, strides=2, float_activation="hard_tanh")(L.BatchNormalization()(x))
        return BinaryDense(4, float_activation="tanh")(L.Flatten()(L.ReLU()(x)))

    model = small(build, (7, 7, 6))
    for layer in binary_layers(model):
        layer.set_binary(input=state[0], kernel=state[1])
    inputs = samples(model)
    program = lower(model, allow_partial=True)
    assert not program.binary_convolutions()
    assert_close(outputs_of(program, inputs), [model(inputs[0]).numpy()])
    for _, found in run_everywhere(written(program), inputs):
        assert_close(found, [model(inputs[0]).numpy()], 1e-4)


def test_layers_are_called_at_inference():
    """Keras' random layers train by default where they are called by themselves; a file is not random."""
    model = small(lambda x: conv(8)(L.RandomContrast(0.5)(L.RandomFlip()(L.RandomCrop(4, 4)(x)))))
    (x,) = samples(model)
    once, again = (outputs_of(expand_model(model), [x])[0] for _ in range(2))
    np.testing.assert_array_equal(once, again)
    np.testing.assert_allclose(once, model(x, training=False), atol=1e-4)


def test_calls_with_training_are_those_of_inference():
    """Keras lets the model decide, whatever a layer in it was called with."""
    inner_inputs = keras.Input((6, 6, 32))
    inner = keras.Model(inner_inputs, L.Dropout(0.5, name="always")(inner_inputs, training=True), name="inner")
    model = small(lambda x: conv(8)(L.RandomCrop(4, 4)(inner(x), training=True)))
    (x,) = samples(model)
    np.testing.assert_allclose(outputs_of(expand_model(model), [x])[0], model.predict(x, verbose=0), atol=1e-4)


def test_a_model_without_a_form_leaves_no_file(tmp_path):
    model = small(lambda x: L.Lambda(tf.math.erf, name="error")(conv(8)(x)))
    with pytest.raises(ValueError, match=r"no form on the device: 'error' \(Erf\)"):
        to_tflite(model, tmp_path / "model.tflite", verify=False)
    assert not list(tmp_path.iterdir())
