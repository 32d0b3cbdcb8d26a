"""The benchmarks run, at toy size, and their page holds what they found. No time is tested."""

import json
import re
from pathlib import Path

import pytest

from benchmarks import __main__ as command
from benchmarks import growth, scaling
from benchmarks.cases import CASES
from benchmarks.page import page
from benchmarks.plot import plot


def test_every_case_is_run_by_the_command():
    assert set(command.NAMES) == {*CASES, "growth"}


def test_toy_figures_stay_out_of_the_documentation(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["benchmarks", "--tiny"])
    with pytest.raises(SystemExit):
        command.main()
    assert "--tiny needs --out" in capsys.readouterr().err


@pytest.fixture(scope="module")
def results():
    found = {name: case(True) for name, case in CASES.items()}
    return {**found, "growth": growth.run(True), "seconds": 60.0, "machine": "a machine", "versions": "versions"}


@pytest.mark.slow
def test_results_are_plain_and_complete(results):
    for name in ("statistics-groups", "statistics-full", "statistics-numpy", "wide-groups", "wide-full", "flips"):
        assert results[name]["seconds"] > 0
        assert results[name]["peak_mib"] >= 0
    assert "d = 9216" in results["wide-refused"]["warning"]
    assert "the limit is" in results["wide-refused"]["error"]
    for row in results["network-flips"]["layers"]:
        assert row["flips"] <= row["sign"] + 1e-9
    for row in results["training-step"]["layers"]:
        assert row["ratio"] > 0
    assert {row["axis"] for row in results["growth"]} == {"d", "k", "m", "images"}


@pytest.mark.slow
def test_page_and_plot(results, tmp_path):
    plot(results["growth"], tmp_path / "growth.png")
    assert (tmp_path / "growth.png").stat().st_size > 10_000
    text = page(results)
    for heading in ("Statistics of a 3x3 convolution", "s and V", "A training step", "Flips", "How the costs grow"):
        assert re.search(rf"^## .*{heading}", text, re.MULTILINE)
    tables = [line for line in text.splitlines() if line.startswith("|")]
    assert all(line.endswith("|") for line in tables)


def test_the_page_of_the_documentation_is_that_of_the_stored_results():
    docs = Path(command.__file__).parents[1] / "docs"
    stored = json.loads((docs / "benchmarks.json").read_text())
    assert (docs / "benchmarks.md").read_text() == page(stored) + "\n"


@pytest.mark.slow
def test_scaling(monkeypatch, tmp_path):
    monkeypatch.setattr("sys.argv", ["scaling", "--tiny", "--images", "8", "--out", str(tmp_path / "new")])
    scaling.main()
    found = json.loads((tmp_path / "new" / "scaling_figures.json").read_text())
    assert [row["dim"] for row in found["stages"]] == [72, 8, 144, 16], "3x3 and 1x1, of 8 and 16 channels"
    assert all(row["seconds"] > 0 for row in found["stages"])
    assert found["backup"]["mib"] > 0.1
    assert 0 < found["digits"]["backup_seconds"] < found["digits"]["seconds"]
    assert (tmp_path / "new" / "scaling_figures.md").read_text() == scaling.page(found)
    monkeypatch.setattr("sys.argv", ["scaling", "--tiny", "--digits-only", "--out", str(tmp_path / "new")])
    scaling.main()
    again = json.loads((tmp_path / "new" / "scaling_figures.json").read_text())
    assert again["digits"] != found["digits"]
    assert {**again, "digits": found["digits"]} == found
