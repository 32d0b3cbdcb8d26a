"""Float operators between binary ones: with fusion, without it, in larq-compute-engine's interpreter and in numpy.

A sum of two floats, a product and a comparison round in one way only, so that all four are equal bit by bit.
"""

import re

import numpy as np
import numpy_model
import pytest
from engines import assert_close, assert_larq_same, assert_same, delegate_outputs, delegated, run
from lce_files import Graph, pack
from random_graphs import RandomGraph

import bitat_runtime

GROUP, FAST, TOTAL = 10, 6, 40
EXHAUSTIVE = [pytest.mark.slow, pytest.mark.exhaustive]
FUSIONS = ("on", "off", "residual", "prelu", "quantize", "concat", "residual,prelu", "quantize,concat")
FAMILIES = bitat_runtime.kernel_families()


@pytest.mark.parametrize("first", [pytest.param(i * GROUP, marks=() if i < FAST else EXHAUSTIVE) for i in range(TOTAL)])
def test_random_graphs(first):
    for seed in range(first, first + GROUP):
        random = RandomGraph(seed)
        content = random.graph.content()
        expected = numpy_model.run(random.graph, random.inputs)
        assert_larq_same(content, random.inputs, expected, f"larq-compute-engine, {random.text}", "indirect")
        for fusion in FUSIONS:
            found = delegate_outputs(content, random.inputs, fusion=fusion, num_threads=1 + seed % 2)
            assert_same(found, expected, f"fusion {fusion}, {random.text}")
        for family in FAMILIES:
            found = delegate_outputs(content, random.inputs, kernel=family, num_threads=2)
            assert_same(found, expected, f"{family} kernels, {random.text}")


def test_the_random_graphs_hold_what_is_fused():
    names = []
    for seed in range(FAST * GROUP):
        interpreter, delegate = delegated(RandomGraph(seed).graph.content())
        interpreter.allocate_tensors()
        names += [step.name for step in delegate.profile()]
    for fused in (
        r"LceBconv2d\+ADD\+PRELU",
        r"\+PRELU\+ADD",
        r"\+CONCATENATION\+PRELU",
        r"LceBconv2d\+LceQuantize",
        r"^ADD\+LceQuantize",
        r"LceQuantize( x2|\+.*LceQuantize)",  # two quantizers of one tensor
    ):
        assert any(re.search(fused, name) for name in names), fused
    assert names.count("LceBconv2d") > 20


def block(strided: bool = False, batch: int = 1, channels: int = 32) -> Graph:
    """Return a block of ReActNet: a shift, a convolution, a shortcut, a PReLU, a shift, and the next quantizer with its shift.

    Its inputs are the picture and, unless it is strided, the shortcut; its output is that of a second convolution.
    """
    generator = np.random.default_rng(0)

    def normal(*shape):
        return generator.normal(size=shape).astype(np.float32)

    def convolved(bits, strides=(1, 1)):
        weights = pack(generator.random((channels, 3, 3, channels)) < 0.5)
        transform = {"multiplier": normal(channels) / 10, "bias": normal(channels)}
        return graph.bconv(bits, weights, channels_in=channels, strides=strides, **transform)

    graph = Graph()
    x = graph.input((batch, 8, 8, channels))
    shortcut = graph.average_pool(x, (2, 2), (2, 2), "SAME") if strided else graph.input((batch, 8, 8, channels))
    y = convolved(graph.quantize(graph.binary("ADD", x, graph.constant(normal(channels)))), (2, 2) if strided else (1, 1))
    y = graph.binary("ADD", y, shortcut)
    y = graph.prelu(y, normal(1, 1, channels))
    y = graph.binary("ADD", y, graph.constant(normal(1, 1, 1, channels)))
    z = convolved(graph.quantize(graph.binary("ADD", y, graph.constant(normal(channels)))))
    graph.outputs = [graph.binary("ADD", z, y)]
    return graph


def random_inputs(graph: Graph, seed: int = 0) -> list[np.ndarray]:
    generator = np.random.default_rng(seed)
    return [generator.normal(size=graph.tensors[number].shape).astype(np.float32) for number in graph.inputs]


def test_steps_of_a_block():
    """Each fusion alone, by the operators that run as one; without fusion only operators of larq-compute-engine run."""

    def steps(fusion):
        interpreter, delegate = delegated(block().content(), fusion=fusion)
        interpreter.allocate_tensors()
        return [(step.name, len(step.nodes)) for step in delegate.profile()]

    binary = [("LceQuantize", 1), ("LceBconv2d", 1), ("LceQuantize", 1), ("LceBconv2d", 1)]
    assert steps("off") == binary
    # The shift before the quantizer; shortcut, PReLU, shift, and the second quantizer with its shift; the second shortcut.
    assert [nodes for _, nodes in steps("on")] == [2, 6, 2]
    assert [nodes for _, nodes in steps("residual")] == [1, 2, 1, 2]
    assert [nodes for _, nodes in steps("quantize")][0] == 2
    assert sum(nodes for _, nodes in steps("residual,prelu")) > sum(nodes for _, nodes in steps("residual"))


@pytest.mark.parametrize("fusion", FUSIONS)
def test_a_block_resized(fusion):
    """Other batches and sizes than the file has, one interpreter."""
    interpreter, _ = delegated(block().content(), fusion=fusion, num_threads=2)
    for shape in [(1, 8, 8, 32), (3, 8, 8, 32), (2, 5, 9, 32), (1, 1, 1, 32), (1, 8, 8, 32)]:
        graph = block()
        for tensor in graph.tensors:
            if tensor.data is None:
                tensor.shape = (*shape[:3], tensor.shape[3])
        inputs = random_inputs(graph)
        assert_same(run(interpreter, inputs), numpy_model.run(graph, inputs), f"{fusion}, {shape}")


@pytest.mark.parametrize(
    "shapes", [((3, 8, 8), (1, 8, 8)), ((1, 8, 8), (3, 8, 8)), ((2, 8, 8), (2, 1, 1)), ((2, 8, 8), (2, 8, 1))]
)
def test_a_shortcut_that_is_broadcast_after_all(shapes):
    """The sizes of the file are equal, those that are run are not: a clear refusal, or the result of broadcasting."""
    graph = block()
    inputs = [np.ones((*shape, 32), np.float32) for shape in shapes]
    interpreter, _ = delegated(graph.content(), fusion="off")
    expected = run(interpreter, inputs)
    try:
        found = delegate_outputs(graph.content(), inputs)
    except RuntimeError as error:
        assert "LceBconv2d (node 2): " in str(error)  # noqa: PT017 (it need not fail)
    else:
        assert_same(found, expected, f"{shapes}")


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize("batch", [1, 2])
def test_a_shortcut_of_an_average_pooling(padding, batch):
    """Its sum may be rounded in another order: compared without a quantizer behind it."""
    generator = np.random.default_rng(0)
    for size, window, stride in [(8, 2, 2), (7, 2, 2), (9, 3, 2), (5, 3, 1), (6, 2, 1)]:
        graph = Graph()
        x = graph.input((batch, size, size + 1, 33))
        pooled = graph.average_pool(x, (window, window), (stride, stride), padding)
        weights = pack(generator.random((33, window, window, 33)) < 0.5)
        transform = {"multiplier": generator.normal(size=33).astype(np.float32), "bias": np.ones(33, np.float32)}
        y = graph.bconv(graph.quantize(x), weights, channels_in=33, strides=(stride, stride), padding=padding, **transform)
        graph.outputs = [graph.binary("ADD", y, pooled), pooled]
        inputs = random_inputs(graph)
        expected = numpy_model.run(graph, inputs)
        for fusion in ("on", "off"):
            for family in FAMILIES:
                found = delegate_outputs(graph.content(), inputs, fusion=fusion, kernel=family)
                for a, b in zip(found, expected, strict=True):
                    tolerance = 4 * np.finfo(np.float32).eps * np.maximum(np.abs(b), 4)
                    assert_close(a, b, tolerance, f"fusion {fusion}, {family}, {size} {window} {stride}")


def test_a_strided_block():
    """With the pooling in the shortcut; a value next to zero could get another sign, none does for these inputs."""
    graph = block(strided=True)
    inputs = random_inputs(graph)
    (expected,) = numpy_model.run(graph, inputs)
    for fusion in ("on", "off"):
        (found,) = delegate_outputs(graph.content(), inputs, fusion=fusion)
        assert_close(found, expected, 1e-5, f"fusion {fusion}")


def test_what_others_read_is_written():
    """Every intermediate tensor as an output of its own, alone and with others: none may be left out by a fusion."""
    graph = block()
    inputs = random_inputs(graph)
    everything = numpy_model.values(graph, inputs)
    computed = [operator.outputs[0] for operator in graph.operators]
    for exposed in [[number] for number in computed] + [computed, computed[::2], computed[1::2]]:
        graph.outputs = exposed
        found = delegate_outputs(graph.content(), inputs)
        assert_same(found, [everything[number] for number in exposed], f"outputs {exposed}")


@pytest.mark.parametrize("name", ["SUB", "MUL"])
def test_operators_that_are_not_fused_stay_where_they_are(name):
    """Between two that are: the graph is then in two parts."""
    generator = np.random.default_rng(0)
    graph = Graph()
    x = graph.input((1, 5, 5, 32))
    for _ in range(2):
        weights = pack(generator.random((32, 3, 3, 32)) < 0.5)
        transform = {"multiplier": generator.normal(size=32).astype(np.float32), "bias": np.ones(32, np.float32)}
        y = graph.bconv(graph.quantize(x), weights, channels_in=32, **transform)
        y = graph.binary(name, y, graph.constant(generator.normal(size=32).astype(np.float32)))
        x = graph.prelu(graph.binary("ADD", y, x), generator.normal(size=(1, 1, 32)).astype(np.float32))
    graph.outputs = [x]
    inputs = random_inputs(graph)
    assert_same(delegate_outputs(graph.content(), inputs), numpy_model.run(graph, inputs), name)


def test_zeros_before_a_prelu():
    """A zero of either sign is as it is, whatever the slope, and -0.0 behind a PReLU is not negative to a quantizer."""
    slopes = np.array([-0.5, 0, np.inf, np.nan] * 8, np.float32)
    graph = Graph()
    x = graph.input((1, 1, 1, 32))
    transform = {"multiplier": np.zeros(32, np.float32), "bias": np.repeat([0, -1], 16).astype(np.float32)}
    y = graph.bconv(graph.quantize(x), pack(np.zeros((32, 1, 1, 32))), channels_in=32, **transform)
    y = graph.prelu(y, slopes.reshape(1, 1, 32))
    graph.outputs = [y, graph.quantize(y)]
    inputs = [np.ones((1, 1, 1, 32), np.float32)]
    with np.errstate(invalid="ignore"):
        expected = numpy_model.run(graph, inputs)
    assert_larq_same(graph.content(), inputs, expected, "larq-compute-engine")
    for family in FAMILIES:
        for fusion in ("on", "off"):
            assert_same(
                delegate_outputs(graph.content(), inputs, kernel=family, fusion=fusion), expected, f"{family}, {fusion}"
            )


@pytest.mark.parametrize("seed", range(8))
def test_chains_without_floats(seed):
    """int8 and bits between binary operators, and all conversions at their end."""
    generator = np.random.default_rng(seed)
    channels, outputs = (int(generator.choice([3, 32, 40, 96])) for _ in range(2))
    graph = Graph()
    x = graph.input((2, 7, 6, channels), "int8", scale=0.1, zero_point=int(generator.integers(-128, 128)))
    transform = {"multiplier": generator.normal(size=outputs).astype(np.float32), "bias": np.ones(outputs, np.float32)}
    weights = pack(generator.random((outputs, 3, 3, channels)) < 0.5)
    zero_point = int(generator.integers(-20, 20))
    y = graph.bconv(
        graph.quantize(x), weights, channels_in=channels, kind="int8", scale=0.7, zero_point=zero_point, **transform
    )
    thresholds = generator.integers(0, 9 * outputs, outputs).astype(np.int32)
    weights = pack(generator.random((outputs, 3, 3, outputs)) < 0.5)
    z = graph.bconv(graph.quantize(y), weights, channels_in=outputs, kind="int32", thresholds=thresholds, pad_values=seed % 2)
    z = graph.max_pool(z, (2, 3), (2, 1), "SAME")
    again = graph.quantize(graph.dequantize(z, outputs))
    truths = graph.dequantize(z, outputs, "bool")
    graph.outputs = [y, z, again, graph.quantize(truths), truths, graph.dequantize(z, outputs, "int8", scale=0.3, zero_point=5)]
    inputs = [generator.integers(-128, 128, (2, 7, 6, channels)).astype(np.int8)]
    expected = numpy_model.run(graph, inputs)
    if seed % 2:  # larq-compute-engine has no padding of bits with zeros
        assert_larq_same(graph.content(), inputs, expected, "larq-compute-engine", "indirect")
    for family in FAMILIES:
        assert_same(delegate_outputs(graph.content(), inputs, kernel=family, num_threads=2), expected, family)
