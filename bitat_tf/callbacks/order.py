"""The layers whose turn comes, in the order in which it does."""

from collections.abc import Sequence

import keras

from bitat_tf._validation import check_model
from bitat_tf.layers import BinaryLayer, required_binary_layers


def ordered_layers(model: keras.Model, order: str | Sequence[str]) -> list[BinaryLayer]:
    """Return the binary layers of a model in the order of a schedule, checked.

    Args:
        model: The model.
        order: "bottom_to_top", "top_to_bottom", or a list of layer names.

    Raises:
        ValueError: If there are none, several of one name, or `order` does not name them.
        TypeError: If `model` is no Keras model.
    """
    check_model(model, "SequentialBinarization")
    layers = required_binary_layers("SequentialBinarization", model)
    names = [layer.name for layer in layers]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(
            f"SequentialBinarization: every binary layer needs a name of its own. Received: several layers named {twice}. "
            "Pass `name=` when the layers of nested models are made."
        )
    if isinstance(order, str):
        if order not in ("bottom_to_top", "top_to_bottom"):
            raise ValueError(
                "SequentialBinarization: `order` must be 'bottom_to_top', 'top_to_bottom' or a list of layer names. "
                f"Received: order={order!r}."
            )
        return layers if order == "bottom_to_top" else layers[::-1]
    by_name = {layer.name: layer for layer in layers}
    unknown = [name for name in order if name not in by_name]
    if unknown or len(set(order)) != len(order) or not order:
        raise ValueError(
            f"SequentialBinarization: `order` must name binary layers of the model, each once: {sorted(by_name)}. "
            f"Received: {list(order)}."
        )
    return [by_name[name] for name in order]
