"""Writes the graphs of `lce_files` as TFLite's flatbuffers, with the object API of larq-compute-engine's schema."""

from __future__ import annotations

from typing import TYPE_CHECKING

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

if TYPE_CHECKING:
    from lce_files import Graph, Operator, Tensor

BUILTINS = {
    "ADD": ("AddOptions", schema.AddOptionsT),
    "SUB": ("SubOptions", schema.SubOptionsT),
    "MUL": ("MulOptions", schema.MulOptionsT),
    "PRELU": ("NONE", None),
    "CONCATENATION": ("ConcatenationOptions", schema.ConcatenationOptionsT),
    "AVERAGE_POOL_2D": ("Pool2DOptions", schema.Pool2DOptionsT),
}
TYPES = {
    name: getattr(schema.TensorType, name.upper()) for name in ("float32", "int8", "uint8", "int32", "int64", "bool", "float16")
}
_ALIGNMENT = 16  # of buffers, as the schema demands


def to_model(graph: Graph) -> schema.ModelT:
    """Return a graph as objects of the schema."""
    codes = list(dict.fromkeys(operator.name for operator in graph.operators))
    model = schema.ModelT()
    model.version, model.description = 3, "made by a test"
    model.operatorCodes = [_code(name) for name in codes]
    model.buffers = [schema.BufferT()]
    subgraph = schema.SubGraphT()
    subgraph.name = "main"
    subgraph.tensors = [_tensor(tensor, model.buffers) for tensor in graph.tensors]
    subgraph.operators = [_operator(operator, codes.index(operator.name)) for operator in graph.operators]
    subgraph.inputs, subgraph.outputs = list(graph.inputs), list(graph.outputs)
    model.subgraphs = [subgraph]
    return model


def _code(name: str) -> schema.OperatorCodeT:
    code = schema.OperatorCodeT()
    code.version = 1
    code.builtinCode = getattr(schema.BuiltinOperator, name if name in BUILTINS else "CUSTOM")
    code.deprecatedBuiltinCode = min(code.builtinCode, 127)
    code.customCode = None if name in BUILTINS else name
    return code


def _tensor(tensor: Tensor, buffers: list[schema.BufferT]) -> schema.TensorT:
    result = schema.TensorT()
    result.shape, result.type, result.name = list(tensor.shape), TYPES[tensor.type], tensor.name
    result.shapeSignature = None if tensor.shape_signature is None else list(tensor.shape_signature)
    result.buffer = 0
    if tensor.data is not None:
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(np.ascontiguousarray(tensor.data).tobytes(), np.uint8)
        result.buffer = len(buffers)
        buffers.append(buffer)
    if tensor.scale is not None:
        result.quantization = schema.QuantizationParametersT()
        result.quantization.scale, result.quantization.zeroPoint = [tensor.scale], [tensor.zero_point]
    return result


def _operator(operator: Operator, code: int) -> schema.OperatorT:
    result = schema.OperatorT()
    result.opcodeIndex, result.inputs, result.outputs = code, list(operator.inputs), list(operator.outputs)
    if operator.is_custom:
        options = operator.custom_options()
        result.customOptions = np.frombuffer(options, np.uint8) if options else None
        return result
    type_name, kind = BUILTINS[operator.name]
    result.builtinOptionsType = getattr(schema.BuiltinOptions, type_name)
    if kind is not None:
        result.builtinOptions = kind()
        for key, value in operator.options.items():
            setattr(result.builtinOptions, key, value)
    return result


def serialize(model: schema.ModelT) -> bytes:
    """Return the bytes of a model; its buffers are aligned, which Python's generated code leaves out."""
    size = sum(0 if buffer.data is None else len(buffer.data) for buffer in model.buffers)
    builder = flatbuffers.Builder(size + 2**12)
    own = model.buffers
    model.buffers = [_AlignedBuffer(buffer) for buffer in own]
    try:
        builder.Finish(model.Pack(builder), b"TFL3")
    finally:
        model.buffers = own
    return bytes(builder.Output())


class _AlignedBuffer:
    def __init__(self, buffer: schema.BufferT):
        self._buffer = buffer

    def Pack(self, builder: flatbuffers.Builder) -> int:  # noqa: N802 (the name that the generated code calls)
        offset = None
        if self._buffer.data is not None and len(self._buffer.data):
            content = bytes(self._buffer.data)
            builder.StartVector(1, len(content), _ALIGNMENT)
            builder.head -= len(content)
            builder.Bytes[builder.head : builder.head + len(content)] = content
            offset = builder.EndVector()
        schema.BufferStart(builder)
        if offset is not None:
            schema.BufferAddData(builder, offset)
        return schema.BufferEnd(builder)
