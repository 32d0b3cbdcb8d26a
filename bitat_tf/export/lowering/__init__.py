"""A binarized Keras model as what the device computes, by construction.

| module | what it holds |
|---|---|
| `steps`, `binary_steps`, `program` | the few kinds of steps that a network is made of |
| `expand` | a model as steps (`layer_kinds`: what a Keras layer is; `binary_kernel`: a kernel as signs and scales; |
| | `float_layers`: what is not binary; `transposed`: a transposed convolution as a convolution) |
| `constants` | constants per channel move to where they cost nothing |
| `reshapes` | reshapes move behind or before what stands beside them |
| `signs` | signs skip what they make superfluous, are computed once, and are what binary convolutions write |
| `operators` | the operators on signs, in TensorFlow and in a file |
| `grids` | int8 grids for what is not binary (`one_grid`: which steps have one together) |
| `file` | steps computed, and written by TensorFlow's converter (`finishing`: what it cannot write) |
"""

from collections.abc import Callable, Sequence

import keras
import numpy as np

from bitat_tf.export.ends import output_names
from bitat_tf.export.lowering.constants import merge, move_shifts, scale_kernels
from bitat_tf.export.lowering.expand import expand
from bitat_tf.export.lowering.file import convert, run
from bitat_tf.export.lowering.grids import INPUT_TYPES, Int8Input, measure, place_grids
from bitat_tf.export.lowering.operators import TensorFlowOperators
from bitat_tf.export.lowering.program import Program
from bitat_tf.export.lowering.reshapes import change_before_reshapes, keep_pixels, sink_reshapes
from bitat_tf.export.lowering.signs import Limits, move_signs, share_signs, write_signs
from bitat_tf.model_graph import CallGraph

__all__ = [
    "INPUT_TYPES",
    "Int8Input",
    "Program",
    "TensorFlowOperators",
    "convert",
    "expand_model",
    "fold",
    "lower",
    "lower_to_int8",
    "run",
]


Measure = Callable[[Program], Limits]


def expand_model(model: keras.Model, allow_partial: bool = False) -> Program:
    """Return a binarized model as steps, as `lower` before it folds them; raises as it."""
    return expand(CallGraph(model), model.name, output_names(model), allow_partial)


def lower(model: keras.Model, allow_partial: bool = False) -> Program:
    """Return a binarized model as the steps of the device, folded.

    Args:
        model: A functional or sequential model.
        allow_partial: Whether binary layers that are not binarized yet stay float.

    Raises:
        ValueError: If a layer is not binarized, or its quantizers are no signs.
    """
    program = expand_model(model, allow_partial)
    fold(program)
    return program


def lower_to_int8(
    model: keras.Model, calibration: Sequence[np.ndarray], input_type: str = "float32"
) -> tuple[Program, Int8Input]:
    """Return a binarized model as the steps of the device, folded, with int8 grids for what is not binary.

    Args:
        model: A functional or sequential model.
        calibration: Inputs on which the ranges are measured, an array of shape (n, ...) for each input.
        input_type: What the file takes: "float32", "int8" or "uint8".

    Raises:
        ValueError: As `lower`.
    """
    program = expand_model(model)
    # The thresholds of signs stay within the ranges, or the grids would be spread over values that never come.
    fold(program, lambda current: measure(current, calibration))
    return program, place_grids(program, calibration, input_type)


def fold(program: Program, limits: Measure | None = None) -> None:
    """Leave out of a program what the device need not compute; its outputs stay the same, to rounding.

    Args:
        program: What is changed.
        limits: Gives the smallest and largest value of each channel of a step's output, for an int8 rest. Default: none.
    """
    merge(program)
    sink_reshapes(program)
    keep_pixels(program)
    for _ in range(2):  # a threshold that moved may let a sign skip one step more
        move_signs(program, None if limits is None else limits(program))
        merge(program)
        move_shifts(program)
        merge(program)
    scale_kernels(program)
    write_signs(program)
    share_signs(program)
    change_before_reshapes(program)
