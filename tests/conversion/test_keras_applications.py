"""The networks of `tf_keras.applications` through `check`, `binarize` and the converter, as the documented table says."""

import re
from pathlib import Path

import keras
import pytest

from benchmarks.keras_applications import NAMES, build, outcome, page, row

PAGE = (Path(__file__).parents[2] / "docs" / "keras_applications.md").read_text()


def cells(line):
    return [cell.strip() for cell in line.strip("|").split("|")]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_outputs_predictions_and_the_table(name):
    found = outcome(name)
    # The same operators on the same weights: only rounding may differ.
    assert found["difference"] < 1e-4
    assert found["expanded_difference"] < 1e-4
    assert found["errors"] == 0
    assert found["expected"] == found["in_file"] > 0
    (line,) = re.findall(rf"^\| {name} \|.*$", PAGE, re.M)
    differences = (4, 7)  # rounding is another one on another machine
    pairs = zip(cells(line), cells(row(found)), strict=True)
    assert all(now == then or column in differences for column, (then, now) in enumerate(pairs)), line


def test_networks_are_built_for_a_fair_comparison():
    model = build("MobileNetV2", size=32)
    assert model.layers[-1].activation is keras.activations.linear  # a softmax would hide differences
    variances = [layer.moving_variance for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert all(float(variance.numpy().std()) > 0 for variance in variances)


def test_the_page_is_the_one_of_the_program():
    found = {"network": "Net", "layers": 3, "binary": 1, "float": {"Conv2D": 2}, "difference": 2e-7}
    found |= {"expanded": 1, "expanded_difference": 0.0, "errors": 0, "expected": 1, "in_file": 1}
    text = page([found])
    assert "| Net | 3 | 1 | 2 Conv2D | 2e-07 | 1 / 1 | the same |  |" in text
    assert [name for name in re.findall(r"^\| (\w+) \|", PAGE, re.M) if name != "network"] == [*NAMES]
    assert text.splitlines()[0] == PAGE.splitlines()[0]
