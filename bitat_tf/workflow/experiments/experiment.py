"""What the experiments share: the data, and a float network that is trained once and kept."""

from pathlib import Path
from typing import Any, Generic

import keras

from bitat_tf._files import save_model
from bitat_tf._printable import readable_values
from bitat_tf.workflow.experiments.folder import ExperimentFolder
from bitat_tf.workflow.experiments.settings import AnyExperimentSettings
from bitat_tf.workflow.images import calibration_images, load_images, load_own_images
from bitat_tf.workflow.loading import load_model
from bitat_tf.workflow.model_format import check_classes, gives_probabilities, input_shape
from bitat_tf.workflow.settings import DIGITS
from bitat_tf.workflow.training import EVALUATION_BATCH, Training

_VALIDATION_SHARE = 0.1


class Experiment(Generic[AnyExperimentSettings]):
    """Reads the data and checks everything that can be checked before training; the constructor writes nothing.

    Args:
        config: The settings.
        path: File of the float network, where there is one. Default: `config.model`; a resumed experiment has its own copy.
        any_size: As in `load_model`.

    Raises:
        ValueError: If the data, the network or the settings are unusable.
        OSError: If the data or the network cannot be read.
    """

    def __init__(self, config: AnyExperimentSettings, path: str | Path | None = None, any_size: bool = False):
        self.config = config
        keras.utils.set_random_seed(config.seed)
        given = path or config.model or None
        self._given = None if given is None else load_model(given, any_size)
        if self._given is not None:
            shape = input_shape(self._given, config.command)
            self.images = load_images(config.command, config, shape)
            check_classes(self._given, self.images.class_names, config.command)
        else:
            self.images = load_own_images(config, config.image_size)
        augment = "shift" if config.data == DIGITS else "shift-flip"
        self.training = Training(self.images, _VALIDATION_SHARE, config.batch_size, augment, config.seed)
        self.calibration = calibration_images(self.training.train_images, config.calibration, config.seed)
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
                self.training.fit(model, folder, "float", self.config.epochs)
            save_model(model, folder.float_model)
        return keras.models.load_model(folder.float_model, compile=False)

    def loss(self, model: keras.Model) -> keras.losses.Loss:
        """Return the loss of the labels for a network of logits or of probabilities."""
        probabilities = gives_probabilities(model, model.predict(self.calibration[:EVALUATION_BATCH], verbose=0))
        return keras.losses.SparseCategoricalCrossentropy(from_logits=not probabilities)

    def test_accuracy(self, model: keras.Model) -> float:
        """Return top-1 on all test images."""
        return self.training.test_accuracy(self.training.test_outputs(model))

    def facts(self) -> dict[str, Any]:
        """Return what the report says of data and settings."""
        facts = {**self.training.facts(self.config), "warnings": list(self.images.notes), "settings": self.config.in_use}
        return readable_values(facts)
