"""A program as the content of a `.tflite` file, by TensorFlow's converter."""

import importlib
from collections.abc import Sequence
from typing import Any

from bitat_tf._keras import tf
from bitat_tf.export.lowering.finishing import finish
from bitat_tf.export.lowering.names import scope
from bitat_tf.export.lowering.operators import FileOperators
from bitat_tf.export.lowering.program import Program
from bitat_tf.export.lowering.steps import BinaryOperators
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
        ValueError: If TensorFlow's converter knows no form on the device of one of the layers.
    """
    operators = FileOperators()

    @tf.function(autograph=False)
    def network(*inputs):
        tensors = run(program, inputs, operators)
        return [tf.identity(tensors[id(output)]) for output in program.outputs]

    signature = [
        tf.TensorSpec((None, *source.shape), source.dtype, name=f"input_{number}")
        for number, source in enumerate(program.sources)
    ]
    function = network.get_concrete_function(*signature)
    # With an object it goes through a SavedModel, which keeps the functions apart; without, they would be inlined.
    # It must know the variables, or they could not be saved, and the converter would go the other way without a word.
    holder = tf.Module()
    holder.held = list(function.graph.variables)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function], holder)
    converter.allow_custom_ops = True
    if any(step.grid is not None for step in program.steps()):
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    try:
        content = converter.convert()
    except (tf.errors.OpError, RuntimeError, ValueError, converter_error()) as error:
        raise ValueError(
            f"to_tflite: TensorFlow's converter cannot write the model {program.name!r}: {_first_line(error)}. A layer of it "
            "has no form on the device (recurrent layers need unroll=True); bitat_tf.check(model) names what it knows of."
        ) from error
    model = parse(content)
    finish(model, program, operators.steps, input_type)
    return model


def converter_error() -> type[Exception]:
    """Return the class of the converter's own errors."""
    return importlib.import_module("tensorflow.lite.python.convert").ConverterError


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return next((line for line in lines if "error:" in line), (lines or [type(error).__name__])[0])[:300]
