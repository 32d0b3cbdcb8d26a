"""The line that a run begins with: what it was given, and how much there is to do."""

import numpy as np

from bitat_tf.data import ImageData

_NAMED_CLASSES = 6


def opening_line(images: ImageData, float_steps: int, binary_steps: int, squares: str = "") -> str:
    """Return one line: pictures of each class, files that were skipped, the size of the pictures, training steps.

    Args:
        images: The images of the run.
        float_steps: Training steps of the float network; 0 if it comes trained.
        binary_steps: Training steps of the binarization; 0 if it takes none.
        squares: How the pictures became square.

    Examples:
        >>> print(opening_line(bitat_tf.data.load_digits(), 1640, 820))
        10 classes of 174 to 183 pictures, 8x8x1; 2,460 training steps (1,640 float, 820 binary), time left with every epoch
    """
    counts = np.bincount(np.concatenate([images.train_labels, images.test_labels]), minlength=images.num_classes)
    skipped = f", {len(images.skipped)} skipped" if images.skipped else ""
    size = "x".join(map(str, images.image_shape)) + (f" ({squares})" if squares else "")
    return f"{_classes(images.class_names, counts)}{skipped}, {size}; {_steps(float_steps, binary_steps)}"


def _classes(names: tuple[str, ...], counts: np.ndarray) -> str:
    least, most = int(counts.min()), int(counts.max())
    if least == most:
        return f"{len(names)} classes of {least:,} pictures each"
    if len(names) > _NAMED_CLASSES:
        return f"{len(names)} classes of {least:,} to {most:,} pictures"
    return f"pictures: {', '.join(f'{count:,} {name}' for name, count in zip(names, counts, strict=True))}"


def _steps(float_steps: int, binary_steps: int) -> str:
    if not float_steps + binary_steps:
        return "no training"
    parts = [f"{steps:,} {kind}" for kind, steps in (("float", float_steps), ("binary", binary_steps)) if steps]
    steps = f"{float_steps + binary_steps:,} training steps ({', '.join(parts)})"
    return f"{steps}, time left with every epoch"
