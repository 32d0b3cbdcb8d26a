"""A program as the content of a `.tflite` file, by TensorFlow's converter."""

import errno
import tempfile
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from bitat_tf._converter import converted, converter_errors, converter_message
from bitat_tf.export.lowering.finishing import finish
from bitat_tf.export.lowering.names import scope
from bitat_tf.export.lowering.operators import FileOperators
from bitat_tf.export.lowering.program import Program
from bitat_tf.export.lowering.steps import BinaryOperators
from bitat_tf.export.lowering.support import check_operators, unwritable
from bitat_tf.tflite_file.content import parse


def run(program: Program, inputs: Sequence[Any], operators: BinaryOperators) -> dict[int, Any]:
    """Compute a program.

    Args:
        program: The steps.
        inputs: A tensor of shape (batch, ...) for each of its sources.
        operators: What computes the steps on signs.

    Returns:
        The outputs of all steps, by `id`.
    """
    given = dict(zip(map(id, program.sources), inputs, strict=True))
    tensors: dict[int, Any] = {}
    for step in program.steps():
        with tf.name_scope(scope(step.name)):
            if id(step) in given:
                output = given[id(step)]
            else:
                output = step.compute(operators, *(tensors[id(one)] for one in step.inputs))
            if step.grid is not None:
                output = tf.quantization.fake_quant_with_min_max_args(output, *step.grid)
            tensors[id(step)] = output
    return tensors


def convert(program: Program, input_type: str = "float32") -> Any:
    """Return the objects of a `.tflite` file of a program.

    Args:
        program: The steps.
        input_type: What the file takes for float inputs with a grid: "float32", "int8" or "uint8".

    Raises:
        ValueError: If one of the layers has no form on the device; the message names it.
        OSError: If the temporary folder is full.
    """
    operators = FileOperators()
    errors = converter_errors()
    try:
        content = _write(program, operators)
    except errors as error:
        if str(error).startswith("to_tflite: "):  # our own, raised while the steps were traced
            raise
        layers = unwritable(program, lambda alone: _write(alone, FileOperators()), errors)
        which = f"these layers have no form on the device: {', '.join(layers)}." if layers else "the model cannot be written."
        raise ValueError(
            f"to_tflite: {which} TensorFlow's converter says: {converter_message(error).rstrip('.')}. Recurrent layers need "
            "unroll=True; others must be made of operators that TensorFlow Lite has."
        ) from error
    model = parse(content)
    if not model.signatureDefs:  # then the converter has tried a way that writes nothing, which loses names
        raise OSError(
            errno.ENOSPC,
            f"to_tflite: TensorFlow's converter could not write into the temporary folder {tempfile.gettempdir()}. It is full, "
            "or cannot be written: free some space there, or name another folder by TMPDIR",
        )
    check_operators(model, program)
    finish(model, program, operators.steps, input_type)
    return model


def _write(program: Program, operators: FileOperators) -> bytes:
    """Return a program as TensorFlow's converter writes it."""

    def network(*inputs):
        tensors = run(program, inputs, operators)
        return [tf.identity(tensors[id(output)]) for output in program.outputs]

    signature = [(source.shape, source.dtype, f"input_{number}") for number, source in enumerate(program.sources)]
    return converted(network, signature, any(step.grid is not None for step in program.steps()))
