"""Images from a folder of class folders."""

import math
import os
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from bitat_tf._validation import check_choice
from bitat_tf.data._checks import check_integer, check_share, draw_share, listed
from bitat_tf.data.decoding import EXTENSIONS, ImageFiles, decode, native_size
from bitat_tf.data.images import ImageData

_HELD_OUT = ("test", "val", "validation")
_LAYOUT = (
    "Expected: one folder of images for each class, at least two, either in train/ and test/ "
    "(or val/, validation/) or directly in the directory"
)


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
    """Load images from folders named after their classes.

    Images are turned upright as their EXIF entry says, laid on white where they are transparent, cut to the
    central square and scaled (bilinear). Of an animation the first frame counts. Hidden files are ignored,
    folders within a class folder are searched as well.

    Args:
        directory: Holds `train/` and `test/` (or `val/`, `validation/`) with one folder for each class, or
            these class folders themselves, which are then split.
        image_size: Side in pixels that images are scaled to. None: their own, if all are squares of one size
            up to 64 pixels; 64 otherwise.
        color: "rgb" (3 channels) or "grayscale" (1 channel).
        test_share: Share of each class that becomes the test set, where there is no folder of test images.
        seed: Seed of the split and of the subset.
        subset: Number of training images to load, as evenly over the classes as these allow; None for all.
        skip_corrupt: Whether files that cannot be read are left out (and not replaced), instead of an error.
        max_bytes: Largest memory that the images may take.

    Returns:
        The images, in the order of their file names.

    Raises:
        OSError: If `directory` does not exist, is no directory, or is not readable.
        TypeError: If an argument has the wrong type.
        ValueError: If the folders do not form a data set, files are corrupt, or an argument is out of range.

    Examples:
        >>> load_folder("pictures", image_size=32).image_shape  # doctest: +SKIP
        (32, 32, 3)
    """
    check_choice("load_folder", "color", color, ("rgb", "grayscale"))
    check_share("load_folder", "test_share", test_share)
    check_integer("load_folder", "seed", seed, 0)
    check_integer("load_folder", "max_bytes", max_bytes, 1)
    for name, value in (("image_size", image_size), ("subset", subset)):
        if value is not None:
            check_integer("load_folder", name, value, 1)

    root = Path(directory)
    train, test, class_names = list_images(root, test_share, seed)
    if subset is not None:
        train = train.take(even_subset(train.labels, subset, len(class_names), seed))
    paths = [*train.paths, *test.paths]
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        size = image_size or native_size(paths)
        shape = (size, size, 3 if color == "rgb" else 1)
        _check_memory(len(paths), shape, max_bytes)
        train_images, train_labels, train_corrupt = decode(train, shape)
        test_images, test_labels, test_corrupt = decode(test, shape)
    corrupt = {path.relative_to(root).as_posix(): why for path, why in (train_corrupt | test_corrupt).items()}
    if corrupt and not skip_corrupt:
        named = "".join(f"\n  {path}: {why}" for path, why in list(corrupt.items())[:10])
        raise ValueError(
            f"load_folder: {len(corrupt)} of {len(paths)} images in {root} cannot be read. Repair or delete "
            "them, or leave them out with skip_corrupt=True (command line: --skip-corrupt). "
            f"The first {min(10, len(corrupt))}:{named}"
        )
    for part, labels in (("training", train_labels), ("test", test_labels)):
        lost = [name for index, name in enumerate(class_names) if index not in labels]
        if lost:
            raise ValueError(
                f"load_folder: all {part} images of {listed(lost)} are corrupt. "
                "Expected: at least one readable image of every class. Replace them, or remove the classes."
            )
    return ImageData(train_images, train_labels, test_images, test_labels, tuple(class_names), skipped=tuple(corrupt))


def list_images(root: Path, test_share: float, seed: int) -> tuple[ImageFiles, ImageFiles, list[str]]:
    """Return the training and test files below `root`, and the names of the classes."""
    if not root.exists():
        raise FileNotFoundError(f"load_folder: there is no directory {root}. Check the path. {_LAYOUT}.")
    if not root.is_dir():
        raise NotADirectoryError(f"load_folder: {root} is a file. {_LAYOUT}; unpack an archive first.")
    folders = {folder.name.lower(): folder for folder in _visible(root) if folder.is_dir()}
    held_out = [folders[name] for name in _HELD_OUT if name in folders]
    if "train" in folders and held_out:
        train_classes, test_classes = _class_folders(folders["train"]), _class_folders(held_out[0])
        names, others = ([folder.name for folder in each] for each in (train_classes, test_classes))
        if names != others:
            raise ValueError(
                f"load_folder: train and test must have the same classes. Received: only in "
                f"{folders['train']}: {listed(sorted(set(names) - set(others)))}; only in {held_out[0]}: "
                f"{listed(sorted(set(others) - set(names)))}. Rename or add the missing folders."
            )
        return _files_of(train_classes), _files_of(test_classes), names
    if "train" in folders:
        inside = _visible(folders["train"])
        if inside and all(entry.is_dir() for entry in inside):
            raise ValueError(
                f"load_folder: {root} holds train/ but none of test/, val/, validation/. Add "
                f"one, or load {folders['train']} itself, of which a share then becomes the test set."
            )
    classes = _class_folders(root)
    names = [folder.name for folder in classes]
    files = _files_of(classes)
    cure = f"Add images of these classes in {root}, remove the classes, or arrange all images in train/ and test/."
    test = draw_share("load_folder", files.labels, test_share, seed, names.__getitem__, cure)
    return files.take(np.flatnonzero(~test)), files.take(np.flatnonzero(test)), names


def _class_folders(directory: Path) -> list[Path]:
    folders = [entry for entry in _visible(directory) if entry.is_dir()]
    if len(folders) < 2:
        found = f"one class folder, {folders[0].name!r}," if folders else "no class folders"
        raise ValueError(f"load_folder: {found} in {directory}. {_LAYOUT}.")
    return folders


def _files_of(classes: Sequence[Path]) -> ImageFiles:
    found = [_images_below(folder) for folder in classes]
    empty = [str(folder) for folder, paths in zip(classes, found, strict=True) if not paths]
    if empty:
        raise ValueError(
            f"load_folder: no image in {listed(empty)}. Expected: in every class folder files that end "
            f"with {', '.join(EXTENSIONS)}. Add images, or remove the folders."
        )
    labels = np.repeat(np.arange(len(classes), dtype=np.int64), [len(paths) for paths in found])
    return ImageFiles([path for paths in found for path in paths], labels)


def _images_below(folder: Path) -> list[Path]:
    found = []
    for entry in _visible(folder):
        if entry.is_dir():
            found += [] if entry.is_symlink() else _images_below(entry)  # a link may lead in a circle
        elif entry.suffix.lower() in EXTENSIONS:
            found.append(entry)
    return found


def _visible(directory: Path) -> list[Path]:
    try:
        entries = [entry for entry in directory.iterdir() if not entry.name.startswith(".")]
    except PermissionError as error:
        raise PermissionError(
            f"load_folder: the directory {directory} is not readable ({error.strerror}). Give yourself the "
            "right to read and enter it and the folders below."
        ) from error
    return sorted(entries, key=lambda entry: entry.name)


def even_subset(labels: np.ndarray, subset: int, num_classes: int, seed: int) -> np.ndarray:
    """Return `subset` indices in order: one of every class, then a second of every class, and so on."""
    if not num_classes <= subset <= len(labels):
        raise ValueError(
            f"load_folder: `subset` must lie between the number of classes, {num_classes}, and that of "
            f"training images, {len(labels)}. Received: subset={subset}. Choose one between, or None for all."
        )
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(labels))
    turn = np.empty(len(labels), int)
    for label in range(num_classes):
        members = order[labels[order] == label]
        turn[members] = np.arange(len(members))
    first = generator.permutation(num_classes)  # who gives one more where it comes out uneven
    return np.sort(np.lexsort((first[labels], turn))[:subset])


def _check_memory(count: int, shape: tuple[int, int, int], max_bytes: int) -> None:
    needed = count * math.prod(shape)
    if needed > max_bytes:
        raise ValueError(
            f"load_folder: {count} images of shape {shape} take {needed / 2**30:.3g} GiB. "
            f"Received: max_bytes={max_bytes} ({max_bytes / 2**30:.3g} GiB). Pass a smaller `image_size` or "
            "a `subset` (command line: --image-size, --subset), or raise max_bytes if the memory is there."
        )
