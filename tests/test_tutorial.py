"""The tutorial's code, run as it stands but for the number of epochs."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_the_tutorial_leads_to_a_file(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs/tutorial.md").read_text()
    code = "\n".join(re.findall(r"```python\n(.*?)```", page, re.DOTALL))
    short, changed = re.subn(r"epochs=15\b", "epochs=2", code)
    assert changed == 2
    names = {}
    exec(compile(short, "tutorial.md", "exec"), names)
    report = names["report"]
    assert report.fused_binary == report.expected_binary == 4
    assert (tmp_path / "digits.tflite").stat().st_size == report.size
    printed = capsys.readouterr().out
    # Within what names of versions take in the file.
    assert abs(int(re.search(r"size +([\d,]+) bytes", page)[1].replace(",", "")) - report.size) < 500
    # What the page shows of sizes does not depend on training.
    for line in (
        "weights        45,352 bytes (float32: 1,116,712, 24.6 times that)",
        "binary kernels  4 of 4 LceBconv2d",
    ):
        assert line in page
        assert line in printed


@pytest.mark.parametrize(
    "page", ["index.md", "deployment.md", "export.md", "looking.md", "shortcuts.md", "pictures.md", "paper.md"]
)
def test_names_in_other_pages_exist(page):
    import bitat_tf

    for name in re.findall(r"bitat_tf(?:\.\w+)+", (ROOT / "docs" / page).read_text()):
        thing = bitat_tf
        for part in name.split(".")[1:]:
            thing = getattr(thing, part)


def test_the_first_page_has_the_readmes_fifteen_lines():
    first = [
        re.search(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL).group(1)
        for page in ("README.md", "docs/index.md")
    ]
    assert first[0] == first[1], "a test runs those of the README"
