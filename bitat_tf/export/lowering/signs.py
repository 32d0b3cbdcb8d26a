"""Signs come before what they make superfluous, are computed once, and are what binary convolutions write."""

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from bitat_tf.export.lowering import steps
from bitat_tf.export.lowering.binary_steps import BinaryConvolution, MaxPool, Sign
from bitat_tf.export.lowering.constants import can_move_backwards
from bitat_tf.export.lowering.program import Program
from bitat_tf.export.lowering.steps import Affine, Step

_ALWAYS = float(np.finfo(np.float32).max)  # a threshold with which every sum is positive
_LARGEST_COUNT = 2**31 - 1
_ZERO = 1e-9  # relative to what cancels: far above the rounding of float64, far below that of float32
_INVERSES: dict[Callable, Callable[[np.ndarray], np.ndarray]] = {}

Limits = Callable[[Step], tuple[np.ndarray, np.ndarray]]


def move_signs(program: Program, limits: Limits | None = None) -> None:
    r"""Let signs skip the monotone steps that only signs read, and pool signs where only signs read a maximum.

    For a monotone f and a threshold t, f(x) >= -t just where x >= u for a number u of each channel, so that
    \( \mathrm{sign}(f(x) + t) = \mathrm{sign}(x - u) \): after a ReLU u = -t for t < 0, and the sign is always +1 for t >= 0.

    Args:
        program: What is changed.
        limits: Smallest and largest value of each channel of a step's output: thresholds go no further than the whole tensor's,
            but for those that become numbers of unlike signs. Default: none.
    """
    share_signs(program)
    changed = True
    while changed:
        changed = False
        for step in program.steps():
            readers = program.readers()[id(step)]
            signs = [reader for reader in readers if isinstance(reader, Sign)]
            if not signs or len(signs) < len(readers) or program.is_output(step):
                continue
            if isinstance(step, MaxPool) and not step.of_signs:
                for sign in signs:
                    _pool_signs(program, step, sign)
                changed = True
            elif len(step.inputs) == 1 and is_monotone(step) and _is_gain(program, step, signs, limits):
                for sign in signs:
                    sign.threshold = _threshold_before(step, sign, limits)
                    sign.inputs = list(step.inputs)
                changed = True
    share_signs(program)


def _is_gain(program: Program, step: Step, signs: list[Sign], limits: Limits | None) -> bool:
    """Return whether no sign gets a threshold, an operator of its own, in the place of a step that costs nothing."""
    without = [sign for sign in signs if sign.threshold is None]
    if isinstance(step, Affine) or all(_threshold_before(step, sign, limits) is None for sign in without):
        return True
    return can_move_backwards(program, step.inputs[0], step)


def _threshold_before(step: Step, sign: Sign, limits: Limits | None) -> np.ndarray | None:
    """Return the threshold of a sign that skips a step."""
    threshold = np.zeros(step.channels) if sign.threshold is None else sign.threshold
    bound = smallest_inputs(step, -threshold)
    new = np.where(np.isinf(bound), np.where(bound < 0, _ALWAYS, -_ALWAYS), -np.where(np.isinf(bound), 0, bound))
    below = step.inputs[0]
    if limits is not None and not (isinstance(below, BinaryConvolution) and not below.pads_zeros):
        # What lies beyond the range of the tensor is rounded to its ends by the int8 grid.
        lowest, highest = (float(edge) for edge in (np.min(limits(below)[0]), np.max(limits(below)[1])))
        margin = 0.01 * (highest - lowest) + 1e-6
        new = np.clip(new, -highest - margin, -lowest + margin)
    return new if new.any() else None


def _pool_signs(program: Program, pool: MaxPool, sign: Sign) -> None:
    below = pool.inputs[0]
    early = Sign(name=sign.name, inputs=[below], shape=below.shape, threshold=sign.threshold)
    pooled = MaxPool(
        name=f"{pool.name}/signs",
        inputs=[early],
        shape=pool.shape,
        window=pool.window,
        strides=pool.strides,
        padding=pool.padding,
        of_signs=True,
    )
    program.replace(sign, pooled)


def share_signs(program: Program) -> None:
    """Let signs of one tensor with the same thresholds be computed once."""
    found: dict[tuple[int, bytes | None], Step] = {}
    for step in program.steps():
        if isinstance(step, Sign):
            threshold = None if step.threshold is None or not step.threshold.any() else steps.as_float32(step.threshold)
            key = id(step.inputs[0]), None if threshold is None else threshold.tobytes()
            first = found.setdefault(key, step)
            if first is not step:
                program.replace(step, first)


def is_monotone(step: Step) -> bool:
    """Return whether a larger value never makes the output of a step smaller, channel by channel."""
    if isinstance(step, Affine):
        return step.scale is None or bool((step.scale >= 0).all())
    if isinstance(step, steps.Slope):
        return bool((step.slope >= 0).all())
    return isinstance(step, steps.Clamp) or (isinstance(step, steps.Function) and step.function in _INVERSES)


def smallest_inputs(step: Step, values: np.ndarray) -> np.ndarray:
    """Return the smallest x with f(x) >= value of each channel for a monotone step f; -infinity: all x, infinity: none."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        if isinstance(step, Affine):
            scale = np.ones_like(values) if step.scale is None else step.scale
            rest = values - (0 if step.shift is None else step.shift)
            return np.where(scale > 0, rest / scale, np.where(rest <= 0, -np.inf, np.inf))
        if isinstance(step, steps.Slope):
            return np.where(values > 0, values, np.where(step.slope > 0, values / step.slope, -np.inf))
        if isinstance(step, steps.Clamp):
            return np.where(values <= step.low, -np.inf, np.where(values > step.high, np.inf, values))
        if isinstance(step, steps.Function):
            return _INVERSES[step.function](values)
    raise TypeError(f"smallest_inputs: no monotone step: {type(step).__name__}.")


def _inverse_of_tanh(values: np.ndarray) -> np.ndarray:
    return np.where(values <= -1, -np.inf, np.where(values >= 1, np.inf, np.arctanh(values)))


def _inverse_of_sigmoid(values: np.ndarray) -> np.ndarray:
    return np.where(values <= 0, -np.inf, np.where(values >= 1, np.inf, np.log(values) - np.log1p(-values)))


def _inverse_of_elu(values: np.ndarray) -> np.ndarray:
    return np.where(values <= -1, -np.inf, np.where(values > 0, values, np.log1p(values)))


def _inverse_of_softplus(values: np.ndarray) -> np.ndarray:
    return np.where(values <= 0, -np.inf, values + np.log(-np.expm1(-values)))


_INVERSES.update(
    {
        keras.activations.tanh: _inverse_of_tanh,
        tf.nn.tanh: _inverse_of_tanh,
        keras.activations.sigmoid: _inverse_of_sigmoid,
        tf.nn.sigmoid: _inverse_of_sigmoid,
        keras.activations.elu: _inverse_of_elu,
        tf.nn.elu: _inverse_of_elu,
        keras.activations.softplus: _inverse_of_softplus,
        tf.nn.softplus: _inverse_of_softplus,
    }
)


def write_signs(program: Program) -> None:
    """Let binary convolutions that only one sign reads write the sign itself, by a threshold for the number of unlike signs.

    With zeros around the picture the number of signs differs from pixel to pixel: such convolutions write floats.
    """
    for step in program.binary_convolutions():
        sign = program.only_reader(step)
        if not isinstance(sign, Sign) or step.thresholds is not None:
            continue
        if step.pads_zeros:
            continue
        threshold = np.zeros(step.channels) if sign.threshold is None else sign.threshold
        step.thresholds, turned = sign_thresholds(step, threshold)
        step.kernel = np.where(turned, -step.kernel, step.kernel).astype(np.int8)
        program.replace(sign, step)


def sign_thresholds(step: BinaryConvolution, threshold: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return by how many unlike signs the sign of each filter's output falls, and for which filters the kernel is to be turned.

    The output multiplier * a(c) + bias + threshold, of c = d - 2 n for n unlike signs among d, is monotone in n, so that its
    sign changes once. Where it rises with n, the kernel with all signs turned has d - n unlike signs.

    Returns:
        Numbers, int32, shape (filters,): the sign is -1 for more unlike signs than that. And bools, shape (filters,).
    """

    def is_negative(unlike: np.ndarray) -> np.ndarray:
        values = step.scaled(step.bits - 2.0 * unlike)
        # What is 0 but for the rounding of the constants is 0, and its sign +1.
        return values + threshold < -_ZERO * (np.abs(values) + np.abs(threshold) + np.abs(step.bias))

    first, last = is_negative(np.zeros(step.channels)), is_negative(np.full(step.channels, step.bits))
    turned = first & ~last
    # The largest number of unlike signs at which the sign is still +1, by halves.
    low, high = np.zeros(step.channels, int), np.full(step.channels, step.bits)
    for _ in range(step.bits.bit_length() + 1):
        middle = (low + high + 1) // 2
        positive = ~is_negative(np.where(turned, step.bits - middle, middle))
        low, high = np.where(positive, middle, low), np.where(positive, high, np.maximum(middle - 1, low))
    thresholds = np.where(first & last, -1, np.where(~first & ~last, _LARGEST_COUNT, low))
    return thresholds.astype(np.int32), turned
