"""The scaling that a network expects of pixels built into it, so that it takes raw pixels as the device has them."""

import keras

from bitat_tf._pixels import NEGATIVE, PIXELS, RAW
from bitat_tf.model_graph import CallGraph, Names, Substitute, operations_inside, rebuilt

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
        A copy of the model with a `Rescaling` layer before its layers; `model` itself for "0..255".

    Examples:
        >>> model = keras.Sequential([keras.Input((2, 2, 1)), keras.layers.Flatten()])
        >>> np.asarray(taking_pixels(model, "0..1")(np.full((1, 2, 2, 1), 51.0))).round(3)
        array([[0.2, 0.2, 0.2, 0.2]], dtype=float32)
    """
    if pixels == RAW:
        return model
    scaling = PIXELS[pixels]
    scale, offset = (list(value) if isinstance(value, tuple) else value for value in (scaling.scale, scaling.offset))
    first, names = CallGraph(model).sources[0].layer, Names(operations_inside(model))

    def scaled(inputs):
        ordered = keras.ops.flip(inputs, axis=-1) if scaling.reverse else inputs
        return keras.layers.Rescaling(scale, offset, name=names.free("pixels"))(ordered)

    # In the graph of the model: a model around the model would put its name before those of the layers in every table.
    return rebuilt(model, lambda layer: Substitute(scaled) if layer is first else None)
