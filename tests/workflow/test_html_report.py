"""`report.html`: one file that loads nothing, true to what it was made of, safe for names of any kind."""

import base64
import io
import re
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from bitat_tf.analysis import ResultTable
from bitat_tf.callbacks import Schedule
from bitat_tf.data import ImageData
from bitat_tf.workflow.experiments.gap_report import draw_agreement, draw_curves, draw_gap
from bitat_tf.workflow.html_report import Evidence, figures, html_report
from bitat_tf.workflow.html_report.predictions import confusion_matrix, confusions, examples
from bitat_tf.workflow.plots import error_plot_width, plot_layer_errors
from bitat_tf.workflow.report import markdown
from bitat_tf.workflow.source_report import describe_agreement

VOID = {"meta", "img", "br", "link", "input"}


class Page(HTMLParser):
    """Reads a page: its texts, its addresses, and whether every element is closed where it should be."""

    def __init__(self, text):
        super().__init__()
        self.open, self.texts, self.addresses, self.counts = [], [], [], Counter()
        self.feed(text)
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag, attrs):
        self.counts[tag] += 1
        self.addresses += [value for name, value in attrs if name in ("src", "href", "srcset", "data", "action")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


def layer_row(name, value):
    errors = {"q_orig": value, "q_ours": 2 * value, "q_rel": value / 10}
    return {"layer": name, **errors, **{f"{key}_start": 3 * number for key, number in errors.items()}}


@pytest.fixture
def report():
    return {
        "data": "pets <3",
        "classes": 3,
        "image_shape": [6, 6, 3],
        "squares": "the central square of each",
        "warnings": [],
        "train_images": 90,
        "validation_images": 10,
        "test_images": 30,
        "skipped_images": [],
        "source": {"kind": "ReActNet"},
        "outputs": "logits",
        "float_accuracy": 0.9,
        "binary_accuracy": 0.8,
        "export": {
            "size": 123456,
            "float_size": 2_000_000,
            "expected_binary": 2,
            "fused_binary": 2,
            "accuracy": 0.8,
            "sha256": "ab" * 32,
            "outputs": [{"agreement": 1.0, "samples": 30, "largest_difference": 1e-4, "share_different": 0.0}],
            "operators": {"LceBconv2d": 2, "ADD": 7},
            "versions": {"tensorflow": "2.21.0"},
        },
        "layers": [layer_row("conv_1", 1.25), layer_row("conv_2", 0.5)],
        "settings": {"epochs": 1, "post_training": False, "width": 1.0, "seed": 0},
        "seconds": {"float": 1.0, "binary": 2.0},
        "curves": True,
    }


@pytest.fixture
def evidence():
    generator = np.random.default_rng(0)
    images = generator.integers(0, 255, (30, 6, 6, 3)).astype(np.uint8)
    labels = np.arange(30) % 3
    names = ("cat $_$ 猫", "<script>alert(1)</script>", "dog & co")
    right = 5 * np.eye(3)[labels]
    wrong = right.copy()
    wrong[:6] = 5 * np.eye(3)[(labels[:6] + 1) % 3]
    rows = [
        {"run": run, "epoch": str(epoch), "accuracy": "0.5", "val_accuracy": "0.4"}
        for run, epochs in (("float", 1), ("binary", 4))
        for epoch in range(epochs)
    ]
    timeline = Schedule(joint_epochs=2).timeline(["conv_1", "conv_2"], 3 * 2)
    return Evidence(ImageData(images, labels, images, labels, names), {"float": right, "binary": wrong}, rows, timeline, 6)


def test_names_control_nothing(report, evidence):
    """Of classes, also in the figures, and of what else stands in the report."""
    strange = replace(evidence, images=replace(evidence.images, class_names=("a\x1b[31m", "b\udce9", "c\nd")))
    text = html_report({**report, "data": "x\x1b]0;t\x07"}, strange)
    assert "\x1b" not in text
    assert text.encode().decode() == text
    for shown in (r"a\x1b[31m", r"b\xe9", r"c\nd", r"x\x1b]0;t\x07"):
        assert shown in text
    assert r"x\x1b]0;t\x07" in markdown({**report, "data": "x\x1b]0;t\x07"})
    assert "\x1b" not in markdown({**report, "data": "x\x1b]0;t\x07"})


def test_is_one_file_that_loads_nothing(report, evidence):
    page = Page(html_report(report, evidence))
    assert all(address.startswith("data:image/") for address in page.addresses)
    assert page.counts["script"] == page.counts["link"] == page.counts["iframe"] == 0
    text = html_report(report, evidence)
    assert "@import" not in text
    assert not re.search(r"url\(", text)
    assert html_report(report, evidence) == text, "the same run gives the same page"


def test_says_what_the_report_says(report, evidence):
    text = " ".join(" ".join(Page(html_report(report, evidence)).texts).split())
    for expected in (
        "Run on pets <3",
        "90 training, 10 validation and 30 test images of 6x6x3 (the central square of each), 3 classes. ReActNet of 2 binary",
        "float 90.00%",
        "model.tflite 80.00%",
        "2 of 2 fused",
        "agree on 100.00% of 30 test images. Their outputs differ by rounding alone, by 0.00010 at most.",
        "conv_1 3.75 1.25 7.5 2.5 0.375 0.125",  # before and after: Q_orig, Q_ours, Q_rel
        "LceBconv2d 2",
        "123,456 bytes",
        "epochs: 1",
        "seconds: float 1, binary 2",
        "quantization 0.00 0.50",
        "all 2 joint 2.00 4.00",
    ):
        assert expected in text
    report["times"] = {"text": "Time per picture: 1 ms"}
    report["source"]["warnings"] = ["look <here>"]
    text = " ".join(Page(html_report(report, evidence)).texts)
    assert "Time per picture: 1 ms" in text
    assert "look <here>" in text


def test_pictures_are_the_test_pictures(report, evidence):
    page = Page(html_report(report, evidence))
    pngs = [address for address in page.addresses if address.startswith("data:image/png")]
    found = {np.asarray(Image.open(io.BytesIO(base64.b64decode(address.split(",")[1])))).tobytes() for address in pngs}
    assert len(pngs) == 8 + 6, "eight at random, and all six on which the networks differ"
    assert found <= {image.tobytes() for image in evidence.images.test_images}
    differing = {image.tobytes() for image in evidence.images.test_images[:6]}
    assert differing <= found
    assert set(np.flatnonzero([image.tobytes() in differing for image in evidence.images.test_images])) == set(range(6))
    svgs = [base64.b64decode(address.split(",")[1]).decode() for address in page.addresses if "svg" in address]
    assert len(svgs) == 3  # stages, errors, confusion
    assert all("<svg" in svg and "</svg>" in svg for svg in svgs)


def test_figures_show_names_as_they_are(report, evidence):
    page = Page(html_report(report, evidence))
    svgs = [base64.b64decode(address.split(",")[1]).decode() for address in page.addresses if "svg" in address]
    assert "cat $_$ 猫" in svgs[2], "neither mathematics nor boxes"
    assert all(f">{name}<" in svgs[0] for name in ("conv_1", "conv_2"))


def test_a_bit_on_a_threshold_is_explained(report):
    report["export"]["outputs"] = [{"agreement": 1.0, "samples": 360, "largest_difference": 1.0, "share_different": 1 / 360}]
    assert describe_agreement(report) == (
        "Top-1 of the file and of the Keras model agree on 100.00% of 360 test images. On 1 image their outputs differ by more "
        "than rounding, by 1.0 at most, as where a value before a binary layer lies on the threshold of its sign, and rounding "
        "decides the bit."
    )


@pytest.mark.parametrize("layers", [3, 26])
def test_numbers_over_bars_can_be_read(layers):
    """Upright and not below 9 points; where they do not fit beside one another, the table has them."""
    axes = Figure((error_plot_width([None] * layers), 4.5)).subplots()
    plot_layer_errors(axes, [layer_row(f"$conv_{number}$", 1.0) for number in range(layers)])
    assert len(axes.texts) == (layers if layers == 3 else 0)
    assert all(text.get_rotation() == 0 and text.get_fontsize() >= 9 for text in axes.texts)
    assert not any(label.get_parse_math() for label in axes.get_xticklabels())
    axes.figure.draw_without_rendering()
    boxes = sorted((text.get_window_extent() for text in axes.texts), key=lambda box: box.x0)
    assert all(left.x1 < right.x0 for left, right in zip(boxes, boxes[1:], strict=False))


@pytest.mark.parametrize("draw", [draw_gap, draw_agreement, draw_curves])
def test_figures_of_experiments_have_titles_and_markers(draw):
    gap = [{"network": name, "layer": "conv", "q_ours": 1.0} for name in ("ReActNet", "BiTAT")]
    part = {"curve": [{"epoch": 1, "q_ratio": 0.5}], "agreement": [{"layer": "conv", "correlation": 0.5}]}
    axes = Figure().subplots()
    draw(axes, ResultTable(tuple(gap)) if draw is draw_gap else [{**part, "network": one["network"]} for one in gap])
    assert len(axes.get_title()) > 30
    assert {line.get_marker() for line in axes.lines if line.get_linestyle() != "--"} <= {".", "o"}


def test_figures_draw_what_they_say(evidence, monkeypatch):
    drawn = []
    monkeypatch.setattr(figures, "as_svg", drawn.append)
    matrix = np.array([[8, 2], [0, 5]])
    figures.draw_confusion(matrix, ["a", "b"])
    (axes,) = drawn[0].axes
    np.testing.assert_allclose(axes.images[0].get_array(), [[0.8, 0.2], [0, 1]])
    assert {(*text.get_position(), text.get_text()) for text in axes.texts} == {(0, 0, "8"), (1, 0, "2"), (1, 1, "5")}
    figures.draw_timeline(evidence.rows, evidence.timeline, evidence.steps_per_epoch)
    bars = [(bar.get_x(), bar.get_width(), bar.get_y() + bar.get_height() / 2) for bar in drawn[1].axes[0].patches]
    # One float epoch, then half an epoch for each phase of two layers, then two epochs for both.
    assert bars == [(1.0, 0.5, 0), (1.5, 0.5, 0), (2.0, 0.5, 1), (2.5, 0.5, 1), (3.0, 2.0, 0.5)]


def test_names_cannot_become_code(report, evidence):
    text = html_report(report, evidence)
    assert "<script" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text


def test_without_training_there_are_no_stages(report, evidence):
    report.update({"curves": False, "layers": []})
    report["settings"]["post_training"] = True
    bare = Evidence(evidence.images, evidence.outputs, [], None, 6)
    text = " ".join(Page(html_report(report, bare)).texts)
    assert "Stages" not in text
    assert "Errors of the layers" not in text
    assert "What it confuses" in text


def test_confusions_by_counting():
    labels, predictions = np.array([0, 0, 0, 1, 1, 2]), np.array([0, 1, 1, 1, 0, 2])
    matrix = confusion_matrix(labels, predictions, 3)
    np.testing.assert_array_equal(matrix, [[1, 2, 0], [1, 1, 0], [0, 0, 1]])
    assert confusions(matrix, confusion_matrix(labels, labels, 3), ["a", "b", "c"]) == [
        {"is": "a", "said": "b", "count": 2, "share": pytest.approx(2 / 3), "other": 0},
        {"is": "b", "said": "a", "count": 1, "share": 0.5, "other": 0},
    ]


@pytest.mark.parametrize("from_logits", [True, False])
def test_shares_are_probabilities(from_logits):
    outputs = np.array([[2.0, 1.0]]) if from_logits else np.array([[0.7, 0.3]])
    (group,) = examples(np.zeros((1, 2, 2, 1), np.uint8), np.array([0]), {"float": outputs}, ["a", "b"], from_logits, 0)
    expected = np.exp(2) / (np.exp(2) + np.exp(1)) if from_logits else 0.7
    (says,) = group["pictures"][0]["says"]
    assert (says["class"], says["right"], says["share"]) == ("a", True, pytest.approx(expected))


def test_many_classes_have_no_matrix(report, evidence):
    labels = np.arange(30)
    images = ImageData(*(evidence.images.train_images, labels) * 2, tuple(f"class {i}" for i in range(50)))
    outputs = {name: np.eye(50)[labels] for name in ("float", "binary")}
    page = Page(html_report(report, Evidence(images, outputs, evidence.rows, evidence.timeline, 6)))
    assert len([address for address in page.addresses if "svg" in address]) == 2
    assert "all test images are recognized" in " ".join(page.texts)
