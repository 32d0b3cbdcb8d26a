"""Calibration data on their way through a network, layer by layer, so that nothing below is computed twice."""

import math
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import keras
import numpy as np
from keras import ops

from bitat_tf.layers import BinaryLayer
from bitat_tf.model_graph import call_arguments, input_keys, is_graph, layer_nodes, output_keys, shapes_at, tensor_keys

_LARGE_BYTES = 2**32


@dataclass(frozen=True)
class Flow:
    """What runs through one edge of the network, in batches: in the float network, and in the one that is being made binary.

    Both are the same object as long as no binary layer lies below.
    """

    real: list[np.ndarray]
    current: list[np.ndarray]

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
    edges: dict[str, Flow] = dict(zip(tensor_keys(model.inputs), flows, strict=True))
    waiting = _uses_of_edges(model)  # an edge is dropped after its last use
    # Both have the same calls in the same order; an operator has no weights, and serves both.
    counterparts = {id(node): other.operation for node, other in zip(layer_nodes(model), layer_nodes(float_model), strict=True)}
    for node in layer_nodes(model):
        layer, float_layer = node.operation, counterparts[id(node)]
        inputs = [edges[edge] for edge in input_keys(node)]
        if is_graph(layer):
            results = propagate(layer, float_layer, inputs, visit)
        else:
            if len(inputs) == 1:
                visit(layer, float_layer, inputs[0])
            results = _run(node, layer, float_layer, dict(zip(input_keys(node), inputs, strict=True)))
        edges.update(zip(output_keys(node), results, strict=True))
        for edge in input_keys(node):
            waiting[edge] -= 1
            if not waiting[edge]:
                del edges[edge]
    return [edges[edge] for edge in tensor_keys(model.outputs)]


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
    sizes = dict(zip(tensor_keys(model.inputs), map(_size, (tensor.shape for tensor in model.inputs)), strict=True))
    waiting, peak = _uses_of_edges(model), 0
    for node in layer_nodes(model):
        inner = _peak_values(node.operation) if is_graph(node.operation) else 0
        sizes.update(zip(output_keys(node), map(_size, shapes_at(node)[1]), strict=True))
        peak = max(peak, sum(sizes.values()) + inner)
        for edge in input_keys(node):
            waiting[edge] -= 1
            if not waiting[edge]:
                del sizes[edge]
    return peak


def _size(shape: Sequence[int | None]) -> int:
    return math.prod(size or 1 for size in shape[1:])


def _uses_of_edges(model: keras.Model) -> Counter[str]:
    """Return how often each tensor is used, as an output of the model too."""
    uses = Counter(tensor_keys(model.outputs))
    for node in layer_nodes(model):
        uses.update(input_keys(node))
    return uses


def _run(node, layer, float_layer, flows: Mapping[str, Flow]) -> list[Flow]:
    changed = isinstance(layer, BinaryLayer) or any(flow.changed for flow in flows.values())
    real = _outputs(node, float_layer, {edge: flow.real for edge, flow in flows.items()})
    current = _outputs(node, layer, {edge: flow.current for edge, flow in flows.items()}) if changed else real
    return [Flow(*pair) for pair in zip(real, current, strict=True)]


def _outputs(node, layer, edges: Mapping[str, list[np.ndarray]]) -> list[list[np.ndarray]]:
    """Return the batches of each output of a layer call."""
    batches = []
    for batch in zip(*edges.values(), strict=True):
        arguments, keywords = call_arguments(node, dict(zip(edges, batch, strict=True)))
        outputs = keras.tree.flatten(layer(*arguments, **keywords))
        batches.append([ops.convert_to_numpy(output) for output in outputs])
    return [list(tensors) for tensors in zip(*batches, strict=True)]
