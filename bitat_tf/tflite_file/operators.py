"""The operators of a `.tflite` file."""

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from flatbuffers import flexbuffers

from bitat_tf._printable import printable
from bitat_tf.tflite_file.content import parse
from bitat_tf.tflite_file.macs import KERNEL_RANKS, binary_weights, count_macs
from bitat_tf.tflite_file.schema import schema

Shape = tuple[int, ...]


def _names(enumeration: type) -> dict[int, str]:
    return {value: name for name, value in vars(enumeration).items() if not name.startswith("_") and isinstance(value, int)}


_BUILTIN_NAMES = _names(schema.BuiltinOperator)
_TYPE_NAMES = {value: name.lower() for value, name in _names(schema.TensorType).items()}
_FLOAT32 = schema.TensorType.FLOAT32
_NOT_ARITHMETIC = ("SHAPE", "RANK")  # they read a tensor of any type, not its values
# With a state, or a graph of their own: a file with binary operators cannot hold them.
_NOT_RUN = ("ASSIGN_VARIABLE", "CALL", "CALL_ONCE", "IF", "READ_VARIABLE", "VAR_HANDLE", "WHILE")
_UNREADABLE_OPTIONS = (struct.error, LookupError, TypeError, ValueError, AssertionError, RecursionError, OverflowError)


@dataclass(frozen=True)
class Tensor:
    """A tensor that is computed when the file runs.

    Attributes:
        name: Its name in the file.
        type: "float32", "int8", ...; "bits" for binary values, 32 of them packed into each int32.
        shape: As in the file; of "bits", the last size counts words.
    """

    name: str
    type: str
    shape: Shape


@dataclass(frozen=True)
class Operator:
    """One operator of a file.

    Attributes:
        name: "CONV_2D", ..., or the name of a custom operator, "LceBconv2d".
        output: Name of its first output tensor.
        output_shape: Shape of that tensor.
        binary_kernel: Whether it is a float convolution or matrix product whose constant kernel holds one magnitude per output
            channel: one that should have become a binary operator.
        index: Its place in the order of execution.
        arithmetic: "binary" (larq-compute-engine's operators), "float", "int8" (16 bits among them), or "other": what handles
            shapes and indices.
        inputs, outputs: The tensors that it reads and writes; constants are not among them.
        sources: For each of `inputs` the index of the operator that computes it; -1 if the network gets it from outside.
        constants: Number of its inputs that are constant.
        parameters: Its weights; those that an earlier operator shares with it are counted there.
        constant_bytes: Bytes of its constants, counted in the same way.
        macs: Its multiply-accumulates.
    """

    name: str
    output: str
    output_shape: Shape
    binary_kernel: bool = False
    index: int = 0
    arithmetic: str = "float"
    inputs: tuple[Tensor, ...] = ()
    outputs: tuple[Tensor, ...] = ()
    sources: tuple[int, ...] = ()
    constants: int = 0
    parameters: int = 0
    constant_bytes: int = 0
    macs: int = 0


def read_operators(content: bytes) -> list[Operator]:
    """Return the operators of a `.tflite` file, in order of execution.

    Only for a file that is whole; `bitat_tf.tflite_file.inspect` takes any.

    Raises:
        ValueError: If the content is no TFLite file.
    """
    return list_operators(parse(content))


def list_operators(model: schema.ModelT) -> list[Operator]:
    """Return the operators of the first subgraph, in order of execution."""
    return list(_operators(model))


def operator_name(model: schema.ModelT, operator: schema.OperatorT) -> str:
    """Return "CONV_2D", ..., or the name of a custom operator."""
    code = model.operatorCodes[operator.opcodeIndex]
    builtin = max(code.builtinCode, code.deprecatedBuiltinCode)
    return _text(code.customCode) if code.customCode else _BUILTIN_NAMES.get(builtin, f"BUILTIN_{builtin}")


def has_form(name: str) -> bool:
    """Return whether an operator runs on the device. Custom ones do not, but for larq-compute-engine's.

    TensorFlow's converter writes what TensorFlow Lite has no operator for as a custom one, of TensorFlow's name.

    Examples:
        >>> [has_form(name) for name in ("CONV_2D", "LceBconv2d", "Erf", "WHILE")]
        [True, True, False, False]
    """
    return name.startswith("Lce") or (name in _BUILTIN_NAMES.values() and name not in _NOT_RUN)


def custom_options(operator: schema.OperatorT) -> dict[str, Any]:
    """Return the options of one of larq-compute-engine's operators; empty if it has none.

    Raises:
        ValueError: If they are not a table of names and values.
    """
    data = operator.customOptions
    if data is None or not len(data):
        return {}
    try:
        options = flexbuffers.Loads(bytearray(np.asarray(data, np.uint8).tobytes()))
    except _UNREADABLE_OPTIONS as error:
        raise ValueError(f"its options cannot be read ({type(error).__name__}: {error})") from error
    if not isinstance(options, dict):
        raise ValueError(f"its options are no table of names and values but {type(options).__name__}")
    return options


def tensor_shape(tensor: schema.TensorT) -> Shape:
    """Return the shape of a tensor; () of a scalar."""
    return () if tensor.shape is None else tuple(int(size) for size in tensor.shape)


def type_name(tensor_type: int) -> str:
    """Return "float32", "int8", ... for a type of the schema."""
    return _TYPE_NAMES.get(tensor_type, f"type {tensor_type}")


def tensor_name(tensor: schema.TensorT) -> str:
    """Return the name of a tensor; "" if it has none."""
    return _text(tensor.name)


def indices(numbers) -> list[int]:
    """Return the indices of tensors in an operator or a subgraph, which may have none."""
    return [] if numbers is None else [int(number) for number in numbers]


def _text(name: bytes | None) -> str:
    return "" if name is None else printable(name.decode(errors="replace"))


def _operators(model: schema.ModelT) -> Iterator[Operator]:
    graph = model.subgraphs[0]
    producers: dict[int, int] = {number: -1 for number in indices(graph.inputs)}
    producers |= {number: -1 for number, tensor in enumerate(graph.tensors) if tensor.isVariable}
    binary_tensors: set[int] = set()
    counted = {0}  # the first buffer is the empty one of all computed tensors
    for index, operator in enumerate(graph.operators or ()):
        name = operator_name(model, operator)
        options = _options(name, operator)
        reads, writes = indices(operator.inputs), indices(operator.outputs)
        producers |= {number: index for number in writes}
        if name.startswith("Lce") and name != "LceDequantize":
            binary_tensors |= {number for number in writes if graph.tensors[number].type == schema.TensorType.INT32}
        computed = [number for number in reads if number in producers]
        constants = [(place, number) for place, number in enumerate(reads) if number >= 0 and number not in producers]
        parameters, constant_bytes = _weights(model, graph, name, constants, options, counted)
        inputs, outputs = _tensors(graph, computed, binary_tensors), _tensors(graph, writes, binary_tensors)
        shapes = [None if number < 0 else tensor_shape(graph.tensors[number]) for number in reads]
        output_shape = outputs[0].shape if outputs else ()
        yield Operator(
            name=name,
            output=outputs[0].name if outputs else "",
            output_shape=output_shape,
            binary_kernel=_has_binary_kernel(model, graph, operator, name),
            index=index,
            arithmetic=_arithmetic(name, inputs, outputs, [type_name(graph.tensors[number].type) for _, number in constants]),
            inputs=inputs,
            outputs=outputs,
            sources=tuple(producers[number] for number in computed),
            constants=len(constants),
            parameters=parameters,
            constant_bytes=constant_bytes,
            macs=count_macs(name, shapes, output_shape, options),
        )


def _tensors(graph: schema.SubGraphT, numbers: list[int], binary_tensors: set[int]) -> tuple[Tensor, ...]:
    return tuple(
        Tensor(tensor_name(tensor), "bits" if number in binary_tensors else type_name(tensor.type), tensor_shape(tensor))
        for number, tensor in ((number, graph.tensors[number]) for number in numbers)
    )


def _options(name: str, operator: schema.OperatorT) -> dict[str, Any]:
    if name == "LceBconv2d":
        return custom_options(operator)
    if name == "BATCH_MATMUL":
        return {"adj_x": bool(getattr(operator.builtinOptions, "adjX", False))}
    return {}


def _weights(
    model, graph, name: str, constants: list[tuple[int, int]], options: Mapping[str, Any], counted: set[int]
) -> tuple[int, int]:
    """Return the number of weights among the constants of an operator, and the bytes of all of them; adds to `counted`."""
    parameters = constant_bytes = 0
    for place, number in constants:
        tensor = graph.tensors[number]
        if tensor.buffer in counted:
            continue
        counted.add(tensor.buffer)
        data = model.buffers[tensor.buffer].data
        constant_bytes += 0 if data is None else len(data)
        kind = type_name(tensor.type)
        if name == "LceBconv2d" and place == 1:
            parameters += binary_weights(tensor_shape(tensor), options["channels_in"])
        # Of int32 only biases and thresholds are weights; others are shapes, axes, paddings.
        elif kind.startswith("float") or _is_small(kind) or (kind == "int32" and name in KERNEL_RANKS and place >= 2):
            parameters += prod(tensor_shape(tensor))
    return parameters, constant_bytes


def _arithmetic(name: str, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...], constants: list[str]) -> str:
    if name.startswith("Lce"):
        return "binary"
    kinds = [tensor.type for tensor in (*outputs, *inputs)]
    # A float convolution with a kernel of int8 rounds its input and multiplies int8 values.
    if name in ("QUANTIZE", "DEQUANTIZE") or name in KERNEL_RANKS:
        kinds += constants
        if any(_is_small(kind) for kind in kinds):
            return "int8"
    if name in _NOT_ARITHMETIC or not kinds:
        return "other"
    if _is_small(kinds[0]):
        return "int8"
    return "float" if any(kind.startswith("float") for kind in kinds) else "other"


def _is_small(kind: str) -> bool:
    return kind in ("int4", "int8", "uint8", "int16")


def _has_binary_kernel(model, graph, operator, name: str) -> bool:
    if name not in ("CONV_2D", "FULLY_CONNECTED"):
        return False
    kernel = graph.tensors[operator.inputs[1]]
    data = model.buffers[kernel.buffer].data
    if kernel.type != _FLOAT32 or data is None or not len(data):
        return False
    magnitudes = np.abs(np.ascontiguousarray(data, np.uint8).view(np.float32).reshape(kernel.shape[0], -1))
    if not np.isfinite(magnitudes).all():
        return False
    # A kernel of a single weight per channel has one magnitude by nature.
    same = np.ptp(magnitudes, axis=1) <= 1e-5 * magnitudes.max(axis=1)
    return magnitudes.shape[1] > 1 and bool(same.all()) and bool((magnitudes > 0).all())
