"""Image files as arrays of pixels: which files are images, and which of them cannot be read."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from bitat_tf._unreadable import BOMB, UNREADABLE

# EPS would run Ghostscript. The others are known to Pillow, which cannot read them.
_NEVER = {"EPS", "WMF", "BUFR", "GRIB", "HDF5", "MPEG"}
# Recognized whatever the name ends with. TIFF only where it ends with nothing: files of raw pixels of cameras begin like it.
_BY_CONTENT = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "AVIF", "JPEG2000", "PPM")
_LARGEST_NATIVE_SIZE = 64


@dataclass(frozen=True, eq=False)
class ImageFiles:
    """Paths of images with the class index of each.

    Attributes:
        paths: The files.
        labels: Class indices, int64, shape (n,).
    """

    paths: list[Path]
    labels: np.ndarray

    def take(self, indices: np.ndarray) -> "ImageFiles":
        """Return the files at `indices`."""
        return ImageFiles([self.paths[index] for index in indices], self.labels[indices])


@cache
def _endings() -> dict[str, str]:
    """Return the endings of the files that Pillow reads, in small letters, with the format of each."""
    Image.init()
    return {ending: name for ending, name in Image.EXTENSION.items() if name in Image.OPEN and name not in _NEVER}


@cache
def _formats(suffix: str) -> tuple[str, ...]:
    """Return the formats that a file may have: all that are recognized by their content, and the one that its ending names."""
    named = _endings().get(suffix)
    return tuple(name for name, (_, accept) in Image.OPEN.items() if name not in _NEVER and (accept or name == named))


def is_image(path: Path) -> bool:
    """Whether Pillow reads a file, by its ending, or else by its content."""
    suffix = path.suffix.lower()
    if suffix in _endings():
        # What a broken link leads to, or one into a closed folder, is named when it is to be read.
        return os.path.isfile(path) or not os.path.exists(path)
    if not os.path.isfile(path):  # a pipe would never end
        return False
    try:
        with Image.open(path, formats=[*{*_BY_CONTENT, *(() if suffix else ("TIFF",))} & {*Image.OPEN}]):
            return True
    except BOMB:
        return True
    except UNREADABLE:
        return False


def native_size(paths: Sequence[Path]) -> int:
    """Return the side of the images if all are equal squares of at most 64 pixels, else 64."""
    common = None
    for path in paths:
        try:
            with Image.open(path, formats=_formats(path.suffix.lower())) as image:  # reads the header only
                size = image.size
        except UNREADABLE:
            continue  # reported when the image is decoded
        common = common or size
        if size != common or size[0] != size[1] or size[0] > _LARGEST_NATIVE_SIZE:
            return _LARGEST_NATIVE_SIZE
    return common[0] if common else _LARGEST_NATIVE_SIZE


def decode(files: ImageFiles, shape: tuple[int, int, int], aspect: str) -> tuple[np.ndarray, np.ndarray, dict[Path, str]]:
    """Return the images that can be read, their labels, and the reason for each file that cannot be read."""
    images = np.empty((len(files.paths), *shape), np.uint8)
    kept: list[int] = []
    corrupt = {}
    for index, path in enumerate(files.paths):
        try:
            images[len(kept)] = _read_image(path, shape, aspect)
        except UnidentifiedImageError:
            corrupt[path] = "no image of a kind that Pillow reads"
        except UNREADABLE as error:
            corrupt[path] = getattr(error, "strerror", None) or str(error) or repr(error)
        else:
            kept.append(index)
    return images[: len(kept)], files.labels[np.array(kept, int)], corrupt


def _read_image(path: Path, shape: tuple[int, int, int], aspect: str) -> np.ndarray:
    if path.stat().st_size == 0:
        raise ValueError("the file is empty (0 bytes)")
    with Image.open(path, formats=_formats(path.suffix.lower())) as file:
        file.load()
        image = _to_rgb(ImageOps.exif_transpose(file))
    if aspect == "pad":
        image = ImageOps.pad(image, shape[:2], Image.Resampling.BILINEAR)
    elif aspect == "crop":
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        image = image.crop((left, top, left + side, top + side))
    image = image.resize(shape[:2], Image.Resampling.BILINEAR)
    return np.asarray(image if shape[2] == 3 else image.convert("L")).reshape(shape)


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise ValueError("its pixels are floats, of which it is not known what is white; save it with 8 bits a channel")
    if image.mode.startswith("I"):  # 16-bit gray, which Pillow would clip to 255
        pixels = np.clip(np.asarray(image, np.float64), 0, 65535) / 257
        return Image.fromarray(np.rint(pixels).astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in image.info:
        layer = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return image.convert("RGB")
