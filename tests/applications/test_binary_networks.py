"""The binary networks as float networks, on their way to binary ones, and as files for larq-compute-engine."""

import functools

import keras
import numpy as np
import pytest

from bitat_tf import applications, binarize_post_training, check
from bitat_tf.applications.meliusnet import ChannelSlice
from bitat_tf.calibration.cross_layer import find_blocks
from bitat_tf.callbacks import Schedule, SequentialBinarization
from bitat_tf.export import to_tflite
from bitat_tf.layers import RPReLU, binary_layers
from bitat_tf.tflite_file import read_operators

# Number of binary layers, and of the float convolutions beside them, written out from the architectures: those of the stem, and
# the 1x1 convolutions of shortcuts or transitions.
NETWORKS = {"ReActNetA": 26, "ReActNet18": 16, "BiRealNet18": 16, "BiRealNet34": 32, "RealToBinNet18": 16}
NETWORKS |= {"MeliusNet22": 34, "QuickNet": 16}
FLOAT_CONVOLUTIONS = {"ReActNetA": 1, "ReActNet18": 4, "BiRealNet18": 4, "BiRealNet34": 4, "RealToBinNet18": 4}
FLOAT_CONVOLUTIONS |= {"MeliusNet22": 6, "QuickNet": 5}


def quick(*names):
    """Return the names of all networks, those but for `names` marked as slow."""
    return [name if name in names else pytest.param(name, marks=pytest.mark.slow) for name in NETWORKS]


# One quick one; the others are built of the same layers, but for MeliusNet22, whose blocks are dense.
ONE = quick("BiRealNet18")


@functools.lru_cache
def float_network(name):
    """Return a network that the tests do not change, built once."""
    return build(name)


def build(name):
    return getattr(applications, name)((32, 32, 3), 4, width=0.125)


def pixels(count=16):
    return np.random.default_rng(0).uniform(0, 255, (count, 32, 32, 3)).astype(np.float32)


@pytest.mark.parametrize("name", ONE)
def test_the_float_network_is_not_affine(name):
    model = float_network(name)
    # Outside of [-1, 1], so that the clip of a float activation shows; rounding alone would be 1e-6.
    a, b = 5 * pixels(4), -5 * pixels(8)[4:]
    affine = model(a) + model(b) - model(a + b) - model(np.zeros_like(a))
    assert np.abs(affine).max() > 0.01 * np.abs(model(a)).max()


@pytest.mark.parametrize("name", ["BiRealNet18", pytest.param("MeliusNet22", marks=pytest.mark.slow)])
def test_the_sign_is_replaced_where_nothing_else_is_non_linear(name):
    # Without the clip, everything between the stem and the next ReLU or the end would be affine.
    model = build(name)
    end = {"BiRealNet18": "stage_4_unit_4_add", "MeliusNet22": "section_1_block_4_improvement_concat"}[name]
    start = {"BiRealNet18": "stem_bn", "MeliusNet22": "stem_relu_3"}[name]
    part = keras.Model(model.get_layer(start).output, model.get_layer(end).output)
    a, b = np.random.default_rng(0).normal(scale=5, size=(2, 2, 32, 32, 8)).astype(np.float32)
    affine = part(a) + part(b) - part(a + b) - part(np.zeros_like(a))
    assert np.abs(affine).max() > 0.05 * np.abs(part(a)).max()
    for layer in binary_layers(model):
        layer.float_activation = None
    part = keras.Model(model.get_layer(start).output, model.get_layer(end).output)
    affine = part(a) + part(b) - part(a + b) - part(np.zeros_like(a))
    assert np.abs(affine).max() < 1e-4 * np.abs(part(a)).max()


@pytest.mark.parametrize("name", ONE)
def test_the_linter_finds_nothing_that_costs_accuracy(name):
    report = check(float_network(name))
    assert {finding.severity for finding in report.findings} <= {"note"}, str(report)
    assert {*report.binary_layers} == {layer.name for layer in binary_layers(float_network(name))}
    assert len(report.binary_layers) == NETWORKS[name]


# A stage takes about a second. BiRealNet34 is BiRealNet18 with more of the same blocks.
@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "BiRealNet34"])
def test_sequential_binarization(name):
    model = build(name)
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    x, y = pixels(), np.arange(16) % 4
    bitat = SequentialBinarization(x[:8], Schedule(1, 0, 1), verbose=0)
    epochs = bitat.total_epochs(model)
    assert epochs == NETWORKS[name] + 1
    history = model.fit(x, y, batch_size=16, epochs=epochs, callbacks=[bitat], verbose=0).history
    assert [layer.state for layer in binary_layers(model)] == ["binary"] * NETWORKS[name]
    assert history["stage"][-1] == NETWORKS[name]
    assert np.isfinite(history["loss"]).all()
    assert 0 < history["q_rel"][-1] < 1


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_post_training_binarization(name):
    binary = binarize_post_training(build(name), pixels())
    assert [layer.state for layer in binary_layers(binary)] == ["binary"] * NETWORKS[name]
    assert np.isfinite(binary(pixels())).all()


def randomize(model):
    """Give the network the random statistics, thresholds and shapes of its activations that training would leave."""
    generator = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.moving_mean.assign(generator.normal(scale=0.3, size=layer.moving_mean.shape))
            layer.moving_variance.assign(generator.uniform(0.5, 2, layer.moving_variance.shape))
            if layer.scale:
                layer.gamma.assign(generator.uniform(0.5, 1.5, layer.gamma.shape))
                layer.beta.assign(generator.normal(scale=0.3, size=layer.beta.shape))
        elif isinstance(layer, RPReLU):
            layer.set_weights([generator.normal(scale=0.3, size=weight.shape) for weight in layer.get_weights()])
    for layer in binary_layers(model):
        for weight in layer.input_quantizer.weights:
            weight.assign(generator.normal(scale=0.3, size=weight.shape))
        layer.set_binary()


@pytest.mark.parametrize("name", quick("BiRealNet18"))
def test_every_binary_layer_is_fused_in_the_file(name, tmp_path):
    model = build(name)
    randomize(model)
    report = to_tflite(model, tmp_path / "model.tflite", pixels())
    assert report.fused_binary == report.expected_binary == report.operators["LceBconv2d"] == NETWORKS[name]
    assert report.operators["CONV_2D"] == FLOAT_CONVOLUTIONS[name]
    assert not any(operator.binary_kernel for operator in read_operators((tmp_path / "model.tflite").read_bytes()))


def test_saving_networks_with_layers_of_their_own(tmp_path):
    inputs = keras.Input((4, 4, 6))
    slices = [ChannelSlice(*edges, name=f"slice_{edges[1]}") for edges in ((None, -2), (-2, None), (1, 3))]
    for model, x in (
        (build("QuickNet"), pixels()),
        (keras.Model(inputs, [layer(inputs) for layer in slices]), np.random.default_rng(0).normal(size=(2, 4, 4, 6))),
    ):
        model.save(tmp_path / "m.keras")
        loaded = keras.models.load_model(tmp_path / "m.keras")
        expected = model(x)
        for found, output in zip(keras.tree.flatten(loaded(x)), keras.tree.flatten(expected), strict=True):
            np.testing.assert_allclose(found, output, atol=1e-5)
    x = x.astype(np.float32)
    for part, output, layer in zip((x[..., :-2], x[..., -2:], x[..., 1:3]), expected, slices, strict=True):
        np.testing.assert_array_equal(output, part)
        assert tuple(layer.compute_output_shape((None, 4, 4, 6))) == (None, 4, 4, part.shape[-1])


@pytest.mark.parametrize("name", ONE)
def test_blocks_are_found(name):
    # Every convolution of these networks has a shortcut of its own, but MeliusNet's dense blocks: what they append is added to.
    model = float_network(name)
    blocks = find_blocks(model)
    expected = [layer.name for layer in binary_layers(model) if not layer.name.endswith("dense_conv")]
    assert [name for name in blocks if not name.endswith("dense_conv")] == expected
    assert all(end.startswith(layer.rsplit("_", 1)[0]) for layer, end in blocks.items() if layer in expected)
