"""Does the file do what the model does?"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Agreement:
    """How two sets of outputs compare.

    Attributes:
        samples: Number of samples compared.
        top1: Share of samples with the same largest output.
        largest_difference: Largest absolute difference of any output.
        share_different: Share of samples with a difference beyond rounding, 1e-3 of the largest output: a value on a threshold
            has fallen on the other side.
    """

    samples: int
    top1: float
    largest_difference: float
    share_different: float


def accuracy(outputs: np.ndarray, labels: np.ndarray | None) -> float | None:
    """Return the top-1 accuracy of outputs of shape (n, ..., classes); None without labels."""
    return None if labels is None else float(np.mean(outputs.argmax(axis=-1) == np.asarray(labels)))


def sample_differences(expected: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Return the largest absolute difference of each sample, shape (n,)."""
    return np.abs(expected - found).reshape(len(expected), -1).max(axis=1)


def agreement(expected: np.ndarray, found: np.ndarray) -> Agreement:
    """Compare outputs of shape (n, ..., classes).

    Raises:
        ValueError: If the shapes differ or there are no samples.
    """
    expected, found = np.asarray(expected), np.asarray(found)
    if expected.shape != found.shape or not len(expected):
        raise ValueError(
            f"agreement: needs outputs of one shape, of at least one sample. Received: {expected.shape}, {found.shape}."
        )
    difference = sample_differences(expected, found)
    return Agreement(
        samples=len(expected),
        top1=float(np.mean(expected.argmax(axis=-1) == found.argmax(axis=-1))),
        largest_difference=float(difference.max()),
        share_different=float(np.mean(difference > 1e-3 * max(float(np.abs(expected).max()), 1e-12))),
    )
