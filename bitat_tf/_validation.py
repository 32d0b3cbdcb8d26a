"""Checks shared by the public functions, with one form of message: what was received, what is expected, the cure."""

from typing import Any

import numpy as np


def check_model(model: Any, where: str) -> None:
    """Raise unless `model` is a built Keras model.

    Args:
        model: What the user passed.
        where: Name of the public function, for the message.

    Raises:
        TypeError: If `model` is no Keras 3 model.
        ValueError: If the model has no weights yet.
    """
    import keras  # only here: the other checks are for what needs no Keras, too

    if not isinstance(model, keras.Model):
        kind = f"{type(model).__module__}.{type(model).__qualname__}"
        if any(base.__module__.split(".")[0] == "tf_keras" for base in type(model).__mro__):
            raise TypeError(
                f"{where}: received a model of Keras 2 ({kind}), but bitat_tf works on models of Keras 3. Save it and use "
                "`bitat-tf import old.keras new.keras` or bitat_tf.from_larq: layers of Larq become binary ones. Or build it "
                "with `keras` in place of `tf_keras`: where TF_USE_LEGACY_KERAS is set in the environment, `tf.keras` is that."
            )
        raise TypeError(f"{where}: expected a keras.Model. Received: {model!r} of type {kind}.")
    if not model.built:
        raise ValueError(
            f"{where}: model {model.name!r} has no weights yet. Give its first layer an input shape, or call it on a batch."
        )


def first_line(error: Exception) -> str:
    """Return what an error of another library says, in one line of at most 300 characters."""
    return (str(error).strip().splitlines() or [repr(error)])[0][:300]


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


def channel_count(input_shape, where: str) -> int:
    """Return the size of the last axis of a shape; raise ValueError if there is none or it is unknown."""
    shape = None if input_shape is None else tuple(input_shape)
    if shape is None or len(shape) < 2 or shape[-1] is None:
        raise ValueError(
            f"{where}: the input needs a last axis of channels of known size. Received: input shape {shape}. "
            "Give the first layer of the model an input shape with the number of channels, as in "
            "keras.Input((None, None, 3)), with data_format='channels_last'."
        )
    return int(shape[-1])
