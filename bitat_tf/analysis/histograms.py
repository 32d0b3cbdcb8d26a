"""Histograms of the latent weights, and of what reaches the signs of the activations."""

import math
from typing import Any

import keras
import numpy as np
from keras import ops
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bitat_tf._validation import check_finite, check_number
from bitat_tf.analysis.checked import checked_binary_layers
from bitat_tf.analysis.result_table import ResultTable
from bitat_tf.calibration import Calibration, LayerInputs, NetworkTrace

_COLUMNS = 4  # of a figure of histograms


def weight_histograms(model: keras.Model, bins: int = 50) -> ResultTable:
    """Return the histogram of every binary layer's latent weights, in units of their root mean square.

    Weights near 0 are those whose signs training can still change.

    Args:
        model: A model with binary layers.
        bins: Number of bins, from the smallest to the largest weight.

    Returns:
        One row for each layer and bin: layer, left, right (edges), density (its integral over the bins is 1), scale (the root
        mean square).

    Raises:
        ValueError: If the model has no binary layers or `bins` is below 1.
        TypeError: If `model` is no Keras model.

    Examples:
        >>> model = bitat_tf.applications.ReActNet((8, 8, 1), 4, width=0.25, blocks=((64, 1),))
        >>> len(weight_histograms(model, bins=10))
        20
    """
    layers = checked_binary_layers("weight_histograms", model)
    check_number("weight_histograms", "bins", bins, minimum=1)
    rows: list[dict[str, Any]] = []
    for layer in layers:
        weights = layer.latent_kernel_matrix.astype(float).ravel()
        check_finite("weight_histograms", f"the latent weights of layer {layer.name!r}", weights)
        scale = float(np.sqrt(np.mean(weights**2)))
        values = weights / scale if scale else weights
        density, edges = np.histogram(values, int(bins), density=True)
        rows += _rows(layer.name, density, edges, scale=scale)
    return ResultTable(tuple(rows))


def activation_histograms(
    model: keras.Model, data: Any, bins: int = 50, limits: tuple[float, float] = (-3.0, 3.0)
) -> ResultTable:
    """Return the histogram of what reaches every binary layer in the current network, before its RSign adds the threshold.

    Values beyond the limits count for the outermost bins.

    Args:
        model: A model with binary layers.
        data: Calibration data, as in `bitat_tf.calibration.measure_dependency`.
        bins: Number of bins.
        limits: Left edge of the first and right edge of the last bin.

    Returns:
        One row for each layer and bin: layer, left, right (edges), density, positive (share of all values whose sign is +1
        once the layer is binary).

    Raises:
        ValueError: If the model has no binary layers, `bins` is below 1, the limits are none, or the data are unusable.
        TypeError: If an argument is of another type.

    Examples:
        >>> model = bitat_tf.applications.ReActNet((8, 8, 1), 4, width=0.25, blocks=((64, 1),))
        >>> table = activation_histograms(model, np.random.rand(32, 8, 8, 1).astype("float32"), bins=10)
        >>> len(table)
        20
    """
    layers = checked_binary_layers("activation_histograms", model)
    check_number("activation_histograms", "bins", bins, minimum=1)
    low, high = limits
    if not low < high:
        raise ValueError(f"activation_histograms: the first of `limits` must lie below the second. Received: limits={limits}.")
    edges = np.linspace(low, high, int(bins) + 1)
    calibration = Calibration(data, model, "activation_histograms")
    trace = NetworkTrace(model, layers)
    rows: list[dict[str, Any]] = []
    for layer in layers:
        counts, positive, total = np.zeros(int(bins)), 0, 0
        for batch in LayerInputs(model, layer, calibration, trace=trace):
            counts += np.histogram(np.clip(batch, low, high), edges)[0]
            positive += int(np.sum(ops.convert_to_numpy(layer.input_images(batch, binary=True)) > 0))
            total += batch.size
        density = counts / (total * np.diff(edges))
        rows += _rows(layer.name, density, edges, positive=positive / total)
    return ResultTable(tuple(rows))


def plot_histograms(figure: Figure, table: ResultTable) -> list[Axes]:
    """Draw one small histogram a layer into a figure, and return their axes.

    Args:
        figure: An empty figure.
        table: From `weight_histograms` or `activation_histograms`.

    Examples:
        >>> rows = [{"layer": "conv", "left": 0.0, "right": 1.0, "density": 1.0}]
        >>> len(plot_histograms(Figure(), ResultTable(tuple(rows))))
        1
    """
    layers = table.distinct("layer")
    columns = min(_COLUMNS, len(layers))
    grid = figure.subplots(math.ceil(len(layers) / columns), columns, squeeze=False)
    drawn = []
    for axes, layer in zip(grid.flat, layers, strict=False):
        own = table.where(layer=layer)
        axes.stairs(own.column("density"), [*own.column("left"), own.column("right")[-1]], fill=True, color="#7090b0")
        axes.axvline(0, color="#c02020", linewidth=0.7)
        axes.set_title(layer, fontsize=7, parse_math=False)
        axes.tick_params(labelsize=6)
        drawn.append(axes)
    for axes in grid.flat[len(layers) :]:
        axes.set_axis_off()
    return drawn


def _rows(layer: str, density: np.ndarray, edges: np.ndarray, **more: float) -> list[dict[str, Any]]:
    bins = zip(edges[:-1], edges[1:], density, strict=True)
    return [
        {"layer": layer, "left": float(left), "right": float(right), "density": float(value), **more}
        for left, right, value in bins
    ]
