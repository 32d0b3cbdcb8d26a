"""Small files that the delegate runs, ways to damage them, and the check that it then refuses them."""

import dataclasses
import re

import numpy as np
import pytest
from engines import delegated
from lce_files import Graph, pack


def random_transform(channels: int) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(1)
    return {"multiplier": generator.normal(size=channels).astype(np.float32), "bias": np.ones(channels, np.float32)}


def convolution(kind: str = "float32", channels: int = 40, outputs: int = 33, padding: str = "SAME") -> Graph:
    """Return a file of a convolution, its node 1, behind a quantization."""
    generator = np.random.default_rng(0)
    graph = Graph()
    bits = graph.quantize(graph.input((1, 6, 6, channels)))
    weights = pack(generator.random((outputs, 3, 3, channels)) < 0.5)
    arguments = random_transform(outputs)
    if kind == "int32":
        arguments = {"thresholds": np.arange(outputs, dtype=np.int32)}
    elif kind == "int8":
        arguments.update(scale=0.5, zero_point=3)
    graph.outputs = [graph.bconv(bits, weights, channels_in=channels, kind=kind, padding=padding, **arguments)]
    return graph


def pooling() -> Graph:
    """Return a file of a pooling, its node 0."""
    graph = Graph()
    graph.outputs = [graph.max_pool(graph.input((1, 6, 6, 2), "int32"), (3, 3), (2, 2), "SAME")]
    return graph


def conversion(name: str, kind: str) -> Graph:
    """Return a file of an LceQuantize or LceDequantize, its node 0."""
    graph, quantization = Graph(), {"scale": 0.5, "zero_point": 3} if kind == "int8" else {}
    if name == "LceQuantize":
        graph.outputs = [graph.quantize(graph.input((1, 40), kind, **quantization))]
    else:
        graph.outputs = [graph.dequantize(graph.input((1, 2), "int32"), 40, kind, **quantization)]
    return graph


def check_refused(graph: Graph, name: str, node: int, reason: str) -> None:
    """Hold that the delegate refuses a file: its message names the operator, the node and the reason."""
    with pytest.raises((RuntimeError, ValueError)) as error:
        delegated(graph.content())[0].allocate_tensors()
    message = str(error.value)
    assert f"{name} (node {node}): " in message
    assert re.search(reason, message), message


def with_option(name: str, value: object):
    """Return a change of an option; None takes it away."""

    def change(graph: Graph) -> None:
        options = graph.operators[-1].options
        if value is None:
            del options[name]
        else:
            options[name] = value

    return change


def with_input(number: int, **fields: object):
    """Return a change of a tensor that the last operator reads."""

    def change(graph: Graph) -> None:
        operator = graph.operators[-1]
        graph.tensors[operator.inputs[number]] = dataclasses.replace(graph.tensors[operator.inputs[number]], **fields)

    return change


def with_output(**fields: object):
    """Return a change of the tensor that the last operator writes."""

    def change(graph: Graph) -> None:
        number = graph.operators[-1].outputs[0]
        graph.tensors[number] = dataclasses.replace(graph.tensors[number], **fields)

    return change


def with_values(number: int, values: np.ndarray):
    """Return a change of a constant that the last operator reads."""
    return with_input(number, data=values, shape=values.shape, type=values.dtype.name)


def with_inputs(function):
    """Return a change of the list of tensors that the last operator reads."""

    def change(graph: Graph) -> None:
        graph.operators[-1].inputs = function(graph.operators[-1].inputs)

    return change


def with_custom(function):
    """Return a change of the bytes of the custom options of the last operator."""

    def change(graph: Graph) -> None:
        graph.operators[-1].custom = function(graph.operators[-1].custom_options())

    return change
