"""The picture that comes with a kit."""

import io
import os
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from bitat_tf._unreadable import UNREADABLE

_LARGEST_SIDE = 1024
_MADE_SIDE = 224


def read_picture(picture: str | os.PathLike | np.ndarray | None) -> Image.Image:
    """Return a picture for a kit: red, green, blue, upright, on white where it is transparent, at most 1024 pixels a side.

    Args:
        picture: A file that Pillow reads; an array of shape (height, width), (height, width, 1) or (height, width, 3), uint8;
            or None for one of many colours that shows nothing.

    Raises:
        TypeError, ValueError: If it is no such picture.
        FileNotFoundError: If there is no such file.
    """
    if picture is None:
        return _made()
    image = _from_array(picture) if isinstance(picture, np.ndarray) else _from_file(Path(picture))
    image.thumbnail((_LARGEST_SIDE, _LARGEST_SIDE))  # leaves a smaller one as it is
    return image


def encoded(image: Image.Image, suffix: str) -> bytes:
    """Return the picture as a file: ".png", or ".ppm", which needs no library to be read."""
    buffer = io.BytesIO()
    image.save(buffer, {".png": "PNG", ".ppm": "PPM"}[suffix])
    return buffer.getvalue()


def _from_file(path: Path) -> Image.Image:
    if not path.is_file():
        raise FileNotFoundError(f"write_kit: `picture` must be a file. Received: {str(path)!r}, which is none.")
    try:
        with Image.open(path) as file:
            file.load()
            image = ImageOps.exif_transpose(file)
    except UnidentifiedImageError as error:
        raise ValueError(f"write_kit: `picture` must be a picture, such as a JPEG or a PNG. Received: {path}.") from error
    except UNREADABLE as error:
        raise ValueError(f"write_kit: `picture` must be a picture that can be read. Received: {path} ({error}).") from error
    if image.mode.startswith(("I", "F")):
        raise ValueError(f"write_kit: `picture` must have 8 bits a channel. Received: {path}, of Pillow's mode {image.mode}.")
    layer = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")


def _from_array(array: np.ndarray) -> Image.Image:
    channels = array.shape[2] if array.ndim == 3 else 1
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or channels not in (1, 3) or not array.size:
        raise ValueError(
            "write_kit: `picture` as an array must be uint8 of shape (height, width, 1 or 3). "
            f"Received: {array.dtype} of shape {array.shape}."
        )
    return Image.fromarray(array if channels == 3 else array.reshape(array.shape[:2])).convert("RGB")


def _made() -> Image.Image:
    y, x = np.mgrid[:_MADE_SIDE, :_MADE_SIDE] * 255 // (_MADE_SIDE - 1)
    return Image.fromarray(np.stack([x, y, 255 - (x + y) // 2], -1).astype(np.uint8))
