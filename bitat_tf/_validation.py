"""Checks shared by the public functions, with one form of message: what was received, what is expected, the cure."""

from typing import Any

import numpy as np


def check_model(model: Any, where: str) -> None:
    """Raise unless `model` is a built Keras 2 model.

    Args:
        model: What the user passed.
        where: Name of the public function, for the message.

    Raises:
        TypeError: If `model` is a Keras 3 model, or no Keras model at all.
        ValueError: If the model has no weights yet.
    """
    from bitat_tf._keras import keras  # only here: the other checks are for what needs no TensorFlow, too

    if not isinstance(model, keras.Model):
        kind = f"{type(model).__module__}.{type(model).__qualname__}"
        if any(base.__module__.split(".")[0] == "keras" for base in type(model).__mro__):
            raise TypeError(
                f"{where}: received a Keras 3 model ({kind}), but bitat_tf works on Keras 2 models (tf_keras), as Larq does. "
                "Import bitat_tf before TensorFlow and build the model with `tf.keras` or `tf_keras`, not with `keras`."
            )
        raise TypeError(f"{where}: expected a tf.keras.Model. Received: {model!r} of type {kind}.")
    if not model.built:
        raise ValueError(
            f"{where}: model {model.name!r} has no weights yet. Give its first layer an input shape, or call it on a batch."
        )


def check_choice(where: str, name: str, value: Any, choices: tuple) -> None:
    """Raise ValueError unless `value` is one of `choices`."""
    if value not in choices:
        listed = ", ".join(repr(choice) for choice in choices)
        raise ValueError(f"{where}: `{name}` must be one of {listed}. Received: {name}={value!r}.")


def check_number(
    where: str, name: str, value: Any, minimum: float = 0.0, exclusive: bool = False, maximum: float = float("inf")
) -> None:
    """Raise ValueError unless `value` is a finite number between `minimum` and `maximum` (above `minimum` if `exclusive`)."""
    number = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    if not number or not np.isfinite(value) or value < minimum or value > maximum or (exclusive and value == minimum):
        bound = f"{'>' if exclusive else '>='} {minimum:g}" + (f" and <= {maximum:g}" if np.isfinite(maximum) else "")
        raise ValueError(f"{where}: `{name}` must be a finite number {bound}. Received: {name}={value!r}.")


def check_finite(where: str, what: str, array: np.ndarray) -> None:
    """Raise ValueError if `array` holds a NaN or an infinity; says how many and of which kind."""
    finite = np.isfinite(array)
    if not finite.all():
        nan, inf = int(np.isnan(array).sum()), int(np.isinf(array).sum())
        raise ValueError(
            f"{where}: {what} must be finite. Received: {nan} NaN and {inf} infinite values among {array.size}. "
            "Remove or repair these samples (a division by zero while normalizing is the usual cause), "
            "or lower the learning rate if the network itself has diverged."
        )


def check_labels(where: str, labels: np.ndarray, num_classes: int) -> None:
    """Raise ValueError unless integer `labels` lie in [0, num_classes)."""
    labels = np.asarray(labels)
    if labels.size and not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"{where}: labels must be integers, one class index a sample. Received: dtype {labels.dtype}.")
    bad = np.flatnonzero((labels < 0) | (labels >= num_classes))
    if bad.size:
        raise ValueError(
            f"{where}: labels must lie in 0..{num_classes - 1} for a model with {num_classes} classes. Received: "
            f"{bad.size} outside, the first is label {labels[bad[0]]} at index {bad[0]}. Renumber the labels, or build the "
            f"model with classes={int(labels.max()) + 1}."
        )
