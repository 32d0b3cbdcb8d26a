"""Figures as pictures inside of a page."""

import base64
import io
import warnings
from collections.abc import Callable
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from bitat_tf.callbacks import Timeline
from bitat_tf.workflow.plots import PHASE_COLORS, float_epochs, plot_accuracy

_LABELLED = 20  # classes whose names fit beside a matrix
_NUMBERS = 12  # classes whose counts fit into it


def as_svg(figure: Figure) -> str:
    """Return a figure as the address of a picture that an `<img>` takes."""
    buffer = io.BytesIO()
    # Without a date and with fixed names inside, the same figure gives the same bytes.
    # Texts stay texts: the browser has letters for names in all languages, matplotlib's font has not.
    with matplotlib.rc_context({"svg.hashsalt": "bitat_tf", "svg.fonttype": "none"}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return _address("image/svg+xml", buffer.getvalue())


def as_png(pixels: np.ndarray) -> str:
    """Return a picture of shape (height, width, 1 or 3), pixels 0..255, as the address that an `<img>` takes."""
    buffer = io.BytesIO()
    Image.fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels).save(buffer, "PNG")
    return _address("image/png", buffer.getvalue())


def _address(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def draw(draw_on: Callable[[Axes], None], size: tuple[float, float]) -> str:
    """Return the address of a figure with one pair of axes."""
    figure = Figure(size, layout="constrained")
    draw_on(figure.subplots())
    return as_svg(figure)


def draw_timeline(rows: list[dict[str, Any]], timeline: Timeline | None, steps_per_epoch: int) -> str:
    """Return the address of the figure: which layer is in which phase when, and under it the accuracy.

    Args:
        rows: Rows of `history.csv`.
        timeline: The phases; None for a binarization without training.
        steps_per_epoch: Training steps of an epoch.
    """
    if timeline is None:
        return draw(lambda axes: plot_accuracy(axes, rows, None, steps_per_epoch), (9, 3.5))
    layers = list(dict.fromkeys(phase.layer for phase in timeline.phases if phase.layer))
    height = 0.8 + 0.19 * len(layers)
    figure = Figure((9, height + 3.5), layout="constrained")
    upper, lower = figure.subplots(2, sharex=True, height_ratios=[height, 3.5])
    plot_accuracy(lower, rows, timeline, steps_per_epoch)
    offset = float_epochs(rows)
    for phase in timeline.phases:
        start, width = offset + phase.start / steps_per_epoch, (phase.stop - phase.start) / steps_per_epoch
        place = (layers.index(phase.layer), 0.8) if phase.layer else ((len(layers) - 1) / 2, len(layers) - 0.2)
        upper.barh(place[0], width, place[1], left=start, color=PHASE_COLORS[phase.kind], linewidth=0)
    upper.set_yticks(range(len(layers)), layers, fontsize=7, parse_math=False)
    upper.set_ylim(len(layers) - 0.5, -0.5)  # as they come: the bottom layer of the network first
    upper.set_title("layer by layer: quantization, fine-tuning, then all layers together", fontsize=9)
    upper.grid(axis="x", linewidth=0.3)
    return as_svg(figure)


def draw_confusion(matrix: np.ndarray, class_names: list[str]) -> str:
    """Return the address of the figure of a confusion matrix: rows are classes, columns what the network says.

    Args:
        matrix: Counts, shape (classes, classes).
        class_names: Their names.
    """
    classes = len(class_names)
    side = min(max(3.5, 1.5 + 0.32 * classes), 8)

    def on(axes: Axes) -> None:
        shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        if classes <= _LABELLED:
            axes.set_xticks(range(classes), class_names, rotation=60, ha="right", fontsize=7, parse_math=False)
            axes.set_yticks(range(classes), class_names, fontsize=7, parse_math=False)
        if classes <= _NUMBERS:
            for row, column in zip(*np.nonzero(matrix), strict=True):
                color = "white" if shares[row, column] > 0.5 else "black"
                axes.text(column, row, str(matrix[row, column]), ha="center", va="center", fontsize=7, color=color)
        axes.set_xlabel("the network says")
        axes.set_ylabel("it is")

    return draw(on, (side, side))
