"""Functions of tensors that each backend of Keras traces and compiles in its own way."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np


def traced_once(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that is traced once for arguments of the same shapes and types, however often it is called in others.

    Args:
        function: Of tensors, without variables or other state.

    Examples:
        >>> double = traced_once(lambda x: 2 * x)
        >>> float(double(keras.ops.ones(())))
        2.0
    """
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf  # only here, as below: other backends need none

        return tf.function(function)
    if keras.backend.backend() == "jax":
        import jax

        return jax.jit(function)
    return function


class TracedNetwork:
    """A function of a batch that calls a model, traced; what the asked part of its result does not need is not computed.

    Args:
        model: The model whose variables the function reads. It sees the values that they have when it is called.
        function: Of a batch of the model's inputs; it calls `model(batch, training=False)`, changes no variable, and returns a
            list of structures of tensors.
    """

    def __init__(self, model: keras.Model, function: Callable[[Any], list[Any]]):
        self._model = model
        self._function = function
        if keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            # Traced once for all parts: each of them is a pruned call of it.
            self._function = tf.function(function, reduce_retracing=True)

    def part(self, position: int) -> Callable[[Any], Any]:
        """Return the function from a batch to one entry of the result."""
        if keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            return tf.function(_Part(self._function, position), reduce_retracing=True, autograph=False)
        if keras.backend.backend() == "jax":
            return self._part_on_jax(position)
        return lambda batch: self._function(batch)[position]

    def _part_on_jax(self, position: int) -> Callable[[Any], Any]:
        import jax

        variables = self._model.variables

        @jax.jit
        def stateless(values, batch):
            with keras.StatelessScope(state_mapping=list(zip(variables, values, strict=True))):
                return self._function(batch)[position]

        # Of several processes each computes for itself, with its own copy of the variables.
        local = np.asarray if jax.process_count() > 1 else lambda value: value
        return lambda batch: stateless([local(variable.value) for variable in variables], batch)


class _Part:
    """Gives one entry of what a function returns.

    An object, since TensorFlow counts the traces of all functions of the same lines together, and warns of too many.
    """

    def __init__(self, function: Callable[[Any], list[Any]], position: int):
        self._function = function
        self._position = position

    def __call__(self, batch: Any) -> Any:
        return self._function(batch)[self._position]
