"""Which steps of a program have no form on the device, by what TensorFlow's converter makes of them."""

import dataclasses
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from bitat_tf.export.lowering.names import scope
from bitat_tf.export.lowering.program import Program
from bitat_tf.export.lowering.steps import Function, KerasCall, Source, Step
from bitat_tf.tflite_file.operators import has_form, operator_name


def check_operators(model: Any, program: Program) -> None:
    """Raise ValueError if a file as the converter has written it holds operators that nothing runs, naming the steps.

    Args:
        model: The objects of the file.
        program: What it was written from.
    """
    graph = model.subgraphs[0]
    scopes = sorted(((f"{scope(step.name)}/", step.name) for step in program.steps()), key=lambda one: -len(one[0]))
    # The converter gives the outputs of the file other names.
    ends = {int(end.tensorIndex): end.name.decode().removeprefix("output_") for end in model.signatureDefs[0].outputs}
    returned = {tensor: program.outputs[int(number)].name for tensor, number in ends.items()}
    found: dict[str, dict[str, None]] = {}
    for operator in graph.operators:
        name = operator_name(model, operator)
        if has_form(name):
            continue
        numbers = [int(number) for number in (*operator.outputs, *operator.inputs) if number >= 0]
        tensors = [graph.tensors[number].name.decode() for number in numbers]
        steps = [returned[number] for number in numbers if number in returned]
        steps += [step for tensor in tensors for path, step in scopes if f"{tensor}/".startswith(path)]
        found.setdefault((*steps, program.name)[0], {})[name] = None
    if found:
        layers = ", ".join(f"{step!r} ({', '.join(names)})" for step, names in found.items())
        raise ValueError(
            f"to_tflite: these layers have no form on the device: {layers}. TensorFlow Lite has no such operators, or binary "
            "files cannot hold them. Take others in their places, such as bilinear or nearest interpolation, gelu with "
            "approximate=True, poolings in two dimensions; or leave the layers out of the model and compute them around it."
        )


def unwritable(program: Program, write: Callable[[Program], Any], errors: tuple[type[Exception], ...]) -> list[str]:
    """Return the names of the Keras layers and functions that `write` cannot write even alone, with what they are.

    Args:
        program: What could not be written.
        write: What writes a program.
        errors: What it raises.
    """
    found = []
    for step in program.steps():
        if isinstance(step, (KerasCall, Function)):
            try:
                write(_alone(step))
            except errors:
                kind = type(step.layer).__name__ if isinstance(step, KerasCall) else "function"
                found.append(f"{step.name!r} ({kind})")
    return found


def _alone(step: Step) -> Program:
    sources = [
        Source(name=f"input_{number}", inputs=[], shape=one.shape, dtype=getattr(one, "dtype", tf.float32), grid=one.grid)
        for number, one in enumerate(step.inputs)
    ]
    return Program(step.name, sources, [dataclasses.replace(step, inputs=list(sources))], ["output"])
