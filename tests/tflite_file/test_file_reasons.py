"""Why float operators are left: each reason on operators that stand as it says; what is between, against all paths."""

import numpy as np
import pytest

from bitat_tf.tflite_file.neighbours import between_binary, consumers, elementwise_around_binary
from bitat_tf.tflite_file.operators import Operator, Tensor
from bitat_tf.tflite_file.reasons import left_operators

# What stands between two binary convolutions, the last one with its LceQuantize: (name, sources, number of constants), where a
# source is the operator's place and 0 the first convolution; the last of them is read by the LceQuantize.
REASONS = {
    "shortcut": ([("ADD", (0, 0), 0)], "ADD", "shortcut"),
    "threshold": ([("ADD", (0, 0), 0), ("ADD", (1,), 1)], "ADD", "would take it, but a shortcut comes between"),
    "threshold after a PReLU": ([("PRELU", (0,), 1), ("SUB", (1,), 1)], "SUB", "would take it, but a PReLU comes between"),
    "threshold after a ReLU": ([("RELU", (0,), 0), ("SUB", (1,), 1)], "SUB", "would take it, but a ReLU comes between"),
    "threshold after another": (
        [("LOGISTIC", (0,), 0), ("SUB", (1,), 1)],
        "SUB",
        "would take it, but LOGISTIC comes between",
    ),
    "threshold after a fused ReLU": (
        [("CONV_2D", (0,), 2), ("SUB", (1,), 1)],
        "SUB",
        "has a ReLU inside, or bitat_tf",
    ),
    "shift before": ([("ADD", (0, 0), 0), ("SUB", (1,), 1), ("PRELU", (2,), 1)], "SUB", "shift before a PReLU"),
    "shift after": ([("PRELU", (0,), 1), ("ADD", (1,), 1), ("AVERAGE_POOL_2D", (2,), 0)], "ADD", "shift after a PReLU"),
    "prelu": ([("PRELU", (0,), 1)], "PRELU", "no convolution takes it, unless nothing but a sign reads it"),
    "normalization alone": ([("MAX_POOL_2D", (0,), 0), ("MUL", (1,), 1)], "MUL", "it follows MAX_POOL_2D"),
    "its shift": (
        [("MAX_POOL_2D", (0,), 0), ("MUL", (1,), 1), ("ADD", (2,), 1), ("AVERAGE_POOL_2D", (3,), 0)],
        "ADD",
        "batch normalization: the shift to the MUL",
    ),
    "two readers": ([("MUL", (0,), 1), ("CONCATENATION", (0, 1), 0)], "MUL", "has several readers"),
    "left out": ([("MUL", (0,), 1)], "MUL", "could be in its convolution: bitat_tf.export puts it there"),
    "relu": ([("RELU", (0,), 0)], "RELU", "ReLU after a binary convolution with bias"),
    "relu of something else": ([("MEAN", (0,), 0), ("RELU6", (1,), 0)], "RELU6", "ReLU: it follows MEAN"),
    "relu of a float layer": ([("CONV_2D", (0,), 2), ("RELU", (1,), 0)], "RELU", "could take it: bitat_tf.export"),
    "scale after a relu": ([("RELU", (0,), 0), ("MUL", (1,), 1)], "MUL", "it follows a ReLU, and no convolution"),
    "average": ([("AVERAGE_POOL_2D", (0,), 0)], "AVERAGE_POOL_2D", "averages"),
    "maximum": ([("MAX_POOL_2D", (0,), 0), ("MEAN", (1,), 0)], "MAX_POOL_2D", "only where nothing but signs reads them"),
    "concatenation": ([("CONCATENATION", (0, 0), 0)], "CONCATENATION", "copies float tensors"),
    "padding": ([("PAD", (0,), 1)], "PAD", "padding by itself"),
    "depthwise": ([("DEPTHWISE_CONV_2D", (0,), 2)], "DEPTHWISE_CONV_2D", "no binary kernel"),
    "transposed": ([("TRANSPOSE_CONV", (0,), 2)], "TRANSPOSE_CONV", "no binary kernel"),
    "float layer": ([("CONV_2D", (0,), 2)], "CONV_2D", "its weights are not binary"),
    "product": ([("MUL", (0, 0), 0)], "MUL", "product of two computed"),
    "activation": ([("LOGISTIC", (0,), 0)], "LOGISTIC", "activation function"),
    "resized": ([("RESIZE_NEAREST_NEIGHBOR", (0,), 1)], "RESIZE_NEAREST_NEIGHBOR", "moves or resizes"),
    "unpacked": ([("LceDequantize", (0,), 0)], "LceDequantize", "binary values go into a float operator"),
    "no rule": ([("REDUCE_MAX", (0,), 1)], "REDUCE_MAX", "no binary form"),
}


def operator(index, name, sources=(), constants=0, **keywords):
    arithmetic = "binary" if name.startswith("Lce") else "float"
    inputs = tuple(Tensor(f"t{source}", "float32", (1,)) for source in sources)
    position = {"index": index, "sources": tuple(sources), "inputs": inputs, "constants": constants}
    return Operator(name, f"t{index}", (1,), arithmetic=arithmetic, **position, **keywords)


@pytest.mark.parametrize("case", REASONS)
def test_reason_of_what_is_left(case):
    between, name, phrase = REASONS[case]
    names = [("LceBconv2d", (-1,), 2), *between, ("LceQuantize", (len(between),), 0), ("LceBconv2d", (len(between) + 1,), 2)]
    left = left_operators([operator(index, *one) for index, one in enumerate(names)])
    assert [one.name for one in left] == [one[0] for one in between]
    reasons = [one.reason for one in left if one.name == name]
    assert any(phrase in reason for reason in reasons), reasons


def test_what_should_be_binary_is_told_wherever_it_stands():
    (left,) = left_operators([operator(0, "CONV_2D", (-1,), 2, binary_kernel=True)])
    assert "should be LceBconv2d" in left.reason


def test_float_operators_that_are_not_between_binary_ones_are_not_left():
    assert (
        left_operators([operator(0, "CONV_2D", (-1,), 2), operator(1, "LceQuantize", (0,)), operator(2, "PRELU", (1,))]) == ()
    )


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
        operators.append(operator(index, name, sources))
    return operators


@pytest.mark.parametrize("seed", range(20))
def test_between_and_around_against_all_paths(seed):
    """Powers of the matrix of lines tell which operators a path joins."""
    operators = random_operators(seed)
    count = len(operators)
    lines = np.zeros((count, count), int)
    for one in operators:
        for source in one.sources:
            if source >= 0:
                lines[source, one.index] = 1
    is_binary = np.array([one.arithmetic == "binary" for one in operators])
    elementwise = np.array([one.name in ("ADD", "PRELU") for one in operators])

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
