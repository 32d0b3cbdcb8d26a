"""What TensorFlow's converter cannot write: edits of the file afterwards, as objects of the flatbuffer schema."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from flatbuffers import flexbuffers

from bitat_tf.export.lowering.operators import STEP
from bitat_tf.export.lowering.steps import BinaryConvolution, Program, Step
from bitat_tf.tflite_file.content import schema

_NONE = -1  # an input that an operator does not have
_SCOPE = "s/"  # before the names of steps
_UNUSED_METADATA = (b"CONVERSION_METADATA",)


def finish(model: Any, program: Program, custom: Sequence[Step]) -> None:
    """Edit a file as the converter has written it, in place.

    Custom operators get the options and inputs that larq-compute-engine's have, tensors the names of steps, inputs and outputs
    those of the model, in its order; reshapes before fully connected layers, and constants that stand there twice, vanish.

    Args:
        model: The objects of the file.
        program: What it was written from.
        custom: The steps of the custom operators, by the number in their options.
    """
    graph = model.subgraphs[0]
    _order_ends(model, graph, program)
    for tensor in graph.tensors:
        tensor.name = _short_name(tensor.name)
    _finish_custom_operators(model, graph, custom)
    _skip_reshapes(model, graph)
    _name_ends(model, graph, program)
    model.metadata = [entry for entry in model.metadata or [] if entry.name not in _UNUSED_METADATA]
    leave_out_unused(model)


def code_of(model: Any, operator: Any) -> int:
    """Return the builtin operator of an operator."""
    code = model.operatorCodes[operator.opcodeIndex]
    return max(code.builtinCode, code.deprecatedBuiltinCode)


def custom_name(model: Any, operator: Any) -> str:
    """Return the name of a custom operator, "" of another one."""
    return (model.operatorCodes[operator.opcodeIndex].customCode or b"").decode()


def readers(graph: Any) -> Counter[int]:
    """Return how often each tensor is read, by operators and as outputs of the file."""
    found = Counter(int(number) for operator in graph.operators for number in operator.inputs)
    found.update(int(number) for number in graph.outputs)
    return found


def _short_name(name: bytes) -> bytes:
    """Return the last step of those that a tensor is named after: "s/add;s/conv/Conv2D" stands for "add"."""
    first = name.decode(errors="replace").split(";")[0]
    return first.removeprefix(_SCOPE).encode()


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
