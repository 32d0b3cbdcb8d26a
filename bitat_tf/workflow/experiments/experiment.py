"""What the experiments share: the data, and a float network that is trained once and kept."""

import math
from pathlib import Path
from typing import Any, Generic

import numpy as np
from rich import get_console

from bitat_tf._files import save_model
from bitat_tf._keras import keras
from bitat_tf.callbacks import Backup
from bitat_tf.data import evaluation_dataset, load_digits, load_folder, split_validation, training_dataset
from bitat_tf.workflow.experiments.folder import ExperimentFolder
from bitat_tf.workflow.experiments.settings import AnyExperimentSettings
from bitat_tf.workflow.history import EpochLines
from bitat_tf.workflow.images import calibration_images, load_images
from bitat_tf.workflow.load_model import load_model
from bitat_tf.workflow.model_format import check_classes, gives_probabilities, input_shape
from bitat_tf.workflow.settings import DIGITS

_EVALUATION_BATCH = 256
_VALIDATION_SHARE = 0.1


class Experiment(Generic[AnyExperimentSettings]):
    """Reads the data and checks everything that can be checked before training; the constructor writes nothing.

    Args:
        config: The settings.
        path: File of the float network, where there is one. Default: `config.model`; a resumed experiment has its own copy.

    Raises:
        ValueError: If the data, the network or the settings are unusable.
        OSError: If the data or the network cannot be read.
    """

    def __init__(self, config: AnyExperimentSettings, path: str | Path | None = None):
        self.config = config
        keras.utils.set_random_seed(config.seed)
        given = path or config.model or None
        self._given = None if given is None else load_model(given)
        if self._given is not None:
            shape = input_shape(self._given, config.command)
            self.images = load_images(config.command, config.data, shape, config.seed, config.subset, config.skip_corrupt)
            check_classes(self._given, self.images.class_names, config.command)
        elif config.data == DIGITS:
            self.images = load_digits(seed=config.seed)
        else:
            self.images = load_folder(
                config.data, config.image_size, seed=config.seed, subset=config.subset, skip_corrupt=config.skip_corrupt
            )
        self.train_images, self.train_labels, self.val_images, self.val_labels = split_validation(
            self.images.train_images, self.images.train_labels, _VALIDATION_SHARE, config.seed
        )
        self.steps = math.ceil(len(self.train_images) / config.batch_size)
        self.calibration = calibration_images(self.train_images, config.calibration, config.seed)
        self.check_float_network(self.build() if self._given is None else self._given)

    def build(self) -> keras.Model:
        """Return the float network, not trained."""
        raise NotImplementedError

    def compile(self, model: keras.Model) -> None:
        """Compile it for its float training."""
        raise NotImplementedError

    def check_float_network(self, model: keras.Model) -> None:
        """Raise ValueError unless the experiment can be done with a network."""

    def run(self, folder: ExperimentFolder) -> dict[str, Any]:
        """Do the experiment in a folder that was begun or resumed, and return what `report.json` holds."""
        raise NotImplementedError

    def float_network(self, folder: ExperimentFolder) -> keras.Model:
        """Return the float network: the one that was given, the one that is kept, or one that is trained and kept now."""
        if not folder.float_model.exists():
            model = self._given
            if model is None:
                keras.utils.set_random_seed(self.config.seed)
                model = self.build()
                self.compile(model)
                self.fit(model, folder, "float", self.config.epochs, self.config.seed, [])
            save_model(model, folder.float_model)
        return keras.models.load_model(folder.float_model, compile=False)

    def fit(
        self,
        model: keras.Model,
        folder: ExperimentFolder,
        name: str,
        epochs: int,
        seed: int,
        callbacks: list,
        initial_epoch: int = 0,
        backup: str | None = None,
    ) -> None:
        """Train a compiled model; a training that was stopped goes on where its backup is.

        Args:
            model: The model.
            folder: Where log and backup are.
            name: Of the log.
            epochs: Where it ends.
            seed: Of order and augmentation.
            callbacks: Those that come before the ones that write logs.
            initial_epoch: Where it begins.
            backup: Name of the backup where it is not that of the log: for the second training that a log holds.
        """
        config, log = self.config, folder.log(name)
        augment = "shift" if config.data == DIGITS else "shift-flip"
        iterations = model.optimizer.iterations
        model.fit(
            training_dataset(self.train_images, self.train_labels, config.batch_size, seed, augment, iterations=iterations),
            validation_data=evaluation_dataset(self.val_images, self.val_labels, _EVALUATION_BATCH),
            epochs=epochs,
            initial_epoch=initial_epoch,
            verbose=0,
            callbacks=[
                *callbacks,
                EpochLines(name),
                keras.callbacks.CSVLogger(str(log), append=True),
                Backup(folder.checkpoints / (backup or name), delete_checkpoint=False),
            ],
        )

    def loss(self, model: keras.Model) -> keras.losses.Loss:
        """Return the loss of the labels for a network of logits or of probabilities."""
        probabilities = gives_probabilities(model, model.predict(self.calibration[:_EVALUATION_BATCH], verbose=0))
        return keras.losses.SparseCategoricalCrossentropy(from_logits=not probabilities)

    def test_accuracy(self, model: keras.Model) -> float:
        """Return top-1 on all test images."""
        test = evaluation_dataset(self.images.test_images, self.images.test_labels, _EVALUATION_BATCH)
        return float(np.mean(model.predict(test, verbose=0).argmax(axis=-1) == self.images.test_labels))

    def say(self, text: str) -> None:
        """Print a line."""
        get_console().print(text, highlight=False, soft_wrap=True)

    def facts(self) -> dict[str, Any]:
        """Return what the report says of data and settings."""
        return {
            "data": self.config.data if self.config.data == DIGITS else Path(self.config.data).name,
            "classes": self.images.num_classes,
            "image_shape": list(self.images.image_shape),
            "train_images": len(self.train_images),
            "validation_images": len(self.val_images),
            "test_images": len(self.images.test_images),
            "settings": self.config.in_use,
        }
