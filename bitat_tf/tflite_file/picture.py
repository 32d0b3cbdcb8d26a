"""A picture of the operators of a file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bitat_tf._files import write_atomically
from bitat_tf.tflite_file.graph_layout import BOX_HEIGHT, BOX_WIDTH, GUTTER, ROW_HEIGHT, Box, Layout, lay_out
from bitat_tf.tflite_file.neighbours import is_elementwise
from bitat_tf.tflite_file.operators import Operator
from bitat_tf.tflite_file.report import FileReport
from bitat_tf.tflite_file.report_text import shape_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SUFFIXES = (".png", ".svg", ".pdf")
_DPI = 130
_LARGEST = 20_000  # pixels of a side; matplotlib draws up to 65,536
_NARROWEST = 7.0  # inches: the title has room
_HEADER = 0.82  # inches above the boxes, for the title and the legend
# Kind of operator: fill and text.
_COLORS = {
    "binary": ("#103060", "white"),
    "float, element-wise": ("#f2a25c", "black"),
    "other float": ("#e3e1da", "black"),
    "int8": ("#b5d9a8", "black"),
    "shapes and indices": ("white", "black"),
}
_LINE, _SHORTCUT, _WRONG = "#606060", "#2f7fb8", "#d01010"
# Long shortcuts run side by side, each in a color of its own, the first as the arcs.
_LANES = (_SHORTCUT, "#8a4fb8", "#2a8f6a", "#b84f7a")


def plot_graph(report: FileReport, path: str | os.PathLike) -> Path:
    """Draw the operators of a file, in order of execution: what is binary, and the float operators that cost time beside it.

    Boxes hold the index and the name of an operator and the shape of its output; shortcuts are drawn as arcs. Long networks
    take several columns.

    Args:
        report: What `inspect` returned.
        path: Where the picture goes; its name ends with .png, .svg or .pdf. An existing file is replaced.

    Returns:
        `path` as a `pathlib.Path`.

    Raises:
        ValueError: If the name has another ending.
        OSError: If the picture cannot be written.

    Examples:
        >>> model = bitat_tf.applications.ReActNet((8, 8, 1), 10, width=0.5, blocks=((64, 1),))
        >>> for layer in bitat_tf.layers.binary_layers(model):
        ...     layer.set_binary()
        >>> file = os.path.join(folder, "model.tflite")
        >>> _ = bitat_tf.export.to_tflite(model, file)
        >>> plot_graph(bitat_tf.tflite_file.inspect(file), os.path.join(folder, "graph.png")).name
        'graph.png'
    """
    if Path(path).suffix.lower() not in _SUFFIXES:
        raise ValueError(f"plot_graph: the path must end with one of {', '.join(_SUFFIXES)}. Received: {str(path)!r}.")
    figure = graph_figure(report)
    dpi = min(_DPI, _LARGEST / max(figure.get_size_inches()))
    return write_atomically(path, lambda temporary: figure.savefig(temporary, dpi=dpi))


def graph_figure(report: FileReport) -> Figure:
    """Return the picture as a figure of matplotlib, which belongs to no window."""
    from matplotlib.figure import Figure  # only here: importing it takes as long as reading a file

    layout = lay_out(report)
    width, height = max(layout.width, _NARROWEST), layout.height + _HEADER
    figure = Figure((width, height))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, width)
    axes.set_ylim(layout.height + 0.15 * ROW_HEIGHT, layout.height - height)
    axes.set_axis_off()
    long_shortcuts = 0
    for line in layout.lines:
        _draw_line(axes, layout, line, long_shortcuts % len(_LANES))
        long_shortcuts += layout.is_shortcut(line) and layout.boxes[line[0]].column != layout.boxes[line[1]].column
    for box in layout.boxes:
        _draw_box(axes, report, box)
    _draw_header(axes, report)
    return figure


def operator_kind(operator: Operator) -> str:
    """Return which of the kinds of the legend an operator is of."""
    if is_elementwise(operator):
        return "float, element-wise"
    return {"binary": "binary", "float": "other float", "int8": "int8"}.get(operator.arithmetic, "shapes and indices")


def _is_wrong(operator: Operator) -> bool:
    return operator.binary_kernel or operator.name == "LceDequantize"


def _draw_box(axes: Axes, report: FileReport, box: Box) -> None:
    from matplotlib.patches import FancyBboxPatch

    if box.operator is None:
        specs = report.inputs if box.row == box.column == 0 else report.outputs
        fill, color, edge = "white", "black", "black"
        left = "input" if specs is report.inputs else "output"
        right = ", ".join(f"{shape_text(spec.shape)} {spec.type}" for spec in specs[:2]) + (", ..." if len(specs) > 2 else "")
    else:
        operator = report.operators[box.operator]
        fill, color = _COLORS[operator_kind(operator)]
        edge = _WRONG if _is_wrong(operator) else "#505050"
        packed = " bits" if operator.outputs and operator.outputs[0].type == "bits" else ""
        left, right = f"{operator.index}  {operator.name[:24]}", shape_text(operator.output_shape) + packed
    axes.add_patch(
        FancyBboxPatch(
            (box.left, box.middle - BOX_HEIGHT / 2),
            BOX_WIDTH,
            BOX_HEIGHT,
            boxstyle=f"round,pad=0,rounding_size={0.1 if box.operator is None else 0.03}",
            facecolor=fill,
            edgecolor=edge,
            linewidth=2.0 if edge == _WRONG else 0.6,
        )
    )
    style: dict[str, Any] = {"fontsize": 7, "color": color, "va": "center_baseline", "parse_math": False}
    axes.text(box.left + 0.07, box.middle, left, ha="left", **style)
    axes.text(box.left + BOX_WIDTH - 0.07, box.middle, right, ha="right", **style)


def _draw_line(axes: Axes, layout: Layout, line: tuple[int, int], lane: int) -> None:
    from matplotlib.patches import FancyArrowPatch
    from matplotlib.path import Path as Outline

    start, stop = layout.boxes[line[0]], layout.boxes[line[1]]
    color = _SHORTCUT if layout.is_shortcut(line) else _LINE
    right, left = start.left + BOX_WIDTH, stop.left
    if start.column == stop.column and not layout.is_shortcut(line):
        x = start.left + BOX_WIDTH / 2
        points = [(x, start.middle + BOX_HEIGHT / 2), (x, stop.middle - BOX_HEIGHT / 2)]
        codes = [Outline.MOVETO, Outline.LINETO]
    elif start.column == stop.column:
        # The arc of a Bezier curve reaches three quarters of the way to its control points.
        out = right + min(0.12 + 0.035 * (stop.row - start.row), 0.6 * GUTTER) / 0.75
        points = [(right, start.middle), (out, start.middle), (out, stop.middle), (right, stop.middle)]
        codes = [Outline.MOVETO, *[Outline.CURVE4] * 3]
    else:
        # Through the gutters; over more than one column along the upper edge. Shortcuts keep clear of the main line.
        aside = 0.5 + 0.09 * lane if layout.is_shortcut(line) else 0.88
        color = _LANES[lane] if layout.is_shortcut(line) else _LINE
        out, into, top = right + aside * GUTTER, left - (1 - aside) * GUTTER, -0.02 - 0.045 * lane
        points = [(right, start.middle), (out, start.middle)]
        points += [] if stop.column == start.column + 1 else [(out, top), (into, top)]
        points += [(into, stop.middle), (left, stop.middle)]
        codes = [Outline.MOVETO, *[Outline.LINETO] * (len(points) - 1)]
    axes.add_patch(
        FancyArrowPatch(path=Outline(points, codes), arrowstyle="-|>", mutation_scale=6, color=color, linewidth=0.9, zorder=0.5)
    )


def _draw_header(axes: Axes, report: FileReport) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    totals = report.totals
    expected = "" if totals.expected_binary is None else f" of {totals.expected_binary}"
    average = totals.elementwise_per_convolution
    title = f"{str(report.facts.get('name') or Path(report.path).name)[:40]}: {totals.binary_convolutions}{expected} "
    title += f"binary convolutions, {totals.binary_mac_share:.2%} of the MACs"
    text = f"{len(report.operators)} operators, {totals.elementwise} of them float element-wise at binary ones"
    text += "" if average is None else f", {average:.1f} for each binary convolution"
    style: dict[str, Any] = {"ha": "left", "va": "center", "parse_math": False}
    axes.text(GUTTER, -_HEADER + 0.18, title, fontsize=9, weight="bold", **style)
    axes.text(GUTTER, -_HEADER + 0.37, text, fontsize=8, **style)
    kinds = {operator_kind(operator) for operator in report.operators}
    handles: list[Patch | Line2D] = [
        Patch(facecolor=fill, edgecolor="#505050", label=kind) for kind, (fill, _) in _COLORS.items() if kind in kinds
    ]
    if any(_is_wrong(operator) for operator in report.operators):
        handles.append(Patch(facecolor="white", edgecolor=_WRONG, linewidth=2, label="should be binary"))
    handles.append(Line2D([], [], color=_SHORTCUT, label="passes over operators"))
    axes.legend(
        handles=handles, loc="center left", bbox_to_anchor=(GUTTER - 0.05, -_HEADER + 0.58), bbox_transform=axes.transData,
        ncols=len(handles), fontsize=7, frameon=False, handlelength=1.5, columnspacing=1.2, borderpad=0,
    )  # fmt: skip
