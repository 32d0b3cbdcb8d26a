"""Reads `.tflite` files as the graphs of `lce_files`, and exposes tensors of theirs as outputs."""

from collections.abc import Sequence

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from flatbuffers import flexbuffers
from lce_files import Graph, Operator, Tensor
from tflite_writer import TYPES, serialize

_NAMES = {number: name for name, number in vars(schema.BuiltinOperator).items() if not name.startswith("_")}
_TYPE_NAMES = {number: name for name, number in TYPES.items()}


def read(content: bytes) -> Graph:
    """Return a file as a graph. Options are those of larq-compute-engine's operators; other operators have none."""
    model = parse(content)
    subgraph = model.subgraphs[0]
    graph = Graph(inputs=[int(i) for i in subgraph.inputs], outputs=[int(i) for i in subgraph.outputs])
    graph.tensors = [_tensor(tensor, model.buffers[tensor.buffer].data) for tensor in subgraph.tensors]
    for operator in subgraph.operators:
        code = model.operatorCodes[operator.opcodeIndex]
        name = code.customCode.decode() if code.customCode else _NAMES[max(code.builtinCode, code.deprecatedBuiltinCode)]
        custom = b"" if operator.customOptions is None else bytes(operator.customOptions)
        options = flexbuffers.Loads(bytearray(custom)) if name.startswith("Lce") and custom else {}
        graph.operators.append(Operator(name, [int(i) for i in operator.inputs], [int(i) for i in operator.outputs], options))
    return graph


def with_outputs(content: bytes, tensors: Sequence[int]) -> bytes:
    """Return a file with these tensors as outputs, and nothing that speaks of its former outputs."""
    model = parse(content)
    model.subgraphs[0].outputs = list(tensors)
    model.signatureDefs = None
    return serialize(model)


def parse(content: bytes) -> schema.ModelT:
    """Return the objects of a file."""
    return schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(content, 0))


def _tensor(tensor: schema.TensorT, data: np.ndarray | None) -> Tensor:
    kind = _TYPE_NAMES.get(tensor.type, "unknown")
    result = Tensor(() if tensor.shape is None else tuple(int(size) for size in tensor.shape), kind)
    if data is not None and len(data) and kind != "unknown":
        result.data = np.frombuffer(bytes(data), kind).reshape(result.shape)
    quantization = tensor.quantization
    if quantization is not None and quantization.scale is not None and len(quantization.scale) == 1:
        result.scale, result.zero_point = float(quantization.scale[0]), int(quantization.zeroPoint[0])
    return result
