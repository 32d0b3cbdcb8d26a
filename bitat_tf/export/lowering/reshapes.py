"""Reshapes move behind steps per channel, where they meet and vanish, or before them, where others read what they read."""

import keras
import numpy as np

from bitat_tf.export.lowering import steps
from bitat_tf.export.lowering.binary_steps import Sign
from bitat_tf.export.lowering.program import Program
from bitat_tf.export.lowering.steps import Affine, Slope

_GLOBAL_POOLING = (keras.layers.GlobalAveragePooling2D, keras.layers.GlobalMaxPooling2D)


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


def keep_pixels(program: Program) -> None:
    """Let what is pooled over a picture and reshaped to one pixel, perhaps behind dense layers, be one pixel from the start.

    So a gate for every channel has the rank of what it multiplies: the reshape vanishes, and several samples stay apart.
    """
    for step in program.steps():
        if not isinstance(step, steps.Reshape) or len(step.shape) != 3 or step.shape[:2] != (1, 1):
            continue
        above, below = [], step.inputs[0]
        while _works_on_pixels(below) and program.only_reader(below) is not None:
            above.append(below)
            below = below.inputs[0]
        if isinstance(below, steps.KerasCall) and type(below.layer) in _GLOBAL_POOLING and len(below.shape) == 1:
            if program.only_reader(below) is None or below.layer.data_format != "channels_last":
                continue
            below.layer = type(below.layer)(data_format="channels_last", keepdims=True, dtype="float32")
            for one in (*above, below):
                one.shape = (1, 1, *one.shape)
            program.replace(step, step.inputs[0])


def _works_on_pixels(step: steps.Step) -> bool:
    """Return whether a step does for one pixel what it does for a vector."""
    if isinstance(step, steps.Function):
        return getattr(keras.activations, getattr(step.function, "__name__", ""), None) is step.function
    dense = isinstance(step, steps.Linear) and step.is_dense
    return len(step.shape) == 1 and (dense or isinstance(step, (Affine, Slope, steps.Clamp)))


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
