"""TensorFlow's converter: functions as `.tflite` files."""

import importlib
from collections.abc import Callable, Sequence
from typing import Any


def converted(function: Callable[..., Any], signature: Sequence[tuple[Any, str, str]], with_int8: bool = False) -> bytes:
    """Return the content of the file of a function, of any number of samples.

    What TensorFlow Lite has no operator for becomes a custom operator, of TensorFlow's name.

    Args:
        function: Of TensorFlow's tensors, one for each input, to a list of tensors.
        signature: Shape without the samples, type and name of each input.
        with_int8: Whether values that go through an int8 grid are int8 in the file.

    Raises:
        Exception: One of `converter_errors`.
    """
    import tensorflow as tf  # only here, as below: not every backend of Keras needs it

    specs = [tf.TensorSpec((None, *shape), kind, name=name) for shape, kind, name in signature]
    concrete = tf.function(function, autograph=False).get_concrete_function(*specs)
    # With an object it goes through a SavedModel, which keeps the functions apart; without, they would be inlined.
    # It must know the variables, or they could not be saved, and the converter would go the other way without a word.
    holder = tf.Module()
    holder.held = list(concrete.graph.variables)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete], holder)
    converter.allow_custom_ops = True
    if with_int8:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    return converter.convert()


def converter_errors() -> tuple[type[Exception], ...]:
    """Return what the converter raises, and what tracing for it."""
    import tensorflow as tf

    own = importlib.import_module("tensorflow.lite.python.convert").ConverterError
    return (tf.errors.OpError, RuntimeError, ValueError, own)


def converter_message(error: Exception) -> str:
    r"""Return what an error of the converter says: the line with "error:" in it, or the first one.

    Examples:
        >>> converter_message(RuntimeError("here\n  error: no such operator.\nthere"))
        'error: no such operator.'
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return next((line for line in lines if "error:" in line), (lines or [type(error).__name__])[0])[:300]
