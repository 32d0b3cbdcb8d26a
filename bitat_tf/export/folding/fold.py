"""Which constants are moved, and the network with them."""

from collections import Counter

import numpy as np

from bitat_tf._keras import keras
from bitat_tf._validation import check_model
from bitat_tf.export.folding.moves import Moves, apply
from bitat_tf.export.folding.parts import Convolution, Normalization, Part, ShiftedPReLU, part_of
from bitat_tf.model_graph import CallGraph, LayerCall, copy_layer, copy_weights, float32_policy, is_graph


def fold(model: keras.Model) -> keras.Model:
    r"""Return a copy of a plain Larq network in which constants per channel have vanished into neighbouring layers.

    The outputs stay the same, to rounding; on the device, fewer operators go over the pictures between the binary kernels:

    - The shift after an `RPReLU` goes forwards, through shortcuts, poolings and concatenations, into everything that reads
      it: the threshold of a sign, \\( \mathrm{sign}(x + \zeta + \beta) \\), the mean of a batch normalization, the bias of a
      convolution or dense layer, the first shift of the next `RPReLU`. It stays if one of them cannot take it.
    - The shift before an `RPReLU` goes backwards, through the shortcut, into the batch normalization or the bias before it.
    - The threshold of an `RSign` goes backwards too, where nothing else reads the tensor.
    - The scale alpha of a binary kernel goes through a ReLU, \\( \max(\alpha c, 0) = \alpha \max(c, 0) \\), into the batch
      normalization after it: only so do the three become one `LceBconv2d`.

    Layers that are called more than once stay as they are.

    Args:
        model: A functional or sequential model, as from `to_plain_larq`; it is not changed.

    Returns:
        A new model. An `RPReLU` whose shifts are gone is a `PReLU`.

    Raises:
        ValueError: If the model is neither functional nor sequential.
        TypeError: If it is no Keras 2 model.

    Examples:
        >>> model = bitat_tf.applications.ReActNet((8, 8, 1), 10, width=0.5, blocks=((64, 1),))
        >>> folded = fold(bitat_tf.export.to_plain_larq(model, allow_partial=True))
        >>> [type(layer).__name__ for layer in folded.layers if "relu" in layer.name]
        ['PReLU', 'PReLU']
    """
    check_model(model, "fold")
    graph = CallGraph(model)
    parts = _parts(graph)
    _move_scales(graph, parts)
    _move_shifts(graph, parts)

    def folded_layer(layer: keras.layers.Layer) -> keras.layers.Layer:
        if isinstance(layer, keras.Model) and is_graph(layer):
            return keras.models.clone_model(layer, clone_function=folded_layer)
        return parts[id(layer)].rebuilt() if id(layer) in parts else copy_layer(layer)

    with float32_policy():
        folded = keras.models.clone_model(model, clone_function=folded_layer)
    _set_weights(model, folded, parts)
    return folded


def _parts(graph: CallGraph) -> dict[int, Part]:
    calls = Counter(id(call.layer) for call in graph.calls)
    layers = {id(call.layer): call.layer for call in graph.calls if calls[id(call.layer)] == 1}
    found = {key: part_of(layer) for key, layer in layers.items()}
    return {key: part for key, part in found.items() if part is not None}


def _move_scales(graph: CallGraph, parts: dict[int, Part]) -> None:
    for call in graph.calls:
        part = parts.get(id(call.layer))
        if not isinstance(part, Convolution) or part.bias is not None or not part.is_sign:
            continue
        after = _after_relu(graph, call)
        normalization = None if after is None else parts.get(id(after.layer))
        scale = part.kernel_scale()
        if isinstance(normalization, Normalization) and scale is not None and (scale > 0).all():
            part.scale = scale
            normalization.scale_input(scale)


def _after_relu(graph: CallGraph, call: LayerCall) -> LayerCall | None:
    """Return what reads the ReLU of a convolution, its own or the layer after it; None if there is no ReLU, or several do."""
    if call.layer.activation is keras.activations.relu:
        return graph.only_consumer(call)
    relu = graph.only_consumer(call) if call.layer.activation in (None, keras.activations.linear) else None
    return None if relu is None or not _is_relu(relu.layer) else graph.only_consumer(relu)


def _move_shifts(graph: CallGraph, parts: dict[int, Part]) -> None:
    moves = Moves(graph, parts)
    shifted = [(call, part) for call in graph.calls if isinstance(part := parts.get(id(call.layer)), ShiftedPReLU)]
    for call, part in shifted:
        found = moves.forwards(call, part.after)
        if found is not None:
            apply(found, at_output=False)
            part.after = np.zeros_like(part.after)
    # After all of them: what is moved forwards ends in these shifts and thresholds.
    for call, part in shifted:
        found = moves.backwards(call.inputs[0], -part.before)
        if found is not None:
            apply(found, at_output=True)
            part.before = np.zeros_like(part.before)
    for call in graph.calls:
        sign = parts.get(id(call.layer))
        if isinstance(sign, Convolution) and sign.threshold is not None:
            found = moves.backwards(call.inputs[0], sign.threshold)
            if found is not None:
                apply(found, at_output=True)
                sign.threshold = None


def _is_relu(layer: keras.layers.Layer) -> bool:
    if type(layer) is keras.layers.Activation:
        return layer.activation is keras.activations.relu
    return type(layer) is keras.layers.ReLU and layer.max_value is None and not layer.negative_slope and not layer.threshold


def _set_weights(model: keras.Model, folded: keras.Model, parts: dict[int, Part]) -> None:
    for layer, copy in zip(model.layers, folded.layers, strict=True):
        if isinstance(layer, keras.Model) and is_graph(layer):
            _set_weights(layer, copy, parts)
        elif id(layer) in parts:
            parts[id(layer)].set_weights(copy)
        else:
            copy_weights(layer, copy)
