"""Labels in each form that Keras takes, with the accuracy that they ask for, and what is no label."""

import numpy as np
import pytest

from bitat_tf.export.agreement import Measure
from bitat_tf.export.labels import accuracy, label_form, wanted

TOP_1, PROBABILITIES, LOGITS = Measure("top-1", because="softmax"), Measure("decisions", 0.5), Measure("decisions", 0.0)
SCORES = np.array([[0.1, 0.7, 0.2], [0.6, 0.3, 0.1], [0.2, 0.3, 0.5], [0.5, 0.1, 0.4]])
CLASSES = np.array([1, 0, 1, 0])  # met by all but the third


@pytest.mark.parametrize(
    ("labels", "form"),
    [
        (CLASSES, "class indices"),
        (CLASSES[:, None], "class indices"),
        (CLASSES.astype(np.float32), "class indices"),
        (CLASSES.astype(np.uint8), "class indices"),
        (CLASSES.tolist(), "class indices"),
        (np.eye(3)[CLASSES], "one-hot"),
        (np.eye(3, dtype=bool)[CLASSES], "one-hot"),
    ],
)
def test_labels_of_classes(labels, form):
    assert label_form("verify", labels, (4, 3)) == form
    assert accuracy(SCORES, wanted("verify", labels, (4, 3), TOP_1), TOP_1) == 0.75


@pytest.mark.parametrize(
    "labels", [[1, 0, 1, 1], [[1], [0], [1], [1]], [[1.0], [0.0], [1.0], [1.0]], [True, False, True, True]]
)
def test_labels_of_one_unit(labels):
    assert label_form("verify", labels, (4, 1)) == "0 or 1"
    scores = np.array([[0.9], [0.2], [0.4], [0.6]])
    assert accuracy(scores, wanted("verify", labels, (4, 1), PROBABILITIES), PROBABILITIES) == 0.75
    assert accuracy(scores - 0.5, wanted("verify", labels, (4, 1), LOGITS), LOGITS) == 0.75


def test_labels_that_do_not_exclude_each_other():
    labels = np.array([[0, 1, 1], [0, 0, 0], [0, 0, 1], [1, 1, 1]])
    assert label_form("verify", labels, (4, 3)) == "multi-hot"
    found = accuracy(SCORES, wanted("verify", labels, (4, 3), PROBABILITIES), PROBABILITIES)
    pairs = zip(SCORES.ravel(), labels.ravel(), strict=True)
    right = [(score > 0.5) == bool(label) for score, label in pairs]
    assert found == np.mean(right)


def test_labels_of_pixels():
    scores = np.random.default_rng(0).uniform(size=(2, 4, 5, 3))
    right = scores.argmax(axis=-1)
    for labels in (right, right[..., None], np.eye(3)[right]):
        assert accuracy(scores, wanted("verify", labels, scores.shape, TOP_1), TOP_1) == 1.0
    mask = scores[..., :1]
    for labels in (mask[..., 0] > 0.5, mask > 0.5):
        assert accuracy(mask, wanted("verify", labels, mask.shape, PROBABILITIES), PROBABILITIES) == 1.0


@pytest.mark.parametrize(
    ("labels", "shape", "measure", "message"),
    [
        (
            np.zeros(3),
            (4, 3),
            TOP_1,
            r"class indices of shape \(4,\) or \(4, 1\), or 0s and 1s of shape \(4, 3\).*shape \(3,\)",
        ),
        (np.zeros((4, 2)), (4, 3), TOP_1, r"Received: shape \(4, 2\). Pass one label for each input, in the same order"),
        (np.zeros((4, 2)), (4, 1), LOGITS, r"must be 0s and 1s of shape \(4,\) or \(4, 1\), for outputs of shape \(4, 1\)"),
        (np.array([0, 3, 0, 1]), (4, 3), TOP_1, r"labels must lie in 0\.\.2 .*first is label 3 at index 1"),
        (np.array([0, -1, 0, 1]), (4, 3), TOP_1, r"labels must lie in 0\.\.2 .*first is label -1 at index 1"),
        (
            np.array([0.0, 0.7, 0, 1]),
            (4, 3),
            TOP_1,
            "must be integers: class indices, or 0 and 1. Received: dtype float64, with 0.7",
        ),
        (
            np.full((4, 3), 0.05),
            (4, 3),
            TOP_1,
            "with 0.05 among them. Round smoothed labels, and leave the targets of a regress",
        ),
        (np.array(list("abca")), (4, 3), TOP_1, "labels must be integers.*dtype <U1"),
        (np.array([0, np.nan, 0, 1]), (4, 3), TOP_1, "labels must be integers.*with nan among them"),
        (np.array([-1, 1, 1, -1]), (4, 1), LOGITS, r"must be 0 or 1. Received: -1. Labels of -1 and 1 .*\(labels > 0\)"),
        (np.full((4, 3), 2), (4, 3), TOP_1, r"of shape \(4, 3\) must be 0 or 1. Received: 2. Class indices have one dimension"),
        (np.ones((4, 3)), (4, 3), TOP_1, r"one class for each sample.*judged by top-1 \(softmax\). Received: multi-hot labels"),
        (
            CLASSES,
            (4, 3),
            PROBABILITIES,
            r"must be 0s and 1s of shape \(4, 3\).*decisions at 0.5. Received: class indices labels",
        ),
    ],
)
def test_what_is_no_label(labels, shape, measure, message):
    with pytest.raises(ValueError, match=f"^verify: .*{message}"):
        wanted("verify", labels, shape, measure)
