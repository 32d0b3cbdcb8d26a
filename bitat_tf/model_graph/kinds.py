"""What kinds of layers compute, however they are written: a ReLU is one as a layer, as a function and as an operator."""

from collections.abc import Callable
from typing import Any, NamedTuple

import keras


class ReLUBounds(NamedTuple):
    """What a ReLU computes: min(x, high) for x >= low, and low + negative_slope * (x - low) below.

    Attributes:
        low: Where the ReLU begins, 0.
        high: The largest output: 6 of a ReLU6, infinity where there is none.
        negative_slope: Slope of the outputs below `low`; 0 of a plain ReLU.
    """

    low: float
    high: float
    negative_slope: float


_INFINITY = float("inf")
RELU, _RELU6 = ReLUBounds(0.0, _INFINITY, 0.0), ReLUBounds(0.0, 6.0, 0.0)
_FUNCTIONS = {
    keras.activations.relu: RELU,
    keras.ops.relu: RELU,
    keras.activations.relu6: _RELU6,
    keras.ops.relu6: _RELU6,
    # As functions without further arguments.
    keras.activations.leaky_relu: ReLUBounds(0.0, _INFINITY, 0.2),
    keras.ops.leaky_relu: ReLUBounds(0.0, _INFINITY, 0.2),
}
_FUNCTIONS_OF_BACKENDS = {"relu": RELU, "relu6": _RELU6}  # tf.nn.relu, jax.nn.relu, torch.nn.functional.relu


def _operator(function: Callable) -> type:
    """Return the class of what a function of `keras.ops` becomes in a model's graph."""
    return type(function(keras.KerasTensor((1,)))._keras_history.operation)


_RELU_OPERATOR = _operator(keras.activations.relu)  # with the arguments of the layer
_OPERATORS = {
    _operator(keras.ops.relu): RELU,
    _operator(keras.ops.relu6): _RELU6,
    _operator(keras.ops.leaky_relu): ReLUBounds(0.0, _INFINITY, 0.2),
}


def activation_of(layer: Any) -> Callable | None:
    """Return the activation that a layer applies to what it has computed, a function or a layer; None if it has none.

    Examples:
        >>> activation_of(keras.layers.Dense(3)) is activation_of(keras.layers.Flatten()) is None
        True
        >>> activation_of(keras.layers.Dense(3, activation="relu")).__name__
        'relu'
    """
    activation = getattr(layer, "activation", None)
    return None if activation is keras.activations.linear else activation


def relu_bounds(activation: Any) -> ReLUBounds | None:
    """Return what a ReLU computes.

    Known are `keras.layers.ReLU`, `LeakyReLU`, `Activation` of one of them or of a function, the functions "relu", "relu6",
    "leaky_relu" as Keras has them, `tf.nn.relu` and its like, and `keras.ops.relu(x)`, `relu6(x)`, `leaky_relu(x)` called on
    the output of a layer.

    Args:
        activation: A layer or operator, or the activation inside of one, as `activation_of` returns it.

    Returns:
        Its bounds and slope. None for everything else: no ReLU, one with a threshold, which jumps, and subclasses, which may
        compute something else.

    Examples:
        >>> relu_bounds(keras.layers.Activation("relu"))
        ReLUBounds(low=0.0, high=inf, negative_slope=0.0)
        >>> relu_bounds(keras.layers.ReLU(6.0)).high
        6.0
        >>> relu_bounds(keras.layers.Dense(3, activation="relu")) is None
        True
        >>> relu_bounds(activation_of(keras.layers.Dense(3, activation="relu"))) == RELU
        True
    """
    if type(activation) in (keras.layers.ReLU, _RELU_OPERATOR):
        if activation.threshold:
            return None
        high = _INFINITY if activation.max_value is None else float(activation.max_value)
        return ReLUBounds(0.0, high, float(activation.negative_slope))
    if type(activation) is keras.layers.LeakyReLU:
        return ReLUBounds(0.0, _INFINITY, float(activation.negative_slope))
    if type(activation) is keras.layers.Activation:
        return relu_bounds(activation.activation)
    if type(activation) in _OPERATORS:
        bounds = _OPERATORS[type(activation)]
        return bounds._replace(negative_slope=float(getattr(activation, "negative_slope", bounds.negative_slope)))
    if isinstance(activation, keras.layers.Layer) or not callable(activation):
        return None
    if str(getattr(activation, "__module__", "")).partition(".")[0] in ("tensorflow", "jax", "torch"):
        return _FUNCTIONS_OF_BACKENDS.get(activation.__name__)
    return _FUNCTIONS.get(activation)
