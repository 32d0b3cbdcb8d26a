"""Dependency across the layers of a block: how the block's output feels an error of one of its layers (ours)."""

from typing import Any

import keras
import numpy as np

from bitat_tf._validation import check_number
from bitat_tf.calibration.data import Calibration
from bitat_tf.calibration.jacobian import jacobian_product
from bitat_tf.layers import BinaryLayer, binary_layers
from bitat_tf.model_graph import is_graph, layer_nodes


def find_blocks(model: keras.Model) -> dict[str, str]:
    """Return the block of every binary layer in a residual network: the name of the layer whose output is the block's.

    The block of a layer ends at the first `Add` above it that closes a shortcut around it: one of its inputs depends on the
    layer, another does not. Layers without such an `Add`, in nested models, or used several times are in no block.

    Args:
        model: A functional or sequential model.

    Returns:
        Names of the ends of the blocks, by layer names.

    Raises:
        ValueError: If the model is neither functional nor sequential.

    Examples:
        >>> model = bitat_tf.applications.ReActNet((8, 8, 1), 4, width=0.25, blocks=((64, 1),))
        >>> find_blocks(model)
        {'block_1_conv3x3': 'block_1_add3x3', 'block_1_conv1x1': 'block_1_add1x1'}
    """
    _check_graph(model)
    blocks = {}
    for layer in binary_layers(model):
        above = _nodes_above(model, layer)
        for node in above:
            depends = [parent.operation is layer or parent in above for parent in node.parent_nodes]
            if isinstance(node.operation, keras.layers.Add) and not all(depends):
                blocks[layer.name] = node.operation.name
                break
    return blocks


def _nodes_above(model: keras.Model, layer: keras.layers.Layer) -> list[Any]:
    """Return the layer calls that depend on a layer, from bottom to top; none for a layer that is used several times."""
    nodes = list(layer_nodes(model))
    own = [node for node in nodes if node.operation is layer]
    if len(own) != 1:
        return []
    above = {id(own[0])}
    for node in nodes:
        if any(id(parent) in above for parent in node.parent_nodes):
            above.add(id(node))
    return [node for node in nodes if id(node) in above and node is not own[0]]


def output_sensitivity(
    model: keras.Model, layer: BinaryLayer, block: str, calibration: Calibration, probes: int = 1, seed: int = 0
) -> np.ndarray:
    """Return M = E[J^T J], J = d y / d z from the output z of a layer to the output y of its block.

    M weights the error of the layer, tr(D^T C D M) with D = w_ref - alpha b: the Kronecker form of the Gauss-Newton
    approximation, C and M taken as independent. The mean is over samples and pixels of z, J^T J summed over all of y. It is
    estimated without bias from random vectors v of signs, E[(J^T v)(J^T v)^T] = J^T J. Layers of the block that are binary
    already contribute their straight-through gradient.

    Args:
        model: A functional or sequential model; batch normalization as at inference.
        layer: A binary layer of it, without an activation of its own.
        block: Name of the layer whose output is y, as from `find_blocks`.
        calibration: The data.
        probes: Random vectors a sample.
        seed: Seed of the random vectors.

    Returns:
        M, shape (m, m), symmetric and positive semidefinite.

    Raises:
        ValueError: If the block does not depend on the layer, or the layer has an activation.
    """
    check_number("output_sensitivity", "probes", probes, minimum=1)
    check_block("output_sensitivity", model, layer, block)
    pull_back = jacobian_product(model, layer, block)
    generator = np.random.default_rng(seed)
    units = layer.output.shape[-1]
    total, count = np.zeros((units, units)), 0
    for batch in calibration:
        floats = keras.tree.map_structure(lambda part: part.astype(np.float32), batch)
        for _ in range(probes):
            rows = pull_back(floats, generator).reshape(-1, units).astype(float)
            total += rows.T @ rows
            count += len(rows)
    return total / count


def _calls(model: keras.Model, layer: keras.layers.Layer) -> int:
    return sum(node.operation is layer for node in layer_nodes(model))


def check_block(where: str, model: keras.Model, layer: BinaryLayer, block: str) -> None:
    """Raise ValueError unless `block` can be the end of a block that `layer` belongs to."""
    _check_graph(model)
    if block not in [other.name for other in model.layers]:
        raise ValueError(f"{where}: the block of layer {layer.name!r} must end at a layer of the model. Received: {block!r}.")
    if layer not in model.layers or _calls(model, layer) != 1:
        raise ValueError(
            f"{where}: a block needs a layer that stands once in the model, not in a nested one. Received: {layer.name!r}. "
            "Leave it out of `blocks`."
        )
    end = model.get_layer(block)
    if _calls(model, end) != 1 or not any(node.operation is end for node in _nodes_above(model, layer)):
        raise ValueError(
            f"{where}: the block of layer {layer.name!r} must end at a layer that stands once in the model and depends on it. "
            f"Received: {block!r}."
        )
    if layer.activation is not keras.activations.linear:
        raise ValueError(
            f"{where}: a layer of a block must have no activation of its own, since its error is that before the activation. "
            f"Received: layer {layer.name!r} with activation {layer.activation.__name__!r}. Put it into a layer after this one."
        )


def _check_graph(model: keras.Model) -> None:
    if not is_graph(model):
        raise ValueError(
            f"Blocks are found in functional and sequential models. Received: a {type(model).__name__}. Leave `blocks` out."
        )
