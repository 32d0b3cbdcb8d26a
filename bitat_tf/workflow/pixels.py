"""The scaling that a network expects of pixels built into it, so that it takes raw pixels as the device has them."""

from bitat_tf._keras import keras, tf
from bitat_tf._pixels import NEGATIVE, PIXELS, RAW
from bitat_tf.model_graph import call_arguments, layer_nodes

__all__ = ["NEGATIVE", "PIXELS", "RAW", "check_channels", "taking_pixels"]


def check_channels(pixels: str, channels: int, command: str = "binarize") -> None:
    """Raise ValueError if a scaling is for pictures of another number of channels."""
    if PIXELS[pixels].channels not in (None, channels):
        raise ValueError(
            f"{command}: --pixels {pixels} is for pictures of {PIXELS[pixels].channels} channels. Received: a model of "
            f"pictures of {channels}. Choose another one of {', '.join(PIXELS)}."
        )


def taking_pixels(model: keras.Model, pixels: str) -> keras.Model:
    """Return a model that takes pixels 0..255 and scales them to what `model` expects.

    Args:
        model: A functional or sequential model with one input.
        pixels: Key of `PIXELS`.

    Returns:
        A functional model of the same layers, with a `Rescaling` layer before them; `model` itself for "0..255".

    Examples:
        >>> model = keras.Sequential([keras.Input((2, 2, 1)), keras.layers.Flatten()])
        >>> taking_pixels(model, "0..1")(np.full((1, 2, 2, 1), 51.0)).numpy().round(3)
        array([[0.2, 0.2, 0.2, 0.2]], dtype=float32)
    """
    if pixels == RAW:
        return model
    scaling = PIXELS[pixels]
    inputs = keras.Input(model.input_shape[1:], name=model.input_names[0])
    names = {layer.name for layer in model._flatten_layers()}
    name = next(name for name in ("pixels", *(f"pixels_{number}" for number in range(len(names)))) if name not in names)
    scale, offset = (list(value) if isinstance(value, tuple) else value for value in (scaling.scale, scaling.offset))
    # The layers are called once more, in the graph of the new model: a model around the model would put its name before
    # theirs in every table.
    ordered = tf.reverse(inputs, [-1]) if scaling.reverse else inputs
    edges = {str(id(model.inputs[0])): keras.layers.Rescaling(scale, offset, name=name)(ordered)}
    for node in layer_nodes(model):
        arguments, keywords = call_arguments(node, edges)
        outputs = node.layer(*arguments, **keywords)
        edges.update(zip(node.flat_output_ids, tf.nest.flatten(outputs), strict=True))
    return keras.Model(inputs, edges[str(id(model.outputs[0]))], name=model.name)
