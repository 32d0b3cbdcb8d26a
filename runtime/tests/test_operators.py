"""Files of one operator: the delegate against larq-compute-engine's interpreter and against numpy.

Every float output is the same integer sum and the same two roundings in all three, so all comparisons are bit by bit; the one
exception is larq-compute-engine's own way to correct zero padding after the fact, in its optimised kernels.
"""

import numpy as np
import numpy_model
import pytest
from engines import HAS_LARQ, assert_close, assert_larq_same, assert_same, delegate_outputs, delegated, larq_outputs, run
from lce_files import ACTIVATIONS, PADDINGS, Graph, pack
from random_operators import KINDS, Case, random_case

import bitat_runtime

GROUP = 25
TOTAL = 700
FAST = 8  # groups; the others are slow
FAMILIES = bitat_runtime.kernel_families()


def larq_kernels(case: Case) -> tuple[list[str], list[str]]:
    """Return which of larq-compute-engine's kernels give the result of a case bit by bit, and which up to rounding.

    Zero padding is not exact in its optimised kernels, nor right there where a kernel reaches over more than the image; its
    reference kernel refuses odd numbers of channels and crashes with bit-packed outputs.
    """
    if case.kind != "LceBconv2d":
        return ["reference"], []
    operator = case.graph.operators[0]
    options, (_, *kernel, width) = operator.options, case.graph.tensors[operator.inputs[1]].shape
    image = case.graph.tensors[operator.inputs[0]].shape[1:3]
    grouped = width * 32 < options["channels_in"]
    optimised = ["indirect"] if grouped else ["indirect", "default"]
    if options["padding"] == PADDINGS["VALID"] or options["pad_values"] == 1:
        return ["reference", *optimised], []
    dilations = options["dilation_height_factor"], options["dilation_width_factor"]
    fits = all((length - 1) * d + 1 <= size for length, d, size in zip(kernel, dilations, image, strict=True))
    kind = case.graph.tensors[operator.outputs[0]].type
    plain = kind == "float32" and options["fused_activation_function"] == ACTIVATIONS["NONE"]
    exact = ["reference"] if options["channels_in"] % 2 == 0 and kind != "int32" else []
    return exact, optimised if fits and plain else []


def rounding(case: Case) -> np.ndarray:
    """Return how far results that are corrected after the fact may lie from exact ones: some roundings of their parts."""
    operator = case.graph.operators[0]
    kernel, multiplier, bias = (case.graph.tensors[number].data for number in operator.inputs[1:4])
    greatest = kernel[0].size * 32 * np.abs(multiplier.astype(np.float64)) + np.abs(bias)
    return 8 * np.finfo(np.float32).eps * greatest + np.finfo(np.float32).tiny


def check(case: Case) -> None:
    """Compare numpy, larq-compute-engine's kernels, and the delegate with all its kernels on one and two threads."""
    content, resized = case.graph.content(), case.with_batch().content()
    expected = numpy_model.run(case.graph, case.inputs)
    exact, close = larq_kernels(case) if HAS_LARQ else ([], [])
    for kernel in exact:
        assert_same(larq_outputs(resized, case.inputs, kernel), expected, f"larq's {kernel} kernel and numpy, {case.text}")
    for kernel in close:
        (found,) = larq_outputs(resized, case.inputs, kernel)
        assert_close(found, expected[0], rounding(case), f"larq's {kernel} kernel and numpy, {case.text}")
    for family in FAMILIES:
        for num_threads in (1, 2):
            found = delegate_outputs(content, case.inputs, kernel=family, num_threads=num_threads)
            assert_same(found, expected, f"{family} kernels on {num_threads} threads, {case.text}")


EXHAUSTIVE = [pytest.mark.slow, pytest.mark.exhaustive]


def groups(fast: int, total: int) -> list:
    """Return the first seeds of groups, those after the first few for the slow tests."""
    return [pytest.param(first, marks=() if first < fast * GROUP else EXHAUSTIVE) for first in range(0, total, GROUP)]


@pytest.mark.parametrize("first", groups(FAST, TOTAL))
def test_random_operators(first):
    for seed in range(first, first + GROUP):
        check(random_case(seed))


@pytest.mark.parametrize("kind", KINDS)
def test_every_operator(kind):
    for seed in range(10_000, 10_010):
        check(random_case(seed, kind))


def test_cases_cover_what_they_should():
    """Over all seeds: each operator, type, padding, activation, resized files, and all of larq-compute-engine's kernels."""
    cases = [random_case(seed) for seed in range(TOTAL)]
    kinds = [case.kind for case in cases]
    assert min(kinds.count(kind) for kind in KINDS) >= 40
    assert sum(case.is_resized for case in cases) >= 50
    convolutions = [case for case in cases if case.kind == "LceBconv2d"]
    options = [case.graph.operators[0].options for case in convolutions]
    assert {(o["padding"], o["pad_values"]) for o in options} == {(p, v) for p in PADDINGS.values() for v in (0, 1)}
    assert {o["fused_activation_function"] for o in options} == {
        ACTIVATIONS[a] for a in ("NONE", "RELU", "RELU_N1_TO_1", "RELU6")
    }
    assert {case.graph.tensors[-1].type for case in convolutions} == {"float32", "int8", "int32"}
    kernels = [larq_kernels(case) for case in convolutions]
    assert sum(bool(exact) for exact, _ in kernels) >= 400
    assert sum(bool(close) for _, close in kernels) >= 10


def one_pixel(**arguments) -> tuple[Graph, np.ndarray]:
    """Return a convolution of one pixel of 32 channels, 16 of them negative; the sum is 0 for weights of one sign."""
    graph = Graph()
    x = graph.input((1, 1, 1, 1), "int32")
    outputs = len(arguments["thresholds"] if "thresholds" in arguments else arguments["multiplier"])
    weights = pack(np.zeros((outputs, 1, 1, 32)))
    graph.outputs = [graph.bconv(x, weights, channels_in=32, **arguments)]
    return graph, np.full((1, 1, 1, 1), 0xFFFF, np.int32)


def check_graph(graph: Graph, inputs, expected, text: str) -> None:
    """Compare larq-compute-engine's interpreter and the delegate with what is expected."""
    content = graph.content()
    assert_larq_same(content, inputs, [expected], f"larq-compute-engine, {text}")
    for family in FAMILIES:
        assert_same(delegate_outputs(content, inputs, kernel=family), [expected], f"{family}, {text}")


def test_thresholds_at_the_ends():
    """A bit is set where more bits differ than the threshold says; 16 of 32 differ here."""
    thresholds = np.array([-(2**31), -1, 0, 15, 16, 17, 32, 33, 2**31 - 1], np.int32)
    graph, x = one_pixel(thresholds=thresholds, kind="int32")
    check_graph(graph, [x], pack(16 > thresholds).reshape(1, 1, 1, 1), "thresholds")


def test_the_activation_of_bits_is_in_the_thresholds():
    graph, x = one_pixel(thresholds=np.array([15, 16], np.int32), kind="int32", activation="RELU")
    check_graph(graph, [x], np.array([[[[1]]]], np.int32), "an activation beside thresholds")


def test_int8_rounds_halves_away_from_zero_and_saturates():
    """From the definition of TFLite's rounding; far beyond int32 as well, where a cast would wrap around; NaN becomes 0."""
    bias = np.array(
        [0.5, -0.5, 1.5, -1.5, 2.5, 126.5, 127.5, -128.5, 1e4, -1e4, 3e9, -3e9, 1e30, np.inf, -np.inf, np.nan], np.float32
    )
    expected = np.array([1, -1, 2, -2, 3, 127, 127, -128, 127, -128, 127, -128, 127, 127, -128, 0], np.int8)
    graph, x = one_pixel(multiplier=np.zeros(len(bias), np.float32), bias=bias, kind="int8", scale=1.0)
    check_graph(graph, [x], expected.reshape(1, 1, 1, -1), "int8 rounding")


@pytest.mark.parametrize("channels", [5, 32, 300])
@pytest.mark.parametrize("zero_point", [200, 128, 127, -127, -128, -129, -300])
def test_zero_points_beyond_int8(zero_point, channels):
    graph = Graph()
    x = np.random.default_rng(0).integers(-128, 128, (2, channels)).astype(np.int8)
    graph.outputs = [graph.quantize(graph.input(x.shape, "int8", scale=0.1, zero_point=zero_point))]
    check_graph(graph, [x], pack(x.astype(int) < zero_point), f"zero point {zero_point}")


def test_the_sign_of_odd_floats():
    """Zeros of both signs and NaN count as positive; so do numbers below 2**-126, which TFLite flushes to zero.

    On several threads as well: the switch that flushes is one of each thread.
    """
    smallest = np.finfo(np.float32).smallest_normal
    odd = [0.0, -0.0, np.nan, -np.nan, np.inf, -np.inf, -1e-45, 1e-45, -1e-38, -smallest, smallest]
    x = np.tile(np.array(odd, np.float32), (1, 64, 64, 3))
    graph = Graph()
    graph.outputs = [graph.quantize(graph.input(x.shape))]
    expected = pack(np.tile([0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0], (1, 64, 64, 3)))
    check_graph(graph, [x], expected, "odd floats")
    for family in FAMILIES:
        assert_same(delegate_outputs(graph.content(), [x], kernel=family, num_threads=2), [expected], f"{family}, 2 threads")


@pytest.mark.parametrize("fusion", ["on", "off"])
@pytest.mark.parametrize("family", FAMILIES)
def test_numbers_below_the_smallest_normal_one_on_all_threads(fusion, family):
    """TFLite flushes them to zero on the thread that calls it; so must all threads, or results depend on who computes what."""
    graph = Graph()
    x = graph.input((1, 96, 96, 32))
    bits = graph.quantize(x)
    small = {"multiplier": np.zeros(32, np.float32), "bias": np.full(32, -1e-39, np.float32)}
    y = graph.bconv(bits, pack(np.zeros((32, 3, 3, 32))), channels_in=32, **small)
    slopes = np.full((1, 1, 32), 1e-3, np.float32)
    z = graph.bconv(
        bits, pack(np.zeros((32, 1, 1, 32))), channels_in=32, multiplier=small["multiplier"], bias=-slopes[0, 0] * 2e-37
    )
    graph.outputs = [bits, graph.quantize(y), graph.quantize(graph.prelu(z, slopes)), graph.prelu(z, slopes), y]
    value = np.full((1, 96, 96, 32), -1e-39, np.float32)
    expected = larq_outputs(graph.content(), [value], "indirect")
    assert not any(output.any() for output in expected)
    for _ in range(3):
        found = delegate_outputs(graph.content(), [value], kernel=family, num_threads=4, fusion=fusion)
        assert_same(found, expected, f"{family}, fusion {fusion}")


def test_infinite_and_missing_multipliers():
    """What the formula of a float output gives by IEEE's rules."""
    multiplier = np.array([np.inf, -np.inf, np.nan, 3e38, 0], np.float32)
    graph, x = one_pixel(multiplier=multiplier, bias=np.zeros(5, np.float32))
    check_graph(graph, [x], numpy_model.run(graph, [x])[0], "infinite multipliers")


@pytest.mark.parametrize("num_threads", [1, 2])
def test_multipliers_too_small_for_normal_numbers(num_threads):
    """larq-compute-engine takes them for 0; a delegate that does not may be wrong by a sum times 2**-126."""
    multiplier = np.array([1e-40, -1e-40, 2e-39, 1e-38, 2e-38], np.float32)
    graph, x = one_pixel(multiplier=multiplier, bias=np.zeros(5, np.float32))
    (expected,) = larq_outputs(graph.content(), [x])
    for family in FAMILIES:
        (found,) = delegate_outputs(graph.content(), [x], kernel=family, num_threads=num_threads)
        assert_close(found, expected, 32 * 2.0**-126, family)


@pytest.mark.parametrize("kind", ["quantize", "dequantize"])
@pytest.mark.parametrize("shape", [(40,), (2, 1, 3, 2, 40), (0, 40), (1, 0, 0, 5)])
def test_odd_shapes_of_conversions(kind, shape):
    """Rank 1 and 5, and nothing at all: larq-compute-engine takes them."""
    graph, bits = Graph(), np.random.default_rng(0).random(shape) < 0.5
    if kind == "quantize":
        x = np.where(bits, -1, 1).astype(np.float32)
        graph.outputs = [graph.quantize(graph.input(shape))]
        check_graph(graph, [x], pack(bits), f"quantize {shape}")
    else:
        packed = pack(bits)
        graph.outputs = [graph.dequantize(graph.input(packed.shape, "int32"), shape[-1])]
        check_graph(graph, [packed], np.where(bits, -1, 1).astype(np.float32), f"dequantize {shape}")


@pytest.mark.parametrize("kind", ["float32", "int8", "int32"])
@pytest.mark.parametrize("pad_values", [0, 1])
def test_large_images(kind, pad_values):
    """Of which several threads share the pixels, in pieces of different sizes."""
    generator = np.random.default_rng(0)
    for batch, height, width, channels, outputs, kernel, strides in [
        (2, 57, 61, 64, 96, (3, 3), (1, 1)),
        (1, 112, 113, 32, 40, (3, 3), (2, 2)),
        (1, 64, 33, 130, 33, (1, 1), (1, 1)),
        (3, 14, 14, 300, 290, (3, 2), (1, 1)),
        (1, 1, 3000, 40, 32, (1, 5), (1, 1)),
    ]:
        greatest = channels * kernel[0] * kernel[1]
        arguments = {"thresholds": generator.integers(0, greatest, outputs).astype(np.int32)}
        if kind != "int32":
            arguments = {"multiplier": generator.normal(size=outputs).astype(np.float32), "bias": np.ones(outputs, np.float32)}
        if kind == "int8":
            arguments["scale"] = float(np.sqrt(greatest) / 50)
        graph = Graph()
        x = graph.input((batch, height, width, -(-channels // 32)), "int32")
        weights = pack(generator.random((outputs, *kernel, channels)) < 0.5)
        geometry = {"strides": strides, "pad_values": pad_values}
        graph.outputs = [graph.bconv(x, weights, channels_in=channels, kind=kind, **geometry, **arguments)]
        bits = pack(generator.random((batch, height, width, channels)) < 0.5)
        expected = numpy_model.run(graph, [bits])
        for family in FAMILIES:
            for num_threads in (1, 2, 5):
                found = delegate_outputs(graph.content(), [bits], kernel=family, num_threads=num_threads)
                assert_same(found, expected, f"{family} on {num_threads} threads, {kind}, {(batch, height, width)}")


def test_resizing_again_and_again():
    """One interpreter with other batches and images, each as a new file of that shape would be."""
    generator = np.random.default_rng(0)
    weights = pack(generator.random((40, 3, 3, 70)) < 0.5)
    transform = {"multiplier": generator.normal(size=40).astype(np.float32), "bias": np.ones(40, np.float32)}

    def graph(shape):
        result = Graph()
        result.outputs = [result.bconv(result.quantize(result.input(shape)), weights, channels_in=70, **transform)]
        return result

    for family in FAMILIES:
        interpreter, _ = delegated(graph((1, 5, 5, 70)).content(), kernel=family, num_threads=2)
        for shape in [(1, 5, 5, 70), (4, 5, 5, 70), (2, 9, 3, 70), (1, 1, 1, 70), (3, 12, 12, 70), (1, 5, 5, 70)]:
            x = generator.normal(size=shape).astype(np.float32)
            assert_same(run(interpreter, [x]), numpy_model.run(graph(shape), [x]), f"{family}, {shape}")
            assert_same(run(interpreter, [-x]), numpy_model.run(graph(shape), [-x]), f"{family}, {shape} again")
