"""What a run begins with: what it was given, how much there is to do, and what will be missing."""

import math

import numpy as np

from bitat_tf.callbacks import Timeline
from bitat_tf.callbacks.problems import ENOUGH_STEPS, shortest_phase
from bitat_tf.data import ImageData
from bitat_tf.tflite_file.engines import RUNTIME, available_engines, engine_obstacle
from bitat_tf.workflow.config import RunConfig

_NAMED_CLASSES = 6
_SMALL_BATCH = 8  # a batch normalization learns little of fewer


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


def few_steps(config: RunConfig, images: int, timeline: Timeline) -> str | None:
    """Return the warning of phases that have too few steps, with options that would do; None where there are none.

    Args:
        config: The settings.
        images: Number of training images.
        timeline: The phases of the binarization.

    Examples:
        >>> config = bitat_tf.workflow.TrainConfig(epochs_per_layer=1.0)
        >>> print(few_steps(config, 90, config.schedule().timeline(["conv"], 3)))
        in phases of 1 step (a layer has two) layers do not find their binary weights, which takes about 20, and accuracy may be
        lost. Pass --batch-size 8 --epochs-per-layer 3.4.
    """
    phase = shortest_phase(timeline)
    if phase is None:
        return None
    batch, steps = config.batch_size, phase.stop - phase.start
    while batch > _SMALL_BATCH and math.ceil(images / batch) * config.epochs_per_layer / 2 < ENOUGH_STEPS:
        batch = max(batch // 2, _SMALL_BATCH)
    needed = math.ceil(10 * ENOUGH_STEPS / math.ceil(images / batch)) / 10  # epochs of a phase
    options = [f"--batch-size {batch}"] if batch != config.batch_size else []
    options += [f"--epochs-per-layer {2 * needed:g}"] if config.epochs_per_layer < 2 * needed else []
    options += [f"--joint-epochs {needed:g}"] if 0 < config.joint_epochs < needed else []
    return (
        f"in phases of {steps} step{'s' if steps > 1 else ''} (a layer has two) layers do not find their binary weights, which "
        f"takes about {ENOUGH_STEPS}, and accuracy may be lost. Pass {' '.join(options)}."
    )


def missing_engine() -> str | None:
    """Return what is to be said where nothing is installed that runs the file at the end; None if something is."""
    if available_engines():
        return None
    return (
        f"the file at the end is run before it is written, which needs {RUNTIME}. It {engine_obstacle(RUNTIME)}. Do so while "
        "the training runs; otherwise the run stops after it, and --resume writes the file."
    )


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
