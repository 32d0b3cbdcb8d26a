"""Binarization without training: every closed form against brute force, and what a user may do wrong."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

import bitat_tf
from bitat_tf import binarize_post_training
from bitat_tf.layers import BinaryConv2D, BinaryDense, binary_layers
from bitat_tf.post_training.propagation import check_activations


@pytest.fixture(scope="module")
def trained(make_network, images):
    """Return a network whose weights and batch normalizations are those of some training; no test changes it."""
    keras.utils.set_random_seed(0)
    model = make_network()
    model.fit(*images, batch_size=8, epochs=3, verbose=0)
    return model


@pytest.fixture(scope="module")
def made_binary(trained, images):
    """Return the binary network that is made of it."""
    return binarize_post_training(trained, images[0], verbose=0)


def input_of(model, name, x):
    return keras.Model(model.input, model.get_layer(name).input)(x, training=False).numpy()


def output_of(model, name, x):
    return keras.Model(model.input, model.get_layer(name).output)(x, training=False).numpy()


def test_a_new_binary_network_and_the_old_one_as_it_was(trained, images):
    model = trained
    before = model.get_weights()
    binary = binarize_post_training(model, images[0], verbose=0)
    assert [layer.state for layer in binary_layers(binary)] == ["binary"] * 3
    assert [layer.state for layer in binary_layers(model)] == ["float"] * 3
    for now, then in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)
    assert np.isfinite(binary.evaluate(*images, verbose=0)).all()  # compiled as the old one
    assert not any(a is b for a in binary.layers for b in model.layers)


def test_thresholds_are_centred_on_the_input_of_the_binary_network(made_binary, images):
    binary = made_binary
    for layer in binary_layers(binary):
        means = input_of(binary, layer.name, images[0]).reshape(-1, layer.latent_kernel_matrix.shape[0] // _taps(layer))
        np.testing.assert_allclose(layer.input_quantizer.threshold.numpy(), -means.mean(axis=0), atol=1e-4)


def _taps(layer):
    return int(np.prod(getattr(layer, "kernel_size", (1,))))


def test_signs_and_scales_are_the_best_of_all_single_flips_for_the_float_outputs(trained, made_binary, images):
    model, binary = trained, made_binary
    for layer in binary_layers(binary):
        rows = layer.input_rows(tf.constant(input_of(binary, layer.name, images[0])), binary=True).astype(float)
        rows -= rows.mean(axis=0)
        covariance = rows.T @ rows / len(rows)
        reference = layer.disentangled_state.reference.numpy().astype(float)
        signs = np.where(layer.latent_kernel_matrix >= 0, 1.0, -1.0)
        scale = np.abs(layer.latent_kernel_matrix).mean(axis=0)

        def error(b, w, covariance=covariance):
            explained = max(b @ covariance @ w, 0) ** 2 / (b @ covariance @ b)
            return w @ covariance @ w - explained

        for channel in range(signs.shape[1]):
            b, w = signs[:, channel], reference[:, channel]
            best = error(b, w)
            for feature in range(len(b)):
                flipped = b * np.where(np.arange(len(b)) == feature, -1, 1)
                assert error(flipped, w) >= best - 1e-5 * abs(w @ covariance @ w)
            np.testing.assert_allclose(scale[channel], b @ covariance @ w / (b @ covariance @ b), rtol=1e-3, atol=1e-6)
        # The reference predicts the float network's outputs of this layer, as ridge regression does.
        source = model.get_layer(layer.name)
        targets = source.input_rows(tf.constant(input_of(model, layer.name, images[0])), binary=False)
        targets = targets @ source.latent_kernel_matrix
        level = 0.01 * np.trace(covariance) / len(covariance)
        cross = rows.T @ (targets - targets.mean(axis=0)) / len(rows)
        expected = np.linalg.solve(covariance + level * np.eye(len(covariance)), cross)
        np.testing.assert_allclose(reference, expected, atol=1e-3 * np.abs(expected).max())


def test_the_bias_keeps_the_mean_of_the_float_output(trained, made_binary, images):
    assert made_binary.get_layer("binary_3").use_bias
    means = [output_of(network, "binary_3", images[0]).mean(axis=0) for network in (trained, made_binary)]
    np.testing.assert_allclose(means[0], means[1], atol=1e-4)


@pytest.mark.parametrize("choice", ["mean", "mean_and_variance"])
def test_batch_normalization_above_binary_layers_is_estimated_anew(choice, trained, made_binary, images):
    model = trained
    binary = made_binary if choice == "mean" else binarize_post_training(model, images[0], choice, verbose=0)
    for name in ("bn_1", "bn_2", "bn_3"):
        inputs = input_of(binary, name, images[0])
        inputs = inputs.reshape(-1, inputs.shape[-1])
        layer, old = binary.get_layer(name), model.get_layer(name)
        np.testing.assert_allclose(layer.moving_mean.numpy(), inputs.mean(axis=0), atol=1e-4)
        expected = inputs.var(axis=0) if choice == "mean_and_variance" else old.moving_variance.numpy()
        np.testing.assert_allclose(layer.moving_variance.numpy(), expected, rtol=1e-3)
        assert not np.allclose(layer.moving_mean.numpy(), old.moving_mean.numpy())
    for weight, old in zip(binary.get_layer("bn_0").weights, model.get_layer("bn_0").weights, strict=True):
        np.testing.assert_array_equal(weight.numpy(), old.numpy())  # no binary layer below


def test_batches_do_not_matter(trained, made_binary, images):
    other = binarize_post_training(trained, tf.data.Dataset.from_tensor_slices(images).batch(5), verbose=0)
    results = [binary.predict(images[0], verbose=0) for binary in (made_binary, other)]
    # Rounding may decide a sign that is a tie; the networks must agree otherwise.
    assert np.mean(np.abs(results[0] - results[1]) > 1e-3) < 0.05


def test_fewer_rows_than_inputs(images):
    model = keras.Sequential([keras.Input((98,)), BinaryDense(6, name="wide"), keras.layers.BatchNormalization()])
    layer = model.get_layer("wide")
    layer.disentangled_regularizer.num_groups = 256
    binary = binarize_post_training(model, images[0][:20].reshape(20, -1), verbose=0)
    assert binary.get_layer("wide").quantization_errors().q_rel < 0.2


def test_nested_models_and_export(images, tmp_path):
    inner_inputs = keras.Input((7, 7, 32))
    x = BinaryConv2D(32, 3, padding="same", use_bias=False, name="conv")(inner_inputs)
    inner = keras.Model(inner_inputs, keras.layers.BatchNormalization(name="bn")(x), name="inner")
    model = keras.Sequential(
        [
            keras.Input((7, 7, 2)),
            keras.layers.Conv2D(32, 3, padding="same"),
            keras.layers.BatchNormalization(),
            inner,
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(4),
        ]
    )
    binary = binarize_post_training(model, images[0], verbose=0)
    assert binary.get_layer("inner").get_layer("conv").state == "binary"
    assert model.get_layer("inner").get_layer("conv").state == "float"
    report = bitat_tf.export.to_tflite(binary, tmp_path / "model.tflite", images[0], images[1])
    assert report.fused_binary == 1


def test_several_inputs(images):
    inputs = [keras.Input((7, 7, 2), name=name) for name in ("left", "right")]
    x = keras.layers.Concatenate()(inputs)
    x = keras.layers.BatchNormalization()(BinaryConv2D(4, 3, name="conv")(x))
    model = keras.Model(inputs, keras.layers.Flatten()(x))
    named = tf.data.Dataset.from_tensor_slices({"right": images[0] + 1, "left": images[0]}).batch(16)
    listed = tf.data.Dataset.from_tensor_slices((((images[0], images[0] + 1)), images[1])).batch(16)
    first, second = (binarize_post_training(model, data, verbose=0).get_weights() for data in (named, listed))
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)


def test_better_than_the_signs_of_the_weights(trained, made_binary, images):
    """The outputs are nearer to the float network's than those of the same network made binary as it stands."""
    model, binary = trained, made_binary
    expected = model.predict(images[0], verbose=0)
    plain = keras.models.clone_model(model)
    plain.set_weights(model.get_weights())
    for layer in binary_layers(plain):
        layer.set_binary()
    errors = [np.mean((network.predict(images[0], verbose=0) - expected) ** 2) for network in (binary, plain)]
    assert errors[0] < 0.5 * errors[1]


def shared_layer():
    layer = BinaryDense(2, name="twice")
    inputs = keras.Input((2,))
    return keras.Model(inputs, layer(layer(inputs)))


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.layer = BinaryDense(2)
        self.build((None, 2))

    def call(self, inputs):
        return self.layer(inputs)


def hidden_layer():
    class Wrapper(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.inner = BinaryDense(2, name="hidden")

        def call(self, inputs):
            return self.inner(inputs)

    return keras.Sequential([keras.Input((2,)), Wrapper()])


def shared_normalization():
    inputs, shared = keras.Input((2,)), keras.layers.BatchNormalization(name="bn")
    return keras.Model(inputs, [shared(BinaryDense(2)(inputs)), shared(BinaryDense(2)(inputs))])


def without_scale():
    return keras.Sequential([keras.Input((2,)), BinaryDense(2, kernel_quantizer="ste_sign", name="signs")])


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (shared_layer, "Received: layers that are used several times: twice. Train the model with SequentialBinarization"),
        (hidden_layer, "Received: layers that stand in a layer that is no functional model: hidden. Train the model with"),
        (shared_normalization, "a batch normalization above a binary layer must be used once. Received: 'bn', used 2 times"),
        (without_scale, "only kernel_quantizer='magnitude_aware_sign' has. Received: layers with another quantizer: signs"),
        (Subclassed, "must be functional or sequential. Received: a Subclassed"),
        (lambda: keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)]), "has no binary layers: it is a float network"),
    ],
)
def test_networks_that_it_cannot_do(build, message):
    with pytest.raises(ValueError, match=message):
        binarize_post_training(build(), np.zeros((4, 2), np.float32), verbose=0)


def test_a_network_that_is_binary_already(make_network, images):
    model = make_network()
    model.get_layer("binary_2").set_binary()
    with pytest.raises(ValueError, match="1 of 3 layers that are binary already: binary_2. Load the float network"):
        binarize_post_training(model, images[0], verbose=0)


def test_the_bias_is_right_where_the_input_does_not_vary():
    model = keras.Sequential([keras.Input((3,)), BinaryDense(4, bias_initializer="normal")])
    x = np.tile(np.float32([[1.0, -2.0, 0.5]]), (8, 1))
    binary = binarize_post_training(model, x, verbose=0)
    np.testing.assert_allclose(binary.predict(x, verbose=0), model.predict(x, verbose=0), rtol=1e-4, atol=1e-5)


def test_a_loss_that_keras_cannot_copy_costs_nothing_but_the_compilation(make_network, images):
    model = make_network()
    model.compile("adam", lambda labels, outputs: tf.reduce_mean(outputs))
    with pytest.warns(UserWarning, match="the new model is not compiled, since Keras cannot copy how `model` is"):
        binary = binarize_post_training(model, images[0], verbose=0)
    assert not binary.compiled
    assert binary_layers(binary)[0].state == "binary"


def test_calibration_data_that_lack_an_input(images):
    inputs = [keras.Input((2,), name=name) for name in ("left", "right")]
    model = keras.Model(inputs, BinaryDense(2)(keras.layers.Add()(inputs)))
    x = images[0][:, 0, 0]
    with pytest.raises(ValueError, match="the model has 2 inputs. Received: calibration data of 1 each. Pass a"):
        binarize_post_training(model, x, verbose=0)
    named = tf.data.Dataset.from_tensor_slices({"left": x, "top": x}).batch(8)
    with pytest.raises(ValueError, match=r"lack the inputs \['right'\]. Received: \['left', 'top'\]"):
        binarize_post_training(model, named, verbose=0)


def test_what_runs_through_a_large_network_is_announced():
    inputs = keras.Input((100, 100, 4))
    x = BinaryConv2D(8, 3, padding="same")(inputs)
    model = keras.Model(inputs, keras.layers.Add()([x, x * 2.0]))
    # At the addition, or before it: x, its double, and the sum are alive: 3 times 80,000 numbers; 2 networks, 4 bytes.
    needed = 3 * 80_000 * 2 * 4
    samples = int(2**32 / needed)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_activations("here", model, samples)
    with pytest.warns(UserWarning, match=f"held for all {10 * samples} calibration inputs, and takes about 40.0 GiB"):
        check_activations("here", model, 10 * samples)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"calibration": np.zeros((0, 7, 7, 2), np.float32)}, "the calibration data are empty"),
        ({"calibration": np.full((4, 7, 7, 2), np.nan, np.float32)}, "calibration data must be finite"),
        ({"calibration": np.zeros((4, 5, 7, 2), np.float32)}, "must have the shape of the model's input"),
        ({"batch_normalization": "all"}, "`batch_normalization` must be one of 'mean', 'mean_and_variance'"),
        ({"memory_limit": 1000}, "layer 'binary_1': the full covariance of d = 45 inputs.*the limit is"),
    ],
)
def test_unusable_arguments(arguments, message, make_network, images):
    with pytest.raises(ValueError, match=message):
        binarize_post_training(make_network(), **{"calibration": images[0], "verbose": 0, **arguments})


def test_dead_channels_reach_the_device_in_a_binary_layer(make_network, images, tmp_path):
    """A channel whose weights are 0 throughout gets the scale 0: the file must hold a binary kernel all the same."""
    model = make_network()
    layer = model.get_layer("binary_1")
    kernel = layer.latent_kernel
    kernel[..., 2] = 0
    layer.kernel.assign(kernel)
    binary = binarize_post_training(model, images[0], verbose=0)
    report = bitat_tf.export.to_tflite(binary, tmp_path / "model.tflite", images[0], minimum_agreement=0.5)
    assert report.fused_binary == report.expected_binary == 3
