"""The README is true: its example runs, its files exist."""

import json
import re
from pathlib import Path

import keras
import pytest

from bitat_tf.inspection import rules

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


@pytest.mark.slow
def test_the_fifteen_lines_run_as_they_stand(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code = re.search(r"```python\n(.*?)```", README, re.DOTALL).group(1)
    assert len([line for line in code.splitlines() if line]) <= 15
    names = {}
    exec(compile(code, "README.md", "exec"), names)
    report = names["report"]
    assert report.fused_binary == report.expected_binary == 6
    assert report.outputs[0].agreement >= 0.99
    assert report.accuracy > 0.9
    assert (tmp_path / "digits.tflite").stat().st_size == report.size
    assert "6 of 6 LceBconv2d" in capsys.readouterr().out
    assert isinstance(names["model"], keras.Model)


def test_no_placeholder_is_left():
    assert not re.findall(r"\b(?:TODO|TBD|XXX|RESULTS|TESTED_\w+)\b", README)


def test_links_lead_to_files():
    for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        for link in re.findall(r"\]\((?!http)([^)#]+)", page.read_text()):
            assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_files_named_in_the_method_exist():
    for name in re.findall(
        r"`((?:dependency|callbacks|applications)/\w+\.py|regularizers\.py)`", (ROOT / "docs/method.md").read_text()
    ):
        assert (ROOT / "bitat_tf" / name).exists(), name


def test_notebooks_are_clean_and_start_with_a_badge():
    notebooks = sorted((ROOT / "notebooks").glob("*.ipynb"))
    assert len({path.name[:3] for path in notebooks}) == len(notebooks) > 1, "each notebook has a number of its own"
    assert all(path.name[:2].isdigit() and path.name[2] == "_" for path in notebooks)
    for path in notebooks:
        cells = json.loads(path.read_text())["cells"]
        assert "colab-badge.svg" in "".join(cells[0]["source"])
        assert path.name in "".join(cells[0]["source"])
        code = [cell for cell in cells if cell["cell_type"] == "code"]
        assert "pip install" in "".join(code[0]["source"])
        assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code), (
            f"strip the outputs of {path.name}"
        )


def test_every_rule_of_the_linter_is_explained():
    explained = [int(number) for number in re.findall(r"^\| (\d+) \|", (ROOT / "docs/rules.md").read_text(), re.M)]
    assert explained == sorted(number for name, number in vars(rules).items() if isinstance(number, int))
    assert f"the {len(explained)} rules of `check`" in README
