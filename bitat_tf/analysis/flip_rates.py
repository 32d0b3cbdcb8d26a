"""How many signs of the binary weights change while a network trains."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes

from bitat_tf._keras import keras
from bitat_tf._validation import check_model
from bitat_tf.analysis.result_table import ResultTable
from bitat_tf.layers import binary_layers


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
    check_model(before, "sign_flips")
    check_model(after, "sign_flips")
    first, second = _signs(before), _signs(after)
    shapes = [{name: signs.shape for name, signs in each.items()} for each in (first, second)]
    if shapes[0] != shapes[1] or not first:
        raise ValueError(
            "sign_flips: both networks must have the same binary layers, at least one. Received: "
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
        """Note the signs."""
        check_model(self.model, "SignFlipMonitor")
        self.layer_history = []
        self._before = _signs(self.model)
        if not self._before:
            raise ValueError(f"SignFlipMonitor: model {self.model.name!r} has no binary layers, so that no sign can change.")

    def on_epoch_end(self, epoch, logs=None):
        """Write the share of changed signs into `logs`."""
        now = _signs(self.model)
        rows = list(_rows(self._before, now))
        self._before = now
        self.layer_history += [{"epoch": epoch, **row} for row in rows]
        if logs is not None:
            logs["sign_flips"] = sum(row["flips"] for row in rows) / sum(row["weights"] for row in rows)


def plot_sign_flips(axes: Axes, layer_history: list[dict[str, Any]]) -> None:
    """Draw the rate of changed signs over epochs, one line a layer.

    Args:
        axes: Where to draw.
        layer_history: Of a `SignFlipMonitor`.

    Examples:
        >>> axes = Figure().subplots()
        >>> plot_sign_flips(axes, [{"epoch": 0, "layer": "conv", "rate": 0.1}, {"epoch": 1, "layer": "conv", "rate": 0.05}])
        >>> len(axes.lines)
        1
    """
    history = ResultTable(tuple(layer_history))
    layers = history.distinct("layer")
    for layer in layers:
        own = history.where(layer=layer)
        axes.plot(own.column("epoch") + 1, 100 * own.column("rate"), label=layer)
    axes.set_xlabel("epoch")
    axes.set_ylabel("weights whose sign changed, %")
    if len(layers) <= 12:
        axes.legend(fontsize=7)


def _signs(model: keras.Model) -> dict[str, np.ndarray]:
    return {layer.name: layer.latent_kernel_matrix >= 0 for layer in binary_layers(model)}


def _rows(before: dict[str, np.ndarray], after: dict[str, np.ndarray]):
    for name, signs in before.items():
        flips = int(np.sum(signs != after[name]))
        yield {"layer": name, "weights": signs.size, "flips": flips, "rate": flips / signs.size}
