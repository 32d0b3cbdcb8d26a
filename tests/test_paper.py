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
        ("gap_paper.csv", "BiTAT", "here, BiTAT, nearer to the paper"),
    ],
)
def test_gap(file, network, title):
    totals = [row for row in stored(file) if row["layer"] == "network" and row["network"] == network]
    assert len({row["seed"] for row in totals}) == 3
    (line,) = re.findall(rf"^\| {re.escape(title)} \| (.*) \|$", PAGE, re.M)
    columns = [[100 * float(row["accuracy"]) for row in totals]]
    columns += [[float(row[name]) for row in totals] for name in ("q_orig", "q_ours", "q_ratio", "q_rel")]
    agreement = [row for row in stored("gap_agreement.csv") if row["file"] == file and row["network"] == network]
    seeds = sorted({row["seed"] for row in agreement})
    columns.append([np.mean([float(row["correlation"]) for row in agreement if row["seed"] == seed]) for seed in seeds])
    for cell, values in zip(line.split(" | "), columns, strict=True):
        assert cell == f"{np.mean(values):.4g} ± {np.std(values, ddof=1):.3g}"
