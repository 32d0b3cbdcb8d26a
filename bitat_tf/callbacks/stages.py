"""What happens to a layer when its turn comes, and while it is being quantized."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import keras
import numpy as np
from keras import ops

from bitat_tf.calibration import Calibration, LayerInputs, NetworkTrace, find_blocks, layer_statistics, output_sensitivity
from bitat_tf.calibration.cross_layer import check_block
from bitat_tf.calibration.statistics import channel_means, has_statistics, layer_metric
from bitat_tf.callbacks.schedule import Schedule
from bitat_tf.callbacks.workers import of_first_worker
from bitat_tf.dependency import Metric, flip_descent, latent_weights
from bitat_tf.layers import BinaryLayer
from bitat_tf.quantizers import RSign


class Stages:
    """Makes layers binary, and measures them anew, in the current network.

    Args:
        model: The model.
        layers: The layers whose turn comes.
        calibration: The calibration data.
        schedule: Its choices: `retarget`, `flips`, `center_thresholds`.
        blocks: Name of the layer at the end of each layer's block, by layer name; see `resolve_blocks`.
        seed: Seed of the grouping and of the random vectors.
    """

    def __init__(
        self,
        model: keras.Model,
        layers: Sequence[BinaryLayer],
        calibration: Calibration,
        schedule: Schedule,
        blocks: Mapping[str, str],
        seed: int,
    ):
        self._model = model
        self._trace = NetworkTrace(model, layers)
        self._calibration = calibration
        self._schedule = schedule
        self._blocks = blocks
        self._seed = seed

    def quantize(self, layer: BinaryLayer) -> None:
        """Make a layer binary: thresholds, statistics, reference weights, then the switch.

        What the user has frozen (`layer.trainable = False`) becomes binary as it is; so does, but for its thresholds, a grouped
        convolution, which has no single covariance.
        """
        inputs = self._inputs_of(layer)
        if self._schedule.center_thresholds and layer.trainable and isinstance(layer.input_quantizer, RSign):
            layer.input_quantizer.threshold.assign(of_first_worker(-channel_means(inputs)))
        if has_statistics(layer):
            self._take_statistics(layer, inputs)
        layer.set_binary()

    def refresh(self, layer: BinaryLayer) -> None:
        """Measure s and V of a layer again; its groups and its reference weights stay."""
        if not has_statistics(layer):
            return
        state = layer.disentangled_state
        metric = layer_metric(layer, self._inputs_of(layer), ops.convert_to_numpy(state.groups))
        state.assign(self._shared_metric(layer, metric), ops.convert_to_numpy(state.reference))

    def _take_statistics(self, layer: BinaryLayer, inputs: LayerInputs) -> None:
        """Store statistics and reference weights, and re-target the latent kernel."""
        statistics = layer_statistics(layer, inputs, self._schedule.retarget, self._seed)
        metric, reference = self._shared_metric(layer, statistics.metric), of_first_worker(statistics.reference)
        layer.disentangled_state.assign(metric, reference)
        if not (self._schedule.retarget and layer.trainable):
            return
        binary = np.where(reference >= 0, 1.0, -1.0)
        if self._schedule.flips and statistics.curvature is not None:  # there is one: flips need `retarget`
            binary = of_first_worker(flip_descent(binary, reference, statistics.curvature))
        layer.set_latent_kernel(latent_weights(reference, binary, metric.optimal_scale(binary, reference)))

    def _inputs_of(self, layer: BinaryLayer) -> LayerInputs:
        return LayerInputs(self._model, layer, self._calibration, trace=self._trace)

    def _shared_metric(self, layer: BinaryLayer, metric: Metric) -> Metric:
        """Return a layer's metric with what its block feels, as all workers are to have it."""
        block = self._blocks.get(layer.name)
        if block is not None:
            sensitivity = output_sensitivity(self._model, layer, block, self._calibration, seed=self._seed)
            metric = replace(metric, sensitivity=sensitivity)
        return Metric(**of_first_worker(vars(metric)))


def resolve_blocks(blocks: str | Mapping[str, str] | None, model: keras.Model, layers: list[BinaryLayer]) -> dict[str, str]:
    """Return the end of each layer's block by layer name, checked; empty without cross-layer dependency.

    Args:
        blocks: None, "residual" (found in the network's structure), or a mapping of names.
        model: The model.
        layers: Its binary layers.

    Raises:
        ValueError: If a name is unknown, or a layer cannot hold a sensitivity.
    """
    if blocks is None:
        return {}
    if blocks == "residual":
        names = {layer.name for layer in layers}
        found = {name: block for name, block in find_blocks(model).items() if name in names}
        if not found:
            raise ValueError(
                "SequentialBinarization: blocks='residual' found no shortcut (a keras.layers.Add) around a binary layer. Name "
                "the blocks, as in blocks={'conv_1': 'relu_2'}, or leave `blocks` out."
            )
    elif isinstance(blocks, Mapping):
        found = dict(blocks)
    else:
        raise ValueError(
            "SequentialBinarization: `blocks` must be None, 'residual', or a mapping from layer names to the names of the "
            f"layers at whose output their blocks end. Received: blocks={blocks!r}."
        )
    by_name = {layer.name: layer for layer in layers}
    unknown = sorted(set(found) - set(by_name))
    if unknown:
        raise ValueError(f"SequentialBinarization: `blocks` names no binary layers of the model: {unknown}.")
    for name, block in found.items():
        check_block("SequentialBinarization", model, by_name[name], block)
    without = [name for name in found if not by_name[name].disentangled_regularizer.cross_layer]
    if without:
        raise ValueError(
            "SequentialBinarization: layers of a block need room for the sensitivity of their outputs. Received: layers "
            f"without it: {', '.join(without[:5])}{', ...' if len(without) > 5 else ''}. Build them with "
            "disentangled_regularizer=DisentangledRegularizer(cross_layer=True)."
        )
    return found
