"""The pictures of a run."""

from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bitat_tf._files import write_atomically
from bitat_tf.callbacks import Timeline

_STAGE_LABELS = 12  # at most, or the numbers would overlap
PHASE_COLORS = {"quantization": "#f4c7a1", "fine-tuning": "#fbe8d5", "joint": "#dfeadb"}


def float_epochs(rows: list[dict[str, Any]]) -> int:
    """Return the number of epochs of the float training, after which those of the binarization are drawn."""
    return sum(row["run"] == "float" for row in rows if row.get("accuracy"))


def plot_accuracy(axes: Axes, rows: list[dict[str, Any]], timeline: Timeline | None, steps_per_epoch: int) -> None:
    """Draw accuracy over epochs, float run first, with the stages of the binarization, if it was trained, as bands.

    Args:
        axes: Where to draw.
        rows: Rows of `history.csv`: run, epoch, accuracy, val_accuracy.
        timeline: The phases of the binarization; None for one without training.
        steps_per_epoch: Training steps of an epoch.
    """
    rows = [row for row in rows if row.get("accuracy")]
    offset = float_epochs(rows)
    length: float = offset
    if timeline is not None:
        _draw_phases(axes, timeline, offset, steps_per_epoch)
        length = offset + timeline.total_steps / steps_per_epoch
    for key, label, color in (("accuracy", "training", "#7090b0"), ("val_accuracy", "validation", "#103060")):
        epochs = [(offset if row["run"] == "binary" else 0) + int(row["epoch"]) + 1 for row in rows]
        axes.plot(epochs, [100 * float(row[key]) for row in rows], color=color, label=label)
    axes.set_xlabel("epochs of the float training" if timeline is None else "epochs (float training, then binarization)")
    axes.set_ylabel("top-1 accuracy, %")
    axes.set_xlim(0, length)
    axes.legend(loc="lower right", fontsize=8)


def _draw_phases(axes: Axes, timeline: Timeline, offset: int, steps_per_epoch: int) -> None:
    labelled = set()
    every = -(-timeline.phases[-1].stage // _STAGE_LABELS)
    for phase in timeline.phases:
        start, stop = offset + phase.start / steps_per_epoch, offset + phase.stop / steps_per_epoch
        label = None if phase.kind in labelled else f"{phase.kind} phase"
        labelled.add(phase.kind)
        axes.axvspan(start, stop, color=PHASE_COLORS[phase.kind], label=label, linewidth=0)
        if phase.kind == "quantization":
            axes.axvline(start, color="#c07030", linewidth=0.6)
            if (phase.stage - 1) % every == 0:
                axes.text(start, 1.01, str(phase.stage), transform=axes.get_xaxis_transform(), fontsize=7, color="#804010")
    axes.text(offset, 1.06, "layer made binary:", transform=axes.get_xaxis_transform(), fontsize=7, color="#804010")


def plot_layer_errors(axes: Axes, errors: list[dict[str, Any]]) -> None:
    """Draw Q_ours of every layer relative to the energy of its reference: sign of the reference, and in the end.

    Args:
        axes: Where to draw.
        errors: One entry a layer: layer, q_rel, q_rel_start, q_ours.
    """
    positions = range(len(errors))
    axes.bar([p - 0.2 for p in positions], [e["q_rel_start"] for e in errors], 0.4, label="sign of w_ref", color="#c0c8d0")
    axes.bar([p + 0.2 for p in positions], [e["q_rel"] for e in errors], 0.4, label="final", color="#103060")
    for position, error in zip(positions, errors, strict=True):
        axes.text(position + 0.2, error["q_rel"], f"{error['q_ours']:.3g}", ha="center", va="bottom", fontsize=6, rotation=90)
    axes.set_xticks(
        list(positions), [error["layer"] for error in errors], rotation=60, ha="right", fontsize=7, parse_math=False
    )
    axes.set_ylabel("Q_ours / energy of w_ref (Q_rel)")
    axes.margins(y=0.15)
    axes.set_title("error of every layer in the metric of its input; the number is Q_ours", fontsize=9)
    axes.legend(fontsize=8)


def error_plot_width(errors: list[dict[str, Any]]) -> float:
    """Return the width in inches that `plot_layer_errors` needs."""
    return max(6.0, 2 + 0.35 * len(errors))


def save_figure(path: Path, draw, size: tuple[float, float]) -> None:
    """Write a figure of `size` inches with one pair of axes, drawn by `draw(axes)`, as PNG."""
    # A Figure of its own, not pyplot: no window system, no global state, nothing left open.
    figure = Figure(size, layout="constrained")
    draw(figure.subplots())
    write_atomically(path, lambda temporary: figure.savefig(temporary, dpi=130))
