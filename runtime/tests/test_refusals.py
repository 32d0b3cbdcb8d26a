"""What the delegate cannot run it refuses when it is applied, with the operator, its node and the reason; it never crashes."""

import re

import numpy as np
import numpy_model
import pytest
import tensorflow as tf
from damage import (
    check_refused,
    conversion,
    convolution,
    pooling,
    random_transform,
    with_input,
    with_inputs,
    with_option,
    with_output,
    with_values,
)
from driven import run_all
from engines import assert_same, delegated, larq_outputs, run
from lce_files import Graph, Operator

import bitat_runtime

FLOATS = np.zeros(33, np.float32)
TENSORS = {
    "four inputs": ("float32", with_inputs(lambda inputs: inputs[:4]), "4 inputs"),
    "six inputs": ("float32", with_inputs(lambda inputs: [*inputs, -1]), "6 inputs"),
    "no inputs": ("float32", with_inputs(lambda inputs: []), "0 inputs"),
    "no input": ("float32", with_inputs(lambda inputs: [-1, *inputs[1:]]), "input.* missing"),
    "no filter": ("float32", with_inputs(lambda inputs: [inputs[0], -1, *inputs[2:]]), "missing"),
    "no multiplier": ("float32", with_inputs(lambda inputs: [*inputs[:2], -1, *inputs[3:]]), "multiplier.* missing"),
    "no bias": ("int8", with_inputs(lambda inputs: [*inputs[:3], -1, -1]), "bias.* missing"),
    "no thresholds": ("int32", with_inputs(lambda inputs: [*inputs[:4], -1]), "thresholds.* missing"),
    "output of uint8": ("float32", with_output(type="uint8"), "output"),
    "output of int64": ("int32", with_output(type="int64"), "output"),
    "int8 output without scale": ("int8", with_output(scale=None), "scale|quantiz"),
    "int8 output with scale 0": ("int8", with_output(scale=0.0), "scale"),
    "int8 output with a negative scale": ("int8", with_output(scale=-0.5), "scale"),
    "int8 output with scale NaN": ("int8", with_output(scale=float("nan")), "scale"),
    "int8 output with an infinite scale": ("int8", with_output(scale=float("inf")), "scale"),
    "float filter": ("float32", with_values(1, np.zeros((33, 3, 3, 2), np.float32)), "filter is float32"),
    "filter of rank 3": ("float32", with_values(1, np.zeros((33, 9, 2), np.int32)), "filter has the shape"),
    "filter without outputs": ("float32", with_values(1, np.zeros((0, 3, 3, 2), np.int32)), "filter"),
    "filter of too many words": ("float32", with_values(1, np.zeros((33, 3, 3, 3), np.int32)), "filter.*channels"),
    "filter of groups that do not fit": ("float32", with_values(1, np.zeros((33, 3, 3, 1), np.int32)), "groups"),
    "computed filter": ("float32", with_inputs(lambda inputs: [inputs[0], inputs[0], *inputs[2:]]), "filter"),
    "short multiplier": ("float32", with_values(2, FLOATS[:32]), "multiplier has the shape"),
    "long bias": ("float32", with_values(3, np.zeros(34, np.float32)), "bias has the shape"),
    "bias of rank 2": ("float32", with_values(3, FLOATS.reshape(33, 1)), "bias has the shape"),
    "multiplier of int32": ("float32", with_values(2, FLOATS.astype(np.int32)), "multiplier is int32"),
    "short thresholds": ("int32", with_values(4, np.zeros(32, np.int32)), "thresholds has the shape"),
    "float thresholds": ("int32", with_values(4, FLOATS), "thresholds is float32"),
}


@pytest.mark.parametrize("case", TENSORS)
def test_tensors_that_do_not_fit_a_convolution(case):
    kind, change, reason = TENSORS[case]
    graph = convolution(kind)
    change(graph)
    check_refused(graph, "LceBconv2d", 1, reason)


def test_images_of_another_rank_or_type():
    for shape in [(6, 6, 2), (1, 6, 6, 2, 1), (2,)]:
        graph = Graph()
        x = graph.input((1, 6, 6, 2), "int32")
        graph.outputs = [graph.bconv(x, np.zeros((4, 1, 1, 2), np.int32), channels_in=40, **random_transform(4))]
        graph.tensors[x].shape = shape
        check_refused(graph, "LceBconv2d", 0, "input has the shape")
        pool = pooling()
        pool.tensors[pool.inputs[0]].shape = shape
        check_refused(pool, "LceBMaxPool2d", 0, "input has the shape")
    graph = convolution()
    graph.operators[-1].inputs[0] = graph.inputs[0]  # floats instead of bits
    check_refused(graph, "LceBconv2d", 1, "input is float32")


@pytest.mark.parametrize(("channels", "outputs"), [(40, 34), (64, 33), (128, 34)])
def test_groups(channels, outputs):
    """Each needs whole words of input channels, and as many outputs as the others."""
    graph = convolution(channels=channels, outputs=outputs)
    with_values(1, np.zeros((outputs, 3, 3, 1), np.int32))(graph)
    check_refused(graph, "LceBconv2d", 1, "groups")


def test_words_of_the_input():
    """larq-compute-engine does not compare them with the channels, and reads beside the image."""
    graph = convolution(channels=40)
    graph.tensors[graph.inputs[0]].shape = (1, 6, 6, 80)
    graph.tensors[graph.operators[1].inputs[0]].shape = (1, 6, 6, 3)
    check_refused(graph, "LceBconv2d", 1, "3 words")


CONVERSIONS = {
    "quantize int32": ("LceQuantize", "float32", with_input(0, type="int32"), "input is int32"),
    "quantize without input": ("LceQuantize", "float32", with_inputs(lambda inputs: []), "0 inputs"),
    "quantize with two inputs": ("LceQuantize", "float32", with_inputs(lambda inputs: inputs * 2), "2 inputs"),
    "quantize to float": ("LceQuantize", "float32", with_output(type="float32"), "output is float32"),
    "dequantize float": ("LceDequantize", "float32", with_input(0, type="float32"), "input is float32"),
    "dequantize to int32": ("LceDequantize", "float32", with_output(type="int32"), "output is int32"),
    "dequantize int8 without scale": ("LceDequantize", "int8", with_output(scale=None), "scale|quantiz"),
    "dequantize int8 with scale 0": ("LceDequantize", "int8", with_output(scale=0.0), "scale"),
    "dequantize another rank": ("LceDequantize", "float32", with_output(shape=(1, 1, 40)), "shape"),
    "dequantize more channels": ("LceDequantize", "float32", with_output(shape=(1, 65)), "shape"),
    "dequantize fewer channels": ("LceDequantize", "float32", with_output(shape=(1, 32)), "shape"),
}


@pytest.mark.parametrize("case", CONVERSIONS)
def test_conversions_that_do_not_fit(case):
    name, kind, change, reason = CONVERSIONS[case]
    graph = conversion(name, kind)
    change(graph)
    check_refused(graph, name, 0, reason)


@pytest.mark.parametrize("name", ["LceBconv3d", "LceSomething", "Lce", "LceBmaxPool2d"])
def test_unknown_operators(name):
    graph = pooling()
    graph.operators[0].name = name
    check_refused(graph, name, 0, "not known.*LceBconv2d")


def test_other_custom_operators_are_left_to_the_interpreter():
    """Nothing is said about them by the delegate: another delegate or resolver may know them."""
    graph = convolution()
    graph.operators.append(Operator("Elsewhere", [graph.outputs[0]], [graph.add((1,))]))
    with pytest.raises((RuntimeError, ValueError), match="Elsewhere") as error:
        delegated(graph.content())[0].allocate_tensors()
    assert "(node" not in str(error.value)


def test_kernels_that_do_not_fit_without_padding():
    """Refused, or an empty result where larq-compute-engine gives one."""
    for size in (1, 2):
        graph = convolution(padding="VALID")
        graph.tensors[graph.inputs[0]].shape = (1, size, 6, 40)
        graph.tensors[graph.operators[1].inputs[0]].shape = (1, size, 6, 2)
        graph.tensors[graph.outputs[0]].shape = (1, 0, 4, 33)
        check_refused(graph, "LceBconv2d", 1, "height")


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("change", [-1, 1, None])
def test_constants_of_another_size_than_their_shape(number, change):
    """TFLite refuses them itself; without any values it takes them for computed tensors, which the delegate refuses."""
    graph = convolution()
    tensor = graph.tensors[graph.operators[1].inputs[number]]
    values = tensor.data.reshape(-1)
    tensor.data = None if change is None else values[:-1] if change < 0 else np.append(values, values[:1])
    if change is None:
        check_refused(graph, "LceBconv2d", 1, "not a constant")
    else:
        with pytest.raises((RuntimeError, ValueError)):
            delegated(graph.content())


RESIZED = [(1, 2, 6, 40), (1, 6, 1, 40), (1, 6, 6, 80), (1, 6, 40), (6, 40), (1, 1, 6, 6, 40)]


@pytest.mark.parametrize("shape", RESIZED)
def test_resized_inputs_that_do_not_fit(shape):
    """Sizes change after the delegate was applied: refused when tensors are allocated; afterwards a fitting size runs."""
    graph = convolution(padding="VALID")
    interpreter, _ = delegated(graph.content())
    x = np.random.default_rng(0).normal(size=(2, 7, 6, 40)).astype(np.float32)
    for _ in range(2):
        with pytest.raises((RuntimeError, ValueError), match=r"Lce\w+ \(node [01]\): "):
            run(interpreter, [np.zeros(shape, np.float32)])
        assert_same(run(interpreter, [x]), expected_for(graph, x), "after a size that does not fit")


def test_no_samples_are_called_so():
    """Other delegates then make shapes with sizes at random: a message about these would help nobody."""
    interpreter, _ = delegated(convolution(padding="VALID").content())
    for shape in ((0, 2, 6, 40), (0, 6, 6, 2**30)):
        with pytest.raises(
            (RuntimeError, ValueError), match=r"Lce\w+ \(node [01]\): there are no samples; resize .* to at least one"
        ):
            run(interpreter, [np.zeros(shape, np.float32)])


def expected_for(graph: Graph, x: np.ndarray) -> list[np.ndarray]:
    values = {graph.inputs[0]: x}
    for operator in graph.operators:
        values[operator.outputs[0]] = numpy_model.result(graph, operator, values)
    return [values[number] for number in graph.outputs]


def test_the_last_error_is_kept():
    delegate = bitat_runtime.delegate()
    assert delegate.last_error == ""
    graph = convolution()
    with_option("stride_width", 0)(graph)
    with pytest.raises((RuntimeError, ValueError)) as error:
        tf.lite.Interpreter(model_content=graph.content(), experimental_delegates=[delegate])
    assert delegate.last_error.startswith("LceBconv2d (node 1): ")
    assert delegate.last_error in str(error.value)


def looped(*replaced: tuple[int, int]) -> Graph:
    """Return a convolution with a PReLU and a second convolution, of which some operators read what is written later.

    Args:
        *replaced: Numbers of operators, and of the operators whose output they read.
    """
    graph = convolution(channels=32, outputs=32)
    y = graph.prelu(graph.outputs[0], np.ones((1, 1, 32), np.float32))
    weights = np.zeros((32, 3, 3, 1), np.int32)
    graph.outputs = [graph.bconv(graph.quantize(y), weights, channels_in=32, **random_transform(32))]
    for reader, writer in replaced:
        graph.operators[reader].inputs[0] = graph.operators[writer].outputs[0]
    return graph


def test_operators_that_read_what_is_written_later(tmp_path):
    """TFLite's own code, which divides the graph for a delegate, writes beside its memory for such files."""
    graphs = [looped(*replaced) for replaced in ([(0, 2)], [(0, 4)], [(2, 2)], [(2, 4)], [(0, 2), (3, 1)])]
    graphs.append(pooling())
    graphs[-1].operators[0].inputs = graphs[-1].operators[0].outputs
    for number, graph in enumerate(graphs):
        (tmp_path / f"{number}.tflite").write_bytes(graph.content())
    log = run_all(tmp_path, bitat_runtime.library_path(), [str(graph.operators) for graph in graphs])
    refused = [line for line in log if re.search(r"\d refused: .*\(node \d\): it reads tensor \d+ before", line)]
    assert len(refused) == len(graphs), log


def test_two_operators_that_write_one_tensor():
    graph = looped()
    graph.operators[4].outputs = graph.operators[1].outputs
    graph.outputs = graph.operators[1].outputs
    check_refused(graph, "LceBconv2d", 4, r"writes tensor \d+, which LceBconv2d \(node 1\) writes as well")


def test_images_of_no_size(tmp_path):
    """Nothing in, nothing out, as in larq-compute-engine."""
    graphs = []
    for shape in [(0, 3, 3, 1), (1, 0, 3, 1), (1, 3, 0, 1), (0, 0, 0, 1)]:
        for pad_values in (0, 1):
            graph = Graph()
            x = graph.input(shape, "int32")
            arguments = {"channels_in": 32, "pad_values": pad_values, **random_transform(5)}
            graph.outputs = [graph.bconv(x, np.zeros((5, 3, 3, 1), np.int32), **arguments)]
            graphs.append(graph)
        graph = Graph()
        graph.outputs = [graph.max_pool(graph.input(shape, "int32"), (2, 2), (1, 1), "SAME")]
        graphs.append(graph)
    for number, graph in enumerate(graphs):
        x = np.zeros(graph.tensors[graph.inputs[0]].shape, np.int32)
        (expected,) = larq_outputs(graph.content(), [x], "indirect")
        assert expected.shape == graph.tensors[graph.outputs[0]].shape
        (tmp_path / f"{number}.tflite").write_bytes(graph.content())
    log = run_all(tmp_path, bitat_runtime.library_path(), [f"image {graph.tensors[0].shape}" for graph in graphs])
    assert sum(line.endswith(" ran") for line in log) == len(graphs), log
