"""The complete example of docs/binarize.md, as it stands there."""

import json
import re
from pathlib import Path

import pytest

from bitat_tf import cli

PAGE = (Path(__file__).parents[2] / "docs" / "binarize.md").read_text()


@pytest.mark.slow
def test_the_example_runs_and_its_figures_are_about_those_of_the_page(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.partition("## A complete example")[2], re.DOTALL)
    exec(compile(code, "binarize.md", "exec"), {})
    (command,) = re.findall(r"^    bitat-tf (binarize mine.keras --data digits .*)$", PAGE, re.MULTILINE)
    assert cli.main(command.split()) == 0
    report = json.loads((tmp_path / "runs" / "mine" / "report.json").read_text())
    assert report["export"]["fused_binary"] == report["export"]["expected_binary"] == 4
    (written,) = re.findall(r"float (\d+\.\d) %, binary (\d+\.\d) % in Keras and in the file", PAGE)
    # Rounding on another machine moves a trained run by up to a point or two.
    assert report["float_accuracy"] == pytest.approx(float(written[0]) / 100, abs=0.02)
    assert report["binary_accuracy"] == pytest.approx(float(written[1]) / 100, abs=0.03)
    assert report["export"]["accuracy"] == pytest.approx(report["binary_accuracy"], abs=0.02)
