"""`inspect` against independent sources: TFLite's own list of operators, the summary of the Keras model, the buffers."""

import functools
import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from converted_networks import converted, inspect_content, randomized

from bitat_tf.applications import ReActNet
from bitat_tf.inspection import summary
from bitat_tf.layers import BinaryConv2D, BinaryDense, binary_layers
from bitat_tf.tflite_file import content as file_content
from bitat_tf.tflite_file.engines import available_engines
from bitat_tf.tflite_file.macs import count_macs
from bitat_tf.tflite_file.operators import read_operators

L = keras.layers
FACTS = {"format": 1, "name": "net", "expected_binary": 2, "classes": ["a", "b"], "pixels": "0..255", "versions": {"larq": "1"}}


@pytest.fixture
def report_of(tmp_path):
    return functools.partial(inspect_content, tmp_path)


@pytest.fixture
def reactnet():
    return randomized(ReActNet((16, 16, 3), 10, width=0.5, blocks=((32, 1), (64, 2), (64, 1))))


def test_operators_are_those_that_tflite_lists(reactnet, report_of):
    content = converted(reactnet)
    report = report_of(content)
    interpreter = tf.lite.Interpreter(model_content=content)
    listed = interpreter._get_ops_details()
    tensors = {tensor["index"]: tensor for tensor in interpreter.get_tensor_details()}
    assert [operator.name for operator in report.operators] == [operator["op_name"] for operator in listed]
    for operator, expected in zip(report.operators, listed, strict=True):
        written = tensors[expected["outputs"][0]]
        assert (operator.output, operator.output_shape) == (written["name"], tuple(written["shape"]))
        shapes = [tuple(tensors[index]["shape"]) for index in expected["inputs"] if index >= 0]
        assert all(tensor.shape in shapes for tensor in operator.inputs)
        for tensor, source in zip(operator.inputs, operator.sources, strict=True):
            names = (
                [spec.name for spec in report.inputs] if source < 0 else [out.name for out in report.operators[source].outputs]
            )
            assert tensor.name in names


def test_macs_and_weights_are_those_of_the_keras_model(reactnet, report_of):
    report, expected = report_of(converted(reactnet)), summary(reactnet).totals
    assert report.totals.binary_macs == expected.binary_macs > 0
    assert report.totals.float_macs == expected.macs - expected.binary_macs
    assert report.totals.int8_macs == 0
    assert report.totals.binary_mac_share == pytest.approx(expected.binary_mac_share)
    kernels = [layer.kernel.shape.num_elements() for layer in binary_layers(reactnet)]
    binary = [operator for operator in report.operators if operator.name == "LceBconv2d"]
    # Beside its kernel each has a multiplier and a bias for every output channel.
    assert sorted(operator.parameters - 2 * operator.output_shape[-1] for operator in binary) == sorted(kernels)


@pytest.mark.parametrize(
    ("layer", "name"),
    [
        (BinaryConv2D(32, 3, groups=2, padding="same"), "LceBconv2d"),
        (BinaryConv2D(24, 3, strides=2, padding="valid"), "LceBconv2d"),
        (L.Conv2D(24, 3, strides=2, padding="same"), "CONV_2D"),
        (L.DepthwiseConv2D(3, depth_multiplier=2), "DEPTHWISE_CONV_2D"),
        (L.Conv2DTranspose(5, 3, strides=2, padding="same"), "TRANSPOSE_CONV"),
        (L.Dense(7), "FULLY_CONNECTED"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_macs_of_each_kind_of_kernel(layer, name, report_of):
    shape = (64,) if isinstance(layer, L.Dense) else (8, 8, 64)
    model = randomized(keras.Sequential([keras.Input(shape), layer]))
    # The direct export writes a transposed convolution as a plain one.
    report = report_of(converted(model, "larq-compute-engine" if name == "TRANSPOSE_CONV" else "direct"))
    (operator,) = [operator for operator in report.operators if operator.name == name]
    row = summary(model).rows[0]
    assert operator.macs == row.binary_macs + row.float_macs == report.totals.macs > 0


def test_macs_of_a_product_of_two_computed_tensors():
    # (2, 3, 4) by (2, 4, 5): 2 * 3 * 5 values of 4 products each.
    assert count_macs("BATCH_MATMUL", [(2, 3, 4), (2, 4, 5)], (2, 3, 5), {}) == 120
    assert count_macs("BATCH_MATMUL", [(2, 4, 3), (2, 4, 5)], (2, 3, 5), {"adj_x": True}) == 120


def test_bytes_of_constants_are_those_of_the_buffers_each_counted_once(reactnet, report_of):
    content = converted(reactnet)
    model = file_content.parse(content)
    used = {tensor.buffer for tensor in model.subgraphs[0].tensors}
    expected = sum(len(model.buffers[number].data) for number in used if model.buffers[number].data is not None)
    before = report_of(content)
    assert before.totals.constant_bytes == expected
    # Two PReLUs of one shape that share a buffer count once.
    slopes = [operator for operator in before.operators if operator.name == "PRELU" and operator.constant_bytes]
    by_bytes = {}
    for operator in slopes:
        by_bytes.setdefault(operator.constant_bytes, []).append(operator.index)
    size, (first, second, *_) = next((size, found) for size, found in by_bytes.items() if len(found) > 1)
    graph = model.subgraphs[0]
    first_slope, second_slope = (graph.tensors[graph.operators[index].inputs[1]] for index in (first, second))
    second_slope.buffer = first_slope.buffer
    after = report_of(file_content.serialize(model))
    assert after.totals.constant_bytes == expected - size
    assert (after.operators[first].constant_bytes, after.operators[second].constant_bytes) == (size, 0)
    assert after.totals.parameters == before.totals.parameters - size // 4


def test_arithmetic_and_bits(reactnet, report_of):
    for operator in report_of(converted(reactnet)).operators:
        assert operator.arithmetic == ("binary" if operator.name.startswith("Lce") else "float")
        if operator.name == "LceQuantize":
            (read,), (written,) = operator.inputs, operator.outputs
            assert (read.type, written.type) == ("float32", "bits")
            assert written.shape == (*read.shape[:-1], -(-read.shape[-1] // 32))


def float_network():
    biases = keras.initializers.RandomNormal()  # the converter drops biases of zeros
    first, last = L.Conv2D(4, 3, bias_initializer=biases), L.Dense(5, bias_initializer=biases)
    return keras.Sequential([keras.Input((8, 8, 3)), first, L.ReLU(), L.Flatten(), last])


def test_int8_file_of_tflite(report_of):
    model = float_network()
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([np.random.default_rng(i).random((1, 8, 8, 3), np.float32)] for i in range(4))
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    content = converter.convert()
    report = report_of(content)
    assert {operator.arithmetic for operator in report.operators if operator.macs} == {"int8"}
    assert report.totals.int8_macs == report.totals.macs == 6 * 6 * 4 * 27 + 144 * 5
    interpreter = tf.lite.Interpreter(model_content=content)
    for spec, details in zip(
        (*report.inputs, *report.outputs), interpreter.get_input_details() + interpreter.get_output_details(), strict=True
    ):
        assert (spec.scale, spec.zero_point) == pytest.approx(details["quantization"])
        assert (spec.name, spec.type, spec.shape) == (details["name"], "int8", tuple(details["shape"]))
    # Biases of int32 are weights, shapes of int32 are none.
    assert report.totals.parameters == model.count_params()


def test_float_file_of_tflite_has_nothing_binary(report_of):
    model = float_network()
    report = report_of(tf.lite.TFLiteConverter.from_keras_model(model).convert())
    assert (report.totals.binary_convolutions, report.totals.expected_binary, report.left) == (0, None, ())
    assert (report.totals.elementwise, report.totals.elementwise_per_convolution) == (0, None)
    assert (report.facts, report.sealed, report.loadable) == ({}, False, True if available_engines() else None)
    assert report.totals.parameters == model.count_params()
    assert f"loadable        {f'yes, by {report.engine}' if report.engine else 'not tried'}" in str(report)


def test_operator_that_no_interpreter_knows(reactnet, report_of):
    model = file_content.parse(converted(reactnet))
    code = next(code for code in model.operatorCodes if code.customCode == b"LceQuantize")
    code.customCode = b"SomebodysQuantize"
    report = report_of(file_content.serialize(model))
    assert report.loadable is False
    assert "SomebodysQuantize" in report.obstacle
    assert f"no, not by {report.engine}: " in str(report)
    assert sum(operator.name == "SomebodysQuantize" for operator in report.operators) == len(binary_layers(reactnet))


def test_facts_of_a_sealed_file(reactnet, report_of):
    report = report_of(file_content.sealed(file_content.parse(converted(reactnet)), FACTS))
    assert report.sealed
    assert report.facts == FACTS
    assert report.totals.expected_binary == 2
    text = str(report)
    for phrase in ("6 of 2 expected LceBconv2d", "classes         2", "pixels          0..255", "larq 1", "whole"):
        assert phrase in text


def test_report_is_plain_values(reactnet, report_of):
    report = report_of(converted(reactnet))
    values = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert len(values["operators"]) == len(report.operators)
    assert values["totals"]["binary_macs"] == report.totals.binary_macs
    assert values["inputs"][0]["shape"] == [1, 16, 16, 3]
    assert values["left"][0]["reason"] == report.left[0].reason


def test_names_cannot_control_the_terminal(reactnet, report_of):
    model = file_content.parse(converted(reactnet))
    model.subgraphs[0].tensors[model.subgraphs[0].operators[0].outputs[0]].name = b"a/[red]b\x1b[31m\xff"
    report = report_of(file_content.serialize(model))
    assert report.operators[0].output == "a/[red]b\\x1b[31m\N{REPLACEMENT CHARACTER}"
    assert "[red]b\\x1b[31m" in str(report)


def test_dense_binary_layer_is_binary_in_the_file(report_of):
    model = randomized(keras.Sequential([keras.Input((64,)), BinaryDense(8, use_bias=False)]))
    report = report_of(converted(model))
    assert report.totals.binary_macs == 64 * 8 == report.totals.macs
    assert [operator.name for operator in read_operators(converted(model))] == [operator.name for operator in report.operators]
