"""Every rule of `check`: a network that breaks it, and the same network mended; facts against independent sources."""

import json
from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np
import pytest
import tensorflow as tf

import bitat_tf
from bitat_tf import check, quantizers
from bitat_tf.callbacks.problems import warn_of_problems
from bitat_tf.export.lowering import lower
from bitat_tf.inspection import rules
from bitat_tf.inspection.binary_layer_rules import describe_kernel, describe_signs, wasted_bits
from bitat_tf.layers import BinaryConv2D, BinaryDense, RPReLU, binary_layers
from bitat_tf.quantizers import RSign, SteTern, ste_sign

L = keras.layers


def ours(*arguments, **keywords):
    return BinaryConv2D(*(arguments or (32, 3)), **{"use_bias": False, "name": "tested", **keywords})


def per_input_channel(kernel):
    return ste_sign(kernel) * np.arange(1.0, kernel.shape[2] + 1, dtype=np.float32).reshape(1, 1, -1, 1)


def own_sign(threshold, below=-1.0):
    return L.Activation(lambda x: keras.ops.where(x >= threshold, 1.0, below))


def around(*layers, shape=(8, 8, 3), channels=32):
    """Return a network with float ends, and normalizations before and after these layers."""
    before = [L.Conv2D(channels, 1, name="first"), L.BatchNormalization(name="bn_before")]
    after = [L.BatchNormalization(name="bn_after"), L.GlobalAveragePooling2D(), L.Dense(3, name="last")]
    return keras.Sequential([keras.Input(shape, name="pictures"), *before, *layers, *after])


class Subclassed(keras.Model):
    """A model without a graph, with a layer in it and one that is never called."""

    def __init__(self, layer, **keywords):
        super().__init__(**keywords)
        self.inner, self.spare = layer, L.Conv2D(8, 1, name="spare")

    def call(self, inputs):
        return self.inner(inputs)


def subclassed():
    model = Subclassed(ours())
    model(tf.zeros((1, 8, 8, 4)))
    return model


def recurrent(unroll):
    inputs = keras.Input((6, 8))
    x = L.Bidirectional(L.LSTM(4, unroll=unroll), name="tested")(BinaryDense(8)(L.Dense(8)(inputs)))
    return keras.Model(inputs, L.Dense(2)(x))


def frozen(*names):
    model = around(ours())
    for name in names:
        model.get_layer(name).trainable = False
    return model


def unnormalized(*between):
    return around(ours(), *between, BinaryConv2D(32, 1, name="next"))


def ending(kind):
    """Return a network that begins with a layer of this kind."""
    layers = [kind(32, 3, name="tested"), L.BatchNormalization(), ours(name="middle"), L.GlobalAveragePooling2D(), L.Dense(2)]
    return keras.Sequential([keras.Input((8, 8, 32)), *layers])


def reshaped(*between):
    return around(ours(), L.BatchNormalization(), L.ReLU(), *between, BinaryConv2D(32, 1, name="next"))


def in_binary_state(*layers):
    model = around(*layers)
    for binary in binary_layers(model):
        binary.set_binary()
    return model


@dataclass(frozen=True)
class Case:
    """What is found (rule, severity, layer, part of the message), a network that breaks the rule, and one that does not."""

    found: tuple[int, str, str, str]
    broken: Callable[[], keras.Model]
    mended: Callable[[], keras.Model] = lambda: around(ours())


CASES = {
    "zeros and ones": Case(
        (rules.INPUT_VALUES, "error", "tested", "gives 0, 1 instead of -1 and +1"),
        lambda: around(ours(input_quantizer=own_sign(0.0, below=0.0))),
        lambda: around(ours(input_quantizer="swish_sign")),
    ),
    "sign at another place": Case(
        (rules.INPUT_VALUES, "error", "tested", "does not change from -1 to +1 at 0: the export refuses it"),
        lambda: around(ours(input_quantizer=own_sign(0.1))),
        lambda: around(ours(input_quantizer=own_sign(0.0))),
    ),
    "ternary kernel": Case(
        (rules.KERNEL_VALUES, "error", "tested", "is not +-alpha with one alpha per output channel"),
        lambda: around(ours(kernel_quantizer=SteTern(threshold_value=0.02))),
        lambda: around(BinaryDense(32, name="tested")),
    ),
    "scales of input channels": Case(
        (rules.KERNEL_VALUES, "error", "tested", "the magnitudes of output channels 0, 1, 2, 3, 4, ... differ"),
        lambda: around(ours(kernel_quantizer=per_input_channel)),
        lambda: around(ours(kernel_quantizer="ste_sign")),
    ),
    "padding": Case(
        (rules.PADDING_VALUE, "error", "tested", "it pads with -1: binary kernels pad with 1 or 0"),
        lambda: around(ours(padding="same", pad_values=-1.0)),
        lambda: around(ours(padding="valid", pad_values=-1.0)),  # nothing is padded
    ),
    "groups": Case(
        (rules.GROUPS, "error", "tested", "groups have 16 channels, no multiple of 32: no binary kernel runs it, the export"),
        lambda: around(ours(groups=2)),
    ),
    "wide groups": Case(
        (rules.GROUPS, "note", "tested", "bitat-runtime runs it, larq-compute-engine with its indirect"),
        lambda: around(ours(64, 3, groups=2), channels=64),
        lambda: around(ours(64, 3), channels=64),
    ),
    "depthwise": Case(
        (rules.KIND, "note", "depth", "it stays float: a depthwise convolution has no binary kernel"),
        lambda: around(ours(), L.DepthwiseConv2D(3, name="depth")),
        lambda: around(ours(), L.ReLU()),
    ),
    "transposed": Case(
        (rules.KIND, "note", "up", "it stays float: a transposed convolution has no binary kernel"),
        lambda: around(ours(), L.Conv2DTranspose(32, 3, name="up")),
        lambda: around(ours(), L.UpSampling2D()),
    ),
    "inside of a subclassed model": Case(
        (rules.KIND, "error", "inside", "its binary layers cannot be exported: it is a subclassed model (Subclassed)"),
        lambda: around(Subclassed(ours(name="inner"), name="inside")),
        lambda: around(keras.Sequential([keras.Input((8, 8, 32)), ours(name="inner")], name="inside")),
    ),
    "subclassed": Case(
        (rules.NO_GRAPH, "error", "", "it is a subclassed model (Subclassed): its graph is not known"),
        subclassed,
    ),
    "loop": Case((rules.RECURRENT, "error", "tested", "with a loop"), lambda: recurrent(False), lambda: recurrent(True)),
    "no form": Case(
        (rules.FORM, "error", "between", "it has no form on the device (ResizeBicubic): the export refuses it"),
        lambda: around(ours(), L.UpSampling2D(2, interpolation="bicubic", name="between")),
        lambda: around(ours(), L.UpSampling2D(2, interpolation="bilinear", name="between")),
    ),
    "no form of an activation": Case(
        (rules.FORM, "error", "between", "it has no form on the device (Erf)"),
        lambda: around(ours(), L.Conv2D(32, 1, activation=tf.math.erf, dtype="mixed_float16", name="between")),
        lambda: around(ours(), L.Conv2D(32, 1, activation="gelu", name="between")),
    ),
    "size": Case(
        (rules.INPUT_SIZE, "warning", "", "the size of its input pictures is not known"),
        lambda: around(ours(), shape=(None, None, 3)),
        lambda: around(around_size_unknown()),
    ),
    "frozen": Case(
        (rules.FROZEN, "warning", "tested", "it is frozen (trainable=False): a layer that becomes binary has to train"),
        lambda: frozen("tested"),
        lambda: frozen("first", "last"),
    ),
    "frozen normalization": Case(
        (rules.FROZEN, "warning", "bn_after", "what reaches it changes once layers before it are binary"),
        lambda: frozen("bn_after"),
        lambda: frozen("bn_before"),
    ),
    "no normalization": Case(
        (rules.NORMALIZATION, "warning", "tested", "no normalization follows it"),
        lambda: unnormalized(RPReLU()),
        lambda: unnormalized(RPReLU(), L.BatchNormalization()),
    ),
    "first": Case(
        (rules.ENDS, "warning", "tested", "it is a first layer of the network"),
        lambda: ending(BinaryConv2D),
        lambda: ending(L.Conv2D),
    ),
    "relu before a sign": Case(
        (rules.RELU_BEFORE_SIGN, "warning", "tested", "its sign has no thresholds: it is +1 everywhere"),
        lambda: around(L.ReLU(), ours(input_quantizer="ste_sign")),
        lambda: around(L.ReLU(), ours()),
    ),
    "channels": Case(
        (rules.CHANNELS, "note", "tested", "40 input channels are packed into 2 words of 32 bits: 38% of its"),
        lambda: around(ours(), channels=40),
        lambda: around(ours(), channels=64),
    ),
    "zero padding": Case(
        (rules.ZERO_PADDING, "warning", "tested", "it pads with zeros, which are no bits"),
        lambda: around(ours(padding="same", pad_values=0.0)),
        lambda: around(ours(padding="same")),
    ),
    "reshape": Case(
        (rules.RESHAPE, "note", "between", "tested gives floats, and next packs them into bits again"),
        lambda: reshaped(L.Permute((2, 1, 3), name="between")),
        lambda: reshaped(L.MaxPooling2D(name="between")),
    ),
    "reshape of what is float anyway": Case(
        (rules.RESHAPE, "note", "between", "between binary layers"),
        lambda: reshaped(L.Permute((2, 1, 3), name="between")),
        lambda: reshaped(L.AveragePooling2D(2), L.Permute((2, 1, 3), name="between")),
    ),
    "float layer": Case(
        (rules.NOT_YET_BINARY, "note", "middle", "it stays float: it is a layer of Keras"),
        lambda: in_binary_state(ours(32, 1), L.Conv2D(32, 1, name="middle")),
        lambda: in_binary_state(ours()),
    ),
    "float state": Case(
        (rules.NOT_YET_BINARY, "note", "", "1 of 1 binary layers are not binary yet"),
        lambda: around(ours()),
        lambda: in_binary_state(ours()),
    ),
}


def around_size_unknown():
    """Return a nested model that does not know the size of its pictures itself, but is told it."""
    return keras.Sequential([keras.Input((None, None, 32)), ours()])


@pytest.mark.parametrize("case", CASES)
def test_rule(case):
    rule, severity, layer, phrase = CASES[case].found
    report = check(CASES[case].broken())
    (found,) = (finding for finding in report.findings if (finding.rule, finding.layer) == (rule, layer))
    assert found.severity == severity
    assert phrase in found.effect
    assert found.cure.endswith(".")
    assert report.ok == (severity != "error")
    if severity == "error":
        assert layer not in report.binary_layers
    assert rule not in [finding.rule for finding in check(CASES[case].mended()).findings]


# What the lowering takes though no engine computes it; `check` is stricter.
STRICTER = ("groups",)


@pytest.mark.parametrize(
    "case", [name for name, case in CASES.items() if name not in STRICTER and case.found[0] != rules.NO_GRAPH]
)
def test_layers_that_are_said_to_be_binary_are_those_that_the_export_lowers_to_binary_convolutions(case):
    rule = CASES[case].found[0]
    for build in (CASES[case].broken, CASES[case].mended):
        model = build()
        report = check(model)
        for layer in binary_layers(model):
            layer.set_binary()
        if not report.ok and rule in (rules.INPUT_VALUES, rules.KERNEL_VALUES, rules.PADDING_VALUE) and binary_layers(model):
            with pytest.raises(ValueError, match="'tested'"):
                lower(model)
        else:
            names = [step.path for step in lower(model).binary_convolutions()]
            assert sorted(names) == sorted(report.binary_layers)


def test_every_rule_is_tested():
    numbers = {number for name, number in vars(rules).items() if name.isupper() and name != "CANNOT_ADAPT"}
    assert numbers == {case.found[0] for case in CASES.values()} == set(range(1, len(numbers) + 1))


@pytest.mark.parametrize("channels", [1, 3, 31, 32, 33, 65, 96])
def test_wasted_bits_against_packing_with_numpy(channels):
    packed = np.packbits(np.ones(channels, bool), bitorder="little").tobytes()
    words = np.frombuffer(packed.ljust(-(-len(packed) // 4) * 4, b"\0"), "<u4")
    assert wasted_bits(channels) == 32 * len(words) - channels


@pytest.mark.parametrize("seed", range(5))
def test_kernels_are_binary_if_and_only_if_signs_and_scales_give_them(seed):
    random = np.random.default_rng(seed)
    kernel = random.choice([-1.0, 1.0], (3, 3, 4, 5)) * random.choice([0.0, 0.3, 2.0], 5)  # a dead channel is all 0
    rebuilt = np.where(kernel >= 0, 1.0, -1.0) * np.abs(kernel).max(axis=(0, 1, 2))
    np.testing.assert_array_equal(np.abs(rebuilt), np.abs(kernel))
    assert describe_kernel(kernel) == ""
    kernel[0, 0, 0, 3] += 0.1
    assert "output channels 3 differ" in describe_kernel(kernel)
    kernel[0, 0, 0, 3] = np.nan
    assert "NaN" in describe_kernel(kernel)


@pytest.mark.parametrize("name", ["ste_sign", "approx_sign", "swish_sign", "ste_tern", "magnitude_aware_sign"])
def test_signs_are_what_numpy_says(name):
    quantizer = quantizers.get(name)
    x = np.random.default_rng(0).normal(size=(50, 50)).astype("float32")
    assert (describe_signs(quantizer, 4) == "") == np.array_equal(quantizer(x), np.where(x >= 0, 1, -1))


def test_a_learned_threshold_is_a_sign():
    quantizer = RSign(threshold_initializer=keras.initializers.Constant(0.7))
    assert describe_signs(quantizer, 4) == ""


@pytest.mark.parametrize("names", [("tested",), ("bn_after",), ("first", "bn_before", "last")])
def test_layers_that_are_named_as_frozen_are_those_that_a_step_of_training_does_not_change(names):
    model = frozen(*names)
    found = {finding.layer for finding in check(model).findings if finding.rule == rules.FROZEN}
    watched = {"tested": "kernel", "bn_after": "gamma"}
    before = {name: getattr(model.get_layer(name), weight).numpy() for name, weight in watched.items()}
    model.compile("sgd", "mse")
    model.train_on_batch(np.random.default_rng(0).normal(size=(8, 8, 8, 3)), np.ones((8, 3)))
    after = {name: getattr(model.get_layer(name), weight).numpy() for name, weight in watched.items()}
    assert found == {name for name in watched if np.array_equal(before[name], after[name])}


def test_a_frozen_model_is_frozen_whatever_its_layers_say():
    model = around(ours())
    model.trainable = False
    model.get_layer("tested").trainable = True
    assert model.trainable_weights == []
    assert {finding.layer for finding in check(model).findings if finding.rule == rules.FROZEN} == {model.name, "bn_after"}
    statistics = around(ours(), L.BatchNormalization(center=False, scale=False, name="statistics"))
    statistics.get_layer("statistics").trainable = False
    assert [finding.layer for finding in check(statistics).findings if finding.rule == rules.FROZEN] == ["statistics"]


def test_the_schedule_warns_of_what_cannot_adapt():
    model = frozen("tested", "bn_after")
    with pytest.warns(UserWarning, match="cannot adapt to binary ones, .* tested: it is frozen .* bn_after: it is frozen"):
        warn_of_problems(model, {layer.name: layer for layer in binary_layers(model)})


def test_tensorflows_converter_refuses_loops_and_takes_unrolled_ones():
    for unroll in (False, True):
        inputs = keras.Input((2, 3))
        converter = tf.lite.TFLiteConverter.from_keras_model(keras.Model(inputs, L.SimpleRNN(4, unroll=unroll)(inputs)))
        if unroll:
            assert converter.convert()
        else:
            with pytest.raises(Exception, match="element_shape to be static"):
                converter.convert()


def float_network(**keywords):
    convolutions = [L.Conv2D(32, 3, name="middle"), L.DepthwiseConv2D(3, name="depth"), L.Conv2D(48, 1, name="point")]
    return around(*convolutions, **keywords)


def test_a_float_network_is_told_what_binarize_would_make_of_it():
    model = float_network()
    report = check(model)
    assert report.ok
    assert report.binary_layers == ()
    assert report.outlook.plan.to_dicts() == bitat_tf.plan_binarization(model).to_dicts()
    text = str(report)
    for part in (
        "2 layers can become binary, 3 stay float",
        "depthwise='expand'",
        "bitat_tf.binarize(model)",
        "bitat-tf binarize",
    ):
        assert part in text, part
    assert "can be binary  middle, point\n" in text
    assert f"about {report.outlook.file_size:,} bytes in float32, {report.outlook.binary_file_size:,} with these" in text
    # What would cost accuracy is told now, as well: nothing normalizes what comes out of "middle".
    assert [(finding.rule, finding.layer) for finding in report.findings] == [(rules.NORMALIZATION, "middle")]
    # And once it is done, nothing is left to tell but what stays float.
    binary = check(bitat_tf.binarize(model, verbose=0))
    assert binary.outlook is None
    assert binary.binary_layers == ("middle", "point")
    assert binary.other_layers == ("first", "depth", "last")
    assert "2 of 5 convolutions and dense layers will run in a binary kernel" in str(binary)


def test_a_float_network_from_transfer_learning_is_told_what_binarize_does_about_it():
    base = float_network()
    inputs = keras.Input((8, 8, 3))
    model = keras.Model(inputs, L.Activation("softmax")(base(inputs, training=False)))
    base.trainable = False
    text = str(check(model)).replace("\n", " ")
    assert "binarize       layers that were frozen (trainable=False) are trained now" in text
    # Which is done then: there is nothing left to warn of.
    found = {finding.rule for finding in check(bitat_tf.binarize(model, verbose=0)).findings}
    assert not found & {*rules.CANNOT_ADAPT}


def test_a_network_of_which_nothing_can_become_binary():
    report = check(keras.Sequential([keras.Input((8, 8, 3)), L.Conv2D(8, 3), L.DepthwiseConv2D(3), L.Flatten(), L.Dense(2)]))
    assert "No layer can become binary" in str(report)
    assert json.loads(json.dumps(report.to_dict()))["outlook"]["plan"][1]["reason"].startswith("a depthwise convolution")


def test_the_report_prints_and_gives_plain_values():
    report = check(around(ours(groups=2), *(BinaryConv2D(32, 1, name=f"plain_{number}") for number in range(6))))
    text = str(report)
    assert "1 error" in text
    assert "docs/rules.md" in text
    assert "6 of 9 convolutions and dense layers will run in a binary kernel" in text
    assert "tested, plain_0, plain_1, plain_2 and 2 more" in map(str, report.table().columns[2].cells)  # one row for all
    assert json.loads(json.dumps(report.to_dict()))["findings"][0] == {
        "rule": rules.GROUPS,
        "severity": "error",
        "layer": "tested",
        "effect": report.errors[0].effect,
        "cure": report.errors[0].cure,
    }
    assert report.to_dicts() == report.to_dict()["findings"]
    severities = [finding.severity for finding in report.findings]
    assert severities == sorted(severities, key=("error", "warning", "note").index)


def test_a_shared_layer_counts_at_every_call():
    inputs = keras.Input((8, 8, 32))
    shared = ours(padding="same")
    model = keras.Model(inputs, L.Conv2D(2, 1)(shared(shared(L.Conv2D(32, 1)(inputs)))))
    assert check(model).binary_layers == ("tested", "tested")


def test_float_layers_inside_of_subclassed_models_are_named():
    inputs = keras.Input((8, 8, 4))
    found = check(keras.Model(inputs, Subclassed(L.Conv2D(4, 1), name="inside")(inputs))).outlook.plan.layers
    assert [(layer.layer, layer.action) for layer in found] == [("inside", "float")]
    model = Subclassed(L.Conv2DTranspose(4, 1, name="up"))
    model(tf.zeros((1, 8, 8, 4)))
    assert [(f.rule, f.severity, f.layer) for f in check(model).findings] == [
        (rules.KIND, "note", "up"),
        (rules.NO_GRAPH, "note", ""),
    ]


def test_what_is_no_model_is_an_error():
    with pytest.raises(TypeError, match="check: expected a keras.Model. Received: 3"):
        check(3)
    with pytest.raises(ValueError, match="has no weights yet"):
        check(keras.Sequential([L.Dense(3)]))
