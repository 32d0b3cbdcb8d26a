"""The summary against numbers computed by hand, and against Larq's profile where Larq's numbers are right."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from bitat_tf.applications import ReActNet
from bitat_tf.callbacks import Schedule, SequentialBinarization
from bitat_tf.conversion import binarize
from bitat_tf.export import to_tflite
from bitat_tf.inspection.model_summary import summary
from bitat_tf.layers import BinaryConv2D, BinaryDense, RPReLU, binary_layers
from bitat_tf.regularizers import DisentangledRegularizer

L = keras.layers


def network():
    layers = [
        L.Conv2D(32, 3, padding="same", use_bias=False, name="stem"),
        L.BatchNormalization(name="bn"),
        BinaryConv2D(16, 3, padding="same", use_bias=False, name="conv"),
        RPReLU(name="rprelu"),
        L.GlobalAveragePooling2D(name="pool"),
        L.Dense(10, name="logits"),
    ]
    return keras.Sequential([keras.Input((8, 6, 3)), *layers], name="small")


def rows_of(model):
    return {row.layer: row for row in summary(model).rows}


def test_columns_by_hand():
    rows = rows_of(network())
    assert [*rows] == ["stem", "bn", "conv", "rprelu", "pool", "logits"]
    stem, conv = rows["stem"], rows["conv"]
    assert (stem.binary_parameters, stem.float_parameters, stem.float_macs) == (0, 3 * 3 * 3 * 32, 8 * 6 * 3 * 3 * 3 * 32)
    assert (conv.binary_parameters, conv.float_parameters) == (3 * 3 * 32 * 16, 32)  # the thresholds stay float
    assert (conv.binary_macs, conv.float_macs) == (8 * 6 * 3 * 3 * 32 * 16, 0)
    assert conv.kilobytes == (3 * 3 * 32 * 16 / 8 + 4 * 32) / 1024
    assert conv.bits_per_weight == (4608 + 32 * 32) / (4608 + 32)
    assert (conv.kernel, conv.input_precision, conv.type) == ("LceBconv2d", 1, "BinaryConv2D")
    assert (stem.kernel, stem.input_precision) == ("CONV_2D", 32)
    assert conv.output_shape == (None, 8, 6, 16)
    assert rows["bn"].float_parameters == 2 * 32  # a factor and a summand a channel is what the device keeps
    assert (rows["rprelu"].float_parameters, rows["rprelu"].float_macs, rows["rprelu"].kernel) == (3 * 16, 0, "")
    assert (rows["logits"].float_parameters, rows["logits"].float_macs) == (16 * 10 + 10, 160)


def test_totals_by_hand():
    totals = summary(network()).totals
    floats, binary = 864 + 64 + 32 + 48 + 170, 4608
    assert totals.parameters == binary + floats
    assert totals.weight_bytes == binary // 8 + 4 * floats
    assert totals.float32_bytes == 4 * (binary + floats)
    assert totals.compression == pytest.approx(totals.float32_bytes / totals.weight_bytes)
    assert totals.binary_macs == 48 * 4608
    assert totals.macs == 48 * 4608 + 48 * 864 + 160
    assert totals.binary_mac_share == pytest.approx(totals.binary_macs / totals.macs)
    assert totals.layers_by_state == {"float": 1}
    # All: of batch normalization the two trained vectors, and what the flags hold is no parameter.
    assert totals.trainable_parameters == binary + floats == sum(np.prod(w.shape) for w in network().trainable_weights)


# Multiply-accumulates from the definition of each operation: outputs times summands of each output.
MACS = {
    "grouped": (L.Conv2D(8, 3, groups=2), (8, 8, 6), 6 * 6 * 8 * (3 * 3 * 3)),
    "depthwise": (L.DepthwiseConv2D(3, depth_multiplier=2), (8, 8, 6), 6 * 6 * 12 * 9),
    "separable": (L.SeparableConv2D(8, 3), (8, 8, 6), 6 * 6 * (6 * 9 + 8 * 6)),
    "dilated": (L.Conv2D(8, 3, dilation_rate=2), (8, 8, 6), 4 * 4 * 8 * 9 * 6),
    # every input pixel is multiplied with the whole kernel
    "transposed": (L.Conv2DTranspose(8, 3, strides=2), (8, 8, 6), 8 * 8 * 9 * 6 * 8),
    "one dimension": (L.Conv1D(8, 3), (10, 6), 8 * 8 * 3 * 6),
    "three dimensions": (L.Conv3D(4, 2), (5, 5, 5, 2), 64 * 4 * 8 * 2),
    "dense on rows": (L.Dense(5), (7, 4), 7 * 4 * 5),
    "dense on pictures": (L.Dense(5), (3, 3, 4), 9 * 4 * 5),
    "no kernel": (L.MaxPooling2D(), (8, 8, 6), 0),
    "not known": (L.LSTM(4), (5, 3), None),
}


@pytest.mark.parametrize("name", MACS)
def test_multiply_accumulates(name):
    layer, shape, macs = MACS[name]
    layer = type(layer).from_config(layer.get_config())
    (row,) = summary(keras.Sequential([keras.Input(shape), layer])).rows
    assert row.float_macs == macs
    assert row.binary_macs == (None if macs is None else 0)


def test_reactnet_a_against_larqs_profile():
    model = ReActNet((224, 224, 3), 1000)
    result = summary(model)
    rows, totals = result.rows, result.totals
    # What larq.models.ModelProfile of Larq 0.14 said of this network, built on Larq's layers.
    binary_weights, float_weights, binary_macs, float_macs = 28_253_184, 1_090_460, 4_816_896_000, 11_948_648
    assert sum(row.binary_parameters for row in rows) == binary_weights
    # It counted the two flags of each of the 26 binary layers as float parameters, and as float kernels.
    assert sum(row.float_parameters for row in rows) == float_weights - 2 * 26
    assert totals.binary_macs == binary_macs
    pixels = sum(row.output_shape[1] * row.output_shape[2] for row in rows if row.type == "BinaryConv2D")
    assert totals.macs - totals.binary_macs == float_macs - 2 * pixels
    assert totals.layers_by_state == {"float": 26}


def test_states_before_within_and_after_the_schedule():
    model = keras.Sequential(
        [
            keras.Input((6, 6, 2)),
            BinaryConv2D(4, 3, name="first"),
            L.BatchNormalization(),
            BinaryConv2D(4, 3, name="second"),
            L.Flatten(),
            L.Dense(2),
        ]
    )
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    x, y = np.random.default_rng(0).normal(size=(16, 6, 6, 2)).astype("float32"), np.arange(16) % 2
    bitat = SequentialBinarization(x, Schedule(joint_epochs=1), verbose=0)
    seen = []

    class Look(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            seen.append(tuple(row.state for row in summary(self.model).rows if row.state))

    assert summary(model).totals.layers_by_state == {"float": 2}
    model.fit(x, y, batch_size=4, epochs=bitat.total_epochs(model), callbacks=[bitat, Look()], verbose=0)
    # The schedule's order, from its documentation: each layer in its turn is quantized, then fine-tuned with the rest.
    order = list(dict.fromkeys(seen))
    assert order[0] == ("quantizing", "float")
    assert ("binary", "float") in order
    assert ("binary", "quantizing") in order
    assert order[-1] == ("binary", "binary")
    assert summary(model).totals.layers_by_state == {"binary": 2}


def test_states_set_by_hand():
    regularizer = DisentangledRegularizer(strength=1.0)  # without statistics: nothing pulls at the layer
    model = keras.Sequential([keras.Input((6, 6, 2)), BinaryConv2D(4, 3, disentangled_regularizer=regularizer)])
    (layer,) = binary_layers(model)
    layer.set_binary(input=False, kernel=True)
    assert summary(model).rows[0].state == "quantizing"
    layer.set_binary()
    assert summary(model).rows[0].state == "binary"


def test_nested_and_shared_layers():
    inner = keras.Sequential(
        [keras.Input((6, 6, 4)), BinaryConv2D(4, 3, padding="same", use_bias=False, name="conv")], name="inner"
    )
    inputs = keras.Input((6, 6, 4))
    result = summary(keras.Model(inputs, inner(inner(inputs))))
    assert [row.layer for row in result.rows] == ["inner/conv", "inner/conv"]
    # Weights once, operations twice.
    assert [row.binary_parameters for row in result.rows] == [9 * 4 * 4, 0]
    assert [row.binary_macs for row in result.rows] == [36 * 9 * 4 * 4] * 2
    assert result.totals.layers_by_state == {"float": 1}
    assert result.totals.parameters == 9 * 4 * 4 + 4


def test_subclassed_models():
    class Block(keras.layers.Layer):
        def __init__(self):
            super().__init__(name="block")
            self.conv = BinaryConv2D(4, 3, name="conv")
            self.activation = RPReLU(name="rprelu")

        def call(self, inputs):
            return self.activation(self.conv(inputs))

    class Subclassed(keras.Model):
        def __init__(self):
            super().__init__()
            self.block, self.flatten, self.dense = Block(), L.Flatten(name="flatten"), L.Dense(3, name="dense")

        def call(self, inputs):
            return self.dense(self.flatten(self.block(inputs)))

    model = Subclassed()
    model(tf.zeros((1, 6, 6, 2)))
    result = summary(model)
    assert [row.layer for row in result.rows] == ["conv", "rprelu", "flatten", "dense"]
    assert result.rows[0].binary_parameters == 9 * 2 * 4
    assert result.totals.parameters == 9 * 2 * 4 + 4 + 2 + 3 * 4 + 64 * 3 + 3  # thresholds 2, bias 4, RPReLU 12, dense
    assert {row.binary_macs for row in result.rows} == {None}
    assert result.totals.file_size is None
    assert "Subclassed is a subclassed model without a graph" in str(result)
    assert result.outlook is None
    json.dumps(result.to_dict())


def test_float_models():
    totals = summary(keras.Sequential([keras.Input((4,)), L.Dense(3)])).totals
    assert (totals.layers_by_state, totals.binary_mac_share, totals.compression) == ({}, 0.0, 1.0)


def test_dicts_go_through_json():
    result = summary(network())
    again = json.loads(json.dumps(result.to_dict()))
    assert again == result.to_dict()
    assert json.loads(json.dumps(result.to_dicts())) == again["rows"]
    assert again["name"] == "small"
    assert again["rows"][2]["output_shape"] == [None, 8, 6, 16]
    assert again["totals"]["file_size"] == result.totals.file_size > result.totals.weight_bytes


def test_table_shows_everything():
    result = summary(network())
    text = str(result)
    for part in ("small", "stem", "BinaryConv2D", "LceBconv2d", "8x6x16", "221,184", "6 layers", "1 float", "4,608"):
        assert part in text, part
    assert (
        f"about {result.totals.file_size:,} bytes once all binary layers are binary (an estimate, +-10 % above 100 kB" in text
    )
    assert max(map(len, text.splitlines())) <= 150
    assert result.table().row_count == 6


@pytest.mark.parametrize("width", [100, 160])
def test_table_fits_terminals(width):
    from rich.console import Console

    console = Console(width=width, color_system=None)
    with console.capture() as capture:
        console.print(summary(network()))
    text = capture.get()
    assert max(map(len, text.splitlines())) <= width
    assert "8x6x16" in text
    assert "221,184" in text


def test_size_of_the_file_by_hand():
    totals = summary(network()).totals
    assert totals.file_size == totals.weight_bytes + 200 * 6


def trained(model):
    """Give all weights random values, as training does: a vector of equal ones is written as one number."""
    random = np.random.default_rng(0)
    for variable in model.variables:
        if variable.dtype == "float32":
            values = random.normal(scale=0.3, size=variable.shape)
            positive = "variance" in variable.name or "gamma" in variable.name
            variable.assign(np.abs(values) + 0.5 if positive else values)
    return model


def test_size_of_the_file_against_the_export(tmp_path):
    block = [lambda: BinaryConv2D(256, 3, padding="same", use_bias=False), L.BatchNormalization, RPReLU]
    ends = [L.GlobalAveragePooling2D(), L.Dense(10)]
    layers = [L.Conv2D(256, 3), L.BatchNormalization(), *(layer() for layer in block + block), *ends]
    model = trained(keras.Sequential([keras.Input((8, 8, 3)), *layers]))
    for layer in binary_layers(model):
        layer.set_binary()
    report = to_tflite(model, tmp_path / "model.tflite", minimum_agreement=0.0)
    assert report.size > 100_000
    assert summary(model).totals.file_size == pytest.approx(report.size, rel=0.1)


def test_a_float_network_is_told_what_binarize_would_make_of_it():
    layers = [L.Conv2D(32, 3, name="first"), L.BatchNormalization(), L.Conv2D(64, 3, name="middle"), L.BatchNormalization()]
    model = trained(keras.Sequential([keras.Input((8, 8, 3)), *layers, L.Flatten(), L.Dense(64), L.Dense(10, name="last")]))
    result = summary(model)
    file_size = len(tf.lite.TFLiteConverter.from_keras_model(model).convert())
    assert result.outlook.file_size == result.totals.file_size == pytest.approx(file_size, rel=0.1)
    binary = summary(binarize(model, verbose=0))
    assert binary.outlook is None
    assert binary.totals.file_size == result.outlook.binary_file_size
    text = str(result)
    assert f"about {result.outlook.file_size:,} bytes in float32, {result.outlook.binary_file_size:,} with these" in text
    assert "once all binary layers are binary" not in text
    assert "bitat-tf binarize MODEL.keras" in text
    assert result.to_dict()["outlook"]["binary_file_size"] == result.outlook.binary_file_size


def test_errors():
    with pytest.raises(TypeError, match="summary: expected a keras.Model. Received: 3"):
        summary(3)
    with pytest.raises(ValueError, match="summary: model 'sequential' has no weights yet"):
        summary(keras.Sequential([BinaryDense(3)], name="sequential"))


def test_numbers_without_a_shape_in_the_graph():
    inputs = keras.Input((8, 8, 3))
    model = keras.Model(inputs, keras.ops.mean(keras.layers.Conv2D(4, 1)(inputs)) * 2.0)
    assert summary(model).totals.parameters == 16
