"""The `tf.data` pipelines over images in memory."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from bitat_tf._pixels import AUGMENTATIONS
from bitat_tf._validation import check_choice
from bitat_tf.data._checks import check_integer, check_samples


def training_dataset(
    images: np.ndarray,
    labels: np.ndarray,
    batch_size: int,
    seed: int,
    augment: str = "none",
    num_classes: int | None = None,
    iterations: Any = None,
) -> tf.data.Dataset:
    """Return batches for training, in a new order each epoch.

    Order and augmentation of an epoch follow from `seed` and its number alone. With `iterations` the number is that of the
    training, which a backup restores: a run that was stopped goes on with the batches that it would have had.

    Args:
        images: Pixels 0..255, uint8, shape (n, height, width, channels).
        labels: Class indices, integers, shape (n,).
        batch_size: Samples of a batch; the last one of an epoch may be smaller.
        seed: Seed of order and augmentation.
        augment: "none"; "shift": each image is shifted by up to an eighth of its sides, with the pixels from
            beyond the edge filled in by reflection; "shift-flip": it is mirrored left to right with
            probability 1/2 as well (not for digits and letters).
        num_classes: If given, labels are checked to lie below it.
        iterations: Steps that were trained: `model.optimizer.iterations` of the compiled model that the dataset is for, on any
            backend of Keras; it is read when an epoch begins. An epoch must be the whole dataset: no `repeat`, no
            `steps_per_epoch`; and `compile` makes another optimizer, for which a new dataset is needed. None (default): the
            dataset counts how often it was iterated over.

    Returns:
        A dataset of (float32 pixels 0..255, int64 labels).

    Raises:
        TypeError: If `batch_size` or `seed` is no integer.
        ValueError: If images and labels do not fit each other, or are not of the form above.

    Examples:
        >>> model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10)])
        >>> model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        >>> digits = bitat_tf.data.load_digits()
        >>> data = bitat_tf.data.training_dataset(
        ...     digits.train_images, digits.train_labels, 32, seed=0, iterations=model.optimizer.iterations)
        >>> history = model.fit(data, epochs=2, verbose=0)
    """
    check_choice("training_dataset", "augment", augment, AUGMENTATIONS)
    images, labels = check_samples("training_dataset", images, labels, batch_size, num_classes)
    check_integer("training_dataset", "seed", seed, 0, 2**31 - 1)
    steps = -(-len(labels) // batch_size)
    fetch = _fetch_from(images, labels)

    def batches(epoch: tf.Tensor) -> tf.data.Dataset:
        key = tf.stack([tf.cast(seed, tf.int64), epoch])
        order = tf.random.experimental.stateless_shuffle(tf.range(len(labels), dtype=tf.int64), key)
        keys = tf.data.Dataset.range(steps).map(lambda batch: tf.random.experimental.stateless_fold_in(key, batch))
        return tf.data.Dataset.zip((tf.data.Dataset.from_tensor_slices(order).batch(batch_size), keys))

    def prepare(indices: tf.Tensor, key: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        pixels, classes = fetch(indices)
        return (pixels if augment == "none" else _shift_and_flip(pixels, key, flip=augment == "shift-flip")), classes

    prepared = _epoch_number(steps, iterations).flat_map(batches).map(prepare, num_parallel_calls=tf.data.AUTOTUNE)
    return prepared.apply(tf.data.experimental.assert_cardinality(steps)).prefetch(tf.data.AUTOTUNE)


def _epoch_number(steps: int, iterations: Any) -> tf.data.Dataset:
    """Return a dataset of one number: that of the epoch that begins when it is iterated over."""
    once = tf.data.Dataset.from_tensors(0)
    if iterations is None:
        with tf.device("CPU"), tf.init_scope():
            passes = tf.Variable(-1, dtype=tf.int64, trainable=False)
        return once.map(lambda _: passes.assign_add(1))
    variable = iterations.value if isinstance(iterations, keras.Variable) else iterations
    if isinstance(variable, tf.Variable):
        return once.map(lambda _: tf.cast(variable, tf.int64) // steps)

    steps_so_far = _StepsOfAnotherBackend(iterations)
    return once.map(lambda _: tf.ensure_shape(tf.numpy_function(steps_so_far.next_epoch, [steps], tf.int64), ()))


class _StepsOfAnotherBackend:
    """Reads the steps of a training on JAX or PyTorch, which TensorFlow cannot read in a graph.

    JAX's `fit` takes the value out of the variable before it asks for the first batch of an epoch. What was assigned last, by
    the epoch before or by a backup, is noted.

    Args:
        variable: The variable of Keras.
    """

    def __init__(self, variable: Any):
        self._variable = variable
        self._last = self._now() or 0
        assign = variable.assign

        def noting(value: Any) -> Any:
            result = assign(value)
            now = self._now()  # a traced step changes nothing yet
            self._last = self._last if now is None else now
            return result

        variable.assign = noting

    def _now(self) -> int | None:
        value = self._variable._value
        return None if value is None else int(keras.ops.convert_to_numpy(value))

    def next_epoch(self, steps: int) -> np.int64:
        """Return the number of the epoch that begins, of so many steps each."""
        now = self._now()
        return np.int64((self._last if now is None else now) // steps)


def evaluation_dataset(
    images: np.ndarray, labels: np.ndarray, batch_size: int, num_classes: int | None = None
) -> tf.data.Dataset:
    """Return batches in the order given; arguments and batches are those of `training_dataset`."""
    images, labels = check_samples("evaluation_dataset", images, labels, batch_size, num_classes)
    fetch = _fetch_from(images, labels)
    order = tf.data.Dataset.range(len(labels)).batch(batch_size)
    return order.map(fetch, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)


def _fetch_from(images: np.ndarray, labels: np.ndarray) -> Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]:
    # Indices are shuffled, not images: the buffer stays small, and pixels stay uint8 until they are used.
    with tf.device("CPU"):
        pixels, classes = tf.constant(images), tf.constant(labels, tf.int64)
    return lambda indices: (tf.cast(tf.gather(pixels, indices), tf.float32), tf.gather(classes, indices))


def _shift_and_flip(pixels: tf.Tensor, key: tf.Tensor, flip: bool) -> tf.Tensor:
    """Return each image shifted, and mirrored or not: both only choose rows and columns of its pixels."""
    count, (height, width) = tf.shape(pixels)[0], pixels.shape[1:3]

    def sources(side: int, stream: int) -> tf.Tensor:
        limit = side // 8
        shift = tf.random.stateless_uniform([count, 1], key + [0, stream], -limit, limit + 1, tf.int32)
        return (side - 1) - tf.abs((side - 1) - tf.abs(tf.range(side) + shift))

    rows, columns = sources(height, 0), sources(width, 1)
    if flip:
        mirrored = tf.random.stateless_uniform([count, 1], key + [0, 2]) < 0.5
        columns = tf.where(mirrored, width - 1 - columns, columns)
    return tf.gather(tf.gather(pixels, rows, axis=1, batch_dims=1), columns, axis=2, batch_dims=1)
