"""What a network takes for what: confusions of classes, and examples."""

from typing import Any

import numpy as np

from bitat_tf.workflow.html_report.figures import as_png

_EXAMPLES = 8  # of each kind
_CONFUSIONS = 15


def confusion_matrix(labels: np.ndarray, predictions: np.ndarray, classes: int) -> np.ndarray:
    """Return counts of shape (classes, classes): rows are the classes, columns what was predicted."""
    return np.bincount(labels * classes + predictions, minlength=classes**2).reshape(classes, classes)


def confusions(matrix: np.ndarray, other: np.ndarray, class_names: list[str]) -> list[dict[str, Any]]:
    """Return the most frequent mistakes of a network, and how often another one makes them.

    Args:
        matrix: Confusion matrix of the network.
        other: That of the other one.
        class_names: Names of the classes.
    """
    mistakes = matrix * (1 - np.eye(len(matrix), dtype=matrix.dtype))
    order = np.argsort(-mistakes, axis=None, kind="stable")[:_CONFUSIONS]
    pairs = [np.unravel_index(index, mistakes.shape) for index in order]
    return [
        {
            "is": class_names[row],
            "said": class_names[column],
            "count": int(mistakes[row, column]),
            "share": mistakes[row, column] / matrix[row].sum(),
            "other": int(other[row, column]),
        }
        for row, column in pairs
        if mistakes[row, column]
    ]


def examples(
    images: np.ndarray, labels: np.ndarray, outputs: dict[str, np.ndarray], class_names: list[str], from_logits: bool, seed: int
) -> list[dict[str, Any]]:
    """Return test pictures with what each network says and how sure it is: some drawn at random, some on which they differ.

    Args:
        images: Test pictures, shape (n, height, width, channels), uint8.
        labels: Their classes.
        outputs: Outputs of the networks by name, shape (n, classes).
        class_names: Names of the classes.
        from_logits: Whether outputs are logits.
        seed: Seed of what is drawn.

    Returns:
        Groups: `title`, and `pictures`, each with `address`, `is` and `says`, one entry a network: name, class, share, right.
    """
    order = np.random.default_rng(seed).permutation(len(images))
    said = {name: values.argmax(axis=-1) for name, values in outputs.items()}
    differ = np.any([predictions != next(iter(said.values())) for predictions in said.values()], axis=0)

    def picture(index: int) -> dict[str, Any]:
        says = []
        for name, values in outputs.items():
            shares = _softmax(values[index]) if from_logits else values[index]
            guess = int(shares.argmax())
            says.append(
                {"name": name, "class": class_names[guess], "share": float(shares[guess]), "right": guess == labels[index]}
            )
        return {"address": as_png(images[index]), "is": class_names[labels[index]], "says": says}

    groups = [
        ("Drawn at random", order[:_EXAMPLES]),
        ("Where float and binary network differ", order[differ[order]][:_EXAMPLES]),
    ]
    return [{"title": title, "pictures": [picture(index) for index in chosen]} for title, chosen in groups if len(chosen)]


def _softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits.astype(float) - logits.max())
    return powers / powers.sum()
