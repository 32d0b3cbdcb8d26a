"""Which quantizers the converter turns into bits: what they compute, and how it is written down."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from bitat_tf._keras import tf

# Both sides of zero, zero itself, and where surrogate gradients or clipping change.
_SAMPLES = np.array([-2.0, -1.0, -0.5, -1e-3, 0.0, 1e-3, 0.5, 1.0, 2.0], np.float32)
_PASSED_ON = ("Identity", "IdentityN", "StopGradient", "PreventGradient")
# Larq's layers accept a spread of 0.5 % between the magnitudes of a channel, as the converter does.
_MAGNITUDE_TOLERANCE = 0.005


@dataclass(frozen=True)
class SignProblem:
    """Why an input quantizer does not do as a sign.

    Attributes:
        rule: Number of the rule: 1, 2 or 3.
        what: What the quantizer does.
        fused: Whether the converter takes it for a sign all the same, so that the file computes something else.
    """

    rule: int
    what: str
    fused: bool = False


def sign_problem(quantizer: Callable[[Any], Any], channels: int) -> SignProblem | None:
    """Return why larq-compute-engine would not turn an input quantizer into `LceQuantize`, or None.

    The quantizer is traced and run. Its values must be -1 and +1 (rule 3), and its graph one of the two forms that the
    converter knows: a selection between the scalars 1 and -1, or sign(sign(x) + c) (rules 1 and 2).

    Args:
        quantizer: A layer or function; a layer is built for `channels`.
        channels: Size of the last axis of its input.

    Examples:
        >>> sign_problem(lq.quantizers.SteSign(), 4) is None
        True
        >>> sign_problem(lq.quantizers.SteHeaviside(), 4).what
        'gives 0, 1 instead of -1 and +1'
    """
    quantizer = getattr(quantizer, "python_function", quantizer)  # of a tf.function, whose call would hide the operators
    samples = np.tile(_SAMPLES[None, :, None, None], (1, 1, 1, channels))
    traced = tf.function(lambda inputs: quantizer(inputs), autograph=False)
    concrete = traced.get_concrete_function(tf.TensorSpec(samples.shape, tf.float32))
    values = np.unique(
        concrete(tf.constant(samples)).numpy().astype(np.float32).round(5)
    )  # x + (1 - x) need not be 1 to the last bit
    known = _is_known_sign(_behind(tf.nest.flatten(concrete.graph.structured_outputs)[0]))
    if not set(values) <= {-1.0, 1.0}:
        shown = ", ".join(f"{value:g}" for value in values[:4]) + (", ..." if len(values) > 4 else "")
        return SignProblem(3, f"gives {shown} instead of -1 and +1", fused=known)
    if known:
        return None
    if any(operation.type == "StopGradient" for operation in concrete.graph.get_operations()):
        return SignProblem(2, "writes its straight-through gradient as x + stop_gradient(sign(x) - x)")
    return SignProblem(1, "is a sign in a form that the converter does not know")


def filter_problem(kernel: np.ndarray) -> str | None:
    """Return why a quantized kernel, output channels last, is not binary for the converter (rule 4), or None.

    Examples:
        >>> filter_problem(np.array([[1.0, -2.0], [-1.0, 2.0]])) is None
        True
        >>> filter_problem(np.array([[1.0, 0.0], [-1.0, 0.0]]))
        'output channels 1 hold zeros'
    """
    if not np.isfinite(kernel).all():
        return "the kernel holds NaN or infinite values"
    magnitudes = np.abs(kernel).reshape(-1, kernel.shape[-1])
    zeros = np.flatnonzero((magnitudes <= np.finfo(np.float32).eps).any(axis=0))  # where the converter sees a zero
    if zeros.size:
        return f"output channels {_listed(zeros)} hold zeros"
    spread = np.flatnonzero(np.ptp(magnitudes, axis=0) > _MAGNITUDE_TOLERANCE * magnitudes.max(axis=0))
    if spread.size:
        return f"the magnitudes of output channels {_listed(spread)} differ by more than 0.5 %"
    return None


def _listed(numbers: np.ndarray) -> str:
    return ", ".join(map(str, numbers[:5])) + (", ..." if len(numbers) > 5 else "")


def _behind(tensor: Any) -> Any:
    """Return the tensor that others only pass on, as they do for a gradient of one's own."""
    while tensor.op.type in _PASSED_ON:
        tensor = tensor.op.inputs[tensor.value_index]
    return tensor


def _is_known_sign(tensor: Any) -> bool:
    operation = tensor.op
    if operation.type in ("Select", "SelectV2"):
        return sorted(_scalar(branch) or 0.0 for branch in operation.inputs[1:]) == [-1.0, 1.0]
    if operation.type == "Sign":
        inner = _behind(operation.inputs[0]).op
        return inner.type == "AddV2" and any(_behind(part).op.type == "Sign" for part in inner.inputs)
    return False


def _scalar(tensor: Any) -> float | None:
    tensor = _behind(tensor)
    value = tf.get_static_value(tensor) if tensor.op.type == "Const" else None
    return float(value.reshape(())) if value is not None and value.size == 1 else None
