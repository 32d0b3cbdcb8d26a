"""The error of the disentangled loss and its gradient, as a training step computes them (Eq. 6)."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

from keras import ops

from bitat_tf._tracing import traced_once
from bitat_tf.quantizers.functions import sign

ERRORS = ("relative", "disentangled", "original")


class Statistics(NamedTuple):
    """What the error is computed from, tensors of a `DisentangledState`.

    Attributes:
        importance: s, shape (k,).
        directions: V, shape (k, k).
        groups: Group of every input, shape (d,), int32.
        residual: Weight of errors inside a group, a scalar.
        reference: w_ref, shape (d, m).
        sensitivity: M, shape (m, m); None without cross-layer dependency.
    """

    importance: Any
    directions: Any
    groups: Any
    residual: Any
    reference: Any
    sensitivity: Any = None


@functools.cache
def weighted_error(error: str, grouped: bool, with_residual: bool) -> Callable[..., Any]:
    """Return the function (kernel, strength, statistics) -> strength * Q of one form of the loss.

    It is traced once for all kernels of a shape: a training step with the loss of every layer written out takes long to trace.
    Its matrix products cost a step nothing while the loss is not active.
    """

    @traced_once
    def value_and_gradient(kernel, strength, *tensors):
        statistics = Statistics(*tensors)

        def active():
            value, gradient = error_and_gradient(kernel, statistics, error, grouped, with_residual)
            return strength * value, strength * gradient

        def inactive():
            return ops.zeros((), "float32"), ops.zeros_like(kernel)

        return ops.cond(ops.logical_and(strength > 0, ops.any(statistics.importance > 0)), active, inactive)

    def weighted(kernel, strength, statistics):
        # As tensors, not variables, which a function of its own cannot take.
        tensors = [ops.cast(one, one.dtype) for one in (strength, *statistics) if one is not None]
        value, gradient = value_and_gradient(ops.stop_gradient(kernel), *tensors)
        # The value alone has no gradient. What is added is 0, and has the one that was computed with the value.
        step = kernel - ops.stop_gradient(kernel)
        return ops.stop_gradient(value) + ops.sum(ops.stop_gradient(gradient) * step)

    return weighted


def error_and_gradient(kernel, statistics: Statistics, error: str, grouped: bool, with_residual: bool) -> tuple[Any, Any]:
    r"""Return Q of a latent kernel of shape (d, m), of one of the kinds in `ERRORS`, and its gradient.

    With b = sign(w), D = w_ref - alpha b and the optimal alpha, which counts as a constant,

    \[ Q = \mathrm{tr}(D^T C D M), \qquad
       \frac{\partial Q}{\partial w} = -2 \, (C D M) \, \mathrm{diag}(\alpha) \, 1_{|w| \le 1} \]

    by the straight-through estimator; M is the identity without cross-layer dependency, C for "original". "relative" divides
    both by tr(w_ref^T C w_ref M).
    """
    binary, reference = sign(kernel), statistics.reference
    if error == "original":
        scale = _best_scale(ops.sum(binary * reference, axis=0), ops.sum(binary**2, axis=0))
        difference = reference - scale * binary
        value, slope = ops.sum(difference**2), difference
    else:
        metric = _Metric(statistics, grouped, with_residual)
        seen_binary, seen_reference = metric.times(binary), metric.times(reference)
        scale = _best_scale(ops.sum(seen_binary * reference, axis=0), ops.sum(seen_binary * binary, axis=0))
        difference, slope = reference - scale * binary, seen_reference - scale * seen_binary
        if statistics.sensitivity is not None:
            slope = ops.matmul(slope, statistics.sensitivity)
            seen_reference = ops.matmul(seen_reference, statistics.sensitivity)
        value = ops.sum(difference * slope)
        if error == "relative":
            energy = ops.sum(reference * seen_reference)
            value, slope = _divide(value, energy), _divide(slope, energy)
    return value, ops.where(ops.abs(kernel) <= 1.0, -2.0 * scale * slope, ops.zeros_like(kernel))


def _divide(numerator, denominator):
    """Return the quotient, 0 where the denominator is 0."""
    is_zero = denominator == 0
    return ops.where(is_zero, 0.0, numerator / ops.where(is_zero, 1.0, denominator))


def _best_scale(product, norm):
    return ops.maximum(_divide(product, norm), 0.0)


class _Metric:
    """C as a function on weights of shape (d, m): `Metric` of `bitat_tf.dependency` on tensors."""

    def __init__(self, statistics: Statistics, grouped: bool, with_residual: bool):
        self._statistics = statistics
        self._grouped = grouped
        self._with_residual = with_residual

    def times(self, weights):
        """Return C W."""
        statistics = self._statistics
        directions, importance = statistics.directions, statistics.importance
        if not self._grouped:
            return ops.matmul(directions, (importance**2)[:, None] * ops.matmul(ops.transpose(directions), weights))
        groups, size = statistics.groups, importance.shape[0]
        ones = ops.ones(groups.shape, "float32")
        counts = ops.sqrt(ops.segment_sum(ones, groups, size))[:, None]
        reduced = _divide(ops.segment_sum(weights, groups, size), counts)
        seen = ops.matmul(directions, (importance**2)[:, None] * ops.matmul(ops.transpose(directions), reduced))
        if not self._with_residual:
            return self._spread(seen, counts)
        return statistics.residual * weights + self._spread(seen - statistics.residual * reduced, counts)

    def _spread(self, reduced, counts):
        """Return what stands for the groups as rows for the inputs: the transpose of the reduction."""
        return ops.take(_divide(reduced, counts), self._statistics.groups, axis=0)
