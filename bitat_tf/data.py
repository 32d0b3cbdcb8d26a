"""Images: scikit-learn's digits, or any folder of class folders, as arrays and as datasets for `fit`."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from sklearn import datasets
from sklearn.model_selection import train_test_split

from bitat_tf._keras import tf
from bitat_tf._validation import check_choice, check_labels, check_number

EXTENSIONS = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".webp")
AUGMENTATIONS = ("none", "shift", "shift-flip")
_TEST_FOLDERS = ("test", "val", "validation")
_LARGEST_NATIVE = 64
_NAMED = 10  # files or classes that a message names


@dataclass(frozen=True)
class ImageData:
    """Images in memory.

    Attributes:
        train_images, test_images: uint8 arrays of shape (n, height, width, channels), pixels 0 to 255.
        train_labels, test_labels: int64 arrays of shape (n,), indices into `class_names`.
        class_names: Name of each class.
        skipped: Files that could not be read and were left out.
    """

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    class_names: tuple[str, ...]
    skipped: tuple[str, ...] = ()

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(height, width, channels)."""
        height, width, channels = self.train_images.shape[1:]
        return height, width, channels

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)


def load_digits(test_share: float = 0.2, seed: int = 0) -> ImageData:
    """Return scikit-learn's embedded digits: 1,797 images of 8x8 pixels, 10 classes, split evenly over the classes.

    Args:
        test_share: Share of the images that become the test set, in (0, 1).
        seed: Seed of the split.

    Example:
        >>> load_digits().image_shape
        (8, 8, 1)
    """
    _check_share("load_digits", "test_share", test_share)
    digits = datasets.load_digits()
    images = np.round(digits.images[..., np.newaxis] * (255 / 16)).astype(np.uint8)
    labels = digits.target.astype(np.int64)
    train, test = train_test_split(np.arange(len(labels)), test_size=test_share, random_state=seed, stratify=labels)
    names = tuple(str(name) for name in digits.target_names)
    return ImageData(images[train], labels[train], images[test], labels[test], names)


def load_folder(
    directory: str | os.PathLike,
    image_size: int | None = None,
    color: str = "rgb",
    test_share: float = 0.2,
    seed: int = 0,
    subset: int | None = None,
    skip_corrupt: bool = False,
    max_bytes: int = 8 * 2**30,
) -> ImageData:
    """Read a folder of class folders of images.

    Args:
        directory: Holds `train/` and `test/` (or `val/`, `validation/`), each with one folder per class, or the class folders
            themselves, which are then split. Images are found at any depth below a class folder; hidden files are ignored.
        image_size: Side in pixels; images are cropped to their central square and scaled. Default their own size if all are
            equal squares of at most 64 pixels, else 64.
        color: "rgb" or "grayscale".
        test_share: Share of the test set where there is no test folder, in (0, 1).
        seed: Seed of the split and of `subset`.
        subset: Number of training images to use, drawn evenly over the classes. Default all.
        skip_corrupt: Whether images that cannot be read are left out, and named in `skipped`, instead of being an error.
        max_bytes: Most memory that the images may take.

    Raises:
        FileNotFoundError, NotADirectoryError: If there is no such folder.
        ValueError: If the folders are no class folders, a class is empty, train and test hold different classes, images cannot
            be read, `subset` is out of range, or the images would not fit into memory.
    """
    check_choice("load_folder", "color", color, ("rgb", "grayscale"))
    _check_share("load_folder", "test_share", test_share)
    if image_size is not None:
        check_number("load_folder", "image_size", image_size, minimum=1)
    directory = Path(directory)
    if not directory.exists():
        raise FileNotFoundError(
            f"load_folder: there is no folder {str(directory)!r}. Pass a folder of class folders of images."
        )
    if not directory.is_dir():
        raise NotADirectoryError(f"load_folder: expected a folder of class folders of images. Received: the file {directory}.")

    train, test, names = _find_files(directory, test_share, seed)
    if subset is not None:
        train = _take_subset(train, subset, len(names), seed)
    mode = "RGB" if color == "rgb" else "L"
    corrupt: dict[str, str] = {}
    side = image_size or _native_size(train + test, corrupt)
    needed = (len(train) + len(test)) * side * side * len(mode)
    if needed > max_bytes:
        raise ValueError(
            f"load_folder: {len(train) + len(test)} images of {side}x{side} pixels take {needed / 2**30:.1f} GiB of memory, at "
            f"most {max_bytes / 2**30:.1f} are allowed. Use a smaller image size (--image-size) or fewer images (--subset)."
        )
    train_images, train_labels = _decode(train, side, mode, corrupt)
    test_images, test_labels = _decode(test, side, mode, corrupt)
    if corrupt and not skip_corrupt:
        raise ValueError(
            f"load_folder: {len(corrupt)} of {len(train) + len(test)} images cannot be read: "
            f"{_listed([f'{path} ({reason})' for path, reason in corrupt.items()])}. Repair or remove them, or pass "
            "skip_corrupt=True (--skip-corrupt) to leave them out."
        )
    for part, labels in (("training", train_labels), ("test", test_labels)):
        missing = [names[index] for index in np.flatnonzero(np.bincount(labels, minlength=len(names)) == 0)]
        if missing:
            raise ValueError(
                f"load_folder: no readable {part} image is left of {_listed(missing)}. Add some, or remove the class."
            )
    return ImageData(train_images, train_labels, test_images, test_labels, names, tuple(corrupt))


_Files = list[tuple[Path, int]]  # (file, label)


def _find_files(directory: Path, test_share: float, seed: int) -> tuple[_Files, _Files, tuple[str, ...]]:
    test_folder = next((directory / name for name in _TEST_FOLDERS if (directory / name).is_dir()), None)
    if (directory / "train").is_dir() and test_folder is not None:
        names, train = _class_files(directory / "train")
        test_names, test = _class_files(test_folder)
        if names != test_names:
            raise ValueError(
                f"load_folder: train and {test_folder.name} must hold the same classes. Received: only in train: "
                f"{_listed(sorted(set(names) - set(test_names))) or 'none'}; only in {test_folder.name}: "
                f"{_listed(sorted(set(test_names) - set(names))) or 'none'}."
            )
        return train, test, names
    names, files = _class_files(directory)
    labels = [label for _, label in files]
    single = [names[index] for index in np.flatnonzero(np.bincount(labels) < 2)]
    if single or len(files) * min(test_share, 1 - test_share) < len(names):
        raise ValueError(
            f"load_folder: {len(files)} images of {len(names)} classes cannot be split, every class needs images in both parts"
            + (f"; only one image: {_listed(single)}" if single else "")
            + ". Add images, or make the folders train/ and test/ yourself."
        )
    train, test = train_test_split(files, test_size=test_share, random_state=seed, stratify=labels)
    return sorted(train), sorted(test), names


def _class_files(directory: Path) -> tuple[tuple[str, ...], _Files]:
    folders = sorted(path for path in directory.iterdir() if path.is_dir() and not path.name.startswith("."))
    if len(folders) < 2:
        raise ValueError(
            f"load_folder: expected at least 2 class folders in {directory}. Received: {len(folders)}. Put the images of each "
            "class into a folder of their own, as in cats/1.jpg and dogs/1.jpg."
        )
    files: _Files = []
    empty = []
    for label, folder in enumerate(folders):
        found = sorted(
            path
            for path in folder.rglob("*")
            if path.suffix.lower() in EXTENSIONS and not path.name.startswith(".") and path.is_file()
        )
        if not found:
            empty.append(folder.name)
        files.extend((path, label) for path in found)
    if empty:
        raise ValueError(
            f"load_folder: class folders without images in {directory}: {_listed(empty)}. Expected files ending with "
            f"{', '.join(EXTENSIONS)}. Add images, or remove these folders."
        )
    return tuple(folder.name for folder in folders), files


def _take_subset(files: _Files, subset: int, num_classes: int, seed: int) -> _Files:
    if not num_classes <= subset <= len(files):
        raise ValueError(
            f"load_folder: `subset` must lie between the number of classes, {num_classes}, and of training images, "
            f"{len(files)}. Received: subset={subset}."
        )
    order = np.random.default_rng(seed).permutation(len(files))
    # The first image of every class, then the second of every class, ...: even however many are taken.
    rank = np.zeros(len(files), int)
    seen = np.zeros(num_classes, int)
    for index in order:
        label = files[index][1]
        rank[index] = seen[label]
        seen[label] += 1
    chosen = order[np.argsort(rank[order], kind="stable")][:subset]
    return [files[index] for index in sorted(chosen)]


def _native_size(files: _Files, corrupt: dict[str, str]) -> int:
    sizes = set()
    for path, _ in files:
        try:
            with Image.open(path) as image:
                sizes.add(image.size)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            corrupt[str(path)] = _reason(path, error)
    if len(sizes) == 1:
        width, height = sizes.pop()
        if width == height <= _LARGEST_NATIVE:
            return width
    return _LARGEST_NATIVE


def _decode(files: _Files, side: int, mode: str, corrupt: dict[str, str]) -> tuple[np.ndarray, np.ndarray]:
    images = np.empty((len(files), side, side, len(mode)), np.uint8)
    labels = np.empty(len(files), np.int64)
    count = 0
    for path, label in files:
        if str(path) in corrupt:
            continue
        try:
            with Image.open(path) as image:
                image.load()  # a truncated file shows only here
                pixels = _prepare(image, side, mode)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:  # what Pillow raises for bad files
            corrupt[str(path)] = _reason(path, error)
            continue
        images[count], labels[count] = pixels, label
        count += 1
    return images[:count], labels[:count]


def _prepare(image: Image.Image, side: int, mode: str) -> np.ndarray:
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith(("I", "F")):
        # 16-bit pictures: Pillow would cut every value above 255 instead of scaling.
        values = np.asarray(image, np.float64)
        image = Image.fromarray((values / 257 if values.max() > 255 else values).round().astype(np.uint8))
    if "transparency" in image.info or image.mode in ("RGBA", "LA", "PA"):
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    image = ImageOps.fit(image.convert(mode), (side, side), Image.Resampling.BILINEAR)
    return np.asarray(image).reshape(side, side, len(mode))


def _reason(path: Path, error: Exception) -> str:
    return "empty file" if path.is_file() and path.stat().st_size == 0 else str(error).replace(str(path), "it") or "unreadable"


def _listed(items: Sequence[str]) -> str:
    more = len(items) - _NAMED
    return ", ".join(items[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def _check_share(where: str, name: str, share: float) -> None:
    check_number(where, name, share, exclusive=True)
    if share >= 1:
        raise ValueError(f"{where}: `{name}` must be below 1. Received: {name}={share!r}.")


def split_validation(
    images: np.ndarray, labels: np.ndarray, share: float, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Split off a validation set, evenly over the classes.

    Args:
        images: Shape (n, ...).
        labels: Shape (n,).
        share: Share of the validation set, in (0, 1); at least one image a class.
        seed: Seed of the split.

    Returns:
        Training images and labels, validation images and labels.

    Raises:
        ValueError: If a class has only one image, or all images would become validation images.
    """
    _check_share("split_validation", "share", share)
    counts = np.bincount(labels)
    classes = np.flatnonzero(counts)
    if counts[classes].min() < 2 or len(labels) < 2 * len(classes):
        raise ValueError(
            f"split_validation: every class needs at least 2 images. Received: {counts[classes].min()} of class "
            f"{classes[counts[classes].argmin()]}. Use more images (a larger --subset)."
        )
    size = min(max(round(share * len(labels)), len(classes)), len(labels) - len(classes))
    train, validation = train_test_split(np.arange(len(labels)), test_size=size, random_state=seed, stratify=labels)
    return images[train], labels[train], images[validation], labels[validation]


def training_dataset(
    images: np.ndarray,
    labels: np.ndarray,
    batch_size: int,
    seed: int = 0,
    augment: str = "none",
    num_classes: int | None = None,
) -> tf.data.Dataset:
    """Return batches of (float32 pixels 0 to 255, int64 labels), in another order every epoch.

    Args:
        images: uint8, shape (n, height, width, channels).
        labels: Shape (n,).
        batch_size: Images of a batch; the last one may be smaller.
        seed: Seed of the order and of the augmentation.
        augment: "none", "shift" (by up to an eighth of the side, at random) or "shift-flip" (also left to right, at random).
        num_classes: Number of classes, to check the labels against.
    """
    check_choice("training_dataset", "augment", augment, AUGMENTATIONS)
    dataset = _dataset("training_dataset", images, labels, num_classes)
    dataset = dataset.shuffle(len(images), seed=seed, reshuffle_each_iteration=True)
    if augment != "none":
        shift = (images.shape[1] // 8, images.shape[2] // 8)
        seeds = tf.data.Dataset.random(seed=seed, rerandomize_each_iteration=True).batch(2)
        dataset = tf.data.Dataset.zip((dataset, seeds)).map(
            lambda sample, draw: (_augment(sample[0], shift, augment == "shift-flip", draw), sample[1]),
            num_parallel_calls=tf.data.AUTOTUNE,
        )
        dataset = dataset.apply(tf.data.experimental.assert_cardinality(len(images)))
    return _batches(dataset, batch_size)


def evaluation_dataset(
    images: np.ndarray, labels: np.ndarray, batch_size: int, num_classes: int | None = None
) -> tf.data.Dataset:
    """Return batches of (float32 pixels 0 to 255, int64 labels), in order."""
    return _batches(_dataset("evaluation_dataset", images, labels, num_classes), batch_size)


def _dataset(where: str, images: np.ndarray, labels: np.ndarray, num_classes: int | None) -> tf.data.Dataset:
    if len(images) != len(labels) or not len(images):
        raise ValueError(f"{where}: one label an image is needed, at least one. Received: {len(images)} and {len(labels)}.")
    if num_classes is not None:
        check_labels(where, labels, num_classes)
    return tf.data.Dataset.from_tensor_slices((images, np.asarray(labels, np.int64)))


def _batches(dataset: tf.data.Dataset, batch_size: int) -> tf.data.Dataset:
    dataset = dataset.batch(batch_size)
    return dataset.map(lambda images, labels: (tf.cast(images, tf.float32), labels)).prefetch(tf.data.AUTOTUNE)


def _augment(image: tf.Tensor, shift: tuple[int, int], flip: bool, draw: tf.Tensor) -> tf.Tensor:
    padded = tf.pad(image, [(shift[0], shift[0]), (shift[1], shift[1]), (0, 0)], mode="REFLECT") if any(shift) else image
    cropped = tf.image.stateless_random_crop(padded, tf.shape(image), draw)
    if flip:
        cropped = tf.image.stateless_random_flip_left_right(cropped, draw + 1)
    return tf.ensure_shape(cropped, image.shape)
