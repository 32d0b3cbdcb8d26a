"""The error of the disentangled loss and its gradient, as TensorFlow computes them in a training step (Eq. 6)."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import larq as lq

from bitat_tf._keras import tf

ERRORS = ("relative", "disentangled", "original")


class _Statistics(NamedTuple):
    """What the error is computed from, of a `DisentangledState`; the sensitivity has shape (0, 0) where there is none."""

    importance: tf.Tensor
    directions: tf.Tensor
    groups: tf.Tensor
    residual: tf.Tensor
    reference: tf.Tensor
    sensitivity: tf.Tensor


# Of any size, so that the rounding does not depend on which kernels came before.
_SIGNATURE = [
    tf.TensorSpec(shape, dtype)
    for shape, dtype in [
        ((None, None), tf.float32),  # kernel
        ((), tf.float32),  # strength
        ((None,), tf.float32),  # importance
        ((None, None), tf.float32),  # directions
        ((None,), tf.int32),  # groups
        ((), tf.float32),  # residual
        ((None, None), tf.float32),  # reference
        ((None, None), tf.float32),  # sensitivity
    ]
]


@functools.cache
def weighted_error(error: str, grouped: bool, with_residual: bool, cross_layer: bool) -> Callable[..., tf.Tensor]:
    """Return the function (kernel, strength, *statistics) -> strength * Q of one form of the loss.

    It is traced once, for the kernels of all layers: a training step with the loss of every layer written out takes long to
    trace. Its matrix products cost a step nothing while the loss is not active.
    """

    @tf.function(input_signature=_SIGNATURE)
    def value_and_gradient(kernel, strength, *tensors):
        statistics = _Statistics(*tensors)

        def error_and_gradient():
            with tf.GradientTape() as tape:
                tape.watch(kernel)
                value = strength * _error(kernel, statistics, error, grouped, with_residual, cross_layer)
            return value, tape.gradient(value, kernel)

        active = tf.logical_and(strength > 0, tf.reduce_any(statistics.importance > 0))
        return tf.cond(active, error_and_gradient, lambda: (tf.constant(0.0), tf.zeros_like(kernel)))

    def weighted(kernel, strength, *tensors):
        # As tensors: a function with a gradient of its own may use no variables.
        strength, *tensors = (tf.convert_to_tensor(one) for one in (strength, *tensors))

        @tf.custom_gradient
        def gated(kernel):
            # The gradient is formed with the value, so that none has to be taken through the function and its condition.
            value, gradient = value_and_gradient(*(tf.stop_gradient(one) for one in (kernel, strength, *tensors)))
            return value, lambda upstream: upstream * gradient

        return gated(kernel)

    return weighted


def _error(
    kernel: tf.Tensor, statistics: _Statistics, error: str, grouped: bool, with_residual: bool, cross_layer: bool
) -> tf.Tensor:
    """Return Q of a latent kernel of shape (d, m), of one of the kinds in `ERRORS`."""
    binary, reference = lq.quantizers.ste_sign(kernel), statistics.reference
    if error == "original":
        scale = _best_scale(tf.reduce_sum(binary * reference, axis=0), tf.reduce_sum(binary**2, axis=0))
        return tf.reduce_sum((reference - scale * binary) ** 2)

    def seen(weights):
        return _Seen(weights, statistics, grouped, with_residual)

    seen_binary, seen_reference = seen(binary), seen(reference)
    norm, product = seen_binary.inner(seen_binary), seen_binary.inner(seen_reference)
    scale = _best_scale(product, norm)
    if cross_layer:
        difference = seen(reference - scale * binary)
        q, energy = (tf.reduce_sum(part.gram() * statistics.sensitivity) for part in (difference, seen_reference))
    else:
        energy = tf.reduce_sum(seen_reference.inner(seen_reference))
        q = energy + tf.reduce_sum(scale * (scale * norm - 2 * product))
    return tf.math.divide_no_nan(q, energy) if error == "relative" else q


def _best_scale(product: tf.Tensor, norm: tf.Tensor) -> tf.Tensor:
    return tf.stop_gradient(tf.maximum(tf.math.divide_no_nan(product, norm), 0.0))


class _Seen:
    """Weights of shape (d, m) as a metric sees them: `Metric.inner` in TensorFlow."""

    def __init__(self, weights: tf.Tensor, statistics: _Statistics, grouped: bool, with_residual: bool):
        self.weights, self.grouped, self.residual = weights, weights, None
        if grouped:
            size = tf.shape(statistics.importance)[0]
            ones = tf.ones_like(statistics.groups, tf.float32)
            counts = tf.sqrt(tf.math.unsorted_segment_sum(ones, statistics.groups, size))  # a bincount XLA has not
            sums = tf.math.unsorted_segment_sum(weights, statistics.groups, size)
            self.grouped = tf.math.divide_no_nan(sums, counts[:, None])
            self.residual = statistics.residual if with_residual else None
        self.seen = statistics.importance[:, None] * tf.matmul(statistics.directions, self.grouped, transpose_a=True)

    def inner(self, other: "_Seen") -> tf.Tensor:
        """Return a^T C b of every output channel, shape (m,)."""
        product = tf.reduce_sum(self.seen * other.seen, axis=0)
        if self.residual is None:
            return product
        whole, grouped = self.weights * other.weights, self.grouped * other.grouped
        return product + self.residual * (tf.reduce_sum(whole, axis=0) - tf.reduce_sum(grouped, axis=0))

    def gram(self) -> tf.Tensor:
        """Return A^T C A, shape (m, m)."""
        gram = tf.matmul(self.seen, self.seen, transpose_a=True)
        if self.residual is None:
            return gram
        whole, grouped = (tf.matmul(part, part, transpose_a=True) for part in (self.weights, self.grouped))
        return gram + self.residual * (whole - grouped)
