"""How the costs grow, as a plot."""

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

AXES = {"d": "input dimensions d", "k": "groups k", "m": "output channels m", "images": "images of 14x14"}


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """Draw seconds over size, a panel for each thing that grows, with the slope of each line."""
    figure = Figure((10, 7.5), layout="constrained")
    for axes, axis in zip(figure.subplots(2, 2).flat, AXES, strict=True):
        for row in (row for row in rows if row["axis"] == axis):
            axes.loglog(row["sizes"], row["seconds"], "o-", label=f"{row['name']}: slope {row['slope']:.1f}")
        ticks = sorted({size for row in rows if row["axis"] == axis for size in row["sizes"]})
        axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks], fontsize=8)
        axes.minorticks_off()
        axes.set_xlabel(AXES[axis])
        axes.set_ylabel("seconds")
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    figure.savefig(path, dpi=110)
