"""Images in memory: what the loaders return, the embedded digits, and a validation split."""

from dataclasses import dataclass

import numpy as np
from sklearn import datasets
from sklearn.model_selection import train_test_split

from bitat_tf._tables import ShownAsTable
from bitat_tf.data._checks import check_integer, check_samples, check_share, draw_share


@dataclass(frozen=True, eq=False)
class ImageData(ShownAsTable):
    """Images and their classes, as training and test set.

    Attributes:
        train_images: Pixels 0..255, uint8, shape (n, height, width, channels).
        train_labels: Class indices, int64, shape (n,).
        test_images: As `train_images`.
        test_labels: As `train_labels`.
        class_names: The name of each class index.
        skipped: Files that were left out because they cannot be read, relative to the directory loaded.
        notes: What else was left out, in words.
        test_is_drawn: Whether the test images were drawn from all: a network that was trained elsewhere may have seen them.
    """

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    class_names: tuple[str, ...]
    skipped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    test_is_drawn: bool = False

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of every image."""
        height, width, channels = self.train_images.shape[1:]
        return height, width, channels

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)


def load_digits(test_share: float = 0.2, seed: int = 0) -> ImageData:
    """Return the 1797 handwritten digits embedded in scikit-learn: 8x8 pixels, gray, 10 classes.

    Args:
        test_share: Share of the images that becomes the test set, drawn evenly from all classes.
        seed: Seed of that draw.

    Returns:
        The digits, their 17 shades rescaled to 0..255.

    Raises:
        ValueError: If `test_share` or `seed` is out of range.

    Examples:
        >>> load_digits().image_shape
        (8, 8, 1)
    """
    check_share("load_digits", "test_share", test_share)
    check_integer("load_digits", "seed", seed, 0, 2**32 - 1)
    digits = datasets.load_digits()
    images = np.rint(digits.images * (255 / 16)).astype(np.uint8)[..., np.newaxis]
    labels = digits.target.astype(np.int64)
    train_images, test_images, train_labels, test_labels = train_test_split(
        images, labels, test_size=test_share, random_state=seed, stratify=labels
    )
    names = tuple(str(name) for name in digits.target_names)
    return ImageData(train_images, train_labels, test_images, test_labels, names, test_is_drawn=True)


def split_validation(
    images: np.ndarray, labels: np.ndarray, share: float, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Split off a share of every class for validation, of each class at least one sample.

    Args:
        images: The images, shape (n, ...).
        labels: Their class indices, shape (n,).
        share: Share of each class that becomes validation data, above 0 and up to 0.9.
        seed: Seed of the draw.

    Returns:
        Training images, training labels, validation images and validation labels, all in the order given.

    Raises:
        ValueError: If a class has fewer than 2 samples, or an argument is unusable.
    """
    images, labels = check_samples("split_validation", images, labels)
    check_share("split_validation", "share", share)
    check_integer("split_validation", "seed", seed, 0)
    cure = "Add samples of these classes (choose a larger `subset` if there is one), or remove the classes."
    held_out = draw_share("split_validation", labels, share, seed, str, cure)
    return images[~held_out], labels[~held_out], images[held_out], labels[held_out]
