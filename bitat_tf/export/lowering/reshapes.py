"""Reshapes move behind steps per channel, where they meet and vanish, or before them, where others read what they read."""

import numpy as np

from bitat_tf.export.lowering import steps
from bitat_tf.export.lowering.binary_steps import Sign
from bitat_tf.export.lowering.program import Program
from bitat_tf.export.lowering.steps import Affine, Slope


def sink_reshapes(program: Program) -> None:
    """Let steps per channel come before a reshape that keeps the channels, and let two reshapes in a row be one, or none."""
    changed = True
    while changed:
        changed = False
        for step in program.steps():
            if not isinstance(step, steps.Reshape):
                continue
            (below,) = step.inputs
            if isinstance(below, steps.Reshape):
                step.inputs = below.inputs
                changed = True
            elif below.shape == step.shape and None not in step.shape:
                program.replace(step, below)
                changed = True
            elif below.channels == step.channels and _sink(program, step):
                changed = True


def change_before_reshapes(program: Program) -> None:
    """Let element-wise steps come before a reshape of what others read too.

    TensorFlow Lite reshapes in place, and adds in place what nobody else reads. Some releases (larq-compute-engine's, of 2.16)
    do not see that what was reshaped is still read under its first name, and overwrite it.
    """
    changed = True
    while changed:
        changed = False
        for step in program.steps():
            if isinstance(step, steps.Reshape) and len(program.readers()[id(step.inputs[0])]) > 1:
                changed = _change_before(program, step) or changed


def _change_before(program: Program, reshape: steps.Reshape) -> bool:
    reader, below = program.only_reader(reshape), reshape.inputs[0]
    if None in below.shape:
        return False
    if isinstance(reader, Sign) and reader.threshold is not None:
        shift = _before(reshape, reader.threshold)
        reshape.inputs = [Affine(name=f"{reader.name}/threshold", inputs=[below], shape=below.shape, shift=shift)]
        reader.threshold = None
        return True
    if not isinstance(reader, (Affine, steps.Clamp)):
        return False
    program.replace(reader, reshape)
    reader.inputs, reader.shape = [below], below.shape
    if isinstance(reader, Affine):
        reader.scale = None if reader.scale is None else _before(reshape, reader.scale)
        reader.shift = None if reader.shift is None else _before(reshape, reader.shift)
    reshape.inputs = [reader]
    return True


def _before(reshape: steps.Reshape, constants: np.ndarray) -> np.ndarray:
    """Return constants for every channel of a reshape's output as constants for its input: values are kept in order."""
    below = reshape.inputs[0]
    if below.channels == reshape.channels:
        return constants
    shape = [size or 0 for size in below.shape]
    return np.resize(constants, shape)  # repeats them as often as they fit


def _sink(program: Program, reshape: steps.Reshape) -> bool:
    reader = program.only_reader(reshape)
    if not isinstance(reader, (Affine, Slope, steps.Clamp)):
        return False
    below, shape = reshape.inputs[0], reshape.shape
    program.replace(reader, reshape)
    reader.inputs, reader.shape = [below], below.shape
    reshape.inputs, reshape.shape = [reader], shape
    return True
