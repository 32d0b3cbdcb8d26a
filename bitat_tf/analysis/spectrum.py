"""Spectra of the layers' input covariances."""

from typing import Any

import keras
import numpy as np
from matplotlib.axes import Axes

from bitat_tf._printable import in_legend
from bitat_tf.analysis.result_table import ResultTable
from bitat_tf.calibration import measure_dependency


def spectra(model: keras.Model, data: Any, seed: int = 0) -> ResultTable:
    """Return the spectrum of the covariance C of every binary layer's input, and of the importances s (C = V diag(s^2) V^T).

    The inputs are those of the current network as the binary layer sees them; for layers of more than `num_groups` inputs
    they are aggregated in groups, C_k = P C P^T.

    Args:
        model: A model with binary layers.
        data: Calibration data, as in `bitat_tf.calibration.measure_dependency`.
        seed: Seed of the grouping.

    Returns:
        One row for each layer and direction, from the largest: layer, index (from 1), eigenvalue (s^2), importance (s), share
        (of the eigenvalue in the sum), cumulative_share.

    Raises:
        ValueError: If the model has no binary layers, or the data are unusable.
        TypeError: If an argument is of another type.

    Examples:
        >>> model = bitat_tf.applications.ReActNet((8, 8, 1), 4, width=0.25, blocks=((64, 1),))
        >>> table = spectra(model, np.random.rand(32, 8, 8, 1).astype("float32"))
        >>> table.where(layer="block_1_conv1x1").column("index")
        array([1, 2, 3, 4, 5, 6, 7, 8])
    """
    rows = []
    for layer in measure_dependency(model, data, seed=seed).layers:
        importance = layer.metric.importance
        eigenvalues = importance**2
        total = eigenvalues.sum()
        shares = eigenvalues / total if total > 0 else np.zeros_like(eigenvalues)
        rows += [
            {
                "layer": layer.layer,
                "index": index,
                "eigenvalue": float(eigenvalue),
                "importance": float(s),
                "share": float(share),
                "cumulative_share": float(cumulative),
            }
            for index, (eigenvalue, s, share, cumulative) in enumerate(
                zip(eigenvalues, importance, shares, np.cumsum(shares), strict=True), 1
            )
        ]
    return ResultTable(tuple(rows))


def effective_ranks(table: ResultTable) -> ResultTable:
    """Return how many directions each layer's input really has: the participation ratio of its spectrum.

    (Sum of eigenvalues)^2 / sum of their squares. It is the number of directions for independent inputs of equal variance, and
    near 1 where one direction has nearly all the variance.

    Args:
        table: From `spectra`.

    Returns:
        One row a layer: layer, directions (k), effective_rank; 0 for an input that does not vary.

    Examples:
        >>> rows = [{"layer": "conv", "eigenvalue": value} for value in (1.0, 1.0, 0.0)]
        >>> effective_ranks(ResultTable(tuple(rows))).column("effective_rank")
        array([2.])
    """
    rows = []
    for layer in table.distinct("layer"):
        eigenvalues = table.where(layer=layer).column("eigenvalue")
        squares = float(np.sum(eigenvalues**2))
        rank = float(eigenvalues.sum() ** 2 / squares) if squares else 0.0
        rows.append({"layer": layer, "directions": len(eigenvalues), "effective_rank": rank})
    return ResultTable(tuple(rows))


def plot_spectra(axes: Axes, table: ResultTable, column: str = "share") -> None:
    """Draw the spectra on logarithmic axes, one line a layer, from the bottom layer (dark) to the top one (light).

    Args:
        axes: Where to draw.
        table: From `spectra`.
        column: "share" (default), "eigenvalue", "importance" or "cumulative_share".

    Examples:
        >>> rows = [{"layer": "conv", "index": i, "share": 0.5 / i} for i in (1, 2)]
        >>> axes = Figure().subplots()
        >>> plot_spectra(axes, ResultTable(tuple(rows)))
        >>> len(axes.lines)
        1
    """
    layers = table.distinct("layer")
    for number, layer in enumerate(layers):
        own = table.where(layer=layer)
        shade = 0.85 * number / max(len(layers) - 1, 1)
        axes.plot(
            own.column("index"),
            own.column(column),
            color=(shade, 0.3 + 0.5 * shade, 0.6 + 0.3 * shade),
            label=in_legend(layer),
        )
    axes.set_xscale("log")
    if column != "cumulative_share":
        axes.set_yscale("log")
        values = table.column(column)
        axes.set_ylim(bottom=values[values > values.max() * 1e-6].min() / 2)  # below is rounding
    axes.set_xlabel("direction, from the largest variance")
    axes.set_ylabel(column.replace("_", " "))
    if len(layers) <= 12:
        axes.legend(fontsize=7)
