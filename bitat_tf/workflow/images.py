"""The images that a model takes, from what `--data` names."""

import numpy as np

from bitat_tf.data import ImageData, load_digits, load_folder
from bitat_tf.workflow.config import DIGITS


def calibration_images(images: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Return `count` images, or all if there are fewer, drawn without order, float32."""
    chosen = np.random.default_rng(seed).permutation(len(images))[:count]
    return images[chosen].astype(np.float32)


def load_own_images(data: str, image_size: int | None, seed: int, subset: int | None, skip_corrupt: bool) -> ImageData:
    """Return the images for a network that is built for them; arguments and errors are those of `load_folder`."""
    if data == DIGITS:
        return load_digits(seed=seed)
    return load_folder(data, image_size, seed=seed, subset=subset, skip_corrupt=skip_corrupt)


def load_images(
    command: str, data: str, shape: tuple[int, int, int], seed: int = 0, subset: int | None = None, skip_corrupt: bool = False
) -> ImageData:
    """Return images in the size and colors that a model takes.

    Args:
        command: Name of the command, for messages.
        data: "digits", or a folder of class folders.
        shape: (height, width, channels) of the model's input.
        seed: Of what is drawn: the test set of a folder without one, the subset.
        subset: Number of training images; None for all.
        skip_corrupt: Whether images that cannot be read are left out.

    Raises:
        ValueError: If the images do not come in that shape, or cannot be read.
        OSError: If the folder cannot be read.
    """
    height, width, channels = shape
    if data == DIGITS:
        images = load_digits(seed=seed)
        if images.image_shape != shape:
            raise ValueError(
                f"{command}: the digits are pictures of 8x8x1. Received: a model of {height}x{width}x{channels}. Bring "
                "pictures of your own as --data."
            )
        return images
    if height != width:
        raise ValueError(
            f"{command}: pictures from folders are cut to squares. Received: a model of {height}x{width}. Build it for "
            "squares, or use bitat_tf in Python with data of your own."
        )
    color = "rgb" if channels == 3 else "grayscale"
    return load_folder(data, height, color, seed=seed, subset=subset, skip_corrupt=skip_corrupt)
