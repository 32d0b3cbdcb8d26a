"""r = Q_ours / Q_orig over training (appendix 7.4, Fig. 8 right)."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from bitat_tf.analysis.gap import PREFIX
from bitat_tf.analysis.result_table import ResultTable


def q_ratio_curve(logs: Mapping[str, Sequence[float]] | Sequence[Mapping[str, Any]]) -> ResultTable:
    """Return r = Q_ours / Q_orig over training, from what a run has logged (Fig. 8 right).

    Args:
        logs: `History.history`, or the rows of a CSV log or of `history.csv`, of a run with `GapMonitor`,
            `QuantizationMonitor` or `SequentialBinarization`. Where both are there, those of `GapMonitor` count.

    Returns:
        One row an epoch in which there is a ratio: epoch (from 1), q_ratio.

    Raises:
        ValueError: If the logs hold no ratio.

    Examples:
        >>> q_ratio_curve({"loss": [2.0, 1.0], "q_ratio": [3.0, 2.5]}).column("q_ratio")
        array([3. , 2.5])
    """
    names = (f"{PREFIX}q_ratio", "q_ratio")
    if isinstance(logs, Mapping):
        received = sorted(logs)
        length = max((len(logs[name]) for name in names if name in logs), default=0)
        rows: list[Mapping[str, Any]] = [{name: logs[name][row] for name in names if name in logs} for row in range(length)]
    else:
        rows = [row for row in logs if row.get("run") != "float"]
        received = sorted({key for row in rows for key in row})
    for name in names:
        # A resumed run has written some epochs twice: the last one counts.
        found = {int(row.get("epoch", number)): row[name] for number, row in enumerate(rows) if row.get(name) not in ("", None)}
        curve = [{"epoch": epoch + 1, "q_ratio": float(value)} for epoch, value in sorted(found.items())]
        if curve:
            return ResultTable(tuple(row for row in curve if np.isfinite(row["q_ratio"])))
    raise ValueError(
        f"q_ratio_curve: the logs must hold {names[0]} or {names[1]}. Received: {received}. "
        "Train with GapMonitor, QuantizationMonitor or SequentialBinarization among the callbacks."
    )


def plot_q_ratio(axes: Axes, curves: Mapping[str, ResultTable]) -> None:
    """Draw r = Q_ours / Q_orig over epochs, one line a run.

    Args:
        axes: Where to draw.
        curves: From `q_ratio_curve`, by the names of the legend.

    Examples:
        >>> axes = Figure().subplots()
        >>> plot_q_ratio(axes, {"BiTAT": q_ratio_curve({"q_ratio": [3.0, 2.5]})})
        >>> len(axes.lines)
        1
    """
    for name, curve in curves.items():
        axes.plot(curve.column("epoch"), curve.column("q_ratio"), label=name)
    axes.set_xlabel("epoch")
    axes.set_ylabel("r = Q_ours / Q_orig")
    axes.legend(fontsize=8)
