"""Graphs in which nodes get into each other's way, which TFLite itself does not look for: refused, not run."""

import numpy as np
import pytest
from engines import delegate_outputs, delegated
from lce_files import Graph, Operator, pack

import bitat_runtime


def convolution(graph: Graph, x: int, channels: int = 32) -> int:
    kernel = pack(np.random.default_rng(0).random((channels, 1, 1, 32)) < 0.5)
    values = {name: np.ones(channels, np.float32) for name in ("multiplier", "bias")}
    return graph.bconv(x, kernel, channels_in=32, **values)


def test_two_nodes_that_write_the_same_tensor():
    """The larger result would not fit into the memory that is planned for the smaller."""
    graph = Graph()
    large, small = graph.input((1, 64, 64, 1), "int32"), graph.input((1, 1, 1, 1), "int32")
    first = convolution(graph, large)
    convolution(graph, small)
    graph.operators[-1].outputs = [first]
    graph.outputs = [graph.dequantize(graph.quantize(first), 32)]
    with pytest.raises(RuntimeError, match=r"LceBconv2d \(node 1\): it writes tensor \d+, which LceBconv2d \(node 0\) writes"):
        delegated(graph.content())


@pytest.mark.parametrize("operator", ["LceQuantize", "ADD"])
def test_a_constant_is_not_written_over(operator):
    """A fused operator is left to TFLite, which has to know what it does; one of larq-compute-engine's is refused."""
    graph = Graph()
    x = graph.input((1, 4, 4, 1), "int32")
    y = convolution(graph, x)
    stored = np.zeros((1, 4, 4, 1 if operator == "LceQuantize" else 32), np.int32 if operator == "LceQuantize" else np.float32)
    constant = graph.constant(stored)
    if operator == "LceQuantize":
        graph.operators.append(Operator("LceQuantize", [y], [constant]))
        graph.outputs = [constant, y]
        with pytest.raises(RuntimeError, match=r"LceQuantize \(node 1\): its output is a constant of the file"):
            delegated(graph.content())
        return
    graph.binary("ADD", y, graph.constant(np.ones(32, np.float32)))
    graph.operators[-1].outputs = [constant]
    graph.outputs = [y]
    content = graph.content()
    before = bytes(bytearray(content))
    _, delegate = delegated(content)
    assert content == before
    assert [step.name for step in delegate.profile()] == ["LceBconv2d"]


def test_a_tensor_that_is_read_before_it_is_written():
    graph = Graph()
    x = graph.input((1, 4, 4, 1), "int32")
    y = convolution(graph, x)
    z = convolution(graph, graph.quantize(y))
    graph.outputs = [z]
    graph.operators.reverse()
    with pytest.raises(
        RuntimeError, match=r"LceBconv2d \(node 0\): it reads tensor \d+ before LceQuantize \(node 1\) writes it"
    ):
        delegated(graph.content())


def test_a_tensor_that_its_own_node_writes():
    graph = Graph()
    x = graph.input((1, 4, 4, 1), "int32")
    y = graph.max_pool(x, (1, 1), (1, 1), "SAME")
    graph.operators[-1].inputs = [y]
    graph.outputs = [y]
    with pytest.raises(RuntimeError, match=r"LceBMaxPool2d \(node 0\): it reads tensor \d+ before"):
        delegated(graph.content())


@pytest.mark.parametrize("shape", [(0, 4, 4, 1), (1, 0, 4, 1), (1, 4, 0, 1)])
@pytest.mark.parametrize("kernel", bitat_runtime.kernel_families())
def test_images_without_pixels(shape, kernel):
    graph = Graph()
    y = convolution(graph, graph.input((1, 4, 4, 1), "int32"))
    graph.outputs = [convolution(graph, graph.quantize(y))]
    for threads in (1, 2):
        (output,) = delegate_outputs(graph.content(), [np.zeros(shape, np.int32)], kernel=kernel, num_threads=threads)
        assert output.shape == (*shape[:3], 32)
