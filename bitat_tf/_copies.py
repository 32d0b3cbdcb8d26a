"""Copies of layers and of their weights."""

from bitat_tf._keras import keras


def copy_layer(layer: keras.layers.Layer) -> keras.layers.Layer:
    """Return a new layer of the same configuration, without weights.

    Raises:
        ValueError: If the layer cannot be made again from its configuration.
    """
    if type(layer) is keras.layers.Lambda:
        # Not through its configuration, which holds a Python lambda as code that Keras refuses to load.
        return keras.layers.Lambda(layer.function, layer._output_shape, layer.mask, layer.arguments, name=layer.name)
    try:
        return type(layer).from_config(layer.get_config())
    except (TypeError, ValueError, NotImplementedError, KeyError, AttributeError) as error:
        reason = " ".join(str(error).strip().split("\n\n")[0].split())  # Keras goes on with an example of a class
        raise ValueError(
            f"layer {layer.name!r} of type {type(layer).__name__} cannot be copied from its configuration ({reason}). Give the "
            "class a get_config that returns all arguments of its constructor."
        ) from error


def copy_weights(layer: keras.layers.Layer, copy: keras.layers.Layer) -> None:
    """Give a built copy of a layer the layer's weights, and what follows from them."""
    copy.set_weights(layer.get_weights())
    for part in copy._flatten_layers():
        finalize = getattr(part, "finalize_state", None)  # of layers that compute constants from adapted weights
        if finalize is not None and part.weights:
            finalize()
