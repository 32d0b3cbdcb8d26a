"""Checks that the functions of the analysis share."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from bitat_tf._validation import check_finite, check_labels, check_model
from bitat_tf.analysis.kernel_layers import kernel_layers
from bitat_tf.layers import BinaryLayer, binary_layers, required_binary_layers


def checked_binary_layers(where: str, model: keras.Model, only_float: bool = False) -> list[BinaryLayer]:
    """Return the binary layers of a model, whose names are all different.

    Args:
        where: Name of the public function, for messages.
        model: The model.
        only_float: Whether all of them must be in float state.

    Raises:
        TypeError: If it is no Keras model.
        ValueError: If it has no binary layers, several of one name, or some that are not float though they must be.
    """
    check_model(model, where)
    layers = required_binary_layers(where, model)
    _check_names(where, [layer.name for layer in layers])
    started = [layer.name for layer in layers if layer.state != "float"]
    if only_float and started:
        raise ValueError(
            f"{where}: the float network must have all binary layers in float state. Received: model {model.name!r}, in which "
            f"{', '.join(started[:5])}{', ...' if len(started) > 5 else ''} are not. Pass the network from before the "
            "binarization, such as float.keras of a run."
        )
    return layers


def checked_noise_layers(where: str, model: keras.Model) -> list[keras.layers.Layer]:
    """Return the layers of a float network that take noise.

    Args:
        where: Name of the public function, for messages.
        model: The model.

    Raises:
        TypeError: If it is no Keras model.
        ValueError: If binary layers are not float, no layer takes noise, several have one name, or it does not give one number
            a class.
    """
    check_model(model, where)
    if binary_layers(model):
        checked_binary_layers(where, model, only_float=True)
    layers = kernel_layers(model)
    if not layers:
        raise ValueError(f"{where}: model {model.name!r} has no convolution (groups=1) and no dense layer to put noise into.")
    _check_names(where, [layer.name for layer in layers])
    outputs = model.output_shape if model.outputs else None  # a subclassed model does not say
    if outputs is not None and (not isinstance(outputs, tuple) or len(outputs) != 2 or (outputs[-1] or 2) < 2):
        raise ValueError(
            f"{where}: the model must give one number for each class, at least two. Received: outputs of shape {outputs}."
        )
    return layers


def checked_samples(where: str, data: Any, classes: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Return inputs and labels, as arrays that fit each other.

    Args:
        where: Name of the public function, for messages.
        data: What the user passed.
        classes: Number of classes of the model, if it is known.

    Raises:
        ValueError: If they do not.
    """
    if not isinstance(data, (tuple, list)) or len(data) != 2:
        raise ValueError(f"{where}: `data` must be inputs and labels: (x_test, y_test). Received: {type(data).__name__}.")
    inputs, labels = np.asarray(data[0]), np.asarray(data[1])
    if len(inputs) == 0 or labels.shape != (len(inputs),):
        cure = "One-hot labels: pass labels.argmax(axis=-1)."
        if labels.shape[1:] == (1,):
            cure = "Pass labels[:, 0]."
        raise ValueError(
            f"{where}: `data` must hold at least one input and a class index for each. Received: inputs of shape "
            f"{inputs.shape} and labels of shape {labels.shape}. {cure}"
        )
    check_finite(where, "the inputs of `data`", inputs)
    if classes:
        check_labels(where, labels, classes)
    return inputs, labels


def checked_sequence(where: str, name: str, values: Any) -> list[Any]:
    """Return an argument that must hold at least one value, as a list.

    Raises:
        ValueError: If it is no sequence, or empty.
    """
    if not isinstance(values, (Sequence, np.ndarray, range)) or isinstance(values, str) or len(values) == 0:
        raise ValueError(f"{where}: `{name}` must be a list of at least one value. Received: {name}={values!r}.")
    return list(values)


def _check_names(where: str, names: list[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(
            f"{where}: every layer needs a name of its own. Received: several layers named {', '.join(twice[:5])}. Pass "
            "`name=` when the layers of nested models are made."
        )
