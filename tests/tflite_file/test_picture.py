"""The picture of a network: what stands in it, and where."""

import dataclasses

import larq_compute_engine as lce
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.image import imread
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from bitat_tf._keras import keras
from bitat_tf.applications import ReActNet
from bitat_tf.export import to_plain_larq
from bitat_tf.layers import binary_layers
from bitat_tf.tflite_file import inspect, picture, plot_graph
from bitat_tf.tflite_file.graph_layout import BOX_WIDTH, lay_out
from bitat_tf.tflite_file.operators import Operator
from bitat_tf.tflite_file.picture import _COLORS, graph_figure, operator_kind


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    model = ReActNet((8, 8, 1), 10, width=0.5, blocks=((32, 1), (64, 2), (64, 1)))
    for layer in binary_layers(model):
        layer.set_binary()
    path = tmp_path_factory.mktemp("file") / "model.tflite"
    path.write_bytes(lce.convert_keras_model(to_plain_larq(model)))
    return inspect(path)


def with_operators(report, sources, name="ADD"):
    """Return the report with operators that read from the given ones."""
    operators = tuple(
        Operator(name, f"t{index}", (1, 8), index=index, sources=tuple(numbers)) for index, numbers in enumerate(sources)
    )
    return dataclasses.replace(report, operators=operators)


def chain(report, count):
    return with_operators(report, [[index - 1] for index in range(count)])


def texts(figure):
    return [text.get_text() for text in figure.axes[0].texts]


def test_every_operator_has_a_box_with_its_name_and_shape(report):
    found = texts(graph_figure(report))
    for operator in report.operators:
        assert f"{operator.index}  {operator.name}" in found
    shapes = [text.removesuffix(" bits") for text in found]
    for shape in {operator.output_shape for operator in report.operators}:
        expected = sum(operator.output_shape == shape for operator in report.operators)
        assert shapes.count("x".join(map(str, shape))) >= expected
    assert sum(text.endswith(" bits") for text in found) == sum(o.name == "LceQuantize" for o in report.operators)
    assert "1x8x8x1 float32" in found
    assert "1x10 float32" in found


def test_every_line_of_the_network_is_drawn(report):
    layout = lay_out(report)
    expected = {(source + 1, operator.index + 1) for operator in report.operators for source in operator.sources}
    expected |= {(len(report.operators), len(report.operators) + 1)}
    assert {*layout.lines} == expected
    arrows = [patch for patch in graph_figure(report).axes[0].patches if isinstance(patch, FancyArrowPatch)]
    assert len(arrows) == len(expected)
    # Each of the six binary convolutions has a shortcut around it.
    assert sum(layout.is_shortcut(line) for line in layout.lines) >= 6


def test_colors_tell_the_kinds(report):
    figure = graph_figure(report)
    boxes = [patch for patch in figure.axes[0].patches if isinstance(patch, FancyBboxPatch)]
    fills = [plt.matplotlib.colors.to_hex(box.get_facecolor()) for box in boxes]
    for kind in ("binary", "float, element-wise", "other float"):
        assert fills.count(_COLORS[kind][0]) == sum(operator_kind(operator) == kind for operator in report.operators) > 0
    legend = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert legend == ["binary", "float, element-wise", "other float", "passes over operators"]


def test_what_should_be_binary_is_marked(report):
    wrong = dataclasses.replace(report.operators[2], binary_kernel=True)
    figure = graph_figure(dataclasses.replace(report, operators=(*report.operators[:2], wrong, *report.operators[3:])))
    assert "should be binary" in [text.get_text() for text in figure.axes[0].get_legend().get_texts()]


@pytest.mark.parametrize(("operator", "kind"), [
    (Operator("ADD", "", (), arithmetic="float"), "float, element-wise"),
    (Operator("CONV_2D", "", (), arithmetic="float"), "other float"),
    (Operator("ADD", "", (), arithmetic="int8"), "int8"),
    (Operator("LceBconv2d", "", (), arithmetic="binary"), "binary"),
    (Operator("SHAPE", "", (), arithmetic="other"), "shapes and indices"),
])  # fmt: skip
def test_kinds(operator, kind):
    assert operator_kind(operator) == kind


@pytest.mark.parametrize("count", [1, 2, 13, 50, 196, 1000])
def test_boxes_never_lie_upon_each_other_and_fit(report, count):
    layout = lay_out(chain(report, count))
    assert len(layout.boxes) == count + 2
    assert [box.operator for box in layout.boxes] == [None, *range(count), None]
    places = [(box.column, box.row) for box in layout.boxes]
    assert places == sorted(set(places)), "in order of execution: down one column, then down the next"
    assert max(box.left + BOX_WIDTH for box in layout.boxes) <= layout.width
    assert max(box.middle for box in layout.boxes) < layout.height
    if count >= 50:
        assert 0.7 < layout.width / layout.height < 3, "about as a screen is"


def test_columns_end_where_few_lines_cross(report):
    """After every fourth operator no shortcut is open, so that one line passes there, and two anywhere else."""
    sources = [[index - 1] if index % 4 or not index else [index - 1, index - 3] for index in range(90)]
    layout = lay_out(with_operators(report, sources))
    crossing = [
        (start, stop) for start, stop in layout.lines if layout.boxes[start].column != layout.boxes[stop].column and stop < 91
    ]
    assert len(crossing) == layout.boxes[-1].column > 0, "one line from each column to the next"


@pytest.mark.parametrize(("suffix", "start"), [(".png", b"\x89PNG"), (".svg", b"<?xml"), (".pdf", b"%PDF")])
def test_file_is_written(report, tmp_path, suffix, start):
    path = tmp_path / f"graph{suffix}"
    path.write_bytes(b"what stood there before")
    open_before = plt.get_fignums()
    assert plot_graph(report, path) == path
    assert path.read_bytes().startswith(start)
    assert [file.name for file in tmp_path.iterdir()] == [path.name], "no temporary file is left"
    assert plt.get_fignums() == open_before, "nothing of pyplot is left open"


def test_png_has_the_colors(report, tmp_path):
    pixels = (imread(plot_graph(report, tmp_path / "graph.png"))[..., :3] * 255).round().astype(int).reshape(-1, 3)
    for kind in ("binary", "float, element-wise", "other float"):
        color = [int(_COLORS[kind][0][place : place + 2], 16) for place in (1, 3, 5)]
        assert np.mean((pixels == color).all(axis=1)) > 0.01


@pytest.mark.parametrize("name", ["graph.jpeg", "graph", "graph.tflite"])
def test_other_endings(report, tmp_path, name):
    with pytest.raises(ValueError, match=rf"must end with one of .png, .svg, .pdf. Received: '.*{name}'"):
        plot_graph(report, tmp_path / name)
    assert not [*tmp_path.iterdir()]


def test_names_are_no_formulas(report, tmp_path):
    """matplotlib takes text between two dollar signs for a formula, and fails if it is none."""
    report = dataclasses.replace(with_operators(report, [[-1]], r"$\nothing{$"), facts={"name": r"$\nothing{$"})
    assert plot_graph(report, tmp_path / "graph.png").exists()


def test_pictures_of_long_networks_stay_within_what_can_be_drawn(report, tmp_path, monkeypatch):
    monkeypatch.setattr(picture, "_LARGEST", 500)
    assert max(imread(plot_graph(report, tmp_path / "graph.png")).shape) <= 501


def test_several_inputs_and_outputs(tmp_path):
    inputs = [keras.Input((4, 4, 2)), keras.Input((4, 4, 3))]
    first, second = (keras.layers.Conv2D(2, 1)(x) for x in inputs)
    model = keras.Model(inputs, [keras.layers.Add()([first, second]), keras.layers.ReLU()(first)])
    (tmp_path / "model.tflite").write_bytes(lce.convert_keras_model(model))
    report = inspect(tmp_path / "model.tflite")
    layout = lay_out(report)
    assert {line[0] for line in layout.lines if line[1] == len(report.operators) + 1} == {
        operator.index + 1 for operator in report.operators if operator.output in [spec.name for spec in report.outputs]
    }
    assert "1x4x4x2 float32, 1x4x4x3 float32" in texts(graph_figure(report)) or "1x4x4x3 float32, 1x4x4x2 float32" in texts(
        graph_figure(report)
    )
