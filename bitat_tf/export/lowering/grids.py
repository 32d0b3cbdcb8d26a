"""int8 for what is not binary: which outputs of a program get a grid of 256 values, and which one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from bitat_tf.export.lowering import steps
from bitat_tf.export.lowering.binary_steps import BinaryConvolution, MaxPool, Sign
from bitat_tf.export.lowering.file import run
from bitat_tf.export.lowering.one_grid import keeps_grid, members, origin_of_grid
from bitat_tf.export.lowering.operators import TensorFlowOperators
from bitat_tf.export.lowering.program import Program
from bitat_tf.export.lowering.steps import Affine, Clamp, KerasCall, Linear, Source, Step

LEVELS = 255
INPUT_TYPES = ("float32", "int8", "uint8")
_BATCH = 32
_LARGEST_SCALED = 2.0  # of what is not pixels 0..255
# Ranges that TFLite's int8 operators have by definition.
_FIXED_RANGES: dict[Callable, tuple[float, float]] = {
    keras.activations.softmax: (0.0, LEVELS / 256),
    keras.activations.sigmoid: (0.0, LEVELS / 256),
    tf.nn.sigmoid: (0.0, LEVELS / 256),
    keras.activations.tanh: (-1.0, 127 / 128),
    tf.nn.tanh: (-1.0, 127 / 128),
}

Ranges = Callable[[Step], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Int8Input:
    """What an int8 file takes.

    Attributes:
        takes_bytes: Whether the integers are the bytes of pictures, less 128 for int8.
        offset: What is subtracted from a pixel before the network takes it: it became the grid's zero point.
    """

    takes_bytes: bool = False
    offset: float = 0.0


def measure(program: Program, inputs: Sequence[np.ndarray]) -> Ranges:
    """Return a function that gives the smallest and the largest value of each channel of a step's output on data.

    Args:
        program: The steps as they are now.
        inputs: An array of shape (n, ...), n >= 1, for each source.
    """
    wanted = [step for step in program.steps() if len(step.shape) and _is_float(step) and not _gives_signs(step)]

    @tf.function(autograph=False)
    def reduced(*batch):
        tensors = run(program, batch, TensorFlowOperators())
        outputs = [tensors[id(step)] for step in wanted]
        axes = [list(range(output.shape.rank - 1)) for output in outputs]
        lowest = [tf.reduce_min(output, axis) for output, axis in zip(outputs, axes, strict=True)]
        return lowest, [tf.reduce_max(output, axis) for output, axis in zip(outputs, axes, strict=True)]

    count = len(inputs[0])
    found = [reduced(*(tf.constant(one[start : start + _BATCH]) for one in inputs)) for start in range(0, count, _BATCH)]
    ranges = {}
    for number, step in enumerate(wanted):
        lowest = np.min([low[number].numpy() for low, _ in found], axis=0).astype(float)
        ranges[id(step)] = lowest, np.max([high[number].numpy() for _, high in found], axis=0).astype(float)
    return lambda step: ranges[id(step)]


def place_grids(program: Program, inputs: Sequence[np.ndarray], input_type: str) -> Int8Input:
    """Give every output that the device writes as int8 a grid, in place: the range of its values on data, which holds 0.

    Args:
        program: Folded steps.
        inputs: An array of shape (n, ...) for each source.
        input_type: One of `INPUT_TYPES`.
    """
    split_affine(program)
    ranges = measure(program, inputs)
    for source, array in zip(program.sources, inputs, strict=True):
        if source.dtype.is_floating:
            source.grid = (0.0, float(LEVELS)) if are_pixels(array) else range_with_zero(*ranges(source))
    own = [step for step in program.steps() if _has_own_grid(program, step)]
    fixed = {id(step): _fixed_range(step) for step in own}
    together = members(program, own, [step for step in own if fixed[id(step)] is not None])
    for step in own:
        if not isinstance(step, Source):
            found = [range_with_zero(*ranges(member)) for member in together[id(step)]]
            step.grid = fixed[id(step)] or (min(low for low, _ in found), max(high for _, high in found))
    _clamp_by_grids(program)
    _quantize_thresholds(program, ranges)
    return _take_pixels(program, inputs, input_type)


def range_with_zero(lowest: np.ndarray, highest: np.ndarray) -> tuple[float, float]:
    """Return the range of a whole tensor, widened to hold 0 and at least a little more."""
    minimum, maximum = min(0.0, float(np.min(lowest))), max(0.0, float(np.max(highest)))
    # A tensor that is 0 everywhere needs some range: its values stay 0 under any.
    return (minimum, maximum) if maximum > minimum else (0.0, 1.0)


def are_pixels(data: np.ndarray) -> bool:
    """Return whether data are pixels 0..255: whole numbers, or beyond half of that; and not 0..1."""
    if data.min() < 0 or not _LARGEST_SCALED < data.max() <= LEVELS:
        return False
    return bool(data.max() > LEVELS / 2 or (data == np.rint(data)).all())


def split_affine(program: Program) -> None:
    """Make two steps, with a grid each, of a scale and a shift that do not become part of a float kernel."""
    for step in program.steps():
        if (
            isinstance(step, Affine)
            and step.scale is not None
            and step.shift is not None
            and not _follows_kernel(program, step)
        ):
            scaled = Affine(name=f"{step.name}/scale", inputs=step.inputs, shape=step.shape, scale=step.scale)
            step.inputs, step.scale = [scaled], None


def _gives_signs(step: Step) -> bool:
    return (
        isinstance(step, Sign)
        or (isinstance(step, BinaryConvolution) and step.thresholds is not None)
        or (isinstance(step, MaxPool) and step.of_signs)
    )


def _follows_kernel(program: Program, step: Step) -> bool:
    return isinstance(step.inputs[0], Linear) and program.only_reader(step.inputs[0]) is step


def _is_fused(program: Program, step: Step) -> bool:
    """Return whether the one step that reads another becomes part of the same operator."""
    reader = program.only_reader(step)
    if isinstance(reader, Affine):
        return isinstance(step, Linear)
    if not isinstance(reader, Clamp) or (reader.low, reader.high) not in ((0.0, np.inf), (0.0, 6.0)):
        return False
    return isinstance(step, (Linear, steps.Sum)) or (isinstance(step, Affine) and _follows_kernel(program, step))


def _only_becomes_bits(program: Program, step: Step) -> bool:
    """Return whether a binary convolution writes floats for nothing but signs without thresholds."""
    readers = program.readers()[id(step)]
    plain = all(isinstance(reader, Sign) and reader.threshold is None for reader in readers)
    return isinstance(step, BinaryConvolution) and plain and bool(readers) and not program.is_output(step)


def _has_own_grid(program: Program, step: Step) -> bool:
    """Return whether a step gets a grid that is not that of its input."""
    if not _is_float(step) or _gives_signs(step) or keeps_grid(step):
        return False
    return not _is_fused(program, step) and not _only_becomes_bits(program, step)


def _is_float(step: Step) -> bool:
    return not isinstance(step, (Source, KerasCall)) or bool(step.dtype.is_floating)


def _fixed_range(step: Step) -> tuple[float, float] | None:
    return _FIXED_RANGES.get(step.function) if isinstance(step, steps.Function) else None


def _clamp_by_grids(program: Program) -> None:
    """Let binary convolutions write the grid of the ReLU after them: what is below it is rounded up to 0."""
    for step in program.steps():
        below = step.inputs[0] if step.inputs else None
        if isinstance(step, Clamp) and step.low == 0 and step.grid is not None and isinstance(below, BinaryConvolution):
            # A grid that it shares, with a concatenation for one, may reach below 0 or above the clamp.
            if program.only_reader(below) is step and step.grid[0] == 0 and step.grid[1] <= step.high:
                below.grid = step.grid
                program.replace(step, below)


def _quantize_thresholds(program: Program, ranges: Ranges) -> None:
    for step in program.steps():
        if isinstance(step, Sign) and step.threshold is not None:
            # Half the step of what comes in: finer would hold no more, and coarser round small values to 0, whose sign is +1.
            below = origin_of_grid(step.inputs[0])
            lowest, highest = below.grid or range_with_zero(*ranges(below))
            step.step = (highest - lowest) / LEVELS / 2


def _take_pixels(program: Program, inputs: Sequence[np.ndarray], input_type: str) -> Int8Input:
    """Let the grid of a network's only input hold pixels, and take up a shift by one number that alone reads them."""
    if len(program.sources) != 1 or not program.sources[0].dtype.is_floating:
        return Int8Input()
    (source,) = program.sources
    if not are_pixels(inputs[0]):
        return Int8Input()
    first = program.only_reader(source)
    if not isinstance(first, Affine) or first.scale is not None or first.shift is None or np.ptp(first.shift):
        return Int8Input(takes_bytes=input_type != "float32")
    zero = round(-float(first.shift[0]))
    if not 0 <= zero <= LEVELS:
        return Int8Input(takes_bytes=input_type != "float32")
    # 0 must lie on the grid, so that the offset moves by up to half of a pixel's step.
    grid = float(-zero), float(LEVELS - zero)
    if input_type == "float32":
        source.grid, first.shift, first.grid = None, np.full_like(first.shift, -float(zero)), grid
        return Int8Input()
    program.replace(first, source)
    source.grid = grid
    return Int8Input(takes_bytes=True, offset=float(zero))
