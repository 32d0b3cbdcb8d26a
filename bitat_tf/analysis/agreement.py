"""How much of what the float layers computed the binary ones still compute."""

from typing import Any

import keras
import numpy as np
from keras import ops
from matplotlib.axes import Axes

from bitat_tf.analysis.checked import checked_binary_layers
from bitat_tf.analysis.result_table import ResultTable
from bitat_tf.calibration import Calibration, LayerInputs, NetworkTrace
from bitat_tf.layers import BinaryLayer


def layer_agreement(float_model: keras.Model, binary_model: keras.Model, data: Any) -> ResultTable:
    """Compare the output of every binary layer with that of its float one, each in its own network.

    Per output channel c, over all pictures and pixels, with the float layer's output z and the binary one's y:

        correlation_c = cov(z_c, y_c) / (std(z_c) std(y_c))

    It does not depend on scale and mean of y, which the batch normalization after a binary layer removes; 1 - correlation^2
    is the share of the float output's variance that no scaling of the binary one explains.

    Args:
        float_model: The float network; its binary layers in float state.
        binary_model: A network with layers of the same names.
        data: Calibration data, as in `bitat_tf.calibration.measure_dependency`.

    Returns:
        One row a layer, from bottom to top: layer, correlation (mean over channels; channels that do not vary count 0),
        lowest (of a channel), explained (mean of the squares), channels.

    Raises:
        ValueError: If the networks do not have the same binary layers, those of the float one are not in float state, or the
            data are unusable.
        TypeError: If an argument is of another type.

    Examples:
        >>> model = bitat_tf.applications.ReActNet((8, 8, 1), 4, width=0.25, blocks=((64, 1),))
        >>> x = np.random.rand(32, 8, 8, 1).astype("float32")
        >>> layer_agreement(model, model, x).column("correlation").round(3)
        array([1., 1.])
    """
    layers = checked_binary_layers("layer_agreement", float_model, only_float=True)
    others = {layer.name: layer for layer in checked_binary_layers("layer_agreement", binary_model)}
    shapes = {layer.name: layer.latent_kernel_matrix.shape for layer in others.values()}
    other_ones = [layer.name for layer in layers if shapes.get(layer.name) != layer.latent_kernel_matrix.shape]
    if other_ones:
        raise ValueError(
            "layer_agreement: both networks must have binary layers of the same names and shapes. Received: model "
            f"{binary_model.name!r} without {', '.join(other_ones[:5])}, or with others of these names."
        )
    # Once, and kept: a dataset that shuffles would give either network other inputs.
    batches = list(Calibration(data, float_model, "layer_agreement"))
    float_trace, binary_trace = NetworkTrace(float_model, layers), NetworkTrace(binary_model, list(others.values()))
    rows = []
    for layer in layers:
        other = others[layer.name]
        sums = _Correlation()
        inputs = LayerInputs(float_model, layer, batches, trace=float_trace)
        other_inputs = LayerInputs(binary_model, other, batches, trace=binary_trace)
        for float_inputs, binary_inputs in zip(inputs, other_inputs, strict=True):
            sums.update(_outputs(layer, float_inputs), _outputs(other, binary_inputs))
        correlation = sums.correlation
        rows.append(
            {
                "layer": layer.name,
                "correlation": float(correlation.mean()),
                "lowest": float(correlation.min()),
                "explained": float((correlation**2).mean()),
                "channels": len(correlation),
            }
        )
    return ResultTable(tuple(rows))


def plot_layer_agreement(axes: Axes, table: ResultTable) -> None:
    """Draw the agreement of every layer, from bottom to top: mean over channels, and the lowest channel.

    Args:
        axes: Where to draw.
        table: From `layer_agreement`.

    Examples:
        >>> axes = Figure().subplots()
        >>> plot_layer_agreement(axes, ResultTable(({"layer": "conv", "correlation": 0.9, "lowest": 0.7},)))
        >>> len(axes.lines)
        1
    """
    layers = table.distinct("layer")
    axes.bar(range(len(layers)), table.column("correlation"), color="#7090b0", label="mean over channels")
    axes.plot(range(len(layers)), table.column("lowest"), ".", color="#c02020", label="lowest channel")
    axes.set_xticks(range(len(layers)), layers, rotation=60, ha="right", fontsize=7, parse_math=False)
    axes.set_ylabel("correlation with the float layer's output")
    axes.set_ylim(min(0.0, float(table.column("lowest").min())), 1)
    axes.legend(fontsize=8, loc="lower left")


def _outputs(layer: BinaryLayer, inputs: np.ndarray) -> np.ndarray:
    outputs = ops.convert_to_numpy(layer(inputs))
    return outputs.reshape(-1, outputs.shape[-1])


class _Correlation:
    """Correlation of pairs of channels, summed batch by batch around the first batch's means."""

    def __init__(self):
        self._count = 0
        self._shifts = None
        self._sums = 0.0

    def update(self, first: np.ndarray, second: np.ndarray) -> None:
        """Add rows, both of shape (n, channels)."""
        pair = first.astype(float), second.astype(float)
        if self._shifts is None:
            self._shifts = [rows.mean(axis=0) for rows in pair]
        x, y = (rows - shift for rows, shift in zip(pair, self._shifts, strict=True))
        self._count += len(x)
        self._sums = self._sums + np.stack([x.sum(0), y.sum(0), (x * x).sum(0), (y * y).sum(0), (x * y).sum(0)])

    @property
    def correlation(self) -> np.ndarray:
        """Of each channel, shape (channels,); 0 where one of the two does not vary."""
        x, y, xx, yy, xy = self._sums / self._count
        variances = (xx - x * x) * (yy - y * y)
        varies = variances > 1e-12 * xx * yy
        return np.where(varies, (xy - x * y) / np.sqrt(np.where(varies, variances, 1)), 0.0)
