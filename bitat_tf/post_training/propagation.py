"""Calibration data on their way through a network, layer by layer, so that nothing below is computed twice."""

import math
import warnings
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from bitat_tf._keras import keras, tf
from bitat_tf.layers import BinaryLayer
from bitat_tf.model_graph import call_arguments, is_graph, layer_nodes

_LARGE_BYTES = 2**32


@dataclass(frozen=True)
class Flow:
    """What runs through one edge of the network, in batches: in the float network, and in the one that is being made binary.

    Both are the same object as long as no binary layer lies below.
    """

    real: list[tf.Tensor]
    current: list[tf.Tensor]

    @property
    def changed(self) -> bool:
        """Whether a binary layer lies below."""
        return self.real is not self.current


Visitor = Callable[[keras.layers.Layer, keras.layers.Layer, Flow], None]


def propagate(model: keras.Model, float_model: keras.Model, flows: list[Flow], visit: Visitor) -> list[Flow]:
    """Run data through two copies of a functional model at once, one layer after the other.

    Nested functional models are entered.

    Args:
        model: The copy that `visit` changes.
        float_model: The copy that stays as it is.
        flows: What goes into each input of the model.
        visit: Called as `visit(layer, float_layer, flow)` before a layer with one input is run.

    Returns:
        What comes out, one for each output of the model.
    """
    edges: dict[str, Flow] = {str(id(tensor)): flow for tensor, flow in zip(model.inputs, flows, strict=True)}
    outputs = [str(id(tensor)) for tensor in model.outputs]
    waiting = _uses_of_edges(model)  # an edge is dropped after its last use
    for node in layer_nodes(model):
        layer, float_layer = node.layer, float_model.get_layer(node.layer.name)
        inputs = [edges[edge] for edge in node.flat_input_ids]
        if is_graph(layer):
            results = propagate(layer, float_layer, inputs, visit)
        else:
            if len(inputs) == 1:
                visit(layer, float_layer, inputs[0])
            results = _run(node, layer, float_layer, dict(zip(node.flat_input_ids, inputs, strict=True)))
        edges.update(zip(node.flat_output_ids, results, strict=True))
        for edge in node.flat_input_ids:
            waiting[edge] -= 1
            if not waiting[edge]:
                del edges[edge]
    return [edges[edge] for edge in outputs]


def check_activations(where: str, model: keras.Model, samples: int) -> None:
    """Warn where what `propagate` holds at one time takes more than 4 GiB."""
    needed = 2 * samples * _peak_values(model) * 4  # two networks, float32
    if needed > _LARGE_BYTES:
        warnings.warn(
            f"{where}: what runs through the network is held for all {samples} calibration inputs, and takes about "
            f"{needed / 2**30:.1f} GiB at the widest place. Pass fewer inputs if the machine has less memory.",
            stacklevel=3,
        )


def _peak_values(model: keras.Model) -> int:
    """Return how many numbers of one sample are alive at once, at most; unknown sizes count as 1."""
    sizes = {str(id(tensor)): math.prod(size or 1 for size in tensor.shape[1:]) for tensor in model.inputs}
    waiting, peak = _uses_of_edges(model), 0
    for node in layer_nodes(model):
        outputs = tf.nest.flatten(node.outputs)
        inner = _peak_values(node.layer) if is_graph(node.layer) else 0
        sizes.update({str(id(tensor)): math.prod(size or 1 for size in tensor.shape[1:]) for tensor in outputs})
        peak = max(peak, sum(sizes.values()) + inner)
        for edge in node.flat_input_ids:
            waiting[edge] -= 1
            if not waiting[edge]:
                del sizes[edge]
    return peak


def _uses_of_edges(model: keras.Model) -> Counter[str]:
    """Return how often each tensor is used, as an output of the model too."""
    uses = Counter(str(id(tensor)) for tensor in model.outputs)
    for node in layer_nodes(model):
        uses.update(node.flat_input_ids)
    return uses


def _run(node, layer, float_layer, flows: Mapping[str, Flow]) -> list[Flow]:
    changed = isinstance(layer, BinaryLayer) or any(flow.changed for flow in flows.values())
    real = _outputs(node, float_layer, {edge: flow.real for edge, flow in flows.items()})
    current = _outputs(node, layer, {edge: flow.current for edge, flow in flows.items()}) if changed else real
    return [Flow(*pair) for pair in zip(real, current, strict=True)]


def _outputs(node, layer, edges: Mapping[str, list[tf.Tensor]]) -> list[list[tf.Tensor]]:
    """Return the batches of each output of a layer call."""
    batches = []
    for batch in zip(*edges.values(), strict=True):
        arguments, keywords = call_arguments(node, dict(zip(edges, batch, strict=True)))
        batches.append(tf.nest.flatten(layer(*arguments, **keywords)))
    return [list(tensors) for tensors in zip(*batches, strict=True)]
