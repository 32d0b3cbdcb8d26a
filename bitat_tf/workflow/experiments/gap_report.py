"""The figures and the page of the experiment on Q_orig and Q_ours."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes

from bitat_tf.analysis import ResultTable
from bitat_tf.analysis.gap import TOTAL

REACTNET, BITAT = "ReActNet", "BiTAT"
_COLORS = {REACTNET: "#c02020", BITAT: "#2040c0"}


def draw_gap(axes: Axes, table: ResultTable) -> None:
    """Draw Q_ours of every layer: bars are means over seeds, dots the seeds."""
    _draw_bars(axes, table, "q_ours")
    axes.set_ylabel("Q_ours")


def _draw_bars(axes: Axes, table: ResultTable, column: str) -> None:
    layers = [name for name in table.distinct("layer") if name != TOTAL]
    for shift, network in ((-0.2, REACTNET), (0.2, BITAT)):
        values = [table.where(network=network, layer=layer).column(column) for layer in layers]
        positions = np.arange(len(layers)) + shift
        axes.bar(positions, [value.mean() for value in values], 0.4, color=_COLORS[network], alpha=0.6, label=network)
        for position, value in zip(positions, values, strict=True):
            axes.plot([position] * len(value), value, ".", color="black", markersize=3)
    axes.set_xticks(range(len(layers)), layers, rotation=60, ha="right", fontsize=7, parse_math=False)
    axes.legend(fontsize=8)


def draw_curves(axes: Axes, rows: list[dict[str, Any]]) -> None:
    """Draw r over training: ReActNet red, BiTAT blue, one line a seed; dashed the end of each BiTAT run, as in Fig. 8."""
    labelled = set()
    for row in rows:
        network, curve = row["network"], ResultTable(tuple(row["curve"]))
        label = None if network in labelled else network
        labelled.add(network)
        axes.plot(curve.column("epoch"), curve.column("q_ratio"), color=_COLORS[network], label=label, linewidth=1)
        if network == BITAT:
            axes.axhline(curve.column("q_ratio")[-1], color=_COLORS[network], linestyle="--", linewidth=0.7)
    axes.set_xlabel("epoch")
    axes.set_ylabel("r = Q_ours / Q_orig")
    axes.legend(fontsize=8)


def draw_agreement(axes: Axes, rows: list[dict[str, Any]]) -> None:
    """Draw how much of the float layers' outputs the binary ones keep: bars are means over seeds, dots the seeds."""
    found = ({"network": row["network"], **one} for row in rows for one in row["agreement"])
    _draw_bars(axes, ResultTable(tuple(found)), "correlation")
    axes.set_ylabel("correlation with the float layer's output")


def gap_markdown(report: dict[str, Any], table: ResultTable) -> str:
    """Return `report.md`.

    Args:
        report: What `report.json` holds.
        table: Errors of every network, seed and layer.
    """
    totals = table.where(layer=TOTAL)
    lines = [
        f"# Q_orig and Q_ours of two ways to a binary network, on {report['data']}",
        "",
        f"From one float network ({report['float_accuracy']:.2%} on {report['test_images']} test images), "
        f"{report['settings']['binarization_epochs']} epochs of {report['train_images']} images each way; "
        f"{_repetitions(report['settings']['repeats'])}. Both errors are sums over layers, between the float network's "
        "weights and the binary ones at their best scale, with s and V of the float network. Agreement: correlation of a "
        "binary layer's output with its float one.",
        "",
        "| network | test accuracy, % | Q_orig | Q_ours | r = Q_ours / Q_orig | mean Q_rel | mean agreement |",
        "|---|---|---|---|---|---|---|",
    ]
    for network in totals.distinct("network"):
        own = totals.where(network=network)
        cells = [
            _mean(100 * own.column("accuracy")),
            *(_mean(own.column(name)) for name in ("q_orig", "q_ours", "q_ratio", "q_rel")),
        ]
        agreement = [
            np.mean([one["correlation"] for one in row["agreement"]]) for row in report["results"] if row["network"] == network
        ]
        cells.append(_mean(np.array(agreement)))
        lines.append(f"| {network} | " + " | ".join(cells) + " |")
    lines += [
        "",
        "![Q_ours of every layer](figure.png)",
        "",
        "![r over training](curve.png)",
        "",
        "![agreement of every layer](agreement.png)",
        "",
        "## Settings",
    ]
    lines += [f"- {name}: {value}" for name, value in report["settings"].items()]
    return "\n".join(lines) + "\n"


def _repetitions(seeds: int) -> str:
    return "one seed" if seeds == 1 else f"means and standard deviations over {seeds} seeds"


def _mean(values: np.ndarray) -> str:
    deviation = f" ± {values.std(ddof=1):.3g}" if len(values) > 1 else ""
    return f"{values.mean():.4g}{deviation}"
