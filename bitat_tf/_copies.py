"""Copies of layers and of their weights."""

from bitat_tf._keras import keras


def copy_layer(layer: keras.layers.Layer) -> keras.layers.Layer:
    """Return a new layer of the same configuration, without weights.

    Raises:
        ValueError: If the layer cannot be made again from its configuration.
    """
    if type(layer) is keras.layers.Lambda:
        # Not through its configuration, which holds a Python lambda as code that Keras refuses to load.
        base = keras.layers.Layer.get_config(layer)
        return keras.layers.Lambda(layer.function, layer._output_shape, layer.mask, layer.arguments, **base)
    try:
        return type(layer).from_config(config_with_activation(layer))
    except (TypeError, ValueError, NotImplementedError, KeyError, AttributeError) as error:
        reason = " ".join(str(error).strip().split("\n\n")[0].split())  # Keras goes on with an example of a class
        raise ValueError(
            f"layer {layer.name!r} of type {type(layer).__name__} cannot be copied from its configuration ({reason}). Give the "
            "class a get_config that returns all arguments of its constructor."
        ) from error


def config_with_activation(layer: keras.layers.Layer) -> dict:
    """Return the configuration of a layer, an activation function in it as it is: one of the user's own has no name to load."""
    config = layer.get_config()
    activation = getattr(layer, "activation", None)
    if "activation" in config and callable(activation) and not isinstance(activation, keras.layers.Layer):
        config["activation"] = activation
    return config


def copy_weights(layer: keras.layers.Layer, copy: keras.layers.Layer) -> None:
    """Give a built copy of a layer the layer's weights, what is frozen inside of it, and what follows from the weights."""
    # First: the order of Keras' list of weights depends on which layers inside are trainable.
    for part, own in zip(layer._flatten_layers(), copy._flatten_layers(), strict=True):
        own.trainable = part.trainable
    copy.set_weights(layer.get_weights())
    for part in copy._flatten_layers():
        finalize = getattr(part, "finalize_state", None)  # of layers that compute constants from adapted weights
        if finalize is not None and part.weights:
            finalize()
