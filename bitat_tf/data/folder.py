"""Images from a folder of class folders."""

import math
import os
import warnings
from pathlib import Path

import numpy as np
from PIL import Image

from bitat_tf._pixels import ASPECTS
from bitat_tf._printable import printable
from bitat_tf._validation import check_choice
from bitat_tf.data._checks import check_integer, listed
from bitat_tf.data.decoding import decode, native_size
from bitat_tf.data.images import ImageData
from bitat_tf.data.listing import FolderSplit, named, split_for


class FolderWarning(UserWarning):
    """Something in a folder of images is not as it should be."""


def load_folder(
    directory: str | os.PathLike,
    image_size: int | None = None,
    color: str = "rgb",
    test_share: float = 0.2,
    seed: int = 0,
    subset: int | None = None,
    skip_corrupt: bool = False,
    max_bytes: int = 8 * 2**30,
    test: str | os.PathLike | None = None,
    aspect: str = "crop",
) -> ImageData:
    """Load images from folders named after their classes.

    All that Pillow reads is an image, by the ending of its name or by its content, but EPS. Images are turned upright as their
    EXIF entry says, laid on white where they are transparent, made square and scaled (bilinear, over all pixels). Of an
    animation or several pages the first counts. Folders within a class folder are searched as well. What is no image, and
    neither hidden nor a text, is named in a warning, and so are test images that are training images as well.

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
        test: A folder with the test images in class folders; all of `directory`, or of its `train/`, is for training then.
        aspect: How images that are not square become so: "crop", the central square; "stretch", squashed, as Keras'
            `image_dataset_from_directory` does by default; "pad", with black beside them.

    Returns:
        The images, in the order of their file names; those of `split_folder`.

    Raises:
        OSError: If `directory` does not exist, is no directory, or is not readable.
        TypeError: If an argument has the wrong type.
        ValueError: If the folders do not form a data set, files are corrupt, or an argument is out of range.

    Examples:
        >>> load_folder("pictures", image_size=32).image_shape  # doctest: +SKIP
        (32, 32, 3)
    """
    check_choice("load_folder", "color", color, ("rgb", "grayscale"))
    check_choice("load_folder", "aspect", aspect, tuple(ASPECTS))
    check_integer("load_folder", "max_bytes", max_bytes, 1)
    for name, value in (("image_size", image_size), ("subset", subset)):
        if value is not None:
            check_integer("load_folder", name, value, 1)

    root = Path(directory)
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        split = split_for("load_folder", root, test_share, seed, test)
        train, class_names = split.train, split.class_names
        if subset is not None:
            train = train.take(even_subset(train.labels, subset, len(class_names), seed))
        paths = [*train.paths, *split.test.paths]
        size = image_size or native_size(paths)
        shape = (size, size, 3 if color == "rgb" else 1)
        _check_memory(len(paths), shape, max_bytes)
        train_images, train_labels, train_corrupt = decode(train, shape, aspect)
        test_images, test_labels, test_corrupt = decode(split.test, shape, aspect)
    corrupt = {_name(path, root): why for path, why in (train_corrupt | test_corrupt).items()}
    if corrupt and not skip_corrupt:
        first = "".join(f"\n  {path}: {why}" for path, why in list(corrupt.items())[:10])
        raise ValueError(
            f"load_folder: {len(corrupt)} of {len(paths)} images in {root} cannot be read. Repair or delete "
            "them, or leave them out with skip_corrupt=True (command line: --skip-corrupt). "
            f"The first {min(10, len(corrupt))}:{first}"
        )
    for part, labels in (("training", train_labels), ("test", test_labels)):
        lost = [name for index, name in enumerate(class_names) if index not in labels]
        if lost:
            raise ValueError(
                f"load_folder: all {part} images of {listed(lost)} are corrupt. "
                "Expected: at least one readable image of every class. Replace them, or remove the classes."
            )
    notes = _notes(split, root, train_images, test_images)
    for text in notes:
        warnings.warn(f"load_folder: {text}", FolderWarning, stacklevel=2)
    return ImageData(
        train_images,
        train_labels,
        test_images,
        test_labels,
        class_names,
        skipped=tuple(corrupt),
        notes=notes,
        test_is_drawn=split.drawn,
    )


def _name(path: Path, root: Path) -> str:
    return printable((path.relative_to(root) if path.is_relative_to(root) else path).as_posix())


def _notes(split: FolderSplit, root: Path, train_images: np.ndarray, test_images: np.ndarray) -> tuple[str, ...]:
    notes = []
    if split.left_out:
        notes.append(
            f"left out of {printable(str(root))}, as no images of its classes that Pillow reads: {named(split.left_out)}. "
            "Convert what should count to JPEG or PNG, or move it into a class folder."
        )
    seen = {hash(image.tobytes()) for image in train_images}
    repeated = sum(hash(image.tobytes()) in seen for image in test_images)
    if repeated:
        notes.append(
            f"{repeated} of {len(test_images)} test images are among the training images as well, pixel for pixel, and say "
            "nothing of pictures that are new to a network. Leave one of each."
        )
    return tuple(notes)


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
