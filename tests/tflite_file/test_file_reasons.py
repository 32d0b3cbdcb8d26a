"""Why float operators are left: each reason on a network that is built to give it; what is between, against all paths."""

import functools

import larq as lq
import numpy as np
import pytest
from converted_networks import converted, inspect_content, randomized
from engines import converted_by_lce

from bitat_tf._keras import keras, tf
from bitat_tf.layers import BinaryConv2D, RPReLU
from bitat_tf.tflite_file.neighbours import between_binary, consumers, elementwise_around_binary
from bitat_tf.tflite_file.operators import Operator

L = keras.layers


@pytest.fixture
def report_of(tmp_path):
    return functools.partial(inspect_content, tmp_path)


def binary(x, filters=32):
    return BinaryConv2D(filters, 3, padding="same", use_bias=False)(x)


def normalized(x):
    return L.BatchNormalization()(x)


def rprelu(x):
    return RPReLU()(L.Add()([x, normalized(binary(x))]))


REASONS = {
    "shortcut": (lambda x: L.Add()([x, normalized(binary(x))]), "ADD", "shortcut"),
    "threshold": (rprelu, "ADD", "threshold of the sign"),
    "shift before": (rprelu, "SUB", "shift before a PReLU"),
    "shift after": (lambda x: L.AveragePooling2D()(rprelu(x)), "ADD", "shift after a PReLU"),
    "prelu": (lambda x: L.PReLU(shared_axes=[1, 2])(normalized(binary(x))), "PRELU", "no convolution takes it"),
    "normalization alone": (lambda x: normalized(L.MaxPooling2D()(normalized(binary(x)))), "MUL", "follows no convolution"),
    "its shift": (
        lambda x: L.AveragePooling2D()(normalized(L.MaxPooling2D()(binary(x)))),
        "ADD",
        "batch normalization: the shift",
    ),
    "two readers": (lambda x: (lambda y: L.Concatenate()([y, normalized(y)]))(binary(x)), "MUL", "has several readers"),
    "relu": (lambda x: L.ReLU()(normalized(binary(x))), "RELU", "ReLU after a binary convolution with scales"),
    "relu of something else": (
        lambda x: L.ReLU()(L.UpSampling2D()(normalized(binary(x)))),
        "RELU",
        "ReLU: it follows no convolution",
    ),
    "average": (lambda x: L.AveragePooling2D()(normalized(binary(x))), "AVERAGE_POOL_2D", "averages"),
    "maximum": (lambda x: L.AveragePooling2D()(L.MaxPooling2D()(binary(x))), "MAX_POOL_2D", "only directly before the sign"),
    "concatenation": (lambda x: L.Concatenate()([x, normalized(binary(x))]), "CONCATENATION", "copies float tensors"),
    "padding": (lambda x: L.PReLU(shared_axes=[1, 2])(L.ZeroPadding2D()(binary(x))), "PAD", "padding by itself"),
    "depthwise": (lambda x: L.DepthwiseConv2D(3)(binary(x)), "DEPTHWISE_CONV_2D", "no binary kernel"),
    "transposed": (lambda x: L.Conv2DTranspose(32, 3)(binary(x)), "TRANSPOSE_CONV", "no binary kernel"),
    "float layer": (lambda x: L.Conv2D(32, 3)(binary(x)), "CONV_2D", "its weights are not binary"),
    "product": (lambda x: L.Multiply()([x, binary(x)]), "MUL", "product of two computed"),
    "activation": (lambda x: L.Activation("sigmoid")(normalized(binary(x))), "LOGISTIC", "activation function"),
    "resized": (lambda x: L.UpSampling2D()(normalized(binary(x))), "RESIZE_NEAREST_NEIGHBOR", "moves or resizes"),
    "no rule": (
        lambda x: L.Lambda(lambda y: y - tf.reduce_max(y, axis=-1, keepdims=True))(binary(x)),
        "REDUCE_MAX",
        "no binary",
    ),
}


@pytest.mark.parametrize("case", REASONS)
def test_reason_of_what_is_left(case, report_of):
    build, name, phrase = REASONS[case]
    inputs = keras.Input((8, 8, 3))
    x = build(normalized(binary(L.Conv2D(32, 3, padding="same")(inputs))))
    model = randomized(keras.Model(inputs, L.Conv2D(3, 1)(normalized(binary(x)))))
    report = report_of(converted(model))
    reasons = [left.reason for left in report.left if left.name == name]
    assert any(phrase in reason for reason in reasons), (reasons, [operator.name for operator in report.operators])
    assert phrase in str(report).replace("\n", " ")


def test_what_should_be_binary_is_told(report_of):
    """A dense layer of Larq has no binary kernel: its sign is turned back into floats, its product is a float one."""
    layer = lq.layers.QuantDense(8, input_quantizer="ste_sign", kernel_quantizer="ste_sign", kernel_constraint="weight_clip")
    model = keras.Sequential([keras.Input((64,)), layer])
    report = report_of(converted_by_lce(model))
    left = {left.name: left.reason for left in report.left}
    assert "should be LceBconv2d" in left["FULLY_CONNECTED"]
    if "LceDequantize" in left:
        assert "binary values go into a float operator" in left["LceDequantize"]


def random_operators(seed):
    generator = np.random.default_rng(seed)
    operators = []
    for index in range(20):
        sources = tuple(int(number) for number in generator.integers(-1, index, size=generator.integers(1, 3)))
        name = str(
            generator.choice(
                ["LceBconv2d", "LceQuantize", "ADD", "PRELU", "CONV_2D", "CONCATENATION"], p=[0.1, 0.1, *[0.2] * 4]
            )
        )
        arithmetic = "binary" if name.startswith("Lce") else "float"
        operators.append(Operator(name, f"t{index}", (1,), index=index, arithmetic=arithmetic, sources=sources))
    return operators


@pytest.mark.parametrize("seed", range(20))
def test_between_and_around_against_all_paths(seed):
    """Powers of the matrix of lines tell which operators a path joins."""
    operators = random_operators(seed)
    count = len(operators)
    lines = np.zeros((count, count), int)
    for operator in operators:
        for source in operator.sources:
            if source >= 0:
                lines[source, operator.index] = 1
    is_binary = np.array([operator.arithmetic == "binary" for operator in operators])
    elementwise = np.array([operator.name in ("ADD", "PRELU") for operator in operators])

    def joined(matrix):
        total, power = np.zeros_like(matrix), np.eye(count, dtype=int)
        for _ in range(count):
            power = np.minimum(power @ matrix, 1)
            total |= power
        return total.astype(bool)

    paths = joined(lines)
    between = ~is_binary & paths[is_binary].any(axis=0) & paths[:, is_binary].any(axis=1)
    assert between_binary(operators) == np.flatnonzero(between).tolist()
    # Paths from an element-wise operator to a binary one, through element-wise ones alone, either way.
    inner = joined(lines * elementwise[:, None] * elementwise[None]) | np.eye(count, dtype=bool)
    ahead = (inner @ lines.astype(bool))[:, is_binary].any(axis=1)
    behind = (lines.astype(bool) @ inner)[is_binary].any(axis=0)
    around = elementwise & (between | ahead | behind)
    assert elementwise_around_binary(operators) == np.flatnonzero(around).tolist()
    assert consumers(operators) == [np.flatnonzero(row).tolist() for row in lines]
