"""The benchmarks run, at toy size, and their page holds what they found. No time is tested."""

import json
import re
from pathlib import Path

import pytest

from benchmarks import __main__ as command
from benchmarks import deployment, deployment_page, growth, scaling
from benchmarks.cases import CASES
from benchmarks.networks import NETWORKS
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


def test_every_network_is_measured_by_the_command():
    assert set(deployment.NAMES) == {*NETWORKS}


@pytest.mark.slow
def test_deployment_goes_on_where_it_was_stopped(monkeypatch, tmp_path, capsys):
    """Parts of a chain of convolutions, normalizations and ReLUs, of which the direct export leaves nothing between them."""

    def run(*arguments):
        command = ["deployment", "--tiny", "--only", "Conv-BN-ReLU", "--repeats", "1", "--runs", "3", "--out", str(tmp_path)]
        monkeypatch.setattr("sys.argv", [*command, *arguments])
        deployment.main()
        return json.loads((tmp_path / "deployment_figures.json").read_text()), capsys.readouterr().out

    first, printed = run("--parts", "files")
    assert printed == "Conv-BN-ReLU: files\n"
    assert (tmp_path / "deployment_figures.md").read_text() == deployment_page.page(first)
    files = first["networks"]["Conv-BN-ReLU"]["files"]
    assert files["fused"] == {"direct": 13, "larq": 13, "int8": 13}
    # The first threshold stands in the bias of the stem; the ReLU after the last layer is read by a float one.
    assert files["elementwise"]["direct"] <= 1 < files["elementwise"]["larq"]
    assert files["bytes"]["int8"] < files["bytes"]["direct"] < files["bytes"]["larq"] < files["bytes"]["float32"]

    found, printed = run()
    assert printed == "Conv-BN-ReLU: export\nConv-BN-ReLU: times\n"
    assert found["networks"]["Conv-BN-ReLU"]["files"] == files
    export, times = (found["networks"]["Conv-BN-ReLU"][part] for part in ("export", "times"))
    for way in deployment.WAYS:
        assert export[way]["peak_mib"] > export[way]["added_mib"] > 0
        assert min(export[way]["seconds"], export[way]["import_seconds"]) > 0
    assert min(times["milliseconds"][name]["median"] for name in ("direct", "larq")) > 0
    assert (tmp_path / "deployment_figures.md").read_text() == deployment_page.page(found)

    assert run() == (found, ""), "all was measured"


def test_the_page_of_the_deployment_is_that_of_the_stored_results():
    docs = Path(deployment.__file__).parents[1] / "docs"
    stored = json.loads((docs / "deployment_figures.json").read_text())
    assert (docs / "deployment_figures.md").read_text() == deployment_page.page(stored)
