"""The images that a model takes, from what `--data` names."""

import warnings
from dataclasses import replace

import numpy as np

from bitat_tf._printable import printable
from bitat_tf.data import ImageData, load_digits, load_folder
from bitat_tf.data.folder import FolderWarning
from bitat_tf.workflow.settings import DIGITS, Pictures


def calibration_images(images: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Return `count` images, or all if there are fewer, drawn without order, float32."""
    chosen = np.random.default_rng(seed).permutation(len(images))[:count]
    return images[chosen].astype(np.float32)


def load_own_images(pictures: Pictures, image_size: int | None) -> ImageData:
    """Return the images for a network that is built for them; errors are those of `load_folder`."""
    return load_digits(seed=pictures.seed) if pictures.data == DIGITS else _load_folder(pictures, image_size)


def load_images(command: str, pictures: Pictures, shape: tuple[int, int, int]) -> ImageData:
    """Return images in the size and colors that a trained model takes, with a note if it may have seen the test images.

    Args:
        command: Name of the command, for messages.
        pictures: Which images, and how.
        shape: (height, width, channels) of the model's input.

    Raises:
        ValueError: If the images do not come in that shape, or cannot be read.
        OSError: If the folder cannot be read.
    """
    height, width, channels = shape
    if pictures.data == DIGITS:
        images = load_digits(seed=pictures.seed)
        if images.image_shape != shape:
            raise ValueError(
                f"{command}: the digits are pictures of 8x8x1. Received: a model of {height}x{width}x{channels}. Bring "
                "pictures of your own as --data."
            )
    elif height != width:
        raise ValueError(
            f"{command}: pictures from folders are made square. Received: a model of {height}x{width}. Build it for "
            "squares, or use bitat_tf in Python with data of your own."
        )
    else:
        images = _load_folder(pictures, height, "rgb" if channels == 3 else "grayscale")
    return replace(images, notes=(*images.notes, *_notes_of_drawn(images, pictures)))


def _load_folder(pictures: Pictures, image_size: int | None, color: str = "rgb") -> ImageData:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FolderWarning)  # the commands have a form of their own for the notes
        return load_folder(
            pictures.data,
            image_size,
            color,
            seed=pictures.seed,
            subset=pictures.subset,
            skip_corrupt=pictures.skip_corrupt,
            test=pictures.test,
            aspect=pictures.aspect,
        )


def _notes_of_drawn(images: ImageData, pictures: Pictures) -> tuple[str, ...]:
    """Return what is to be said where nobody knows whether a model was trained on the test images."""
    if not images.test_is_drawn or pictures.data == DIGITS:  # of which docs/binarize.md says it
        return ()
    data, seed = printable(pictures.data), pictures.seed
    return (
        f"the {len(images.test_images)} test pictures are drawn from {data}, with seed {seed}. If the model was trained on "
        "some of them, its accuracies are too high, and so are those of what is made of it. Name pictures that it has not seen "
        f"with --test DIR, or train it on the training images of bitat_tf.data.split_folder({data!r}, seed={seed}).",
    )
