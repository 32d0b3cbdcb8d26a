"""Twins of a binary network: the same layers with ordinary float or int8 kernels, to measure it against."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from bitat_tf._validation import check_finite, check_model
from bitat_tf.export.plain import plain_function, to_plain_network
from bitat_tf.layers import binary_layers, required_binary_layers
from bitat_tf.model_graph import is_graph, rebuilt

_RANDOM_SAMPLES = 8


def float_twin(model: keras.Model) -> bytes:
    """Return a TensorFlow Lite file of the same network with float kernels.

    Binary layers become float convolutions of the same shape, with their `float_activation` if they have one; everything else
    stays. The batch is one sample. The twin is for time and size: its accuracy means nothing, since a binary network was not
    trained to be run in float.

    Args:
        model: A functional or sequential model with binary layers, in any state, one input of known size and one output. It
            is not changed.

    Returns:
        Content of the file, for `tf.lite.Interpreter`.

    Raises:
        ValueError: If the model has no binary layers or no fixed size, or cannot be converted.
        TypeError: If it is no Keras 3 model.

    Examples:
        >>> model = keras.Sequential([keras.Input((8, 8, 32)), bitat_tf.layers.BinaryConv2D(32, 3)])
        >>> [operator.name for operator in bitat_tf.tflite_file.read_operators(float_twin(model))]
        ['CONV_2D']
    """
    return _converted(_converter(model, "float_twin"), "float_twin")


def int8_twin(model: keras.Model, data: np.ndarray | None = None) -> bytes:
    """Return a TensorFlow Lite file of the same network with int8 kernels: weights, activations, input and output.

    The twin of `float_twin`, quantized after training. An operator without an int8 kernel stays float. For time and size: its
    accuracy means nothing.

    Args:
        model: As for `float_twin`.
        data: Inputs from which the ranges of the activations are taken, shape (n, ...), n >= 1. Default: 8 random pictures
            with pixels 0..255, always the same ones.

    Returns:
        Content of the file, for `tf.lite.Interpreter`.

    Raises:
        ValueError: As for `float_twin`, or if the data do not fit the input.
        TypeError: If it is no Keras 3 model.

    Examples:
        >>> model = keras.Sequential([keras.Input((8, 8, 32)), bitat_tf.layers.BinaryConv2D(32, 3)])
        >>> len(int8_twin(model)) < len(float_twin(model))
        True
    """
    name = "int8_twin"
    converter = _converter(model, name)
    samples = _samples(model.input_shape[1:], data)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([sample[None]] for sample in samples)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8, tf.lite.OpsSet.TFLITE_BUILTINS]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    return _converted(converter, name)


def _converter(model: keras.Model, where: str) -> Any:
    check_model(model, where)
    if not is_graph(model) or len(model.inputs) != 1 or len(model.outputs) != 1 or None in model.input_shape[1:]:
        raise ValueError(
            f"{where}: the model must be functional or sequential, with one input of known size and one output. Received: "
            f"{type(model).__name__} {model.name!r} with inputs {[tuple(tensor.shape) for tensor in model.inputs or ()]}."
        )
    required_binary_layers(where, model)
    function, holder = plain_function(_float_copy(model), batch=1)
    return tf.lite.TFLiteConverter.from_concrete_functions([function], holder)


def _converted(converter: Any, where: str) -> bytes:
    try:
        return converter.convert()
    except (RuntimeError, ValueError, tf.errors.OpError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ValueError(f"{where}: TensorFlow Lite cannot convert the network ({reason}).") from error


def _float_copy(model: keras.Model) -> keras.Model:
    """Return a copy in which the binary layers are float layers of Keras."""
    copy = rebuilt(model)
    for layer in binary_layers(copy):
        layer.set_binary(input=False, kernel=False)
    return to_plain_network(copy, allow_partial=True)


def _samples(shape: tuple[int, ...], data: np.ndarray | None) -> np.ndarray:
    if data is None:
        return np.random.default_rng(0).uniform(0, 255, (_RANDOM_SAMPLES, *shape)).astype(np.float32)
    data = np.asarray(data, np.float32)
    if data.shape[1:] != tuple(shape) or not len(data):
        raise ValueError(f"int8_twin: `data` must have shape (n >= 1, {', '.join(map(str, shape))}). Received: {data.shape}.")
    check_finite("int8_twin", "the data", data)
    return data
