"""What notebooks show: reports as small tables, a progress line without ipywidgets. And what their first cells install."""

import html.parser
import importlib.util
import re
import warnings
from pathlib import Path

import IPython.display
import keras
import nbclient
import nbformat
import numpy as np
import pytest
from rich.console import Console
from written_files import small_file

import bitat_tf
from bitat_tf._tables import ShownAsTable, as_html
from bitat_tf.analysis import ResultTable
from bitat_tf.calibration import measure_dependency
from bitat_tf.callbacks.progress import ProgressLine
from bitat_tf.callbacks.schedule import Phase
from bitat_tf.data import ImageData
from bitat_tf.deployment.benchmark_report import BenchmarkReport, Timing
from bitat_tf.deployment.engine_times import EngineTime, EngineTimes
from bitat_tf.deployment.machine import Machine
from bitat_tf.export import ExportReport, InsideComparison, VerificationReport, compare_outputs
from bitat_tf.export.inside import Divergence
from bitat_tf.kits import Kit
from bitat_tf.workflow.export import Exported

HOSTILE = "<script>&name"


class Tables(html.parser.HTMLParser):
    """Reads tables, and sees that every tag is closed."""

    def __init__(self, text):
        super().__init__()
        self.rows, self.open, self.kinds = [], [], set()
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.kinds.add(tag)
        if tag != "br":
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += data


def agreement():
    outputs = np.random.default_rng(0).normal(size=(20, 3))
    return compare_outputs(outputs, outputs, name=HOSTILE)


def network(binary):
    layer = bitat_tf.layers.BinaryDense if binary else keras.layers.Dense
    layers = [keras.Input((8,)), *(layer(8, name=f"layer_{number}") for number in range(3))]
    return keras.Sequential(layers, name="a_network")


def export_report():
    return ExportReport(
        HOSTILE, 1234, 5678, "0" * 64, {"LceBconv2d": 2}, 2, 2, (), False, "float32", (agreement(),), False, "x", {"keras": "3"}
    )


def inside():
    return InsideComparison(8, 2, (Divergence(HOSTILE, 100, 3, 3),))


def dumped(folder):
    (folder / "model.tflite").write_bytes(small_file())
    return bitat_tf.tflite_file.dump(folder / "model.tflite", folder / "bits")


def read(folder):
    (folder / "model.tflite").write_bytes(small_file())
    return bitat_tf.tflite_file.read(folder / "model.tflite")


def inspected(folder):
    (folder / "model.tflite").write_bytes(small_file())
    return bitat_tf.tflite_file.inspect(folder / "model.tflite")


def benchmarked():
    timings = (Timing(HOSTILE, 2048, "larq-compute-engine", "indirect", True, 1, (1, 8), (0.002, 0.004)),)
    return BenchmarkReport(HOSTILE, timings, (0, 0), 2, Machine("a processor", "x86_64", "Linux", 2, 0.1, {"keras": "3"}))


def dependency():
    return measure_dependency(network(True), np.random.default_rng(0).normal(size=(32, 8)).astype(np.float32))


def images():
    pictures, labels = np.zeros((200, 32, 32, 3), np.uint8), np.zeros(200, int)
    return ImageData(pictures, labels, pictures, labels, (HOSTILE, "rose"))


# For each class: what makes one, and a cell that must be in it.
REPORTS = {
    "ExportReport": (lambda folder: export_report(), "1,234 bytes (float32 weights: 5,678)"),
    "VerificationReport": (
        lambda folder: VerificationReport(HOSTILE, (agreement(),), inside(), False, "bitat-runtime", "bitat-runtime 0.1"),
        "The file does what the model does.",
    ),
    "InsideComparison": (
        lambda folder: inside(),
        f"first at {HOSTILE}: 3 of 100 signs differ, 3 of them of values on their threshold",
    ),
    "OutputAgreement": (lambda folder: agreement(), HOSTILE),
    "Exported": (lambda folder: Exported(export_report(), None), "2 of 2 LceBconv2d"),
    "BenchmarkReport": (lambda folder: benchmarked(), "indirect, XNNPACK"),
    "EngineTimes": (
        lambda folder: EngineTimes({"bitat-runtime": EngineTime("avx2", 0.001, 31)}, None, 1, HOSTILE),
        f"Time per picture: 1 ms with bitat-runtime (avx2); 1 thread, medians of 31 runs in turns, {HOSTILE}.",
    ),
    "CheckReport": (lambda folder: bitat_tf.check(network(True)), "layer_0, layer_1, layer_2"),
    "ModelSummary": (lambda folder: bitat_tf.summary(network(True)), "3 float"),
    "Outlook": (lambda folder: bitat_tf.check(network(False)).outlook, "layer_1"),
    "BinarizationPlan": (lambda folder: bitat_tf.plan_binarization(network(False)), "layer_0"),
    "FileReport": (inspected, "LceBconv2d"),
    "Dump": (dumped, re.compile(r"\d+, [\d,]+ weights of one bit")),
    "TfliteFile": (read, re.compile(".*model.tflite")),
    "NetworkDependency": (lambda folder: dependency(), "layer_2"),
    "LayerDependency": (lambda folder: dependency().layers[0], "array of float64, shape (8, 8)"),
    "ImageData": (lambda folder: images(), "array of uint8, shape (200, 32, 32, 3)"),
    "Kit": (lambda folder: Kit(folder, ("README.md",), (HOSTILE,), (), "cpp"), f"('{HOSTILE}',)"),
    "ResultTable": (lambda folder: ResultTable(({"layer": HOSTILE, "q_rel": 0.25},)), "0.25"),
}


def test_every_report_has_a_test():
    assert {kind.__name__ for kind in ShownAsTable.__subclasses__()} <= {*REPORTS}


@pytest.mark.parametrize("name", REPORTS)
def test_a_report_is_a_small_table(name, tmp_path):
    make, cell = REPORTS[name]
    report = make(tmp_path)
    assert type(report).__name__ == name
    text = report._repr_html_()
    assert len(text) < 15_000
    found = Tables(text)
    assert found.kinds <= {"table", "caption", "thead", "tbody", "tfoot", "tr", "th", "td", "p", "br"}
    cells = [one for row in found.rows for one in row]
    assert any(re.fullmatch(cell, one) if isinstance(cell, re.Pattern) else one == cell for one in cells), cells


def test_long_tables_are_cut_and_what_looks_like_markup_is_kept():
    from rich.table import Table

    table = Table("name", title="a title")
    for number in range(100):
        table.add_row(f"[/{number}]")
    text = as_html(table)
    assert "60 of 100 rows" in text
    assert "<caption>a title</caption>" in text
    assert Tables(text).rows[1] == ["[/0]"]


def test_the_progress_line_needs_no_ipywidgets(monkeypatch):
    shown = []

    class Handle:
        def update(self, content):
            shown.append(repr(content))

    monkeypatch.setattr(IPython.display, "display", lambda content, display_id: Handle())
    monkeypatch.setitem(__import__("sys").modules, "ipywidgets", None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        line = ProgressLine(200, live=True, console=Console(force_jupyter=True))
        line.phase(Phase("quantization", 1, "conv[1]", 0, 100, 0.1), 2, 0)
        line.update(100)
        line.close()
        line.close()
    assert re.fullmatch(r"layer 1/2 conv\[1\], quantization phase, 0:00 left ━{15} {15}  50%", shown[-1]), shown


CELL = """
import contextlib, sys
sys.modules["ipywidgets"] = None  # as where it is not installed
from bitat_tf._console import LiveLine
for transient in (False, True):
    with contextlib.closing(LiveLine(4, "layer", transient)) as line:
        for number in range(5):
            line.update(number, f"layer [bold]{number}[/bold]")
"""


def test_a_real_notebook_shows_one_line_that_is_kept_up_to_date():
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CELL)])
    nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    outputs = [(output["output_type"], output["data"]["text/plain"]) for output in notebook.cells[0].outputs]
    assert outputs == [("display_data", f"layer 4 {'━' * 30} 100%"), ("display_data", "")]


def installed_by(notebook, folder, monkeypatch, **changes):
    """Return what the first code cell gives to pip in a folder where bitat_tf is not installed."""
    code = next(cell["source"] for cell in nbformat.read(notebook, 4).cells if cell["cell_type"] == "code")
    for name, value in changes.items():
        code = re.sub(rf"^{name} = .*", f"{name} = {value!r}", code, flags=re.MULTILINE)
    found = []
    code = re.sub(r"%pip install --quiet (.*)$", r"found.extend(f'''\1'''.split())", code, flags=re.MULTILINE)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    exec(code, {"found": found})
    return [one.strip('"') for one in found]


ROOT = Path(bitat_tf.__file__).parents[1]


@pytest.mark.parametrize("notebook", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda path: path.stem)
def test_the_install_cell_takes_the_checkout_or_what_source_names(notebook, tmp_path, monkeypatch):
    here = installed_by(notebook, notebook.parent, monkeypatch)
    assert [(Path(place) / "pyproject.toml").resolve() for place in here] == [
        ROOT / "pyproject.toml",
        ROOT / "runtime" / "pyproject.toml",
    ][: len(here)]
    elsewhere = installed_by(notebook, tmp_path, monkeypatch)
    repository = "git+https://github.com/bitat-tf/bitat_tf"
    assert elsewhere == [repository, f"{repository}#subdirectory=runtime"][: len(here)]
    assert installed_by(notebook, tmp_path, monkeypatch, SOURCE="git+https://x/y")[-1].startswith("git+https://x/y")
    assert installed_by(notebook, tmp_path, monkeypatch, SOURCE="/a/checkout")[0] == "/a/checkout"
    assert "not on PyPI yet" in nbformat.read(notebook, 4).cells[1]["source"]
