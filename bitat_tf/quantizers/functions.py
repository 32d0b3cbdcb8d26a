"""Signs with gradients, as in Larq: functions of tensors, on any backend of Keras."""

from collections.abc import Callable

from keras import ops


def sign(x):
    r"""Return the sign of x, +1 for 0; NaN stays NaN."""
    return ops.sign(ops.sign(x) + 0.1)


def _with_gradient(function: Callable, derivative: Callable, x):
    """Return `function(x)`, whose gradient is taken to be `derivative(x, upstream)`."""

    @ops.custom_gradient
    def gated(x):
        def gradient(*args, upstream=None):  # torch passes it by name
            return derivative(x, args[0] if upstream is None else upstream)

        return function(x), gradient

    return gated(ops.cast(x, x.dtype))  # a tensor: a variable cannot pass a function with a gradient of its own


def _clipped(clip_value: float | None) -> Callable:
    """Return the straight-through gradient, that is 0 where |x| > clip_value."""
    if clip_value is None:
        return lambda x, upstream: upstream
    return lambda x, upstream: ops.where(ops.abs(x) <= clip_value, upstream, ops.zeros_like(upstream))


def ste_sign(x, clip_value: float | None = 1.0):
    r"""Sign with a straight-through gradient, as `larq.quantizers.SteSign`.

    \[ q(x) = \mathrm{sign}(x), \quad \mathrm{sign}(0) = +1, \qquad \frac{\partial q}{\partial x} = 1_{|x| \le c} \]

    Args:
        x: A float tensor.
        clip_value: c; None for a gradient of 1 everywhere. Default 1.

    Examples:
        >>> np.asarray(ste_sign(keras.ops.array([-0.5, 0.0, 2.0])))
        array([-1.,  1.,  1.], dtype=float32)
    """
    return _with_gradient(sign, _clipped(clip_value), x)


def approx_sign(x):
    r"""Sign with the gradient of Bi-Real Net's piecewise polynomial, as `larq.quantizers.ApproxSign`.

    \[ \frac{\partial q}{\partial x} = (2 - 2|x|) \, 1_{|x| \le 1} \]

    Args:
        x: A float tensor.
    """

    def derivative(x, upstream):
        size = ops.abs(x)
        return ops.where(size <= 1.0, (1 - size) * 2 * upstream, ops.zeros_like(upstream))

    return _with_gradient(sign, derivative, x)


def swish_sign(x, beta: float = 5.0):
    r"""Sign with the gradient of SignSwish, as `larq.quantizers.SwishSign`.

    \[ \frac{\partial q}{\partial x} = \frac{\beta (2 - \beta x \tanh(\beta x / 2))}{1 + \cosh(\beta x)} \]

    Args:
        x: A float tensor.
        beta: Default 5.

    References:
        - [BNN+](https://arxiv.org/abs/1812.11800)
    """

    def derivative(x, upstream):
        scaled = beta * x
        return upstream * beta * (2 - scaled * ops.tanh(scaled * 0.5)) / (1 + ops.cosh(scaled))

    return _with_gradient(sign, derivative, x)


def ste_tern(x, threshold_value: float = 0.05, ternary_weight_networks: bool = False, clip_value: float | None = 1.0):
    r"""-1, 0 or +1 with a straight-through gradient, as `larq.quantizers.SteTern`.

    Args:
        x: A float tensor.
        threshold_value: Values up to it, in absolute value, become 0. Default 0.05.
        ternary_weight_networks: Whether the threshold is 0.7 mean|x| instead. Default False.
        clip_value: As in `ste_sign`.
    """

    def ternary(x):
        threshold = 0.7 * ops.mean(ops.abs(x)) if ternary_weight_networks else threshold_value
        return ops.sign(ops.sign(x + threshold) + ops.sign(x - threshold))

    return _with_gradient(ternary, _clipped(clip_value), x)


def hard_tanh(x):
    """Return clip(x, -1, 1), as `larq.activations.hard_tanh`.

    Examples:
        >>> np.asarray(hard_tanh(keras.ops.array([-3.0, 0.5])))
        array([-1. ,  0.5], dtype=float32)
    """
    return ops.clip(x, -1.0, 1.0)
