"""Image files as arrays of pixels, and which of them cannot be read."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

EXTENSIONS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp")
_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP")
_LARGEST_NATIVE_SIZE = 64
# What Pillow raises for files that are damaged, are no images, or claim to be gigantic.
_BOMB = (Image.DecompressionBombError, Image.DecompressionBombWarning)
_UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, struct.error, *_BOMB)


@dataclass(frozen=True, eq=False)
class ImageFiles:
    """Paths of images with the class index of each."""

    paths: list[Path]
    labels: np.ndarray

    def take(self, indices: np.ndarray) -> "ImageFiles":
        """Return the files at `indices`."""
        return ImageFiles([self.paths[index] for index in indices], self.labels[indices])


def native_size(paths: Sequence[Path]) -> int:
    """Return the side of the images if all are equal squares of at most 64 pixels, else 64."""
    common = None
    for path in paths:
        try:
            with Image.open(path, formats=_FORMATS) as image:  # reads the header only
                size = image.size
        except _UNREADABLE:
            continue  # reported when the image is decoded
        common = common or size
        if size != common or size[0] != size[1] or size[0] > _LARGEST_NATIVE_SIZE:
            return _LARGEST_NATIVE_SIZE
    return common[0] if common else _LARGEST_NATIVE_SIZE


def decode(files: ImageFiles, shape: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray, dict[Path, str]]:
    """Return the images that can be read, their labels, and the reason for each file that cannot be read."""
    images = np.empty((len(files.paths), *shape), np.uint8)
    kept: list[int] = []
    corrupt = {}
    for index, path in enumerate(files.paths):
        try:
            images[len(kept)] = _read_image(path, shape)
        except UnidentifiedImageError:
            corrupt[path] = f"not a {', '.join(_FORMATS)} image"
        except _UNREADABLE as error:
            corrupt[path] = getattr(error, "strerror", None) or str(error) or repr(error)
        else:
            kept.append(index)
    return images[: len(kept)], files.labels[np.array(kept, int)], corrupt


def _read_image(path: Path, shape: tuple[int, int, int]) -> np.ndarray:
    if path.stat().st_size == 0:
        raise ValueError("the file is empty (0 bytes)")
    with Image.open(path, formats=_FORMATS) as file:
        file.load()
        image = _to_rgb(ImageOps.exif_transpose(file))
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    image = image.crop((left, top, left + side, top + side)).resize(shape[:2], Image.Resampling.BILINEAR)
    return np.asarray(image if shape[2] == 3 else image.convert("L")).reshape(shape)


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16-bit gray, which Pillow would clip to 255
        pixels = np.clip(np.asarray(image, np.float64), 0, 65535) / 257
        return Image.fromarray(np.rint(pixels).astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in image.info:
        layer = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return image.convert("RGB")
