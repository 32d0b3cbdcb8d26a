"""Constants per channel move to where they cost nothing: into thresholds of signs, biases, and the scales of binary kernels."""

import numpy as np

from bitat_tf.export.lowering import steps
from bitat_tf.export.lowering.binary_steps import BinaryConvolution, MaxPool, Sign
from bitat_tf.export.lowering.program import Program
from bitat_tf.export.lowering.steps import Affine, Linear, Step

_EVEN = 0.03  # of the largest scale of a tensor
_FREE = (Linear, BinaryConvolution)  # a constant that follows becomes their bias


def merge(program: Program) -> None:
    """Make one step of constants in a row, and of binary kernels and what follows them; leave out what does nothing."""
    for step in program.steps():
        if isinstance(step, Affine):
            _merge_affine(program, step)
        elif isinstance(step, steps.Clamp):
            _merge_clamp(program, step)


def _merge_affine(program: Program, step: Affine) -> None:
    (below,) = step.inputs
    scale = 1.0 if step.scale is None else step.scale
    shift = 0.0 if step.shift is None else step.shift
    if isinstance(below, Affine) and program.only_reader(below) is step:
        step.inputs = below.inputs
        shift = shift if below.shift is None else shift + scale * below.shift
        scale = scale if below.scale is None else scale * below.scale
        _set(step, scale, shift)
        _merge_affine(program, step)
    elif isinstance(below, BinaryConvolution) and below.thresholds is None and program.only_reader(below) is step:
        below.multiplier, below.bias = below.multiplier * scale, below.bias * scale + shift
        program.replace(step, below)
    else:
        _set(step, scale, shift)
        if step.scale is None and step.shift is None:
            program.replace(step, below)


def _merge_clamp(program: Program, step: steps.Clamp) -> None:
    """Make one of two clamps; let a binary kernel compute the ReLU after it: max(a c, 0) = a max(c, 0) for a >= 0."""
    (below,) = step.inputs
    if program.only_reader(below) is not step:
        return
    if isinstance(below, steps.Clamp) and below.low <= step.high and step.low <= below.high:
        step.low, step.high, step.inputs = max(step.low, below.low), min(step.high, below.high), below.inputs
    elif isinstance(below, BinaryConvolution) and not below.relu and below.thresholds is None and not below.pads_zeros:
        if (step.low, step.high) == (0.0, np.inf) and not below.bias.any() and (below.multiplier >= 0).all():
            below.relu = True
            program.replace(step, below)


def _set(step: Affine, scale: np.ndarray | float, shift: np.ndarray | float) -> None:
    channels = step.channels
    step.scale = None if np.all(np.equal(scale, 1)) else np.broadcast_to(scale, channels).astype(float)
    step.shift = None if not np.any(shift) else np.broadcast_to(shift, channels).astype(float)


def move_shifts(program: Program) -> None:
    r"""Move shifts of steps that are operators of their own: forwards into all that reads them, or backwards.

    - What is added to a tensor goes forwards, through shortcuts, poolings, concatenations and float kernels without padding,
      into everything that reads it: the threshold of a sign, \( \mathrm{sign}(x + \zeta + \beta) \), the shift of a
      normalization, a bias. It stays if one of the readers cannot take it.
    - What is left goes backwards into the bias or the shift of what is alone read by it.
    - The threshold of a sign goes backwards too.
    """
    for step in program.steps():
        if isinstance(step, Affine) and step.shift is not None and not _is_free(program, step):
            if move_forwards(program, step, step.shift):
                step.shift = None
    for step in program.steps():
        if isinstance(step, Affine) and step.shift is not None and not _is_free(program, step):
            scale = np.ones_like(step.shift) if step.scale is None else step.scale
            if _is_even(scale) and move_backwards(program, step.inputs[0], step, step.shift / scale):
                step.shift = None
    for step in program.steps():
        if isinstance(step, Sign) and step.threshold is not None:
            if move_backwards(program, step.inputs[0], step, step.threshold):
                step.threshold = None


def _is_even(scale: np.ndarray) -> bool:
    """Return whether constants may be divided by a scale: a channel of a tiny one would get a huge constant.

    That would be lost in float32, and an int8 grid for all channels would be spread over it.
    """
    return bool(np.abs(scale).min() >= _EVEN * np.abs(scale).max() > 0)


def scale_kernels(program: Program) -> None:
    """Let float kernels take up the scale of what they alone read, through a reshape too."""
    for step in program.steps():
        if not isinstance(step, Linear):
            continue
        below, reader = step.inputs[0], step
        while isinstance(below, steps.Reshape) and program.only_reader(below) is reader:
            below, reader = below.inputs[0], below  # type: ignore[assignment]
        if not isinstance(below, Affine) or below.scale is None or program.only_reader(below) is not reader:
            continue
        channels = step.inputs[0].channels
        if channels % len(below.scale) == 0 and (below.shift is None or _is_even(below.scale)):
            step.kernel = _scaled(step, np.tile(below.scale, channels // len(below.scale)))
            # scale x + shift = scale (x + shift / scale), and what is padded stays 0.
            _set(below, 1.0, 0.0 if below.shift is None else below.shift / below.scale)
            if below.shift is None:
                program.replace(below, below.inputs[0])


def _scaled(step: Linear, scale: np.ndarray) -> np.ndarray:
    """Return a float kernel for inputs that were divided by a scale for every channel."""
    if step.is_dense or step.depthwise:  # (d, units) or (height, width, channels, multiplier)
        return step.kernel * scale[:, None]
    channels, filters = step.kernel.shape[2:]
    groups = len(scale) // channels
    by_group = scale.reshape(groups, channels).T  # of the channels of a group: (channels of a group, groups)
    return step.kernel * np.repeat(by_group, filters // groups, axis=1)


def _is_free(program: Program, step: Affine) -> bool:
    """Return whether a shift is the bias of the step before."""
    return isinstance(step.inputs[0], _FREE) and program.only_reader(step.inputs[0]) is step


def move_forwards(program: Program, source: Step, shift: np.ndarray) -> bool:
    """Let everything that reads `source` expect it lower by `shift`; return False, and change nothing, if something cannot."""
    if program.is_output(source):
        return False
    lower: dict[int, np.ndarray] = {id(source): shift}
    taken: list[tuple[Affine | Sign, np.ndarray]] = []
    biases: list[tuple[Step, np.ndarray]] = []  # new ones, after float kernels
    readers = program.readers()
    for step in program.steps():
        shifts = [lower.get(id(one)) for one in step.inputs]
        if step is source or all(one is None for one in shifts):
            continue
        if isinstance(step, (Affine, Sign)) and shifts[0] is not None:
            taken.append((step, shifts[0]))
            continue
        passed = _passed_on(step, shifts)
        if passed is None:
            return False
        if isinstance(step, Linear):
            after = readers[id(step)]
            if not (len(after) == 1 and isinstance(after[0], Affine)) or program.is_output(step):
                biases.append((step, passed))
                continue
        elif program.is_output(step):
            return False
        lower[id(step)] = passed
    # A sign that had no threshold would get an addition in the place of the one that vanishes.
    if any(isinstance(step, Sign) and step.threshold is None for step, _ in taken):
        return False
    for step, constant in taken:
        if isinstance(step, Sign):
            step.threshold = constant if step.threshold is None else step.threshold + constant
        else:
            moved = constant if step.scale is None else constant * step.scale
            step.shift = moved if step.shift is None else step.shift + moved
    for step, constant in biases:
        _add_after(program, step, constant)
    return True


def _passed_on(step: Step, shifts: list[np.ndarray | None]) -> np.ndarray | None:
    """Return by how much the output of a step becomes lower where its inputs do; None if by no constant per channel."""
    if isinstance(step, steps.Sum):
        return np.sum([np.broadcast_to(shift, step.channels) for shift in shifts if shift is not None], axis=0)
    if isinstance(step, steps.Concatenation):
        pieces = zip(shifts, step.inputs, strict=True)
        return np.concatenate([np.zeros(one.channels) if shift is None else shift for shift, one in pieces])
    (shift,) = shifts if len(shifts) == 1 else (None,)
    if shift is None:
        return None
    if passes_shift(step):
        return shift
    if isinstance(step, steps.Reshape):
        # Values are kept in order: the channel is the remainder of their number.
        return np.tile(shift, step.channels // len(shift)) if step.channels % len(shift) == 0 else None
    return _through_kernel(step, shift) if isinstance(step, Linear) else None


def _through_kernel(step: Linear, shift: np.ndarray) -> np.ndarray | None:
    """Return what a float kernel makes of a constant per channel; None where zeros around make it less at the borders."""
    if step.is_dense:
        return shift @ step.kernel
    if step.padding != "valid" and step.kernel.shape[:2] != (1, 1):
        return None
    summed = step.kernel.sum(axis=(0, 1))
    if step.depthwise:  # (channels, multiplier)
        return (summed * shift[:, None]).ravel()
    groups = len(shift) // summed.shape[0]
    summed = summed.reshape(summed.shape[0], groups, -1)  # (channels of a group, group, filters)
    return np.einsum("cgf,gc->gf", summed, shift.reshape(groups, -1)).ravel()


def passes_shift(step: Step) -> bool:
    """Return whether f(x + c) = f(x) + c for constants per channel."""
    return isinstance(step, MaxPool) or (isinstance(step, (steps.KerasCall, steps.Rearranged)) and step.passes_shift)


def move_backwards(program: Program, step: Step, reader: Step, shift: np.ndarray) -> bool:
    """Raise the output of `step`, which `reader` alone reads; return False, and change nothing, if that is no gain."""
    found = _backwards(program, step, reader, shift)
    if found is None:
        return False
    for one, constant in found:
        if isinstance(one, BinaryConvolution):
            one.bias = one.bias + constant
        elif isinstance(one, Affine):
            one.shift = constant if one.shift is None else one.shift + constant
        else:
            _add_after(program, one, constant)
    return True


def can_move_backwards(program: Program, step: Step, reader: Step) -> bool:
    """Return whether the output of `step`, which `reader` alone reads, can be raised without a further operator."""
    return _backwards(program, step, reader, np.ones(step.channels)) is not None


def _backwards(program: Program, step: Step, reader: Step, shift: np.ndarray) -> list[tuple[Step, np.ndarray]] | None:
    if program.only_reader(step) is not reader or reader.inputs.count(step) != 1 or step.shape[-1:] != shift.shape:
        return None
    if isinstance(step, Linear) or (isinstance(step, BinaryConvolution) and step.thresholds is None):
        return [(step, shift)]
    if isinstance(step, Affine):
        if step.shift is not None or _is_free(program, step):
            return [(step, shift)]
        scaled = step.scale is not None and _is_even(step.scale)
        return _backwards(program, step.inputs[0], step, shift / step.scale) if scaled else None
    if isinstance(step, steps.Sum):
        found = (_backwards(program, one, step, shift) for one in step.inputs)
        return next((moves for moves in found if moves is not None), None)
    if isinstance(step, steps.Concatenation):
        ends = np.cumsum([one.channels for one in step.inputs])[:-1]
        pieces = zip(step.inputs, np.split(shift, ends), strict=True)
        found_all = [_backwards(program, one, step, piece) for one, piece in pieces]
        return None if any(one is None for one in found_all) else [move for moves in found_all for move in moves or ()]
    if isinstance(step, steps.Reshape) and step.inputs[0].channels == step.channels:
        return _backwards(program, step.inputs[0], step, shift)
    return _backwards(program, step.inputs[0], step, shift) if passes_shift(step) else None


def _add_after(program: Program, step: Step, shift: np.ndarray) -> None:
    bias = Affine(name=f"{step.name}/bias", inputs=[step], shape=step.shape, shift=shift)
    program.replace(step, bias)
