"""What TensorFlow's converter cannot write: edits of the file afterwards, as objects of the flatbuffer schema."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from flatbuffers import flexbuffers

from bitat_tf.export.lowering.binary_steps import BinaryConvolution
from bitat_tf.export.lowering.integer_input import take_integers
from bitat_tf.export.lowering.names import SCOPE, scope
from bitat_tf.export.lowering.objects import code_of, custom_name, new_operator, readers
from bitat_tf.export.lowering.operators import STEP
from bitat_tf.export.lowering.program import Program
from bitat_tf.export.lowering.same_padding import write_out_padding
from bitat_tf.export.lowering.steps import Step
from bitat_tf.tflite_file.operators import custom_options
from bitat_tf.tflite_file.schema import schema

_NONE = -1  # an input that an operator does not have
_KERNELS = (
    schema.BuiltinOperator.FULLY_CONNECTED,
    schema.BuiltinOperator.CONV_2D,
    schema.BuiltinOperator.DEPTHWISE_CONV_2D,
    schema.BuiltinOperator.BATCH_MATMUL,
)
_UNUSED_METADATA = (b"CONVERSION_METADATA",)


def finish(model: Any, program: Program, custom: Sequence[Step], input_type: str = "float32") -> None:
    """Edit a file as the converter has written it, in place.

    Custom operators get the options and inputs that larq-compute-engine's have, tensors the names of steps, inputs and outputs
    those of the model, in its order; reshapes before fully connected layers, and constants that stand there twice, vanish.

    Args:
        model: The objects of the file.
        program: What it was written from.
        custom: The steps of the custom operators, by the number in their options.
        input_type: What the file takes for inputs that are quantized: "float32", "int8" or "uint8".
    """
    graph = model.subgraphs[0]
    _order_ends(model, graph, program)
    _shorten_names(graph, program)
    _finish_custom_operators(model, graph, custom)
    _skip_reshapes(model, graph)
    _join_borders(model, graph)
    _give_floats_where_needed(model, graph)
    write_out_padding(model, graph)
    if input_type != "float32":
        take_integers(model, graph, input_type)
    _name_ends(model, graph, program)
    model.metadata = [entry for entry in model.metadata or [] if entry.name not in _UNUSED_METADATA]
    leave_out_unused(model)


def _shorten_names(graph: Any, program: Program) -> None:
    """Name tensors after steps: of "s/add/Add;s/conv/Conv2D", two operators in one, the first is the last step, "add"."""
    for tensor in graph.tensors:
        tensor.name = tensor.name.decode(errors="replace").split(";")[0].removeprefix(SCOPE).encode()
    steps = {scope(step.name).removeprefix(SCOPE): step.name.encode() for step in program.steps()}
    taken: set[bytes] = set()
    for operator in reversed(graph.operators):
        if not len(operator.outputs):
            continue
        tensor = graph.tensors[operator.outputs[0]]
        pieces = tensor.name.decode().split("/")
        whole = ("/".join(pieces[:length]) for length in range(len(pieces), 0, -1))
        name = next((steps[one] for one in whole if one in steps), tensor.name)
        if name not in taken:  # of several operators of a step the last has its name
            taken.add(name)
            tensor.name = name


def _finish_custom_operators(model: Any, graph: Any, custom: Sequence[Step]) -> None:
    for operator in graph.operators:
        if not custom_name(model, operator).startswith("Lce"):
            continue
        options = flexbuffers.Loads(bytes(np.asarray(operator.customOptions, np.uint8)))
        step = custom[options.pop(STEP)]
        operator.customOptions = _flexbuffer(options)
        graph.tensors[operator.outputs[0]].name = step.name.encode()
        if isinstance(step, BinaryConvolution):
            inputs = np.array(operator.inputs)
            inputs[[4] if step.thresholds is None else [2, 3]] = _NONE
            operator.inputs = inputs
            for number, what in zip(inputs[1:], ("filter", "multiplier", "bias", "thresholds"), strict=True):
                if number != _NONE:
                    graph.tensors[number].name = f"{step.path}/{what}".encode()


def _flexbuffer(options: Mapping[str, int]) -> np.ndarray | None:
    return np.frombuffer(bytes(flexbuffers.Dumps(dict(options))), np.uint8) if options else None


def _skip_reshapes(model: Any, graph: Any) -> None:
    """Let fully connected layers read what is reshaped for them: they take rows of the size of their kernel anyhow."""
    written = {int(operator.outputs[0]): operator for operator in graph.operators}
    for operator in graph.operators:
        if code_of(model, operator) != schema.BuiltinOperator.FULLY_CONNECTED:
            continue
        before = written.get(int(operator.inputs[0]))
        if before is None or code_of(model, before) != schema.BuiltinOperator.RESHAPE:
            continue
        source, rows = (graph.tensors[number] for number in (before.inputs[0], before.outputs[0]))
        if len(rows.shape) == 2 and source.shape[-1] == rows.shape[-1] and not operator.builtinOptions.keepNumDims:
            operator.inputs = np.array([before.inputs[0], *operator.inputs[1:]], np.int32)
    read = readers(graph)
    graph.operators = [
        one
        for one in graph.operators
        if code_of(model, one) != schema.BuiltinOperator.RESHAPE or any(read[int(number)] for number in one.outputs)
    ]


def _join_borders(model: Any, graph: Any) -> None:
    """Let the operators on signs take and give int8 where the converter has put conversions around them."""
    writers = {int(operator.outputs[0]): operator for operator in graph.operators}
    for operator in graph.operators:
        before = writers.get(int(operator.inputs[0]))
        if custom_name(model, operator) == "LceQuantize" and before is not None:
            if code_of(model, before) == schema.BuiltinOperator.DEQUANTIZE:
                operator.inputs = np.array([before.inputs[0]], np.int32)
    for operator in graph.operators:
        if custom_name(model, operator) == "LceBconv2d":
            _give_int8(model, graph, operator)
    _leave_out_conversions(model, graph)


def _give_int8(model: Any, graph: Any, operator: Any) -> None:
    """Let a binary convolution write the int8 tensor itself where it is converted, and nothing reads its floats.

    With zeros around the picture larq-compute-engine gives floats only.
    """
    if custom_options(operator)["pad_values"] == 0:
        return
    output = int(operator.outputs[0])
    after = [one for one in graph.operators if output in one.inputs]
    if not after or output in graph.outputs or any(code_of(model, one) != schema.BuiltinOperator.QUANTIZE for one in after):
        return
    first = int(after[0].outputs[0])
    grids = {_grid(graph.tensors[int(one.outputs[0])]) for one in after}
    if len(grids) != 1 or graph.tensors[first].type != schema.TensorType.INT8:
        return
    graph.tensors[first].name = graph.tensors[output].name
    operator.outputs = np.array([first], np.int32)
    others = {int(one.outputs[0]) for one in after[1:]}
    for one in graph.operators:
        one.inputs = np.array([first if int(number) in others else number for number in one.inputs], np.int32)
    graph.outputs = np.array([first if int(number) in others else number for number in graph.outputs], np.int32)
    graph.operators = [one for one in graph.operators if not any(one is conversion for conversion in after)]


def _grid(tensor: Any) -> tuple[float, int]:
    return float(tensor.quantization.scale[0]), int(tensor.quantization.zeroPoint[0])


def _leave_out_conversions(model: Any, graph: Any) -> None:
    kinds = (schema.BuiltinOperator.QUANTIZE, schema.BuiltinOperator.DEQUANTIZE)
    count = None
    while count != len(graph.operators):
        count, read = len(graph.operators), readers(graph)
        graph.operators = [one for one in graph.operators if code_of(model, one) not in kinds or read[int(one.outputs[0])]]


def _give_floats_where_needed(model: Any, graph: Any) -> None:
    """Convert what operators take that compute with floats, and what they give.

    Float kernels that the converter makes of an einsum are given the integers themselves. Of an int8 DIV TensorFlow's
    interpreter (2.21) refuses divisors whose integer is 0, whatever that stands for.
    """
    writing = []
    for operator in graph.operators:
        code, output = code_of(model, operator), int(operator.outputs[0]) if len(operator.outputs) else _NONE
        is_int8 = output != _NONE and graph.tensors[output].type == schema.TensorType.INT8
        positions = range(2) if code == schema.BuiltinOperator.DIV and is_int8 else range(code in _KERNELS and not is_int8)
        for position in positions:
            if graph.tensors[int(operator.inputs[position])].type == schema.TensorType.INT8:
                writing.append(_dequantize(model, graph, operator, position))
        writing.append(operator)
        if code == schema.BuiltinOperator.DIV and is_int8:
            operator.outputs = np.array([_as_floats(graph, output)], np.int32)
            writing.append(new_operator(model, schema.BuiltinOperator.QUANTIZE, operator.outputs, output))
    graph.operators = writing


def _dequantize(model: Any, graph: Any, reader: Any, position: int) -> Any:
    """Return an operator that converts an input of another one, which is to take its output."""
    inputs = np.array(reader.inputs, np.int32)
    integers, inputs[position] = int(inputs[position]), _as_floats(graph, int(inputs[position]))
    reader.inputs = inputs
    return new_operator(model, schema.BuiltinOperator.DEQUANTIZE, [integers], int(inputs[position]))


def _as_floats(graph: Any, number: int) -> int:
    """Return the number of a new tensor for the values of one of integers."""
    floats = copy.copy(graph.tensors[number])
    floats.type, floats.quantization, floats.buffer = schema.TensorType.FLOAT32, None, 0
    floats.name += b"/float"
    graph.tensors.append(floats)
    return len(graph.tensors) - 1


def _order_ends(model: Any, graph: Any, program: Program) -> None:
    """Put the inputs and outputs of the file into the order of the model: the converter sorts them by its own names."""
    signature = model.signatureDefs[0]
    inputs = {end.name.decode(): int(end.tensorIndex) for end in signature.inputs}
    outputs = {end.name.decode(): int(end.tensorIndex) for end in signature.outputs}
    graph.inputs = np.array([inputs[f"input_{number}"] for number in range(len(program.sources))], np.int32)
    graph.outputs = np.array([outputs[f"output_{number}"] for number in range(len(program.outputs))], np.int32)


def _name_ends(model: Any, graph: Any, program: Program) -> None:
    signature = model.signatureDefs[0]
    names = {f"input_{number}": source.name for number, source in enumerate(program.sources)}
    for number, name in zip(graph.outputs, program.output_names, strict=True):
        graph.tensors[number].name = name.encode()
    for number, source in zip(graph.inputs, program.sources, strict=True):
        graph.tensors[number].name = source.name.encode()
    for end in signature.inputs:
        end.name = names[end.name.decode()].encode()
    for end in signature.outputs:
        end.name = program.output_names[int(end.name.decode().removeprefix("output_"))].encode()


def leave_out_unused(model: Any) -> None:
    """Leave out tensors, buffers and kinds of operators that nothing reads; let equal constants be stored once."""
    graph = model.subgraphs[0]
    ends = [*graph.inputs, *graph.outputs]
    used = {int(number) for operator in graph.operators for number in (*operator.inputs, *operator.outputs)}
    kept = sorted((used | {int(number) for number in ends}) - {_NONE})
    numbers = {old: new for new, old in enumerate(kept)} | {_NONE: _NONE}
    for operator in graph.operators:
        operator.inputs = np.array([numbers[int(one)] for one in operator.inputs], np.int32)
        operator.outputs = np.array([numbers[int(one)] for one in operator.outputs], np.int32)
    graph.inputs = np.array([numbers[int(one)] for one in graph.inputs], np.int32)
    graph.outputs = np.array([numbers[int(one)] for one in graph.outputs], np.int32)
    for signature in model.signatureDefs or []:
        for end in (*signature.inputs, *signature.outputs):
            end.tensorIndex = numbers[int(end.tensorIndex)]
    graph.tensors = [graph.tensors[number] for number in kept]
    _share_buffers(model, graph)
    _leave_out_codes(model, graph)


def _share_buffers(model: Any, graph: Any) -> None:
    """Number buffers anew: one for all tensors without constants (the first, by the format), one for each constant."""
    buffers = [model.buffers[0]]
    found: dict[bytes, int] = {}
    for holder in (*graph.tensors, *(model.metadata or [])):
        data = model.buffers[holder.buffer].data
        if data is None or not len(data):
            holder.buffer = 0
            continue
        content = np.asarray(data, np.uint8).tobytes()
        if content not in found:
            found[content] = len(buffers)
            buffers.append(model.buffers[holder.buffer])
        holder.buffer = found[content]
    model.buffers = buffers


def _leave_out_codes(model: Any, graph: Any) -> None:
    used = sorted({operator.opcodeIndex for operator in graph.operators})
    for operator in graph.operators:
        operator.opcodeIndex = used.index(operator.opcodeIndex)
    model.operatorCodes = [model.operatorCodes[number] for number in used]
