"""What a network expects of the pixels of a picture, and what can be done to pictures."""

from dataclasses import dataclass

import numpy as np

_IMAGENET_MEAN = np.array([0.485, 0.456, 0.406])
_IMAGENET_DEVIATION = np.array([0.229, 0.224, 0.225])


@dataclass(frozen=True)
class Scaling:
    """scale * pixels + offset, for pixels 0..255.

    Attributes:
        scale, offset: One number, or one a channel.
        channels: Number of channels that it is for; None for any.
        reverse: Whether the channels are turned round first, to blue, green, red.
    """

    scale: float | tuple[float, ...] = 1.0
    offset: float | tuple[float, ...] = 0.0
    channels: int | None = None
    reverse: bool = False

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """Return scaled pixels, float32."""
        pixels = pixels[..., ::-1] if self.reverse else pixels
        return (pixels * np.asarray(self.scale) + np.asarray(self.offset)).astype(np.float32)


ASPECTS = {"crop": "the central square of each", "stretch": "each squashed to a square", "pad": "each padded to a square"}
AUGMENTATIONS = ("none", "shift", "shift-flip")
RAW = "0..255"
BYTES = "bytes"  # of files that take integers: the bytes of a picture as they are, less 128 for int8
NEGATIVE = "-1..1"
PIXELS = {
    RAW: Scaling(),
    "0..1": Scaling(1 / 255),
    NEGATIVE: Scaling(1 / 127.5, -1.0),
    # Mean and deviation of ImageNet's pixels, as PyTorch's networks and Keras' preprocess_input(mode="torch") have them.
    "imagenet": Scaling(
        tuple((1 / (255 * _IMAGENET_DEVIATION)).tolist()), tuple((-_IMAGENET_MEAN / _IMAGENET_DEVIATION).tolist()), channels=3
    ),
    # preprocess_input(mode="caffe"), of Keras' ResNet50 and VGG: blue, green, red, less the means of ImageNet.
    "caffe": Scaling(1.0, (-103.939, -116.779, -123.68), channels=3, reverse=True),
}
