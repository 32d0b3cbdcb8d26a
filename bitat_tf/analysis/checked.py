"""Checks that the functions of the analysis share."""

from bitat_tf._keras import keras
from bitat_tf._validation import check_model
from bitat_tf.layers import BinaryLayer, binary_layers


def checked_binary_layers(where: str, model: keras.Model) -> list[BinaryLayer]:
    """Return the binary layers of a model.

    Args:
        where: Name of the public function, for messages.
        model: The model.

    Raises:
        TypeError: If it is no Keras model.
        ValueError: If it has no binary layers.
    """
    check_model(model, where)
    layers = binary_layers(model)
    if not layers:
        raise ValueError(
            f"{where}: model {model.name!r} has no binary layers. Build it with bitat_tf.layers.BinaryConv2D or BinaryDense, "
            "or pass a network of yours through bitat_tf.binarize."
        )
    return layers
