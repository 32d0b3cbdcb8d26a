"""The operators of a `.tflite` file."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from larq_compute_engine.mlir.python import tflite_schema as schema

from bitat_tf.tflite_file.content import parse

_BUILTIN_NAMES = {
    value: name for name, value in vars(schema.BuiltinOperator).items() if not name.startswith("_") and isinstance(value, int)
}
_FLOAT32 = schema.TensorType.FLOAT32


@dataclass(frozen=True)
class Operator:
    """One operator of a file.

    Attributes:
        name: "CONV_2D", ..., or the name of a custom operator, "LceBconv2d".
        output: Name of its first output tensor.
        output_shape: Shape of that tensor.
        binary_kernel: Whether it is a float convolution or matrix product whose constant kernel holds one magnitude per output
            channel: one that should have become a binary operator.
    """

    name: str
    output: str
    output_shape: tuple[int, ...]
    binary_kernel: bool = False


def read_operators(content: bytes) -> list[Operator]:
    """Return the operators of a `.tflite` file, in order of execution.

    Raises:
        ValueError: If the content is no TFLite file.
    """
    return list(_operators(parse(content)))


def _operators(model) -> Iterator[Operator]:
    graph = model.subgraphs[0]
    for operator in graph.operators:
        code = model.operatorCodes[operator.opcodeIndex]
        builtin = max(code.builtinCode, code.deprecatedBuiltinCode)
        name = code.customCode.decode() if code.customCode else _BUILTIN_NAMES.get(builtin, f"BUILTIN_{builtin}")
        output = graph.tensors[operator.outputs[0]]
        shape = () if output.shape is None else tuple(int(size) for size in output.shape)
        yield Operator(name, output.name.decode(), shape, _has_binary_kernel(model, graph, operator, name))


def _has_binary_kernel(model, graph, operator, name: str) -> bool:
    if name not in ("CONV_2D", "FULLY_CONNECTED"):
        return False
    kernel = graph.tensors[operator.inputs[1]]
    data = model.buffers[kernel.buffer].data
    if kernel.type != _FLOAT32 or data is None or not len(data):
        return False
    magnitudes = np.abs(np.asarray(data, np.uint8).view(np.float32).reshape(kernel.shape[0], -1))
    # A kernel of a single weight per channel has one magnitude by nature.
    same = np.ptp(magnitudes, axis=1) <= 1e-5 * magnitudes.max(axis=1)
    return magnitudes.shape[1] > 1 and bool(same.all()) and bool((magnitudes > 0).all())
