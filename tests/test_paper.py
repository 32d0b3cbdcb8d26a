"""docs/paper.md says what the stored results say."""

import csv
import re
from pathlib import Path

import numpy as np
import pytest

from bitat_tf.analysis import ResultTable, confidence_bands

DOCS = Path(__file__).parents[1] / "docs"
PAGE = (DOCS / "paper.md").read_text()


def stored(name):
    with (DOCS / "results" / name).open(newline="") as file:
        return list(csv.DictReader(file))


def test_noise():
    rows = [
        {
            "rows": row["rows"],
            "dependent": row["dependent"] == "True",
            "scale": float(row["scale"]),
            "seed": int(row["seed"]),
            "accuracy": float(row["accuracy"]),
        }
        for row in stored("cross_layer.csv")
    ]
    bands = confidence_bands(ResultTable(tuple(rows)))
    assert len(bands) == 32
    for scale in bands.distinct("scale"):
        cells = []
        for dependent in (True, False):
            for name in ("top", "bottom"):
                (row,) = bands.where(rows=name, dependent=dependent, scale=scale).rows
                cells.append(f"{100 * row['accuracy']:.1f} ± {100 * row['half_width']:.1f}")
        assert f"| {scale:g} | {' | '.join(cells)} |" in PAGE


@pytest.mark.parametrize(
    ("file", "network", "title"),
    [
        ("gap.csv", "ReActNet", "here, ReActNet"),
        ("gap.csv", "BiTAT", "here, BiTAT"),
        ("gap_literal.csv", "BiTAT", "here, BiTAT as the paper's text has it"),
    ],
)
def test_gap(file, network, title):
    totals = [row for row in stored(file) if row["layer"] == "network" and row["network"] == network]
    assert len({row["seed"] for row in totals}) == 3
    (line,) = re.findall(rf"^\| {re.escape(title)} \| (.*) \|$", PAGE, re.M)
    cells = line.split(" | ")
    for cell, (name, factor) in zip(cells, (("accuracy", 100), ("q_orig", 1), ("q_ours", 1), ("q_ratio", 1)), strict=False):
        values = factor * np.array([float(row[name]) for row in totals])
        assert cell == f"{values.mean():.4g} ± {values.std(ddof=1):.3g}"
