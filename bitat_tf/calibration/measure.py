"""The dependency of every layer of a network, in one call."""

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from rich.table import Table

from bitat_tf._tables import ShownAsTable, TextTable, as_text
from bitat_tf._validation import check_model
from bitat_tf.calibration.data import Calibration, LayerInputs, NetworkTrace
from bitat_tf.calibration.statistics import check_statistics_possible, float_outputs, layer_statistics
from bitat_tf.dependency import Metric, QuantizationErrors, network_errors, quantization_errors, reduce_inputs
from bitat_tf.layers import BinaryLayer, binary_layers, required_binary_layers


@dataclass(frozen=True)
class LayerDependency(ShownAsTable):
    """One layer: its metric (s, V, groups), w_ref of shape (d, m), and the errors of its binary weights."""

    layer: str
    metric: Metric
    reference: np.ndarray
    errors: QuantizationErrors

    @property
    def disentangled_weights(self) -> np.ndarray:
        """w~ = V^T P w_ref, shape (k, m) (Eq. 4): row i belongs to the importance `metric.importance[i]`."""
        return self.metric.directions.T @ reduce_inputs(self.metric.groups, self.reference.T).T


@dataclass(frozen=True)
class NetworkDependency(ShownAsTable):
    """All binary layers of a network, from bottom to top. Prints as a table."""

    layers: tuple[LayerDependency, ...]

    @property
    def _errors(self) -> QuantizationErrors:
        return network_errors([layer.errors for layer in self.layers])

    @property
    def q_orig(self) -> float:
        """Q_orig summed over the layers, as the paper's table has it."""
        return self._errors.q_orig

    @property
    def q_ours(self) -> float:
        """Q_ours summed over the layers."""
        return self._errors.q_ours

    @property
    def q_ratio(self) -> float:
        """Q_ours / Q_orig of the sums (Fig. 8); NaN for Q_orig = 0."""
        return self._errors.q_ratio

    @property
    def q_rel(self) -> float:
        """Q_rel, averaged over the layers."""
        return self._errors.q_rel

    def to_dicts(self) -> list[dict[str, Any]]:
        """Return one row a layer."""
        return [
            {
                "layer": layer.layer,
                "inputs": layer.reference.shape[0],
                "outputs": layer.reference.shape[1],
                "groups": len(layer.metric.importance),
                **layer.errors.to_dict(),
            }
            for layer in self.layers
        ]

    def table(self) -> Table:
        """Return the table for a terminal or a notebook."""
        table = TextTable()
        for column in ("layer", "inputs", "outputs", "groups", "Q_orig", "Q_ours", "Q_rel", "Q_ours / Q_orig"):
            table.add_column(column, justify="left" if column == "layer" else "right")
        for row in self.to_dicts():
            table.add_row(
                row["layer"],
                *(str(row[name]) for name in ("inputs", "outputs", "groups")),
                *(f"{row[name]:.4g}" for name in ("q_orig", "q_ours", "q_rel", "q_ratio")),
            )
        sums = (f"{value:.4g}" for value in (self.q_orig, self.q_ours, self.q_rel, self.q_ratio))
        table.add_row("network (Q_rel: mean)", "", "", "", *sums)
        return table

    def __rich__(self) -> Table:
        return self.table()

    def __str__(self) -> str:
        return as_text(self, 110)


def measure_dependency(
    model: keras.Model, data: Any, float_model: keras.Model | None = None, retargeted: bool = False, seed: int = 0
) -> NetworkDependency:
    """Measure s, V and the errors of the binary weights of every binary layer, in the current network.

    The input of each layer is measured in the model as it is (layers below binary or not), as the binary layer sees it. The
    binary weights are the signs of the latent kernel. Nothing is changed.

    Args:
        model: A model with binary layers.
        data: Calibration data, prepared as for `fit`: an array of shape (n, ...), or a finite, batched tf.data.Dataset.
        float_model: A model with layers of the same names, whose kernels are the reference: the float network that `model` was
            made from, as in the paper's comparison. Default: the latent kernels of `model` itself.
        retargeted: Whether the reference is re-targeted to the binary input.
        seed: Seed of the grouping.

    Returns:
        Per layer and for the network: s and V (descending), w~, Q_orig, Q_ours, Q_rel and their ratio.

    Raises:
        ValueError: If the model has no binary layers, the data are unusable, or `float_model` has no layer of a name.
        TypeError: If an argument is of another type.

    Examples:
        >>> model = bitat_tf.applications.ReActNet((8, 8, 1), 4, width=0.25, blocks=((64, 1),))
        >>> dependency = measure_dependency(model, np.random.rand(32, 8, 8, 1).astype("float32"))
        >>> [layer.layer for layer in dependency.layers]
        ['block_1_conv3x3', 'block_1_conv1x1']
        >>> dependency.layers[0].metric.importance.shape, dependency.layers[0].disentangled_weights.shape
        ((72,), (72, 8))
    """
    check_model(model, "measure_dependency")
    layers = required_binary_layers("measure_dependency", model)
    check_statistics_possible("measure_dependency", layers)
    sources = layers
    if float_model is not None:
        check_model(float_model, "measure_dependency")
        sources = _counterparts(layers, binary_layers(float_model))
    calibration = Calibration(data, model, "measure_dependency")
    trace = NetworkTrace(model, layers)
    measured = []
    for layer, source in zip(layers, sources, strict=True):
        inputs = LayerInputs(model, layer, calibration, trace=trace)
        targets = (float_outputs(source, batch) for batch in inputs) if retargeted else None
        statistics = layer_statistics(layer, inputs, retargeted, seed, targets)
        reference = statistics.reference if retargeted else source.latent_kernel_matrix.astype(float)
        binary = np.where(layer.latent_kernel_matrix >= 0, 1.0, -1.0)
        errors = quantization_errors(reference, binary, statistics.metric)
        measured.append(LayerDependency(layer.name, statistics.metric, reference, errors))
    return NetworkDependency(tuple(measured))


def _counterparts(layers: list[BinaryLayer], others: list[BinaryLayer]) -> list[BinaryLayer]:
    """Return the layers of `float_model` of the same names, checked."""
    names = [layer.name for layer in others]
    missing = [layer.name for layer in layers if names.count(layer.name) != 1]
    if missing or len({layer.name for layer in layers}) < len(layers):
        raise ValueError(
            "measure_dependency: `float_model` must have binary layers of the same names, each once in both models. Received: "
            f"none, or several, named {missing or sorted(layer.name for layer in layers)}."
        )
    found = [others[names.index(layer.name)] for layer in layers]
    for layer, other in zip(layers, found, strict=True):
        if layer.latent_kernel.shape != other.latent_kernel.shape:
            raise ValueError(
                "measure_dependency: the kernels of `float_model` must have the shapes of those of `model`. Received: "
                f"{tuple(other.latent_kernel.shape)} in layer {layer.name!r} instead of {tuple(layer.latent_kernel.shape)}."
            )
    return found
