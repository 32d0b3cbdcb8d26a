"""Checks and draws that the loaders and the pipelines share."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from bitat_tf._validation import check_labels, check_number


def draw_share(where: str, labels: np.ndarray, share: float, seed: int, name: Callable[[Any], str], cure: str) -> np.ndarray:
    """Return a mask of `share` of each class, at least one sample and never all of them."""
    generator = np.random.default_rng(seed)
    drawn = np.zeros(len(labels), bool)
    classes, counts = np.unique(labels, return_counts=True)
    if counts.min() < 2:
        few = listed([name(label) for label in classes[counts < 2]])
        raise ValueError(f"{where}: a split needs at least 2 samples of every class. Received: 1 sample of {few}. {cure}")
    for label, count in zip(classes, counts, strict=True):
        number = min(max(round(share * count), 1), count - 1)
        drawn[generator.permutation(np.flatnonzero(labels == label))[:number]] = True
    return drawn


def check_samples(
    where: str, images: Any, labels: Any, batch_size: int | None = None, num_classes: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return images and labels as arrays that fit each other; with a batch size, pixels are checked too."""
    images, labels = np.asarray(images), np.asarray(labels)
    if labels.ndim != 1 or images.ndim < 1 or len(images) != len(labels) or not len(labels):
        raise ValueError(
            f"{where}: expected at least one image, and labels of shape (n,), one class index an image. "
            f"Received: images of shape {images.shape}, labels of shape {labels.shape}. Turn one-hot "
            "labels into indices with labels.argmax(axis=1)."
        )
    if not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"{where}: labels must be integers. Received: dtype {labels.dtype}. Pass labels.astype(int).")
    if num_classes is not None:
        check_labels(where, labels, num_classes)
    if batch_size is not None:
        check_integer(where, "batch_size", batch_size, 1)
        if images.ndim != 4 or images.dtype != np.uint8:
            raise ValueError(
                f"{where}: images must be uint8 pixels 0..255 of shape (n, height, width, channels). "
                f"Received: {images.dtype}, shape {images.shape}. Rescale them (from 0..1: "
                "np.rint(255 * images).astype(np.uint8)); images[..., np.newaxis] gives gray ones a channel."
            )
    return images, labels


def check_share(where: str, name: str, value: Any) -> None:
    check_number(where, name, value, exclusive=True, maximum=0.9)


def check_integer(where: str, name: str, value: Any, minimum: int, maximum: float = float("inf")) -> None:
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool):
        raise TypeError(f"{where}: `{name}` must be an integer >= {minimum}. Received: {name}={value!r}.")
    check_number(where, name, value, minimum=minimum, maximum=maximum)


def listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    return (", ".join(repr(name) for name in names[:10]) + more) or "none"
