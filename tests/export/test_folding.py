"""Folding: the same outputs with fewer operators, held against the network that was not folded and against the files."""

from collections import Counter
from functools import cache

import larq as lq
import numpy as np
import pytest
from engines import converted_by_lce

from benchmarks.deployment import paired_reactnet_a
from bitat_tf._keras import keras
from bitat_tf.applications import QuickNet, ReActNetA
from bitat_tf.export import fold, to_plain_larq
from bitat_tf.export.folding.parts import PartlyShiftedPReLU
from bitat_tf.graph import CallGraph
from bitat_tf.layers import BinaryConv2D, BinaryDense, RPReLU, binary_layers
from bitat_tf.tflite_file import read_operators, run_tflite

L = keras.layers


def randomized(model, seed=0):
    """Give every constant per channel, in nested models too, a random value, and make the layers binary."""
    generator = np.random.default_rng(seed)
    spreads = {"moving_variance": (0.5, 2), "moving_mean": (-1, 1), "beta": (-1, 1), "bias": (-1, 1)}
    for weight in model.weights:
        name = weight.name.split("/")[-1].split(":")[0]
        if name == "gamma":
            weight.assign(generator.uniform(0.5, 1.5, weight.shape) * generator.choice([-1, 1], weight.shape))
        elif name in spreads:
            weight.assign(generator.uniform(*spreads[name], weight.shape))
        elif name in ("shift_before", "shift_after", "threshold_bias", "alpha"):
            weight.assign(generator.normal(scale=0.4, size=weight.shape))
    for layer in binary_layers(model):
        layer.set_binary()
    return model


def conv(filters, kernel, **arguments):
    return BinaryConv2D(filters, kernel, padding="same", use_bias=False, **arguments)


def network(build, channels=32, size=8):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((size, size, channels))
    return randomized(keras.Model(inputs, build(inputs)))


def block(x, filters, stride):
    """A block of ReActNet as its authors draw it."""
    shortcut = L.AveragePooling2D(2, padding="same")(x) if stride == 2 else x
    y = L.BatchNormalization()(conv(x.shape[-1], 3, strides=stride)(x))
    x = RPReLU()(L.Add()([y, shortcut]))
    y = L.BatchNormalization()(conv(filters, 1)(x))
    shortcut = x if filters == x.shape[-1] else L.Concatenate()([x, x])
    return RPReLU()(L.Add()([y, shortcut]))


def parallel_block(x, filters, stride):
    """The same with the original's two 1x1 convolutions side by side where the filters double."""
    shortcut = L.AveragePooling2D(2, padding="same")(x) if stride == 2 else x
    y = L.BatchNormalization()(conv(x.shape[-1], 3, strides=stride)(x))
    x = RPReLU()(L.Add()([y, shortcut]))
    halves = [L.Add()([L.BatchNormalization()(conv(x.shape[-1], 1)(x)), x]) for _ in range(filters // x.shape[-1])]
    return RPReLU()(halves[0] if len(halves) == 1 else L.Concatenate()(halves))


def nested(twice):
    def build(x):
        inner_inputs = keras.Input(x.shape[1:])
        inner = keras.Model(inner_inputs, block(inner_inputs, 32, 1), name="inner")
        x = inner(x)
        return block(inner(x) if twice else x, 32, 1)

    return build


def called_twice(x):
    shared = RPReLU(name="shared")
    x = shared(L.BatchNormalization()(conv(32, 3)(x)))
    return block(shared(L.BatchNormalization()(conv(32, 3)(x))), 32, 1)


def quicknet_layer(activation, separate=True):
    def build(x):
        arguments = {"kernel_quantizer": "magnitude_aware_sign"}
        x = conv(32, 3, **arguments, activation=None if separate else activation)(x)
        x = activation(x) if separate else x
        return conv(8, 1)(L.BatchNormalization()(x))

    return build


def then(*layers):
    """Return a builder: layers after an RPReLU behind a binary convolution."""

    def build(x):
        x = RPReLU(name="rprelu")(L.BatchNormalization()(conv(32, 3)(x)))
        for layer in layers:
            x = layer.from_config({**layer.get_config(), "name": None})(x)
        return x

    return build


ELEMENTWISE = ("ADD", "SUB", "MUL", "PRELU", "RELU", "RELU6")
POOLED = L.GlobalAveragePooling2D()
# What is built; its element-wise operators before and after. Counted by hand: each threshold and each shortcut is an ADD, an
# RPReLU is SUB, PRELU and ADD, of which the converter itself moves the SUB into a convolution right before it, and the ADD into
# a threshold right after it. Folding takes SUB and last ADD away, and thresholds of tensors that nothing else reads.
NETWORKS = {
    "shortcuts": (lambda x: conv(8, 1)(block(block(x, 32, 1), 32, 1)), "12 ADD, 4 SUB, 4 PRELU", "9 ADD, 4 PRELU"),
    "widening and strides": (lambda x: conv(8, 1)(block(block(x, 64, 2), 64, 1)), "12 ADD, 4 SUB, 4 PRELU", "9 ADD, 4 PRELU"),
    "parallel convolutions": (lambda x: conv(8, 1)(parallel_block(x, 64, 2)), "8 ADD, 2 SUB, 2 PRELU", "7 ADD, 2 PRELU"),
    "at the output": (then(), "2 ADD, 1 PRELU", "2 ADD, 1 PRELU"),
    "zero-padded float convolution": (then(L.Conv2D(8, 3, padding="same")), "2 ADD, 1 PRELU", "2 ADD, 1 PRELU"),
    "valid float convolution": (then(L.Conv2D(8, 3, strides=2)), "2 ADD, 1 PRELU", "1 ADD, 1 PRELU"),
    "1x1 float convolution": (then(L.Conv2D(8, 1, padding="same", use_bias=False)), "2 ADD, 1 PRELU", "1 ADD, 1 PRELU"),
    "dilated, with ReLU": (then(L.Conv2D(8, 3, dilation_rate=2, activation="relu")), "2 ADD, 1 PRELU", "1 ADD, 1 PRELU"),
    "grouped convolution": (then(L.Conv2D(8, 3, groups=4, use_bias=False)), "2 ADD, 1 PRELU", "1 ADD, 1 PRELU"),
    "depthwise": (then(L.DepthwiseConv2D(3, depth_multiplier=2, use_bias=False)), "2 ADD, 1 PRELU", "1 ADD, 1 PRELU"),
    "dense": (then(L.Dense(8, use_bias=False)), "2 ADD, 1 PRELU", "1 ADD, 1 PRELU"),
    "flatten and dense": (then(L.Flatten(), L.Dense(8)), "2 ADD, 1 PRELU", "1 ADD, 1 PRELU"),
    "global average and dense": (then(POOLED, L.Dense(8)), "2 ADD, 1 PRELU", "1 ADD, 1 PRELU"),
    "global maximum and dense": (then(L.GlobalMaxPooling2D(), L.Dense(8)), "2 ADD, 1 PRELU", "1 ADD, 1 PRELU"),
    "normalization": (
        then(L.BatchNormalization(), L.Conv2D(8, 3, padding="same")),
        "3 ADD, 1 MUL, 1 PRELU",
        "2 ADD, 1 MUL, 1 PRELU",
    ),
    "normalization without constants": (
        then(L.BatchNormalization(scale=False, center=False), L.ReLU()),
        "3 ADD, 1 MUL, 1 PRELU",
        "2 ADD, 1 MUL, 1 PRELU",
    ),
    "other activation": (then(L.Activation("tanh"), L.Dense(8)), "2 ADD, 1 PRELU", "2 ADD, 1 PRELU"),
    "cropped and enlarged": (then(L.Cropping2D(1), L.UpSampling2D(2), L.Conv2D(8, 3)), "2 ADD, 1 PRELU", "1 ADD, 1 PRELU"),
    "maximum and convolution": (then(L.MaxPooling2D(2), conv(8, 3)), "3 ADD, 1 PRELU", "2 ADD, 1 PRELU"),
    "threshold after normalization": (lambda x: conv(8, 3)(L.BatchNormalization()(conv(32, 3)(x))), "1 ADD", "1 ADD"),
    "threshold after maximum": (
        lambda x: conv(8, 3)(L.MaxPooling2D(2)(L.BatchNormalization()(conv(32, 3)(x)))),
        "2 ADD",
        "1 ADD",
    ),
    "binary dense layers": (
        lambda x: BinaryDense(8)(RPReLU()(L.BatchNormalization()(BinaryDense(16)(POOLED(x))))),
        "2 ADD, 1 PRELU",
        "2 ADD, 1 PRELU",
    ),
    "called twice": (called_twice, "9 ADD, 2 SUB, 4 PRELU", "8 ADD, 4 PRELU"),
    "nested": (nested(twice=False), "12 ADD, 4 SUB, 4 PRELU", "9 ADD, 4 PRELU"),
    "nested, called twice": (nested(twice=True), "18 ADD, 6 SUB, 6 PRELU", "17 ADD, 4 SUB, 6 PRELU"),
    "scaled kernel, ReLU": (quicknet_layer(L.ReLU()), "2 ADD, 1 MUL, 1 RELU", "1 ADD"),
    "scaled kernel, own ReLU": (quicknet_layer("relu", separate=False), "2 ADD, 1 MUL, 1 RELU", "1 ADD"),
    "scaled kernel, ReLU6": (quicknet_layer(L.ReLU(6.0)), "2 ADD, 1 MUL, 1 RELU6", "2 ADD, 1 MUL, 1 RELU6"),
    "scaled kernel, PReLU": (quicknet_layer(L.PReLU(shared_axes=[1, 2])), "2 ADD, 1 MUL, 1 PRELU", "2 ADD, 1 MUL, 1 PRELU"),
}


@cache
def networks(name):
    """Return the model, the plain and the folded network."""
    model = network(NETWORKS[name][0])
    plain = to_plain_larq(model)
    return model, plain, fold(plain)


def convert(model):
    """Return a file and how often it has each operator."""
    content = converted_by_lce(model)
    return content, Counter(operator.name for operator in read_operators(content))


def elementwise(counts):
    return ", ".join(f"{counts[name]} {name}" for name in ELEMENTWISE if counts[name])


def share_close(expected, found):
    """Return the share of samples that are the same to rounding."""
    differences = np.abs(expected - found).reshape(len(expected), -1).max(axis=1)
    return np.mean(differences < 1e-4 * np.abs(expected).max())


def samples(model, count=64):
    return np.random.default_rng(1).normal(size=(count, *model.input_shape[1:])).astype(np.float32)


@pytest.mark.parametrize("name", NETWORKS)
def test_outputs_stay_and_nothing_of_the_given_network_changes(name):
    model, plain, folded = networks(name)
    x = samples(model)
    wanted = model.predict(x, verbose=0)
    # A value on a threshold may fall: nearly all samples have none.
    assert share_close(wanted, folded.predict(x, verbose=0)) >= 0.95
    assert share_close(wanted, plain.predict(x, verbose=0)) >= 0.95
    before = [weight.copy() for weight in plain.get_weights()]
    fold(plain)
    assert all(np.array_equal(a, b) for a, b in zip(before, plain.get_weights(), strict=True))


@pytest.mark.parametrize("name", NETWORKS)
def test_operators_vanish_and_the_file_does_what_the_folded_network_does(name):
    model, plain, folded = networks(name)
    content, after = convert(folded)
    before = convert(plain)[1]
    assert (elementwise(before), elementwise(after)) == NETWORKS[name][1:]
    assert before["LceBconv2d"] == after["LceBconv2d"] == len(binary_calls(model))
    x = samples(model, 16)
    assert share_close(folded.predict(x, verbose=0), run_tflite(content, x)) >= 0.9


def binary_calls(model):
    layers = binary_layers(model)
    return [call for call in CallGraph(model).calls if call.layer in layers]


def test_bits_are_pooled_where_the_threshold_after_a_maximum_vanishes():
    _, plain, folded = networks("threshold after maximum")
    assert [convert(one)[1]["LceBMaxPool2d"] for one in (plain, folded)] == [0, 1]


def test_bits_are_written_where_the_threshold_vanishes():
    # One LceQuantize is left, that of the input: the first convolution writes bits itself.
    assert convert(networks("scaled kernel, ReLU")[2])[1]["LceQuantize"] == 1


@pytest.mark.parametrize(("name", "kind"), [("at the output", PartlyShiftedPReLU), ("dense", L.PReLU)])
def test_what_is_left_of_an_rprelu(name, kind):
    _, plain, folded = networks(name)
    layer = folded.get_layer("rprelu")
    assert type(plain.get_layer("rprelu")) is RPReLU
    assert type(layer) is kind
    if kind is PartlyShiftedPReLU:
        assert (layer.before, layer.after) == (False, True)
        np.testing.assert_array_equal(layer.shift_after, plain.get_layer("rprelu").shift_after)


def test_layers_called_twice_stay_as_they_are():
    _, plain, folded = networks("called twice")
    assert type(folded.get_layer("shared")) is RPReLU
    for own, copy in zip(plain.get_layer("shared").get_weights(), folded.get_layer("shared").get_weights(), strict=True):
        np.testing.assert_array_equal(own, copy)


def test_a_shift_goes_into_the_bias_as_the_kernel_makes_it():
    _, plain, folded = networks("dense")
    kernel, shift = plain.layers[-1].kernel.numpy(), plain.get_layer("rprelu").shift_after.numpy()
    np.testing.assert_allclose(folded.layers[-1].bias, shift @ kernel, rtol=1e-5, atol=1e-5)


def test_quicknet_has_no_scales_of_its_own_any_more():
    model = randomized(QuickNet((32, 32, 3), 10, width=0.25))
    plain = to_plain_larq(model)
    folded = fold(plain)
    x = np.random.default_rng(0).uniform(0, 255, (32, 32, 32, 3)).astype(np.float32)
    assert share_close(plain.predict(x, verbose=0), folded.predict(x, verbose=0)) >= 0.9
    assert all(isinstance(layer.kernel_quantizer, lq.quantizers.SteSign) for layer in quantized(folded))
    assert not any(isinstance(layer.kernel_quantizer, lq.quantizers.SteSign) for layer in quantized(plain))


def quantized(model):
    return [layer for layer in model.layers if type(layer) is lq.layers.QuantConv2D]


@pytest.mark.slow
def test_reactnet_a_has_three_operators_a_convolution():
    plain = to_plain_larq(randomized(ReActNetA((32, 32, 3), 10, width=0.25)))
    before, after = convert(plain)[1], convert(fold(plain))[1]
    # Of each of the 26: threshold, shortcut, RPReLU of three; two more scale the pixels.
    assert [operators_over_pictures(counts) - 2 for counts in (before, after)] == [26 * 5, 26 * 3]
    assert before["LceBconv2d"] == after["LceBconv2d"] == 26


@pytest.mark.slow
def test_the_originals_parallel_convolutions():
    plain = to_plain_larq(randomized(paired_reactnet_a(32, 0.25, 10)))
    before, after = convert(plain)[1], convert(fold(plain))[1]
    assert before["LceBconv2d"] == after["LceBconv2d"] == 31
    # Thresholds and shortcuts of 31, RPReLU of 26; two more scale the pixels.
    assert [operators_over_pictures(counts) - 2 for counts in (before, after)] == [2 * 31 + 3 * 26, 2 * 31 + 26]


def operators_over_pictures(counts):
    return sum(counts[name] for name in ("ADD", "SUB", "MUL", "PRELU"))


def test_models_without_a_graph():
    class Subclassed(keras.Sequential):
        def call(self, inputs):
            return super().call(inputs)

    with pytest.raises(
        ValueError, match=r"(?s)only functional and sequential models .* Received: a Subclassed.*keras\.Model\("
    ):
        fold(Subclassed([keras.Input((4,)), L.Dense(3)]))
    with pytest.raises(TypeError, match="fold"):
        fold("model.keras")
