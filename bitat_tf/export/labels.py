"""Labels in the forms in which Keras takes them, beside the outputs that they belong to."""

import numpy as np

from bitat_tf._validation import check_labels
from bitat_tf.export.agreement import DECISIONS, TOP_1, Measure

INDICES, ONE_HOT, MULTI_HOT, ZERO_ONE = "class indices", "one-hot", "multi-hot", "0 or 1"


def label_form(where: str, labels: np.ndarray, shape: tuple[int, ...]) -> str:
    """Return in which form labels are given.

    Args:
        where: Name of the public function, for the messages.
        labels: The labels.
        shape: Of the outputs, (n, ..., units).

    Returns:
        Of several units "class indices", shape (n, ...) or (n, ..., 1), "one-hot" or "multi-hot", the shape of the outputs; of
        one unit "0 or 1", shape (n, ...) or (n, ..., 1).

    Raises:
        ValueError: If they are in none of these.

    Examples:
        >>> label_form("verify", np.array([[0], [2]]), (2, 3))
        'class indices'
        >>> label_form("verify", np.array([[1, 0, 0], [1, 0, 1]]), (2, 3))
        'multi-hot'
    """
    labels, units = np.asarray(labels), shape[-1]
    flat = labels.shape in (shape[:-1], (*shape[:-1], 1))
    if not flat and labels.shape != shape:
        hot = f", or 0s and 1s of shape {shape}" if units > 1 else ""
        what = "class indices" if units > 1 else "0s and 1s"
        raise ValueError(
            f"{where}: `labels` must be {what} of shape {shape[:-1]} or {(*shape[:-1], 1)}{hot}, for outputs of shape {shape}. "
            f"Received: shape {labels.shape}. Pass one label for each input, in the same order."
        )
    if not _whole(labels):
        raise ValueError(
            f"{where}: labels must be integers: class indices, or 0 and 1. Received: dtype {labels.dtype}"
            f"{_example(labels)}. Round smoothed labels, and leave the targets of a regression out: they have no accuracy."
        )
    if flat and units > 1:
        return INDICES
    if not np.isin(labels, (0, 1)).all():
        cure = "Labels of -1 and 1 become such with (labels > 0)." if units == 1 else "Class indices have one dimension less."
        wrong = labels[~np.isin(labels, (0, 1))][0]
        raise ValueError(f"{where}: `labels` of shape {labels.shape} must be 0 or 1. Received: {wrong}. {cure}")
    if units == 1:
        return ZERO_ONE
    return ONE_HOT if (labels.sum(axis=-1) == 1).all() else MULTI_HOT


def wanted(where: str, labels: np.ndarray, shape: tuple[int, ...], measure: Measure) -> np.ndarray:
    """Return labels in the form of what is compared with them.

    Args:
        where: Name of the public function, for the messages.
        labels: In any form of `label_form`.
        shape: Of the outputs, (n, ..., units).
        measure: How the outputs are judged.

    Returns:
        Of "top-1" class indices, shape (n, ...); of "decisions" booleans, the shape of the outputs.

    Raises:
        ValueError: If the labels are out of range, or not of the kind of the outputs.
    """
    form, labels = label_form(where, labels, shape), np.asarray(labels)
    if measure.kind == TOP_1 and form == INDICES:
        indices = labels.reshape(shape[:-1]).astype(np.int64)
        check_labels(where, indices.ravel(), shape[-1])
        return indices
    if measure.kind == TOP_1 and form == ONE_HOT:
        return labels.argmax(axis=-1)
    if measure.kind == DECISIONS and form != INDICES:
        return labels.reshape(shape) == 1
    expected = "one class for each sample: class indices or one-hot" if measure.kind == TOP_1 else f"0s and 1s of shape {shape}"
    raise ValueError(
        f"{where}: `labels` must be {expected}, as the outputs are judged by {measure}. Received: {form} labels of shape "
        f"{labels.shape}."
    )


def accuracy(outputs: np.ndarray, labels: np.ndarray, measure: Measure) -> float:
    """Return the share of labels that outputs meet.

    Args:
        outputs: Shape (n, ..., units).
        labels: From `wanted`.
        measure: How the outputs are judged, "top-1" or "decisions".

    Examples:
        >>> accuracy(np.array([[0.2], [0.9]]), np.array([[False], [False]]), Measure("decisions", 0.5))
        0.5
    """
    found = outputs.argmax(axis=-1) if measure.kind == TOP_1 else outputs > measure.threshold
    return float(np.mean(found == labels))


def _whole(labels: np.ndarray) -> bool:
    if np.issubdtype(labels.dtype, np.integer) or labels.dtype == bool:
        return True
    return bool(np.issubdtype(labels.dtype, np.floating) and np.isfinite(labels).all() and (labels == np.rint(labels)).all())


def _example(labels: np.ndarray) -> str:
    if not np.issubdtype(labels.dtype, np.floating) or not labels.size:
        return ""
    return f", with {labels[~(labels == np.rint(labels))][0]:g} among them"
