"""BinaryConv2D and BinaryDense: a float Keras layer, then a binary one, with the state in variables."""

import inspect

import keras
import numpy as np
import pytest
import tensorflow as tf

from bitat_tf import quantizers
from bitat_tf.calibration.statistics import float_outputs
from bitat_tf.dependency import Metric
from bitat_tf.layers import BinaryConv2D, BinaryDense, binary_layers, device_weights
from bitat_tf.quantizers import RSign
from bitat_tf.regularizers import DisentangledRegularizer

CONVOLUTIONS = [
    {"kernel_size": 3, "padding": "same"},
    {"kernel_size": 3, "padding": "same", "strides": 2},
    {"kernel_size": 3, "padding": "valid", "strides": 2},
    {"kernel_size": 1},
    {"kernel_size": (2, 3), "padding": "same"},
    {"kernel_size": 3, "padding": "same", "dilation_rate": 2},
]


def inputs(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("arguments", CONVOLUTIONS)
@pytest.mark.parametrize("size", [(8, 8), (7, 9)])
def test_float_convolution_is_the_keras_layer(arguments, size):
    x = inputs((2, *size, 4))
    layer, keras_layer = BinaryConv2D(5, **arguments), keras.layers.Conv2D(5, **arguments)
    layer(x), keras_layer(x)
    keras_layer.set_weights([layer.latent_kernel, layer.bias])
    np.testing.assert_array_equal(layer(x), keras_layer(x))


def test_float_dense_is_the_keras_layer():
    x = inputs((3, 5, 4))
    layer, keras_layer = BinaryDense(6, activation="relu"), keras.layers.Dense(6, activation="relu")
    layer(x), keras_layer(x)
    keras_layer.set_weights([layer.latent_kernel, layer.bias])
    np.testing.assert_array_equal(layer(x), keras_layer(x))


@pytest.mark.parametrize("arguments", CONVOLUTIONS)
@pytest.mark.parametrize("size", [(8, 8), (7, 9)])
def test_binary_convolution_is_scaled_signs_on_one_padded_signs(arguments, size):
    x = inputs((2, *size, 4))
    layer = BinaryConv2D(5, **arguments)
    layer(x)
    layer.input_quantizer.threshold.assign([0.1, -0.2, 0.0, 0.5])
    layer.set_binary()
    # Independent: numpy signs, padding by hand with +1, TensorFlow's plain convolution.
    signs = np.where(x + np.array([0.1, -0.2, 0.0, 0.5], np.float32) >= 0, 1.0, -1.0).astype(np.float32)
    if layer.padding == "same":
        pads = []
        for length, kernel, stride, dilation in zip(size, layer.kernel_size, layer.strides, layer.dilation_rate, strict=True):
            total = max((-(-length // stride) - 1) * stride + (kernel - 1) * dilation + 1 - length, 0)
            pads.append((total // 2, total - total // 2))
        signs = np.pad(signs, [(0, 0), *pads, (0, 0)], constant_values=1.0)
    weights = layer.latent_kernel
    kernel = np.where(weights >= 0, 1.0, -1.0) * np.abs(weights).mean(axis=(0, 1, 2))
    expected = tf.nn.conv2d(signs, kernel.astype(np.float32), layer.strides, "VALID", dilations=layer.dilation_rate)
    np.testing.assert_allclose(layer(x), expected, atol=1e-5)


def test_binary_dense_is_scaled_signs():
    x = inputs((6, 5))
    layer = BinaryDense(3, use_bias=False)
    layer(x)
    layer.set_binary()
    weights = layer.latent_kernel
    expected = np.where(x >= 0, 1.0, -1.0) @ (np.where(weights >= 0, 1.0, -1.0) * np.abs(weights).mean(axis=0))
    np.testing.assert_allclose(layer(x), expected, atol=1e-5)


def test_input_and_kernel_can_become_binary_one_after_the_other():
    x = inputs((6, 5))
    layer = BinaryDense(3, use_bias=False)
    layer(x)
    weights, signs = layer.latent_kernel, np.where(x >= 0, 1.0, -1.0)
    binary = np.where(weights >= 0, 1.0, -1.0) * np.abs(weights).mean(axis=0)
    for flags, expected, state in [
        ((False, False), x @ weights, "float"),
        ((True, False), signs @ weights, "mixed"),
        ((False, True), x @ binary, "mixed"),
        ((True, True), signs @ binary, "binary"),
    ]:
        layer.set_binary(*flags)
        assert layer.state == state
        np.testing.assert_allclose(layer(x), expected, atol=1e-5)


def test_a_traced_training_step_sees_the_switch(make_network, images):
    model = make_network()
    x, y = images
    model.fit(x, y, verbose=0)
    before = model.predict(x, verbose=0)
    layer = model.get_layer("binary_1")
    layer.set_binary()
    after = model.predict(x, verbose=0)
    assert not np.allclose(before, after)
    threshold = layer.input_quantizer.threshold.numpy()
    model.fit(x, y, verbose=0)
    assert not np.array_equal(layer.input_quantizer.threshold.numpy(), threshold)  # RSign trains in the same traced step


@pytest.mark.parametrize("form", ["keras", "weights", "checkpoint"])
def test_saving_keeps_state_statistics_and_outputs(form, make_network, images, tmp_path):
    model = make_network()
    x, _ = images
    layer = model.get_layer("binary_2")
    layer.input_quantizer.threshold.assign(np.linspace(-0.2, 0.2, 5))
    layer.set_binary()
    covariance = np.cov(inputs((50, 5)).T)
    layer.disentangled_state.assign(Metric.from_covariance(covariance, np.arange(5)), inputs((5, 10)))
    layer.disentangled_state.strength.assign(1.5)
    model.get_layer("binary_1").set_binary(input=True, kernel=False)
    expected = model.predict(x, verbose=0)

    if form == "keras":
        model.save(tmp_path / "m.keras")
        loaded = keras.models.load_model(tmp_path / "m.keras")
    elif form == "weights":
        model.save_weights(tmp_path / "m.weights.h5")
        loaded = make_network()
        loaded.load_weights(tmp_path / "m.weights.h5")
    else:
        path = tf.train.Checkpoint(model=model).save(str(tmp_path / "m"))
        loaded = make_network()
        tf.train.Checkpoint(model=loaded).restore(path).expect_partial()

    assert [layer.state for layer in binary_layers(loaded)] == ["mixed", "binary", "float"]
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), expected)
    copy = loaded.get_layer("binary_2")
    assert float(copy.losses[0]) == float(layer.losses[0]) > 0
    assert copy.quantization_errors() == layer.quantization_errors()


def test_flags_and_statistics_are_not_among_the_weights_of_the_device():
    layer = BinaryConv2D(4, 3, use_bias=False)
    layer.build((None, 6, 6, 2))
    assert [weight.name for weight in device_weights(layer)] == ["kernel", "threshold"]
    assert [weight.name for weight in layer.trainable_weights] == ["kernel", "threshold"]
    held = {weight.name for weight in layer.non_trainable_weights}
    assert {"input_is_binary", "kernel_is_binary", "importance", "directions", "reference"} <= held


@pytest.mark.parametrize(("layer", "parent"), [(BinaryConv2D, keras.layers.Conv2D), (BinaryDense, keras.layers.Dense)])
def test_arguments_are_those_of_keras_and_larq(layer, parent):
    ours, theirs = inspect.signature(layer).parameters, inspect.signature(parent).parameters
    for name, parameter in ours.items():
        if name in ("disentangled_regularizer", "float_activation"):
            assert parameter.kind is inspect.Parameter.KEYWORD_ONLY
        elif name not in ("kwargs", "pad_values", "input_quantizer", "kernel_quantizer"):  # Larq's names
            assert parameter.default == theirs[name].default, name
    # What is passed through as keyword arguments exists in Keras and is not lost.
    built = layer(*([4, 3] if layer is BinaryConv2D else [4]), kernel_initializer="he_normal", name="x")
    assert built.get_config()["kernel_initializer"]["class_name"] == "HeNormal"


@pytest.mark.parametrize(
    "layer",
    [
        BinaryConv2D(4, 3, padding="same", strides=2, name="a"),
        BinaryDense(4, name="b"),
        BinaryConv2D(4, 3, float_activation="hard_tanh", name="c"),
        BinaryDense(4, float_activation="tanh", name="d"),
    ],
)
def test_config_round_trip(layer):
    config = layer.get_config()
    copy = type(layer).from_config(config)
    assert copy.get_config() == config
    assert isinstance(copy.input_quantizer, RSign)
    assert isinstance(copy.kernel_quantizer, quantizers.MagnitudeAwareSign)


def test_rows_of_the_binary_input_give_the_binary_output():
    x = inputs((2, 7, 7, 3))
    layer = BinaryConv2D(4, 3, 2, padding="same", use_bias=False)
    layer(x)
    for binary in (False, True):
        layer.set_binary(binary, kernel=False)
        rows = layer.input_rows(tf.constant(x), binary)
        np.testing.assert_allclose(tf.reshape(rows @ layer.latent_kernel_matrix, (2, 4, 4, 4)), layer(x), atol=1e-5)


# Written out from the definitions.
FLOAT_ACTIVATIONS = {
    "hard_tanh": lambda x: np.clip(x, -1, 1),
    "tanh": np.tanh,
    "relu": lambda x: np.maximum(x, 0),
}


@pytest.mark.parametrize("name", FLOAT_ACTIVATIONS)
def test_float_activation_acts_on_the_float_input_only(name):
    x = 2 * inputs((2, 7, 7, 3))
    layer = BinaryConv2D(4, 3, 2, padding="same", use_bias=False, float_activation=name)
    without = BinaryConv2D(4, 3, 2, padding="same", use_bias=False)
    layer(x), without(x)
    without.set_weights(layer.get_weights())
    seen = FLOAT_ACTIVATIONS[name](x).astype(np.float32)
    np.testing.assert_allclose(layer(x), without(seen), atol=1e-5)
    assert not np.allclose(layer(x), without(x), atol=1e-2)
    # The statistics of the float layer are those of what its kernel sees; the binary ones are of the signs.
    np.testing.assert_allclose(layer.input_images(tf.constant(x), binary=False), seen, atol=1e-6)
    rows = layer.input_rows(tf.constant(x), binary=False)
    np.testing.assert_allclose(tf.reshape(rows @ layer.latent_kernel_matrix, (2, 4, 4, 4)), layer(x), atol=1e-5)
    np.testing.assert_allclose(float_outputs(layer, tf.constant(x)), tf.reshape(layer(x), (-1, 4)), atol=1e-5)
    for flags in [(False, True), (True, False), (True, True)]:
        layer.set_binary(*flags)
        without.set_binary(*flags)
        np.testing.assert_allclose(layer(x), without(x if flags[0] else seen), atol=1e-5)


def test_float_activation_of_a_dense_layer_and_of_a_function():
    x = 2 * inputs((6, 5))
    layer = BinaryDense(3, use_bias=False, float_activation=quantizers.hard_tanh)
    np.testing.assert_allclose(layer(x), np.clip(x, -1, 1) @ layer.latent_kernel_matrix, atol=1e-5)
    assert layer.input_images(tf.constant(x), binary=False).shape == (6, 1, 1, 5)
    layer.set_binary(input=True, kernel=False)
    np.testing.assert_allclose(layer(x), np.where(x >= 0, 1.0, -1.0) @ layer.latent_kernel_matrix, atol=1e-5)


def test_saving_keeps_the_float_activation(tmp_path):
    x = 2 * inputs((3, 6, 6, 2))
    model = keras.Sequential(
        [
            keras.Input((6, 6, 2)),
            BinaryConv2D(4, 3, float_activation="hard_tanh"),
            keras.layers.Flatten(),
            BinaryDense(3, float_activation="tanh"),
        ]
    )
    path = tmp_path / "m.keras"
    model.save(path)
    loaded = keras.models.load_model(path)
    np.testing.assert_allclose(loaded(x), model(x), atol=1e-6)
    assert not np.allclose(loaded(x), loaded(np.clip(x, -0.5, 0.5)))
    for network in (model, loaded):
        binary_layers(network)[0].set_binary()
    np.testing.assert_allclose(loaded(x), model(x), atol=1e-6)


def test_no_warning_of_a_missing_constraint(caplog):
    BinaryConv2D(4, 3), BinaryDense(4)
    assert not caplog.records


@pytest.mark.parametrize("layer", [BinaryConv2D(4, 3), BinaryDense(4)])
def test_a_layer_without_channels_is_an_error(layer):
    with pytest.raises(ValueError, match=r"Binary\w+ 'binary_.*needs a last axis of channels of known size"):
        layer.build((None, None, None, None))


def test_wrong_arguments():
    with pytest.raises(ValueError, match="kernel_quantizer=None. For a layer that stays float use keras.layers"):
        BinaryDense(4, kernel_quantizer=None)
    with pytest.raises(ValueError, match="Use data_format='channels_last'"):
        BinaryConv2D(4, 3, data_format="channels_first")
    with pytest.raises(ValueError, match="as `disentangled_regularizer`"):
        BinaryDense(4, kernel_regularizer=DisentangledRegularizer())
    with pytest.raises(TypeError, match="must be a bitat_tf.regularizers.DisentangledRegularizer"):
        BinaryDense(4, disentangled_regularizer="l2")
    with pytest.raises(TypeError, match="`float_activation` must be a function or its name.*put that layer before this one"):
        BinaryDense(4, float_activation=keras.layers.PReLU())
    with pytest.raises(ValueError, match="hard_tanhh"):
        BinaryConv2D(4, 3, float_activation="hard_tanhh")


def test_one_regularizer_for_two_layers_is_an_error():
    regularizer = DisentangledRegularizer()
    BinaryDense(4, disentangled_regularizer=regularizer).build((None, 3))
    with pytest.raises(ValueError, match="serves another layer already.*Give every layer a regularizer of its own"):
        BinaryDense(4, disentangled_regularizer=regularizer).build((None, 3))


def test_nested_models_are_searched(make_network):
    outer = keras.Sequential([keras.Input((7, 7, 2)), make_network()])
    assert [layer.name for layer in binary_layers(outer)] == ["binary_1", "binary_2", "binary_3"]


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_policies_call_and_train(policy):
    keras.config.set_dtype_policy(policy)
    try:
        model = keras.Sequential(
            [keras.Input((6, 6, 3)), BinaryConv2D(4, 3, padding="same"), keras.layers.Flatten(), BinaryDense(2)]
        )
        for layer in binary_layers(model):
            layer.set_binary()
        model.compile("adam", "mse")
        losses = model.fit(inputs((8, 6, 6, 3)), inputs((8, 2)), epochs=2, verbose=0).history["loss"]
        assert np.isfinite(losses).all()
        assert model.layers[0].latent_kernel.dtype == np.float32
    finally:
        keras.config.set_dtype_policy("float32")
