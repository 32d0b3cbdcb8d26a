"""Every rule of `check` against what the converter makes of the same network."""

import json
from collections import Counter

import larq as lq
import numpy as np
import pytest
from engines import converted_by_lce

import bitat_tf
from bitat_tf import check
from bitat_tf._keras import keras, tf
from bitat_tf.export import to_plain_larq, to_tflite
from bitat_tf.layers import BinaryConv2D, BinaryDense, RPReLU, binary_layers
from bitat_tf.tflite_file import read_operators, run_tflite

L = keras.layers
Q = lq.layers


def where_ones_like(x):
    return tf.where(x >= 0, tf.ones_like(x), -tf.ones_like(x))


def stop_gradient_sign(x):
    return x + tf.stop_gradient(tf.where(x >= 0, 1.0, -1.0) - x)


def own_sign(x):
    return tf.where(x >= 0.1, 1.0, -1.0)


class Sign(L.Layer):
    """A sign in a layer of the user's own."""

    def call(self, inputs):
        return own_sign(inputs)


def per_input_channel(kernel):
    return lq.quantizers.ste_sign(kernel) * tf.reshape(tf.range(1.0, kernel.shape[2] + 1), (1, 1, -1, 1))


def quantized(kind=Q.QuantConv2D, *arguments, input_quantizer="ste_sign", kernel_quantizer="ste_sign", **keywords):
    """Return a layer of Larq named "tested"; its constraint is what Larq warns of otherwise."""
    arguments = arguments or (32, 3)
    return kind(*arguments, input_quantizer=input_quantizer, kernel_quantizer=kernel_quantizer, name="tested", **keywords)


def ours(*arguments, **keywords):
    return BinaryConv2D(*(arguments or (32, 3)), name="tested", **{"use_bias": False, **keywords})


def model_of(*layers, shape=(8, 8, 32)):
    return keras.Sequential(
        [keras.Input(shape), L.Conv2D(shape[-1], 1, name="first"), *layers, L.Flatten(), L.Dense(3, name="last")]
    )


def randomized(model):
    """Give normalizations, thresholds and slopes values of a trained network, and make the layers binary."""
    generator = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, (L.BatchNormalization, RPReLU, L.PReLU)):
            layer.set_weights([generator.uniform(0.5, 1.5, weight.shape) for weight in layer.get_weights()])
    for layer in binary_layers(model):
        for weight in layer.input_quantizer.weights:
            weight.assign(generator.normal(0, 0.3, weight.shape))
        layer.set_binary()
    return model


def operators_in_file(model):
    plain = to_plain_larq(model) if binary_layers(model) else model
    return Counter(operator.name for operator in read_operators(converted_by_lce(plain)))


ERRORS = {
    "1 sign of ones_like": (1, lambda: [quantized(input_quantizer=where_ones_like)], "form that the converter does not know"),
    "2 stop_gradient": (2, lambda: [quantized(input_quantizer=stop_gradient_sign)], "x + stop_gradient"),
    "3 heaviside": (3, lambda: [quantized(input_quantizer="ste_heaviside")], "gives 0, 1 instead of -1 and +1"),
    "3 dorefa": (3, lambda: [quantized(input_quantizer=lq.quantizers.DoReFa(1))], "gives 0, 1 instead"),
    "3 scaled sign": (3, lambda: [ours(input_quantizer="magnitude_aware_sign")], "instead of -1 and +1"),
    "4 scale of input channels": (4, lambda: [quantized(kernel_quantizer=per_input_channel)], "differ by more than 0.5 %"),
    "4 ternary kernel": (4, lambda: [quantized(kernel_quantizer="ste_tern")], "hold zeros"),
    "5 input alone": (5, lambda: [quantized(kernel_quantizer=None)], "only its input is quantized"),
    "5 kernel alone": (5, lambda: [quantized(input_quantizer=None)], "only its kernel is quantized"),
    "13 reshape": (
        13,
        lambda: [L.Activation(lq.quantizers.ste_sign), L.Permute((2, 1, 3), name="between"), quantized(input_quantizer=None)],
        "between between its sign and its convolution",
    ),
    "14 dense": (
        14,
        lambda: [L.Flatten(), quantized(Q.QuantDense, 32)],
        "no binary kernel: it runs as a float FULLY",
    ),
    "14 transposed": (14, lambda: [quantized(Q.QuantConv2DTranspose)], "a QuantConv2DTranspose has no binary kernel"),
    "15 groups": (15, lambda: [ours(32, 3, groups=2)], "its groups have 16 channels, no multiple of 32"),
}


@pytest.mark.filterwarnings("ignore:Using `kernel_quantizer`")
@pytest.mark.parametrize("case", ERRORS)
def test_an_error_is_a_layer_that_stays_float(case):
    rule, layers, message = ERRORS[case]
    model = randomized(model_of(*layers()))
    report = check(model)
    assert [(finding.rule, finding.layer) for finding in report.errors] == [(rule, "tested")]
    assert not report.ok
    assert message in report.errors[0].effect
    assert report.errors[0].cure.endswith(".")
    assert report.binary_kernels == 0
    assert operators_in_file(model)["LceBconv2d"] == 0


@pytest.mark.parametrize(
    ("kind", "shape"), [(lambda: Q.QuantDepthwiseConv2D, (8, 8, 32)), (lambda: Q.QuantSeparableConv2D, (8, 8, 32))]
)
@pytest.mark.filterwarnings("ignore:Using `")
def test_depthwise_layers_of_larq_stay_float(kind, shape):
    kind = kind()
    names = ("depthwise_quantizer",) if kind is Q.QuantDepthwiseConv2D else ("depthwise_quantizer", "pointwise_quantizer")
    arguments = (3,) if kind is Q.QuantDepthwiseConv2D else (32, 3)
    layer = kind(*arguments, input_quantizer="ste_sign", name="tested", **{name: "ste_sign" for name in names})
    model = model_of(layer, shape=shape)
    assert [(finding.rule, finding.layer) for finding in check(model).errors] == [(14, "tested")]
    found = operators_in_file(model)
    # A separable layer of Larq has its 1x1 convolution on a float input between the two.
    assert found["LceBconv2d"] == 0


FUSED = {
    "Larq's": lambda: [quantized()],
    "a sign of one's own": lambda: [quantized(input_quantizer=own_sign)],
    "magnitude aware": lambda: [quantized(kernel_quantizer="magnitude_aware_sign")],
    "sign in a layer before": lambda: [L.Activation(lq.quantizers.ste_sign), quantized(input_quantizer=None)],
    "sign in a layer of one's own": lambda: [Sign(), quantized(input_quantizer=None)],
    "sign, dropout, convolution": lambda: [lq.quantizers.SteSign(), L.Dropout(0.5), quantized(input_quantizer=None)],
    "ours": lambda: [ours()],
    "ours with strides": lambda: [ours(32, 3, strides=2, padding="same")],
    "zero padding": lambda: [ours(32, 3, padding="same", pad_values=0.0)],
    "few channels": lambda: [ours(5, 3)],
    "groups of 32": lambda: [L.Conv2D(64, 1), ours(64, 3, groups=2)],
    "dense": lambda: [L.Flatten(), BinaryDense(8, name="tested")],
}


@pytest.mark.filterwarnings("ignore:Using `kernel_quantizer`")
@pytest.mark.parametrize("case", FUSED)
def test_without_errors_a_layer_is_fused(case):
    model = randomized(model_of(*FUSED[case]()))
    report = check(model)
    assert report.ok, str(report)
    assert report.binary_kernels == 1
    assert [kernel.operator for kernel in report.kernels if kernel.layer == "tested"] == ["LceBconv2d"]
    assert operators_in_file(model)["LceBconv2d"] == 1


def test_another_padding_than_0_and_1_is_an_error():
    report = check(model_of(ours(32, 3, padding="same", pad_values=-1.0)))
    assert [(finding.rule, finding.layer) for finding in report.errors] == [(6, "tested")]
    assert operators_in_file(randomized(model_of(ours(32, 3, padding="same", pad_values=-1.0))))["LceBconv2d"] == 0


def kill_channel(layer, value=0.0):
    with lq.context.quantized_scope(False):
        kernel = np.array(layer.kernel)
    kernel[..., 3] = value
    layer.kernel.assign(kernel)


@pytest.mark.filterwarnings("ignore:Using `kernel_quantizer`")
@pytest.mark.parametrize("value", [0.0, 1e-7])
def test_a_dead_channel_makes_a_layer_of_larq_float(value):
    model = model_of(quantized(kernel_quantizer="magnitude_aware_sign"))
    kill_channel(model.get_layer("tested"), value)
    (finding,) = check(model).errors
    assert (finding.rule, finding.layer) == (4, "tested")
    assert "output channels 3 hold zeros" in finding.effect
    assert operators_in_file(model)["LceBconv2d"] == 0


@pytest.mark.parametrize("value", [0.0, -1e-8])
def test_a_dead_channel_of_our_layers_is_exported_with_a_tiny_scale(value):
    model = model_of(ours(), BinaryConv2D(8, 1, name="next"))
    kill_channel(model.get_layer("tested"), value)
    randomized(model)
    assert check(model).ok
    content = converted_by_lce(to_plain_larq(model))
    assert Counter(operator.name for operator in read_operators(content))["LceBconv2d"] == 2
    x = np.random.default_rng(0).normal(size=(8, 8, 8, 32)).astype(np.float32)
    different = np.abs(run_tflite(content, x) - model.predict(x, verbose=0)).max(axis=1) > 1e-3
    assert different.sum() <= 1  # a value on a threshold
    kill_channel(model.get_layer("tested"), np.nan)
    assert "NaN" in check(model).errors[0].effect


# What a finding says that stays float, against the same network without it.
COSTS = {
    "7 two consumers": (7, "tested", lambda x: both(ours()(x)), lambda x: L.BatchNormalization()(ours()(x)), {"MUL", "ADD"}),
    "8 activation before": (
        8,
        "tested",
        lambda x: L.BatchNormalization()(ours(activation="relu")(x)),
        lambda x: L.BatchNormalization()(ours()(x)),
        {"MUL", "ADD"},
    ),
    "8 activation after": (
        8,
        "relu",
        lambda x: L.ReLU(name="relu")(L.BatchNormalization()(ours()(x))),
        lambda x: L.BatchNormalization()(ours()(x)),
        {"RELU"},
    ),
    "9 prelu": (9, "prelu", lambda x: RPReLU(name="prelu")(ours()(x)), lambda x: ours()(x), {"PRELU", "ADD"}),
    "10 threshold": (
        10,
        "tested",
        lambda x: ours()(L.ReLU()(x)),
        lambda x: ours(input_quantizer="ste_sign")(L.ReLU()(x)),
        {"ADD"},
    ),
    "12 pooling before thresholds": (
        12,
        "pool",
        lambda x: ours(32, 3)(L.MaxPooling2D(name="pool")(x)),
        lambda x: ours(32, 3, input_quantizer="ste_sign")(L.MaxPooling2D(name="pool")(x)),
        {"MAX_POOL_2D"},
    ),
    "12 pooling": (
        12,
        "pool",
        lambda x: ours(32, 3, input_quantizer="ste_sign")(L.BatchNormalization()(L.MaxPooling2D(name="pool")(x))),
        lambda x: ours(32, 3, input_quantizer="ste_sign")(L.MaxPooling2D(name="pool")(L.BatchNormalization()(x))),
        {"MAX_POOL_2D"},
    ),
    "20 layer normalization": (
        20,
        "norm",
        lambda x: L.LayerNormalization(name="norm")(ours()(x)),
        lambda x: L.BatchNormalization(name="norm")(ours()(x)),
        {"MEAN", "SQUARED_DIFFERENCE", "RSQRT"},
    ),
}


def both(x):
    return L.Add()([x, L.BatchNormalization()(x)])


@pytest.mark.parametrize("case", COSTS)
def test_notes_name_the_operators_that_stay(case):
    rule, layer, with_cost, without, operators = COSTS[case]
    files = []
    for network in (with_cost, without):
        inputs = keras.Input((8, 8, 32))
        x = network(L.Conv2D(32, 1, name="first")(inputs))
        model = randomized(keras.Model(inputs, L.Dense(3, name="last")(L.Flatten()(x))))
        found = [(finding.rule, finding.layer) for finding in check(model).findings]
        assert ((rule, layer) in found) == (network is with_cost), found
        files.append(operators_in_file(model))
    more = files[0] - files[1]
    assert operators <= set(more), (files[0], files[1])


def test_unknown_sizes_are_an_error_and_nested_models_are_not():
    convolutions = [L.Conv2D(32, 3, name="first"), ours(32, 3, padding="same"), L.GlobalAveragePooling2D(), L.Dense(3)]
    model = keras.Sequential([keras.Input((None, None, 3)), *convolutions])
    (finding,) = check(model).errors
    assert [(f.rule, f.severity) for f in check(model).findings if not f.layer][0] == (17, "warning")
    assert (finding.rule, finding.layer) == (17, "tested")
    assert operators_in_file(randomized(model))["LceBconv2d"] == 0
    # The same network inside of one that knows the size: all is known.
    outer = keras.Sequential([keras.Input((8, 8, 3)), model])
    report = check(outer)
    assert report.ok
    assert [kernel.layer for kernel in report.kernels] == ["sequential/first", "sequential/tested", "sequential/dense"]
    assert operators_in_file(outer)["LceBconv2d"] == 1


def test_mixed_precision_is_exported_in_float32():
    model = model_of(quantized())
    model.get_layer("tested")._set_dtype_policy("mixed_float16")
    (finding,) = [finding for finding in check(model).findings if finding.rule == 18 and finding.layer]
    assert (finding.severity, finding.layer) == ("note", "tested")
    assert "computes in float16; the file has it in float32" in finding.effect
    assert check(model).ok


def test_a_ternary_quantizer_is_taken_for_a_sign():
    # The converter's pattern for sign(sign(x) + c) fits Larq's ternary sign(sign(x + t) + sign(x - t)) too.
    model = model_of(quantized(input_quantizer="ste_tern"))
    (finding,) = check(model).errors
    assert (finding.rule, finding.layer) == (3, "tested")
    assert "gives -1, 0, 1 instead of -1 and +1: the converter takes it for a sign" in finding.effect
    assert check(model).binary_kernels == operators_in_file(model)["LceBconv2d"] == 1
    content = converted_by_lce(model)
    x = np.random.default_rng(0).normal(0, 0.05, (8, 8, 8, 32)).astype(np.float32)
    assert np.abs(run_tflite(content, x) - model.predict(x, verbose=0)).max() > 0.01


def test_findings_on_the_model_as_a_whole():
    inputs = keras.Input((8, 8, 3), batch_size=4)
    x = ours()(L.Conv2D(32, 1)(inputs))
    model = keras.Model(inputs, [L.Conv2D(2, 1)(x), x])
    found = {finding.rule: finding for finding in check(model).findings if not finding.layer}
    assert "1 inputs and 2 outputs" in found[23].effect
    assert "fixed at 4" in found[18].effect
    assert "2 float convolutions and dense layers" in found[19].effect


def test_ends_relu_and_pooling():
    inputs = keras.Input((8, 8, 32))
    x = BinaryConv2D(32, 3, name="first")(inputs)
    x = BinaryConv2D(32, 3, input_quantizer="ste_sign", name="after_relu")(L.ReLU()(x))
    x = BinaryConv2D(32, 1, name="after_pool")(L.AveragePooling2D(name="pool")(x))
    x = L.GlobalAveragePooling2D(name="global")(x)
    report = check(keras.Model(inputs, BinaryDense(4, name="last")(x)))
    found = {(finding.rule, finding.severity, finding.layer) for finding in report.findings}
    assert {(25, "warning", "first"), (25, "warning", "last"), (24, "warning", "after_relu")} <= found
    assert {(12, "note", "pool"), (20, "note", "global")} <= found
    assert (16, "note", "last") in found  # 4 outputs


def test_a_float_model_is_told_what_binarize_can_do():
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            L.Conv2D(8, 3, name="first"),
            L.Conv2D(8, 3, name="middle"),
            L.DepthwiseConv2D(3, name="depth"),
            L.Conv2D(8, 1, name="point"),
            L.Flatten(),
            L.Dense(3, name="last"),
        ]  # fmt: skip
    )
    report = check(model)
    assert report.ok
    assert report.binary_kernels == 0
    assert [(finding.rule, finding.layer) for finding in report.findings] == [(14, "depth"), (21, "middle"), (21, "point")]
    assert "0 of 5 convolutions and dense layers" in str(report)


class Subclassed(keras.Model):
    """A model without a graph, with a binary layer in it."""

    def __init__(self, layer, **keywords):
        super().__init__(**keywords)
        self.inner = layer

    def call(self, inputs):
        return self.inner(inputs)


def test_subclassed_models():
    model = Subclassed(ours(8, 3))
    model(tf.zeros((1, 8, 8, 4)))
    (finding,) = check(model).errors
    assert finding.rule == 22
    assert "subclassed model (Subclassed)" in finding.effect
    assert check(model).kernels == ()
    # One inside a functional model: its binary layers cannot be exported, its float ones stay float.
    inputs = keras.Input((8, 8, 4))
    inside = keras.Model(inputs, L.Conv2D(2, 1)(Subclassed(ours(8, 3), name="inside")(L.Conv2D(4, 1)(inputs))))
    assert [(finding.rule, finding.layer) for finding in check(inside).errors] == [(14, "inside")]
    inputs = keras.Input((8, 8, 4))
    inside = keras.Model(inputs, Subclassed(L.Conv2D(4, 1), name="inside")(inputs))
    assert [(f.rule, f.severity, f.layer) for f in check(inside).findings] == [(14, "note", "inside")]


def test_the_report_prints_and_gives_plain_values():
    model = model_of(*(ours(8, 3, input_quantizer="ste_heaviside"),))
    report = check(model)
    text = str(report)
    assert "1 error" in text
    assert "tested" in text
    assert "docs/rules.md" in text
    assert json.loads(json.dumps(report.to_dict()))["findings"][0] == {
        "rule": 3,
        "severity": "error",
        "layer": "tested",
        "effect": report.errors[0].effect,
        "cure": report.errors[0].cure,
    }
    assert report.to_dicts() == report.to_dict()["findings"]
    severities = [finding.severity for finding in report.findings]
    assert severities == sorted(severities, key=("error", "warning", "note").index)


def test_layers_of_which_the_same_is_said_share_a_row():
    layers = [layer for number in range(6) for layer in (L.ReLU(), BinaryConv2D(32, 1, name=f"binary_{number}"))]
    report = check(model_of(*layers))
    notes = [finding for finding in report.findings if finding.rule == 10]
    assert len(notes) == 6
    assert "binary_0, binary_1, binary_2, binary_3 and 2 more" in list(report.table().columns[2].cells)


def test_a_shared_layer_has_a_kernel_for_every_call():
    inputs = keras.Input((8, 8, 32))
    shared = ours(32, 3, padding="same")
    x = shared(shared(L.Conv2D(32, 1)(inputs)))
    model = randomized(keras.Model(inputs, L.Conv2D(2, 1)(x)))
    assert [kernel.layer for kernel in check(model).kernels].count("tested") == 2
    assert operators_in_file(model)["LceBconv2d"] == 2


def test_what_is_no_model_is_an_error():
    with pytest.raises(TypeError, match="check: expected a tf.keras.Model. Received: 3"):
        check(3)
    with pytest.raises(ValueError, match="has no weights yet"):
        check(keras.Sequential([L.Dense(3)]))


def test_the_networks_of_the_package_have_no_errors():
    report = check(bitat_tf.applications.ReActNet((32, 32, 3), 10))
    assert report.ok
    assert (report.binary_kernels, len(report.kernels)) == (26, 28)


@pytest.mark.parametrize("unroll", [False, True])
def test_recurrent_layers_must_be_unrolled(unroll, tmp_path):
    inputs = keras.Input((6, 8))
    x = L.Bidirectional(L.LSTM(4, unroll=unroll), name="recurrent")(BinaryDense(8, name="tested")(L.Dense(8)(inputs)))
    model = randomized(keras.Model(inputs, L.Dense(2)(x)))
    found = [(finding.rule, finding.layer) for finding in check(model).errors]
    if unroll:
        assert found == []
        assert operators_in_file(model)["LceBconv2d"] == 1
    else:
        assert found == [(26, "recurrent")]
        with pytest.raises(ValueError, match="cannot convert the model .*recurrent layers need unroll=True"):
            to_tflite(model, tmp_path / "model.tflite")
        assert not list(tmp_path.iterdir())


def test_padding_of_1x1_kernels():
    for pad_values, errors, kernels in ((-1.0, [6], 0), (0.0, [], 1), (1.0, [], 1)):
        model = model_of(ours(32, 1, padding="same", pad_values=pad_values))
        assert [finding.rule for finding in check(model).errors] == errors
        assert 6 not in [finding.rule for finding in check(model).findings if finding.severity == "warning"]
        assert operators_in_file(randomized(model))["LceBconv2d"] == kernels == check(model).binary_kernels


class Picky(L.Layer):
    """A layer that takes pictures of one size only."""

    def call(self, inputs):
        if inputs.shape[1] != 8:
            raise AttributeError("pictures of 8 pixels, please")
        return inputs


@pytest.mark.filterwarnings("ignore:Using `kernel_quantizer`")
def test_layers_of_the_users_own_before_a_layer_without_a_sign():
    report = check(model_of(Picky(name="picky"), quantized(input_quantizer=None)))
    assert [finding.rule for finding in report.errors] == [5]


def test_subclassed_models_with_a_layer_that_was_never_called():
    class WithSpare(keras.Model):
        def __init__(self):
            super().__init__()
            self.used = BinaryConv2D(8, 1, name="used")
            self.spare = L.Conv2D(8, 1, name="spare")

        def call(self, inputs):
            return self.used(inputs)

    model = WithSpare()
    model(tf.zeros((1, 8, 8, 4)))
    assert [finding.rule for finding in check(model).findings] == [22]
