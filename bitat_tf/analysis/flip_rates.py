"""How many signs of the binary weights change while a network trains."""

from typing import Any

import keras
import numpy as np
from matplotlib.axes import Axes

from bitat_tf._printable import in_legend
from bitat_tf.analysis.checked import checked_binary_layers
from bitat_tf.analysis.result_table import ResultTable


def sign_flips(before: keras.Model, after: keras.Model) -> ResultTable:
    """Return the share of the binary weights that have another sign in another state of the same network.

    Args:
        before: A network with binary layers.
        after: A network with binary layers of the same names and shapes: a later checkpoint, or the binary network that was
            made from the float one.

    Returns:
        One row a layer: layer, weights (their number), flips (their number), rate (flips / weights).

    Raises:
        ValueError: If the layers are not the same.
        TypeError: If an argument is no Keras model.

    Examples:
        >>> model = bitat_tf.applications.ReActNet((8, 8, 1), 4, width=0.25, blocks=((64, 1),))
        >>> sign_flips(model, model).column("rate")
        array([0., 0.])
    """
    first, second = (_signs("sign_flips", model) for model in (before, after))
    shapes = [{name: signs.shape for name, signs in each.items()} for each in (first, second)]
    if shapes[0] != shapes[1]:
        raise ValueError(
            "sign_flips: both networks must have binary layers of the same names and shapes. Received: "
            f"{sorted(shapes[0])} and {sorted(shapes[1])}."
        )
    return ResultTable(tuple(_rows(first, second)))


class SignFlipMonitor(keras.callbacks.Callback):
    """Logs how many binary weights change their sign from epoch to epoch.

    `logs` get `sign_flips`, the share of all binary weights of the network whose latent weight has another sign than at the end
    of the epoch before (in the first epoch: than at its start). `layer_history` has it for each layer. Callbacks that write
    logs must come after it.

    Examples:
        >>> model = keras.Sequential([keras.Input((4,)), bitat_tf.layers.BinaryDense(8), keras.layers.Dense(2)])
        >>> model.compile("adam", "mse")
        >>> x = np.random.randn(32, 4).astype("float32")
        >>> history = model.fit(x, x[:, :2], callbacks=[SignFlipMonitor()], verbose=0)
        >>> 0 <= history.history["sign_flips"][0] <= 1
        True
    """

    def __init__(self):
        super().__init__()
        self.layer_history: list[dict[str, Any]] = []

    def on_train_begin(self, logs=None):
        """Check the model, and forget the run before."""
        checked_binary_layers("SignFlipMonitor", self.model)
        self.layer_history = []
        self._before = None

    def on_epoch_begin(self, epoch, logs=None):
        """Note the signs before the first epoch: a backup has been restored by now."""
        if self._before is None:
            self._before = _signs("SignFlipMonitor", self.model)

    def on_epoch_end(self, epoch, logs=None):
        """Write the share of changed signs into `logs`."""
        now = _signs("SignFlipMonitor", self.model)
        rows = list(_rows(self._before, now))
        self._before = now
        self.layer_history += [{"epoch": epoch, **row} for row in rows]
        if logs is not None:
            logs["sign_flips"] = sum(row["flips"] for row in rows) / sum(row["weights"] for row in rows)


def plot_sign_flips(axes: Axes, flips: ResultTable | list[dict[str, Any]]) -> None:
    """Draw the rate of changed signs: over epochs, one line a layer, or one bar a layer.

    Args:
        axes: Where to draw.
        flips: `layer_history` of a `SignFlipMonitor`, for lines; or what `sign_flips` returns, for bars.

    Examples:
        >>> axes = Figure().subplots()
        >>> plot_sign_flips(axes, [{"epoch": 0, "layer": "conv", "rate": 0.1}, {"epoch": 1, "layer": "conv", "rate": 0.05}])
        >>> len(axes.lines)
        1
    """
    history = flips if isinstance(flips, ResultTable) else ResultTable(tuple(flips))
    layers = history.distinct("layer")
    axes.set_ylabel("weights whose sign changed, %")
    if "epoch" not in history.columns:
        axes.bar(range(len(layers)), 100 * history.column("rate"), color="#7090b0")
        axes.set_xticks(range(len(layers)), layers, rotation=60, ha="right", fontsize=7, parse_math=False)
        return
    for layer in layers:
        own = history.where(layer=layer)
        axes.plot(own.column("epoch") + 1, 100 * own.column("rate"), label=in_legend(layer))
    axes.set_xlabel("epoch")
    if len(layers) <= 12:
        axes.legend(fontsize=7)


def _signs(where: str, model: keras.Model) -> dict[str, np.ndarray]:
    return {layer.name: layer.latent_kernel_matrix >= 0 for layer in checked_binary_layers(where, model)}


def _rows(before: dict[str, np.ndarray], after: dict[str, np.ndarray]):
    for name, signs in before.items():
        flips = int(np.sum(signs != after[name]))
        yield {"layer": name, "weights": signs.size, "flips": flips, "rate": flips / signs.size}
