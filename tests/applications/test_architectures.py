"""Shapes and counts of the networks against the architectures written out by hand, and against published figures."""

import functools

import keras
import numpy as np
import pytest
from larq_profile import Profile

from bitat_tf import applications
from bitat_tf.layers import binary_layers
from bitat_tf.quantizers import MagnitudeAwareSign


@functools.lru_cache
def network(name):
    """Return the network for 224x224 pictures, built once: the tests only look at it."""
    return getattr(applications, name)()


def resnet(*units):
    """Kernels and output sides: stage s has 64 * 2^s filters on 56 / 2^s pixels; its first unit widens."""
    shapes, sides, before = [], [], 64
    for stage, count in enumerate(units):
        for _ in range(count):
            filters = 64 * 2**stage
            shapes.append((3, 3, before, filters))
            sides.append(56 // 2**stage)
            before = filters
    return shapes, sides


def reactnet_a():
    """3x3 c -> c and 1x1 c -> c or 2c, over a stem of 32 on 112x112 pixels."""
    widths = [32, 64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024]
    block_sides = [112, 56, 56, 28, 28, 14, 14, 14, 14, 14, 14, 7, 7]
    shapes, sides = [], []
    for before, after, side in zip(widths, widths[1:], block_sides, strict=False):
        shapes += [(3, 3, before, before), (1, 1, before, after)]
        sides += [side, side]
    return shapes, sides


def meliusnet22():
    """Dense block c -> 64 (then c + 64 channels), improvement block c -> 64; 160, 224, 256 channels after the transitions."""
    shapes, sides = [], []
    for pairs, channels, side in ((4, 64, 56), (5, 160, 28), (4, 224, 14), (4, 256, 7)):
        for _ in range(pairs):
            shapes += [(3, 3, channels, 64), (3, 3, channels + 64, 64)]
            sides += [side, side]
            channels += 64
    return shapes, sides


def quicknet():
    """Four convolutions c -> c in each section."""
    filters_and_sides = ((64, 56), (128, 28), (256, 14), (512, 7))
    return [(3, 3, c, c) for c, _ in filters_and_sides for _ in range(4)], [s for _, s in filters_and_sides for _ in range(4)]


ARCHITECTURES = {
    "ReActNetA": reactnet_a(),
    "ReActNet18": resnet(4, 4, 4, 4),
    "BiRealNet18": resnet(4, 4, 4, 4),
    "BiRealNet34": resnet(6, 8, 12, 6),
    "RealToBinNet18": resnet(4, 4, 4, 4),
    "MeliusNet22": meliusnet22(),
    "QuickNet": quicknet(),
}
NUMBER_OF_LAYERS = {
    "ReActNetA": 26,
    "ReActNet18": 16,
    "BiRealNet18": 16,
    "BiRealNet34": 32,
    "RealToBinNet18": 16,
    "MeliusNet22": 34,
    "QuickNet": 16,
}
STRIDED = {"ReActNetA": 4, "ReActNet18": 3, "BiRealNet18": 3, "BiRealNet34": 3, "RealToBinNet18": 3}


NAMES = [name if name == "BiRealNet18" else pytest.param(name, marks=pytest.mark.slow) for name in ARCHITECTURES]


@pytest.mark.parametrize("name", NAMES)
def test_binary_layers_of_the_architecture(name):
    shapes, sides = ARCHITECTURES[name]
    model = network(name)
    layers = binary_layers(model)
    assert len(layers) == len(shapes) == NUMBER_OF_LAYERS[name]
    assert [tuple(layer.kernel.shape) for layer in layers] == shapes
    assert [layer.output.shape[1:3] for layer in layers] == [(side, side) for side in sides]
    assert sum(layer.strides == (2, 2) for layer in layers) == STRIDED.get(name, 0)
    assert not any(layer.use_bias for layer in layers)
    assert {(layer.padding, layer.pad_values, layer.state) for layer in layers} == {("same", 1.0, "float")}
    # A multiply-accumulate for every weight at every pixel of the output.
    sizes = [int(np.prod(shape)) for shape in shapes]
    profile = Profile(model)
    assert profile.weights[1] == sum(sizes)
    assert profile.macs[1] == sum(size * side**2 for size, side in zip(sizes, sides, strict=True))
    assert model.get_layer("pool").input.shape[1:3] == (7, 7)
    assert model.output_shape == (None, 1000)


# What the input of a layer goes through before and after it becomes binary, as in each network's paper or published code.
INPUTS = {
    "ReActNetA": ("RSign", None),
    "ReActNet18": ("RSign", None),
    "BiRealNet18": ("ApproxSign", "hard_tanh"),
    "BiRealNet34": ("ApproxSign", "hard_tanh"),
    "RealToBinNet18": ("SteSign", "tanh"),
    "MeliusNet22": ("SteSign", "hard_tanh"),
    "QuickNet": ("SteSign", None),
}
CLIPS = {"RealToBinNet18": 1.0, "MeliusNet22": 1.3, "QuickNet": 1.25}


@pytest.mark.parametrize("name", NAMES)
def test_width_quantizers_and_float_activations(name):
    shapes, _ = ARCHITECTURES[name]
    layers = binary_layers(getattr(applications, name)((32, 32, 3), 10, width=0.25))
    # A quarter of all these channels is a multiple of 8 already, so that nothing is rounded.
    expected = [(*kernel, before // 4, after // 4) for *kernel, before, after in shapes]
    assert [tuple(layer.kernel.shape) for layer in layers] == expected
    for layer in layers:
        quantizer, activation = type(layer.input_quantizer).__name__, layer.float_activation
        assert (quantizer, getattr(activation, "__name__", None)) == INPUTS[name]
        assert isinstance(layer.kernel_quantizer, MagnitudeAwareSign)
        if quantizer == "SteSign":
            assert layer.input_quantizer.clip_value == CLIPS[name]


@pytest.mark.slow
def test_parameters_and_memory_that_larq_zoo_publishes():
    # larq/zoo, tables in the docstrings of BiRealNet, RealToBinaryNet, MeliusNet22 and QuickNet. "Parameters" there is Keras'
    # count for the first two, Larq's for the others (it merges two of the four vectors of a batch normalization), and "Memory"
    # Larq's in MiB, but over all four vectors for BiRealNet.
    for name, keras_count, larq_count, memory in (
        ("BiRealNet18", 11_699_112, None, 4.03),
        ("RealToBinNet18", 11_995_624, None, 5.13),
        ("MeliusNet22", None, 6_944_584, 3.88),
        ("QuickNet", None, 13_234_088, 4.17),
    ):
        model = network(name)
        profile = Profile(model)
        if keras_count is not None:
            assert profile.keras_count == keras_count
        else:
            assert sum(profile.weights.values()) == larq_count
        mebibytes = profile.memory / 8 / 2**20
        if name == "BiRealNet18":
            mebibytes += 4 * (profile.keras_count - sum(profile.weights.values())) / 2**20
        assert mebibytes == pytest.approx(memory, abs=0.006)


@pytest.mark.slow
def test_reactnet18_is_birealnet18_with_thresholds_and_rprelus():
    reactnet, birealnet = network("ReActNet18"), network("BiRealNet18")
    # Thresholds of every layer's input; slope and two shifts for every layer's output.
    inputs = sum(layer.kernel.shape[2] for layer in binary_layers(reactnet))
    outputs = sum(layer.kernel.shape[3] for layer in binary_layers(reactnet))
    assert Profile(reactnet).keras_count - Profile(birealnet).keras_count == inputs + 3 * outputs


@pytest.mark.parametrize(
    ("name", "operations", "tolerance"),
    [
        # Table 1 of the ReActNet paper, 4.82e9 / 64 + 0.12e8
        pytest.param("ReActNetA", 0.87e8, 0.005, marks=pytest.mark.slow),
        pytest.param("ReActNet18", 1.63e8, 0.01, marks=pytest.mark.slow),
        ("BiRealNet18", 1.63e8, 0.01),  # Bi-Real Net paper
    ],
)
def test_operations_of_the_papers(name, operations, tolerance):
    # The papers' measure: a binary multiply-accumulate counts 1/64 of a float one.
    profile = Profile(network(name))
    found = profile.macs[1] / 64 + profile.macs[32]
    assert found == pytest.approx(operations, rel=tolerance)


@pytest.mark.parametrize(
    ("name", "parameters", "macs"),
    [
        # Counts of the MobileNet papers (4.2 M, 569 M; 3.4 M, 300 M) and, to the digit, of Keras' networks.
        ("MobileNetV1", 4_253_864, 569e6),
        pytest.param("MobileNetV2", 3_538_984, 300e6, marks=pytest.mark.slow),
    ],
)
def test_mobilenets_are_keras_own(name, parameters, macs):
    model = network(name)
    assert model.count_params() == parameters
    assert Profile(model).macs[32] == pytest.approx(macs, rel=0.005)
    assert not binary_layers(model)
    assert model.get_layer("pool").input.shape[1:3] == (7, 7)


@pytest.mark.slow
def test_mobilenets_are_built_without_a_copy_of_keras_code():
    for ours, theirs in (("MobileNetV1", "MobileNet"), ("MobileNetV2", "MobileNetV2")):
        small = getattr(applications, ours)((32, 32, 3), width=0.25, include_top=False)
        original = getattr(keras.applications, theirs)((32, 32, 3), alpha=0.25, include_top=False, weights=None)
        shapes = [weight.shape for weight in original.weights]
        assert [weight.shape for weight in small.weights] == shapes
        # Stride 1 in the first convolution alone: twice as many pixels on a side, up to the end.
        strides = [layer.strides for layer in small.layers if hasattr(layer, "strides")]
        assert strides[1:] == [layer.strides for layer in original.layers if hasattr(layer, "strides")][1:]
        assert strides[0] == (1, 1)
        assert (small.output_shape[1:3], original.output_shape[1:3]) == ((2, 2), (1, 1))


def test_stem_of_quicknet_and_blur():
    model = applications.QuickNet((32, 32, 3), 10, width=0.25)
    assert [model.get_layer(f"stem_conv_{number}").filters for number in (1, 2)] == [4, 16]
    blur = model.get_layer("section_2_transition_blur")
    assert blur.trainable_weights == []
    kernel = blur.get_weights()[0]
    assert kernel.shape == (3, 3, 16, 1)
    np.testing.assert_allclose(16 * kernel[:, :, 0, 0], [[1, 2, 1], [2, 4, 2], [1, 2, 1]])
    assert np.ptp(kernel, axis=2).max() == 0
    with pytest.raises(ValueError, match=r"must be 3x3. Received: shape=\(5, 5, 1, 1\)"):
        applications.quicknet.BlurInitializer()((5, 5, 1, 1))


def test_improvement_block_adds_to_the_newest_channels():
    model = applications.MeliusNet22((32, 32, 3), 10, width=0.25, include_preprocessing=False)
    block = "section_1_block_2_improvement"
    names = ("section_1_block_2_dense_concat", f"{block}_conv", f"{block}_concat")
    parts = keras.Model(model.input, [model.get_layer(name).output for name in names])
    before, change, after = parts(np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype(np.float32))
    assert before.shape[-1] == 16 + 2 * 16
    expected = before.numpy()
    expected[..., -16:] += change  # 16: a quarter of the 64 new channels
    np.testing.assert_allclose(after, expected, atol=1e-6)
    assert [model.get_layer(f"stem_conv_{number}").groups for number in (1, 2, 3)] == [1, 4, 8]


def test_gate_of_realtobinnet_scales_the_convolution():
    model = applications.RealToBinNet18((32, 32, 3), 10, width=0.25, include_preprocessing=False)
    unit = "stage_2_unit_1"
    names = (f"{unit}_bn", f"{unit}_conv", f"{unit}_scale")
    parts = keras.Model(model.input, [model.get_layer(name).output for name in names])
    c, convolution, scaled = parts(np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype(np.float32))
    reduce, expand = (model.get_layer(f"{unit}_gate_{part}").get_weights()[0] for part in ("reduce", "expand"))
    assert (reduce.shape, expand.shape) == ((16, 2), (2, 32))  # reduction by 8
    gate = 1 / (1 + np.exp(-np.maximum(c.numpy().mean((1, 2)) @ reduce, 0) @ expand))
    np.testing.assert_allclose(scaled, convolution * gate[:, None, None, :], atol=1e-5)
