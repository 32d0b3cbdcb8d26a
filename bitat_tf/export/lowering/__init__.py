"""A binarized Keras model as what the device computes, by construction.

| module | what it holds |
|---|---|
| `steps` | the few kinds of steps that a network is made of |
| `expand` | a model as steps (`binary_kernel`: the kernel of a binary layer as signs and scales) |
| `constants` | constants per channel move to where they cost nothing |
| `signs` | signs skip what they make superfluous, are computed once, and are what binary convolutions write |
| `operators` | the operators on signs, in TensorFlow and in a file |
| `file` | steps computed, and written by TensorFlow's converter |
"""

from bitat_tf._keras import keras
from bitat_tf.export.lowering.constants import merge, move_shifts, sink_reshapes
from bitat_tf.export.lowering.expand import expand
from bitat_tf.export.lowering.file import convert, run
from bitat_tf.export.lowering.operators import TensorFlowOperators
from bitat_tf.export.lowering.signs import Limits, move_signs, share_signs, write_signs
from bitat_tf.export.lowering.steps import Program
from bitat_tf.graph import CallGraph

__all__ = ["Program", "TensorFlowOperators", "convert", "expand", "fold", "lower", "run"]


def lower(model: keras.Model, allow_partial: bool = False) -> Program:
    """Return a binarized model as the steps of the device, folded.

    Args:
        model: A functional or sequential model.
        allow_partial: Whether binary layers that are not binarized yet stay float.
    """
    program = expand(CallGraph(model), model.name, list(model.output_names), allow_partial)
    fold(program)
    return program


def fold(program: Program, limits: Limits | None = None) -> None:
    """Leave out of a program what the device need not compute; its outputs stay the same, to rounding.

    Args:
        program: What is changed.
        limits: Smallest and largest value of each channel of a step's output, for an int8 rest. Default: none.
    """
    merge(program)
    sink_reshapes(program)
    for _ in range(2):  # a threshold that moved may let a sign skip one step more
        move_signs(program, limits)
        merge(program)
        move_shifts(program)
        merge(program)
    write_signs(program)
    share_signs(program)
