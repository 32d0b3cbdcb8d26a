"""Outputs of each kind: what must be the same, what must be different, and where nothing can be said."""

import json
import math
from dataclasses import asdict

import numpy as np
import pytest

from bitat_tf.export import Limits, Measure, compare_outputs
from bitat_tf.export.agreement import INT8_DIFFERENCE, overall_verdict

TOP_1, VALUES, UNKNOWN = Measure("top-1"), Measure("values"), Measure("values or top-1")
PROBABILITIES, LOGITS = Measure("decisions", 0.5), Measure("decisions", 0.0)
INT8 = Limits(maximum_difference=INT8_DIFFERENCE)


def logits(*shape, seed=0):
    return np.random.default_rng(seed).normal(scale=3, size=shape)


def softmax(values):
    return np.exp(values) / np.exp(values).sum(axis=-1, keepdims=True)


def sigmoid(values):
    return 1 / (1 + np.exp(-values))


KINDS = {
    "logits of classes": (TOP_1, logits(200, 10)),
    "softmax": (TOP_1, softmax(logits(200, 10))),
    "map of classes": (TOP_1, softmax(logits(20, 6, 6, 4))),
    "one sigmoid": (PROBABILITIES, sigmoid(logits(200, 1))),
    "one logit": (LOGITS, logits(200, 1)),
    "labels that do not exclude each other": (PROBABILITIES, sigmoid(logits(200, 5))),
    "mask of one channel": (PROBABILITIES, sigmoid(logits(20, 6, 6, 1))),
    "regression": (VALUES, 1000 + logits(200, 1)),
    "regression without an axis for units": (VALUES, logits(200)),
    "several quantities": (VALUES, logits(200, 3) * np.array([1e-3, 1, 1e3])),
    "map of values": (VALUES, logits(20, 6, 6, 2)),
    "several units of which nothing is known": (UNKNOWN, logits(200, 4)),
}


@pytest.mark.parametrize("name", KINDS)
def test_rounding_and_a_few_values_on_thresholds_are_the_same(name):
    measure, expected = KINDS[name]
    found = expected * (1 + 1e-6 * np.random.default_rng(1).choice([-1, 1], expected.shape))
    assert compare_outputs(expected, found, measure).verdict == "same"
    few = len(expected) // 20
    found[:few] = expected[1 : few + 1]  # bits that fell on the other side: outputs as for other samples
    result = compare_outputs(expected, found, measure)
    assert (result.verdict, result.reason) == ("same", "")
    assert 0.03 < result.share_different <= 0.05


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("fault", ["constant", "shuffled", "turned", "not finite"])
def test_what_is_something_else_is_different(name, fault):
    measure, expected = KINDS[name]
    mean = expected.mean(axis=0, keepdims=True)
    found = {
        "constant": np.broadcast_to(mean, expected.shape),
        "shuffled": np.roll(expected, 1, axis=0),
        "turned": 2 * mean - expected,
        "not finite": np.full(expected.shape, np.nan),
    }[fault]
    result = compare_outputs(expected, found, measure)
    assert result.verdict == "different"
    assert "Received: " in result.reason or "are allowed" in result.reason
    assert json.loads(json.dumps(asdict(result), allow_nan=False))["verdict"] == "different"


def test_one_unit_of_several_quantities_is_seen_whatever_its_scale():
    expected = KINDS["several quantities"][1]
    for unit in range(3):
        found = expected.copy()
        found[:, unit] = expected[:, unit].mean()
        assert compare_outputs(expected, found).verdict == "different"
        assert compare_outputs(expected, found).relative_difference == pytest.approx(1.0)


def test_a_rare_class_that_a_file_never_gives_is_seen():
    """97 % of the pixels agree, and the file gives nothing: decisions alone would not see it."""
    expected = np.full((20, 10, 10, 1), 0.02)
    expected[:, :3, 0] = 0.9
    result = compare_outputs(expected, np.full(expected.shape, 0.02), PROBABILITIES)
    assert (result.agreement, result.verdict) == (0.97, "different")


def test_a_sigmoid_whose_int8_ranges_were_measured_on_dark_pictures():
    """Inputs of a network are cut off far below what it needs: probabilities move by up to 0.4, half the decisions turn."""
    scores = np.random.default_rng(0).uniform(-2, 2, (400, 1))
    expected = sigmoid(scores)
    found = np.rint(sigmoid(np.clip(scores, -2 / 50, 2 / 50) - 0.1) * 256) / 256
    result = compare_outputs(expected, found, PROBABILITIES, INT8, step=1 / 256)
    assert 0.35 < result.largest_difference < 0.45
    assert result.agreement < 0.6
    assert result.verdict == "different"


def test_probabilities_that_differ_much_without_another_decision_are_different():
    expected = np.concatenate([np.linspace(0.55, 0.99, 50), np.linspace(0.01, 0.45, 50)])[:, None]
    found = np.where(expected > 0.5, 0.51, 0.49)
    result = compare_outputs(expected, found, PROBABILITIES)
    assert (result.agreement, result.verdict) == (1.0, "different")


@pytest.mark.parametrize("measure", [TOP_1, PROBABILITIES, VALUES, UNKNOWN], ids=str)
def test_outputs_that_are_the_same_for_all_samples_say_nothing(measure):
    expected = np.broadcast_to([0.7, 0.2, 0.1], (50, 3))
    result = compare_outputs(expected, expected, measure)
    assert (result.agreement, result.relative_difference, result.verdict) == (1.0, 0.0, "no verdict")
    assert "the same output for all samples" in result.reason
    assert "several samples, of several classes, prepared as for training" in result.reason
    # One sample is such data, too; what is far from a constant is something else all the same.
    assert compare_outputs(logits(1, 3), logits(1, 3), measure).verdict == "no verdict"
    assert compare_outputs(expected, expected[:, ::-1], measure).verdict == "different"
    assert compare_outputs(np.zeros((9, 1)), np.zeros((9, 1)), measure).verdict == "no verdict"


def test_one_unit_of_classes_says_nothing_with_a_softmax():
    assert compare_outputs(np.ones((50, 1)), np.ones((50, 1)), TOP_1).verdict == "no verdict"


def test_a_step_of_an_int8_grid_is_rounding():
    step = 1 / 64
    expected = sigmoid(logits(300, 1))
    found = np.floor(expected / step) * step  # up to a whole step lower
    result = compare_outputs(expected, found, PROBABILITIES, INT8, step)
    assert (result.agreement, result.relative_difference, result.share_different) == (1.0, 0.0, 0.0)
    assert result.verdict == "same"
    coarse = compare_outputs(expected, np.floor(expected / (16 * step)) * 16 * step, VALUES, INT8, step)
    assert coarse.share_different > 0.9
    # A spread below a step cannot be told from a constant.
    near = 0.5 + 0.3 * step * np.sin(np.arange(50.0))[:, None]
    result = compare_outputs(near, np.full(near.shape, 0.5), PROBABILITIES, INT8, step)
    assert (result.agreement, result.verdict) == (1.0, "no verdict")


def test_decisions_and_ties_on_a_threshold_to_rounding_agree():
    expected = np.array([[0.5], [0.9], [0.1], [0.5 + 1e-7]])
    found = np.array([[0.5 + 1e-7], [0.9], [0.1], [0.5 - 1e-7]])
    assert compare_outputs(expected, found, PROBABILITIES).agreement == 1.0
    expected = np.array([[1.0, 1.0, 0.0], [0.0, 1.0, 1.0 - 1e-7], [3.0, 0.0, 1.0]])
    found = np.array([[0.9999999, 1.0, 0.0], [0.0, 1.0 - 1e-7, 1.0], [3.0, 0.0, 1.0]])
    assert compare_outputs(expected, found, TOP_1).agreement == 1.0
    assert compare_outputs(expected, found[::-1], TOP_1).agreement == 2 / 3


def test_classes_that_are_all_the_same_with_other_values_have_no_verdict():
    """As a deep network of random weights, whose bits fall on either side: the largest unit is always the same."""
    expected, found = (np.array([100.0, 0, 0]) + logits(50, 3, seed=seed) for seed in (0, 1))
    result = compare_outputs(expected, found, TOP_1)
    assert (result.agreement, result.verdict) == (1.0, "no verdict")
    assert "the model decides the same on all samples" in result.reason
    assert compare_outputs(expected, expected + 10, TOP_1).verdict == "different"  # farther off than outputs for other samples
    assert compare_outputs(expected, found, VALUES).verdict == "different"


def test_units_of_which_nothing_is_known_must_agree_as_values():
    expected = logits(200, 4)
    found = expected + 0.5 * np.sign(logits(200, 1, seed=1))  # of all units of a sample: the largest stays the largest
    as_classes, result = (compare_outputs(expected, found, measure) for measure in (TOP_1, UNKNOWN))
    assert (as_classes.agreement, as_classes.verdict) == (1.0, "same")
    assert result.verdict == "no verdict"
    assert "nothing says whether the units are classes. If they are, pass labels" in result.reason


@pytest.mark.parametrize("minimum", [1.0, 0.9, 0.5, 0.1])
@pytest.mark.parametrize("largest", [0.0, 0.1, 0.5, 2.0])
def test_the_overall_limit_is_that_of_samples_drawn_anew(minimum, largest):
    """A share of the samples has outputs for others, the rest differ by the largest difference: by brute force."""
    generator = np.random.default_rng(0)
    expected = generator.normal(size=200_000)
    other = generator.uniform(size=expected.shape) > minimum
    found = np.where(other, generator.permutation(expected), expected + largest)
    root = math.sqrt(np.mean((found - expected) ** 2)) / expected.std()
    assert Limits(minimum, largest).overall == pytest.approx(root, abs=0.02)


def test_figures_are_those_of_their_formulas():
    expected, found = logits(40, 3), logits(40, 3) + 0.2 * logits(40, 3, seed=1)
    result = compare_outputs(expected, found, VALUES, Limits(maximum_difference=0.2), name="box")
    difference = abs(found - expected)
    relative = difference / expected.std(axis=0)
    assert result.agreement == np.mean([math.sqrt(sum(row**2) / 3) <= 0.2 for row in relative])
    assert result.relative_difference == pytest.approx(max(math.sqrt(np.mean(column**2)) for column in relative.T))
    assert (result.name, result.samples) == ("box", 40)
    assert result.largest_difference == difference.max()
    assert result.percentiles["50"] == pytest.approx(np.median(difference.max(axis=1)))
    assert result.share_different == np.mean(difference.max(axis=1) > 1e-3 * abs(expected).max())
    of_classes = compare_outputs(expected, found, TOP_1)
    pooled = math.sqrt(np.mean(expected.std(axis=0) ** 2))
    assert of_classes.relative_difference == pytest.approx(math.sqrt(np.mean(difference**2)) / pooled)
    assert of_classes.agreement == np.mean(
        [list(a).index(max(a)) == list(b).index(max(b)) for a, b in zip(expected, found, strict=True)]
    )


def test_nothing_is_asked_with_a_minimum_of_0():
    expected = logits(50, 3)
    assert compare_outputs(expected, -expected, TOP_1, Limits(0.0)).verdict == "no verdict"
    assert "minimum_agreement=0" in compare_outputs(expected, expected, TOP_1, Limits(0.0)).reason


def test_the_verdict_on_several_is_the_worst():
    assert overall_verdict(["same", "same"]) == "same"
    assert overall_verdict(["same", "no verdict"]) == "no verdict"
    assert overall_verdict(["no verdict", "different", "same"]) == "different"


@pytest.mark.parametrize("shapes", [((3, 2), (3, 1)), ((0, 2), (0, 2)), ((2, 2), (3, 2))])
def test_outputs_must_have_one_shape(shapes):
    with pytest.raises(ValueError, match="needs outputs of one shape, of at least one sample. Received: "):
        compare_outputs(*map(np.zeros, shapes))
