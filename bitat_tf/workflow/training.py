"""Training and evaluation on the images of a run, as its commands and the experiments share them."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from bitat_tf.callbacks import Backup
from bitat_tf.data import ImageData, evaluation_dataset, split_validation, training_dataset
from bitat_tf.workflow.history import EpochLines
from bitat_tf.workflow.run_folder import RunFolder
from bitat_tf.workflow.settings import DIGITS, Pictures

EVALUATION_BATCH = 256


def accuracy_metric() -> keras.metrics.Metric:
    """Return the metric "accuracy" as an object: by its name Keras makes it in the first step, and traces that twice."""
    return keras.metrics.SparseCategoricalAccuracy("accuracy")


class Training:
    """The images of a run, with a share held out for validation.

    Args:
        images: The images.
        validation_share: Share of the training images that the curves are validated on.
        batch_size: Images of a training step.
        augment: What happens to training images at random, as in `bitat_tf.data.training_dataset`.
        seed: Seed of the split, and of order and augmentation where `fit` is not given another one.

    Attributes:
        train_images: What is left for training.
        steps: Training steps of an epoch.
    """

    def __init__(self, images: ImageData, validation_share: float, batch_size: int, augment: str, seed: int):
        self.images = images
        self._batch_size, self._augment, self._seed = batch_size, augment, seed
        self.train_images, self._train_labels, self._val_images, self._val_labels = split_validation(
            images.train_images, images.train_labels, validation_share, seed
        )
        self.steps = math.ceil(len(self.train_images) / batch_size)

    def fit(
        self,
        model: keras.Model,
        folder: RunFolder,
        name: str,
        epochs: int,
        callbacks: Sequence[keras.callbacks.Callback] = (),
        writers: Sequence[keras.callbacks.Callback] = (),
        seed: int | None = None,
        initial_epoch: int = 0,
        backup: str | None = None,
    ) -> None:
        """Train a compiled model; a training that was stopped goes on where its backup is.

        Args:
            model: The model.
            folder: Where log and backup are.
            name: Of the log.
            epochs: Where it ends.
            callbacks: Those that put something into `logs`, which the others write.
            writers: Further ones that write `logs`.
            seed: Of order and augmentation.
            initial_epoch: Where it begins.
            backup: Name of the backup where it is not that of the log: for the second training that a log holds.
        """
        if not model.optimizer.built:  # the first step would make its variables, for which TensorFlow traces a step twice
            model.optimizer.build(model.trainable_variables)
        model.fit(
            training_dataset(
                self.train_images,
                self._train_labels,
                self._batch_size,
                self._seed if seed is None else seed,
                self._augment,
                iterations=model.optimizer.iterations,
            ),
            validation_data=evaluation_dataset(self._val_images, self._val_labels, EVALUATION_BATCH),
            epochs=epochs,
            initial_epoch=initial_epoch,
            verbose=0,
            shuffle=False,  # by the dataset
            callbacks=[
                *callbacks,
                EpochLines(name),
                keras.callbacks.CSVLogger(str(folder.log(name)), append=True),
                *writers,
                Backup(folder.checkpoints / (backup or name), delete_checkpoint=False),
            ],
        )

    def test_outputs(self, model: keras.Model) -> np.ndarray:
        """Return a model's outputs for all test images, shape (n, classes)."""
        test = evaluation_dataset(self.images.test_images, self.images.test_labels, EVALUATION_BATCH)
        return model.predict(test, verbose=0)

    def test_accuracy(self, outputs: np.ndarray) -> float:
        """Return top-1 of outputs for all test images."""
        return float(np.mean(outputs.argmax(axis=-1) == self.images.test_labels))

    def facts(self, pictures: Pictures) -> dict[str, Any]:
        """Return what a report says of the images that were named."""
        return {
            "data": pictures.data if pictures.data == DIGITS else Path(pictures.data).name,
            "squares": pictures.squares,
            "classes": self.images.num_classes,
            "image_shape": list(self.images.image_shape),
            "train_images": len(self.train_images),
            "validation_images": len(self._val_images),
            "test_images": len(self.images.test_images),
        }
