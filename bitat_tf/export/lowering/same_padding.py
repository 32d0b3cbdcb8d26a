"""Convolutions with padding "same" that need no padding, as every interpreter computes them.

Where strides are larger than the kernel, the last window may end before the picture does. XNNPACK (in TensorFlow 2.21 and
LiteRT 1.4; not in 2.17 and 2.3) then takes a negative number of pixels for the padding, and computes something else.
"""

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np

from bitat_tf.export.lowering.objects import code_of, new_operator
from bitat_tf.tflite_file.schema import schema

_CONVOLUTIONS = (schema.BuiltinOperator.CONV_2D, schema.BuiltinOperator.DEPTHWISE_CONV_2D)


def write_out_padding(model: Any, graph: Any) -> None:
    """Let such convolutions take pictures as they are ("valid"), padded by an operator of its own where one axis needs it.

    Args:
        model: The objects of a file, changed in place.
        graph: Its subgraph.
    """
    writing = []
    for operator in graph.operators:
        if code_of(model, operator) in _CONVOLUTIONS and operator.builtinOptions.padding == schema.Padding.SAME:
            missing = _missing(graph, operator)
            if min(missing) < 0:
                operator.builtinOptions.padding = schema.Padding.VALID
                if max(missing) > 0:
                    writing.append(_pad(model, graph, operator, [max(pixels, 0) for pixels in missing]))
        writing.append(operator)
    graph.operators = writing


def _missing(graph: Any, operator: Any) -> list[int]:
    """Return by how many pixels a picture is too small along each axis; fewer than none where its end is not looked at."""
    options = operator.builtinOptions
    size, kernel = (graph.tensors[int(number)].shape[1:3] for number in operator.inputs[:2])
    strides = options.strideH, options.strideW
    dilation = options.dilationHFactor, options.dilationWFactor
    return [
        int((-(-length // stride) - 1) * stride + (taps - 1) * apart + 1 - length)
        for length, taps, stride, apart in zip(size, kernel, strides, dilation, strict=True)
    ]


def _pad(model: Any, graph: Any, reader: Any, pixels: Sequence[int]) -> Any:
    """Return an operator that pads the picture of a convolution, which is to take its output."""
    source = graph.tensors[int(reader.inputs[0])]
    pads = np.array([(0, 0), *((total // 2, total - total // 2) for total in pixels), (0, 0)], np.int32)
    padded, constant, buffer = copy.copy(source), schema.TensorT(), schema.BufferT()
    padded.name = source.name + b"/padded"
    padded.shape = np.array(source.shape, np.int32) + pads.sum(axis=1, dtype=np.int32)
    if source.shapeSignature is not None:
        padded.shapeSignature = np.array([source.shapeSignature[0], *padded.shape[1:]], np.int32)
    buffer.data = np.frombuffer(pads.tobytes(), np.uint8)
    model.buffers.append(buffer)
    constant.name, constant.type, constant.shape = (
        source.name + b"/pads",
        schema.TensorType.INT32,
        np.array(pads.shape, np.int32),
    )
    constant.buffer = len(model.buffers) - 1
    graph.tensors += [constant, padded]
    inputs, output = [int(reader.inputs[0]), len(graph.tensors) - 2], len(graph.tensors) - 1
    reader.inputs = np.array([output, *reader.inputs[1:]], np.int32)
    operator = new_operator(model, schema.BuiltinOperator.PAD, inputs, output)
    operator.builtinOptionsType, operator.builtinOptions = schema.BuiltinOptions.PadOptions, schema.PadOptionsT()
    return operator
