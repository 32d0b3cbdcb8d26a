"""Q_orig and Q_ours between a float network and binary ones made of it (appendix 7.4, Fig. 8)."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from matplotlib.axes import Axes

from bitat_tf._printable import in_legend
from bitat_tf.analysis.checked import checked_binary_layers
from bitat_tf.analysis.result_table import ResultTable
from bitat_tf.calibration import measure_dependency
from bitat_tf.dependency import QuantizationErrors, network_errors, quantization_errors

TOTAL = "network"
PREFIX = "float_"  # of the entries of `logs`


class FloatReference:
    """Metric and weights of every binary layer of the float network: what binary networks made of it are measured against.

    As in the paper, s and V of a layer come from the initial float network, once, and without the dependency across layers.
    Its inputs are taken as the binary layer would see them, through RSign (ours; the paper does not say).

    Args:
        float_model: The float network, its binary layers in float state.
        data: Calibration data, as in `bitat_tf.calibration.measure_dependency`.
        seed: Seed of the grouping.

    Raises:
        ValueError: If the model has no binary layers, some are not in float state, or the data are unusable.
        TypeError: If an argument is of another type.

    Examples:
        >>> model = bitat_tf.applications.ReActNet((8, 8, 1), 4, width=0.25, blocks=((64, 1),))
        >>> reference = FloatReference(model, np.random.rand(32, 8, 8, 1).astype("float32"))
        >>> sorted(reference.errors(model))
        ['block_1_conv1x1', 'block_1_conv3x3']
    """

    def __init__(self, float_model: keras.Model, data: Any, seed: int = 0):
        checked_binary_layers("FloatReference", float_model, only_float=True)
        measured = measure_dependency(float_model, data, seed=seed)
        self._measured = {layer.layer: layer for layer in measured.layers}

    def errors(self, model: keras.Model) -> dict[str, QuantizationErrors]:
        """Return the errors of the signs of a network's latent kernels, by layer, whether the layers are binary by now or not.

        Args:
            model: A network with binary layers of the same names and shapes.

        Raises:
            ValueError: If a layer is missing, or has another shape.
        """
        layers = {layer.name: layer for layer in checked_binary_layers("FloatReference", model)}
        found = {}
        for name, measured in self._measured.items():
            shape = layers[name].latent_kernel_matrix.shape if name in layers else None
            if shape != measured.reference.shape:
                raise ValueError(
                    f"FloatReference: the networks must have binary layers of the same names and shapes as the float one. "
                    f"Received: layer {name!r} {'is missing' if shape is None else f'with a kernel of {shape}'} in model "
                    f"{model.name!r}; expected {measured.reference.shape}."
                )
            binary = np.where(layers[name].latent_kernel_matrix >= 0, 1.0, -1.0)
            found[name] = quantization_errors(measured.reference, binary, measured.metric)
        return found

    def logs(self, model: keras.Model) -> dict[str, float]:
        """Return what `GapMonitor` logs: `float_q_orig` and `float_q_ours`, sums over layers, and `float_q_ratio`."""
        return _logs(self.errors(model))


class GapMonitor(keras.callbacks.Callback):
    """Logs Q_orig, Q_ours and their ratio r against the float network every epoch (Fig. 8 right), with any way of training.

    `logs` get `float_q_orig`, `float_q_ours` and `float_q_ratio`; `layer_history` has them for each layer. The reference
    is the same for all runs that are compared, unlike that of `SequentialBinarization`, whose `q_...` are in the metric and
    against the reference weights of the current network. Callbacks that write logs must come after it.

    Args:
        reference: The float network, measured.

    Raises:
        TypeError: If `reference` is another thing.
        ValueError: In `fit`, if the model's binary layers are not those of the reference.

    Examples:
        >>> model = bitat_tf.applications.ReActNet((8, 8, 1), 4, width=0.25, blocks=((64, 1),))
        >>> x, y = np.random.rand(32, 8, 8, 1).astype("float32"), np.zeros(32, int)
        >>> monitor = GapMonitor(FloatReference(model, x))
        >>> model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        >>> history = model.fit(x, y, epochs=1, callbacks=[monitor], verbose=0)
        >>> "float_q_ratio" in history.history
        True
    """

    def __init__(self, reference: FloatReference):
        super().__init__()
        if not isinstance(reference, FloatReference):
            raise TypeError(
                f"GapMonitor: `reference` must be a FloatReference. Received: {type(reference).__name__}. Pass "
                "FloatReference(float_model, images[:512])."
            )
        self._reference = reference
        self.layer_history: list[dict[str, Any]] = []

    def on_train_begin(self, logs=None):
        """Check the model, and forget the run before."""
        self._reference.errors(self.model)
        self.layer_history = []

    def on_epoch_end(self, epoch, logs=None):
        """Write the errors into `logs`."""
        errors = self._reference.errors(self.model)
        for name, error in errors.items():
            values = {f"{PREFIX}{key}": value for key, value in error.to_dict().items()}
            self.layer_history.append({"epoch": epoch, "layer": name, **values})
        if logs is not None:
            logs.update(_logs(errors))


def quantization_gap(
    float_model: keras.Model | FloatReference, binary_models: Mapping[str, keras.Model], data: Any = None, seed: int = 0
) -> ResultTable:
    """Return Q_orig (Eq. 2) and Q_ours (Eq. 6 without l1) between a float network and binary ones, as Fig. 8 left.

    Args:
        float_model: The initial float network, its binary layers in float state; or a `FloatReference`, measured before.
        binary_models: Binary networks made of it, by the names that they have in the table, such as
            `{"ReActNet": ..., "BiTAT": ...}`.
        data: Calibration data, as in `bitat_tf.calibration.measure_dependency`. Not needed with a `FloatReference`.
        seed: Seed of the grouping.

    Returns:
        One row for each network and layer, from bottom to top, then one for the layer "network": the sums of Q_orig and Q_ours
        over layers, as in the paper, their ratio, and the mean Q_rel. Columns: network, layer, q_orig, q_ours, q_rel, q_ratio.

    Raises:
        ValueError: If the networks do not have the same binary layers, no network is given, or the data are unusable.
        TypeError: If an argument is of another type.

    Examples:
        >>> model = bitat_tf.applications.ReActNet((8, 8, 1), 4, width=0.25, blocks=((64, 1),))
        >>> gap = quantization_gap(model, {"signs": model}, np.random.rand(32, 8, 8, 1).astype("float32"))
        >>> gap.distinct("layer")
        ['block_1_conv3x3', 'block_1_conv1x1', 'network']
    """
    if not isinstance(binary_models, Mapping) or not binary_models:
        raise ValueError(
            'quantization_gap: `binary_models` must hold at least one network by its name, as in {"BiTAT": model}. Received: '
            f"{binary_models!r}."
        )
    reference = float_model if isinstance(float_model, FloatReference) else FloatReference(float_model, data, seed)
    rows = []
    for network, model in binary_models.items():
        errors = reference.errors(model)
        rows += [{"network": network, "layer": name, **error.to_dict()} for name, error in errors.items()]
        rows.append({"network": network, "layer": TOTAL, **network_errors(errors.values()).to_dict()})
    return ResultTable(tuple(rows))


def plot_quantization_gap(axes: Axes, gap: ResultTable, error: str = "q_ours") -> None:
    """Draw an error of every layer as bars side by side, one color a network; the legend has that of the network.

    Args:
        axes: Where to draw.
        gap: From `quantization_gap`.
        error: Column to draw. Default "q_ours".

    Examples:
        >>> rows = [{"network": "BiTAT", "layer": name, "q_ours": 1.0} for name in ("conv", "network")]
        >>> axes = Figure().subplots()
        >>> plot_quantization_gap(axes, ResultTable(tuple(rows)))
        >>> len(axes.patches)
        1
    """
    networks = gap.distinct("network")
    layers = [name for name in gap.distinct("layer") if name != TOTAL]
    width = 0.8 / len(networks)
    for number, network in enumerate(networks):
        own = gap.where(network=network)
        total = own.where(layer=TOTAL).column(error)[0]
        values = [own.where(layer=layer).column(error)[0] for layer in layers]
        positions = np.arange(len(layers)) + (number - (len(networks) - 1) / 2) * width
        axes.bar(positions, values, width, label=f"{in_legend(network)} (network: {total:.4g})")
    axes.set_xticks(range(len(layers)), layers, rotation=60, ha="right", fontsize=7, parse_math=False)
    axes.set_ylabel(error)
    axes.legend(fontsize=8)


def _logs(errors: Mapping[str, QuantizationErrors]) -> dict[str, float]:
    network = network_errors(errors.values()).to_dict()
    return {f"{PREFIX}{name}": value for name, value in network.items() if name != "q_rel"}
