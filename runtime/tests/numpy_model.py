"""larq-compute-engine's operators, and the float operators between them, in numpy: written from what they mean.

Bits become +1 and -1, a convolution is a sum over shifted pictures, a pooling a maximum; only the last step of a convolution,
from the exact sum to float or int8, follows larq-compute-engine's order of roundings, so that results compare bit by bit.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from lce_files import ACTIVATIONS, PADDINGS, Graph, Operator, Tensor, pack, unpack

F = np.float32
_LIMITS = {
    ACTIVATIONS["NONE"]: (-np.inf, np.inf),
    ACTIVATIONS["RELU"]: (0, np.inf),
    ACTIVATIONS["RELU_N1_TO_1"]: (-1, 1),
    ACTIVATIONS["RELU6"]: (0, 6),
}


def run(graph: Graph, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return the outputs of a graph for its inputs; their batch need not be the one of the file."""
    return [values(graph, inputs)[number] for number in graph.outputs]


def values(graph: Graph, inputs: Sequence[np.ndarray]) -> dict[int, np.ndarray]:
    """Return all tensors of a graph for its inputs."""
    found = {number: tensor.data for number, tensor in enumerate(graph.tensors) if tensor.data is not None}
    found.update(zip(graph.inputs, inputs, strict=True))
    for operator in graph.operators:
        output = result(graph, operator, found)
        tensor = graph.tensors[operator.outputs[0]]
        if output.dtype.name != tensor.type or output.shape[1:] != tensor.shape[1:]:
            raise ValueError(f"expected {tensor} of {operator}. Received: {output.dtype} of shape {output.shape}.")
        found[operator.outputs[0]] = output
    return found


def result(graph: Graph, operator: Operator, found: Mapping[int, np.ndarray]) -> np.ndarray:
    """Return the output of one operator of a graph.

    Args:
        graph: The graph.
        operator: The operator.
        found: The tensors that it reads, by their numbers; constants are taken from the graph.
    """
    arguments = [
        None if number < 0 else found[number] if number in found else graph.tensors[number].data for number in operator.inputs
    ]
    return _OPERATORS[operator.name](graph, operator, *arguments)


def signs(packed: np.ndarray, channels: int) -> np.ndarray:
    """Return the words of bits as +1 and -1."""
    return 1 - 2 * unpack(packed, channels).astype(F)


def is_negative(x: np.ndarray) -> np.ndarray:
    """Return where floats are below zero as TFLite sees it: it computes with numbers below 2**-126 taken for 0."""
    return x <= -np.finfo(F).smallest_normal if x.dtype == F else x < 0


def windows(
    image: np.ndarray, kernel: Sequence[int], options: Mapping[str, int], fill: float
) -> Iterator[tuple[tuple[int, int], np.ndarray]]:
    """Yield (row and column in the kernel, the pixels it meets: (batch, rows, columns, channels))."""
    strides = options["stride_height"], options["stride_width"]
    dilations = options.get("dilation_height_factor", 1), options.get("dilation_width_factor", 1)
    pads, sizes = [], []
    for size, length, stride, dilation in zip(image.shape[1:3], kernel, strides, dilations, strict=True):
        reach = (length - 1) * dilation + 1
        outputs = -(-size // stride) if options["padding"] == PADDINGS["SAME"] else (size + stride - reach) // stride
        missing = max((outputs - 1) * stride + reach - size, 0) if options["padding"] == PADDINGS["SAME"] else 0
        pads.append((missing // 2, missing - missing // 2))
        sizes.append(outputs)
    padded = np.pad(image, ((0, 0), *pads, (0, 0)), constant_values=fill)
    for row, column in np.ndindex(*kernel):
        top, left = row * dilations[0], column * dilations[1]
        bottom, right = top + (sizes[0] - 1) * strides[0] + 1, left + (sizes[1] - 1) * strides[1] + 1
        yield (row, column), padded[:, top : bottom : strides[0], left : right : strides[1]]


def exact_sums(packed: np.ndarray, kernel: np.ndarray, options: Mapping[str, int]) -> tuple[np.ndarray, int]:
    """Return the sums of a binary convolution, (batch, rows, columns, channels_out), and the greatest that could be."""
    channels = options["channels_in"]
    groups = packed.shape[3] // kernel.shape[3]
    each, outputs = channels // groups, kernel.shape[0] // groups
    weights = signs(kernel, each)
    total: np.ndarray | int = 0
    # Sums stay below 2**24: floats hold them exactly.
    for (row, column), pixels in windows(signs(packed, channels), kernel.shape[1:3], options, options["pad_values"]):
        parts = [
            pixels[..., group * each : (group + 1) * each] @ weights[group * outputs : (group + 1) * outputs, row, column].T
            for group in range(groups)
        ]
        total = total + np.concatenate(parts, axis=-1)
    return np.asarray(total).astype(np.int64), each * kernel.shape[1] * kernel.shape[2]


def convolution(
    graph: Graph,
    operator: Operator,
    packed: np.ndarray,
    kernel: np.ndarray,
    multiplier: np.ndarray | None,
    bias: np.ndarray | None,
    thresholds: np.ndarray | None,
) -> np.ndarray:
    """LceBconv2d."""
    output = graph.tensors[operator.outputs[0]]
    sums, greatest = exact_sums(packed, kernel, operator.options)
    if output.type == "int32":
        # The bits that differ, of `greatest`; halves where zeros stand around an odd number of channels.
        return pack((greatest - sums) / 2 > thresholds)
    low, high = _LIMITS[operator.options["fused_activation_function"]]
    clamped = np.clip(sums, max(low, -greatest), min(high, greatest))
    scale, zero = (float(F(output.scale)), output.zero_point) if output.type == "int8" else (1.0, 0)
    with np.errstate(over="ignore", invalid="ignore"):
        scaled = (-multiplier.astype(np.float64) / scale).astype(F)
        shifted = ((bias.astype(np.float64) + greatest * multiplier.astype(np.float64)) / scale + zero).astype(F)
        result = (greatest - clamped).astype(F) * scaled + shifted
    return to_int8(result) if output.type == "int8" else result


def to_int8(x: np.ndarray) -> np.ndarray:
    """Round to the nearest, halves away from zero, into the range of int8."""
    rounded = np.trunc(x.astype(np.float64) + np.copysign(0.5, x))
    return np.nan_to_num(np.clip(rounded, -128, 127)).astype(np.int8)


def quantize(graph: Graph, operator: Operator, x: np.ndarray) -> np.ndarray:
    """LceQuantize: a bit is one for a negative number and for False."""
    if x.dtype == np.bool_:
        return pack(~x)
    if x.dtype == np.int8:
        return pack(x.astype(np.int32) < graph.tensors[operator.inputs[0]].zero_point)
    return pack(is_negative(x))


def dequantize(graph: Graph, operator: Operator, packed: np.ndarray) -> np.ndarray:
    """LceDequantize."""
    output: Tensor = graph.tensors[operator.outputs[0]]
    bits = unpack(packed, output.shape[-1])
    if output.type == "bool":
        return bits == 0
    if output.type == "int8":
        step = np.trunc(F(1) / F(output.scale) + F(0.5))
        return np.clip(output.zero_point + np.where(bits == 1, -step, step), -128, 127).astype(np.int8)
    return F(1) - F(2) * bits.astype(F)


def max_pool(graph: Graph, operator: Operator, packed: np.ndarray) -> np.ndarray:
    """LceBMaxPool2d: the maximum of +1 and -1."""
    options = operator.options
    window = options["filter_height"], options["filter_width"]
    image = signs(packed, packed.shape[3] * 32)
    greatest = np.max([pixels for _, pixels in windows(image, window, options, -1)], axis=0)
    return pack(greatest < 0)


def add(graph: Graph, operator: Operator, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """ADD with its activation."""
    return _activated(operator, a + b)


def prelu(graph: Graph, operator: Operator, x: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """PRELU."""
    return np.where(x >= 0, x, x * alpha).astype(F)


def concatenate(graph: Graph, operator: Operator, *parts: np.ndarray) -> np.ndarray:
    """CONCATENATION."""
    return _activated(operator, np.concatenate(parts, axis=operator.options["axis"]))


def average_pool(graph: Graph, operator: Operator, x: np.ndarray) -> np.ndarray:
    """AVERAGE_POOL_2D: of the pixels that are there."""
    o = operator.options
    options = {"stride_height": o["strideH"], "stride_width": o["strideW"], "padding": o["padding"]}
    window = o["filterHeight"], o["filterWidth"]
    total = sum(pixels for _, pixels in windows(x, window, options, 0))
    inside = sum(pixels for _, pixels in windows(np.ones_like(x), window, options, 0))
    return (total / inside).astype(F)


def _activated(operator: Operator, x: np.ndarray) -> np.ndarray:
    return np.clip(x, *_LIMITS[operator.options["fusedActivationFunction"]]).astype(F)


_OPERATORS = {
    "LceQuantize": quantize,
    "LceDequantize": dequantize,
    "LceBconv2d": convolution,
    "LceBMaxPool2d": max_pool,
    "ADD": add,
    "SUB": lambda graph, operator, a, b: _activated(operator, a - b),
    "MUL": lambda graph, operator, a, b: _activated(operator, a * b),
    "PRELU": prelu,
    "CONCATENATION": concatenate,
    "AVERAGE_POOL_2D": average_pool,
}
