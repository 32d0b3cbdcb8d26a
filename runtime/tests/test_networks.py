"""Whole networks as larq-compute-engine's converter writes them.

A float convolution of TensorFlow and one of larq-compute-engine's older TFLite add in other orders, so that a value next to
zero may get another sign there; all behind it differs then by more than rounding. So a network is compared in two ways:

* every operator of larq-compute-engine with numpy, given what it read in this very run: bit by bit, no tolerance;
* the run with larq-compute-engine's interpreter, operator by operator until a quantizer sees such a value. There it is held
  that the value is next to zero in both runs. Where no quantizer sees one, the outputs are equal to rounding.
"""

import numpy as np
import numpy_model
import pytest
import tflite_reader
from engines import assert_same, delegate_outputs, larq_outputs
from lce_files import Graph, unpack

pytest.importorskip("bitat_tf")

from networks import converted_network  # noqa: E402 (needs bitat_tf)

FAST, ALL = 8, 100
TOLERANCE = 2e-5  # of the greatest value of a tensor: some roundings of sums over a few hundred products


def seeds() -> list:
    return [pytest.param(seed, marks=() if seed < FAST else [pytest.mark.slow, pytest.mark.exhaustive]) for seed in range(ALL)]


def binary_operators(graph: Graph) -> list:
    return [operator for operator in graph.operators if operator.name.startswith("Lce")]


def exposed(content: bytes, graph: Graph) -> tuple[bytes, list[int]]:
    """Return the file with all that its binary operators read and write as outputs, and these tensors."""
    tensors = dict.fromkeys(graph.outputs)
    for operator in binary_operators(graph):
        tensors.update(dict.fromkeys([operator.inputs[0], operator.outputs[0]]))
    # A tensor may be no input and output at once for every interpreter.
    kept = [tensor for tensor in tensors if tensor not in graph.inputs]
    return tflite_reader.with_outputs(content, kept), kept


def values_of(graph: Graph, tensors: list[int], outputs: list[np.ndarray], inputs: list[np.ndarray]) -> dict[int, np.ndarray]:
    return {**dict(zip(tensors, outputs, strict=True)), **dict(zip(graph.inputs, inputs, strict=True))}


def check_operators(graph: Graph, values: dict[int, np.ndarray], text: str) -> None:
    """Compare each binary operator of a run with numpy, for what it has read."""
    for number, operator in enumerate(binary_operators(graph)):
        expected = numpy_model.result(graph, operator, values)
        assert_same([values[operator.outputs[0]]], [expected], f"{operator.name} {number} of {text}")


def parting(graph: Graph, found: dict[int, np.ndarray], expected: dict[int, np.ndarray]) -> str:
    """Compare two runs operator by operator; return the quantizer at which they part, "" if they do not.

    Raises:
        AssertionError: Something differs by more than rounding that no value next to zero explains.
    """
    for number, operator in enumerate(graph.operators):
        for tensor in [operator.inputs[0], *operator.outputs] if operator.name.startswith("Lce") else operator.outputs:
            if tensor not in found:
                continue
            a, b = found[tensor], expected[tensor]
            label = f"{operator.name} {number}"
            if a.dtype == np.float32:
                assert np.abs(a - b).max(initial=0) <= TOLERANCE * max(np.abs(b).max(initial=0), 1), label
            elif not np.array_equal(a, b):
                assert operator.name == "LceQuantize", label
                x = found[operator.inputs[0]]
                flipped = unpack(a ^ b, x.shape[-1]) == 1
                assert np.abs(x[flipped]).max() <= TOLERANCE * max(np.abs(x).max(), 1), label
                return label
    return ""


@pytest.fixture(scope="module")
def partings():
    """Collect which networks part; were it many, the comparison with larq-compute-engine's interpreter would say little."""
    found: list[bool] = []
    yield found
    assert len(found) < FAST or np.mean(found) <= 0.25, f"{sum(found)} of {len(found)} networks part"


@pytest.mark.parametrize("seed", seeds())
def test_random_network(seed, partings):
    content, inputs = converted_network(seed)
    graph = tflite_reader.read(content)
    assert any(operator.name == "LceBconv2d" for operator in graph.operators)
    with_all, tensors = exposed(content, graph)
    larq = larq_outputs(with_all, inputs, "indirect")
    plain = delegate_outputs(content, inputs, fusion="off")
    for num_threads in (1, 2):
        text = f"the network of seed {seed} on {num_threads} threads"
        assert_same(delegate_outputs(content, inputs, num_threads=num_threads), plain, f"{text}, fused")
        found = delegate_outputs(with_all, inputs, num_threads=num_threads)
        values = values_of(graph, tensors, found, inputs)
        check_operators(graph, values, text)
        assert_same(found[: len(graph.outputs)], plain, text)
    partings.append(bool(parting(graph, values, values_of(graph, tensors, larq, inputs))))
