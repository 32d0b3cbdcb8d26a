"""One run of the comparison of accuracies: its settings, its data, its float network, its training."""

import hashlib
import json
import re
import time
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import keras
import numpy as np

import bitat_tf
from bitat_tf._files import save_model, write_text
from bitat_tf.analysis import FloatReference, GapMonitor
from bitat_tf.callbacks import Schedule, SequentialBinarization
from bitat_tf.data import ImageData, evaluation_dataset, split_validation, training_dataset
from bitat_tf.distillation import Distiller
from bitat_tf.workflow.images import calibration_images

_EVALUATION_BATCH = 500


@dataclass(frozen=True)
class Setting:
    """What all runs of a comparison share; results of different settings are never mixed.

    Attributes:
        data: Name of the data: "digits", or that of the folder.
        digest: SHA-256 of the pictures and labels as they are loaded, its first 12 digits.
        image_size: Side of the pictures; None for their own.
        subset: Training images, those for validation included; None for all.
        validation_share: Share of them that choices are made on.
        augment: As in `bitat_tf.data.training_dataset`.
        width: Multiplier of the network's filters.
        stem_stride: Stride of the first convolution; None for the default of the pictures' size.
        blocks: (filters, stride) of the blocks of the ReActNet, two binary layers each.
        batch_size: Images of a step.
        float_epochs: Epochs of the float network.
        float_learning_rate: Of Adam, at the start of the float training; decays linearly to 0.
        calibration: Training images for statistics.
    """

    data: str
    digest: str
    image_size: int | None
    subset: int | None
    validation_share: float
    augment: str
    width: float
    stem_stride: int | None
    blocks: tuple[tuple[int, int], ...]
    batch_size: int
    float_epochs: int
    float_learning_rate: float
    calibration: int

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as JSON gives them back."""
        return {**asdict(self), "blocks": [list(block) for block in self.blocks]}


def digest_of(images: ImageData) -> str:
    """Return what tells pictures and labels from others."""
    return _digest([images.train_images, images.train_labels, images.test_images, images.test_labels])


def _digest(arrays: list[np.ndarray]) -> str:
    """Return the first 12 digits of the SHA-256 of arrays."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array))
    return digest.hexdigest()[:12]


def parse_blocks(text: str) -> tuple[tuple[int, int], ...]:
    """Return (filters, stride) of blocks written as "64/2,128": filters, and a stride where it is not 1.

    Raises:
        ValueError: If the text is of another form.
    """
    blocks = []
    for part in text.split(","):
        found = re.fullmatch(r"\s*(\d+)(?:/([12]))?\s*", part)
        if not found:
            raise ValueError(f"accuracy: blocks are written as '64/2,128': filters and stride. Received: {text!r}.")
        blocks.append((int(found[1]), int(found[2] or 1)))
    return tuple(blocks)


class Run:
    """Everything that the recipes share for one seed: data, float network, fit with the same order and augmentation.

    Args:
        setting: What all runs share.
        images: The pictures; the subset is the same for every seed.
        seed: Seed of the split, the float network, the order of the images and their augmentation.
        epochs: Epochs of the binarization.
        learning_rate: Of Adam, at the start of the binarization; decays linearly to 0.
        work: Folder in which float networks are kept.
    """

    def __init__(self, setting: Setting, images: ImageData, seed: int, epochs: int, learning_rate: float, work: Path):
        self.setting, self.images, self.seed = setting, images, seed
        self.epochs, self.learning_rate = epochs, learning_rate
        self._work = work

    @cached_property
    def _split(self) -> tuple[np.ndarray, ...]:
        images = self.images
        return split_validation(images.train_images, images.train_labels, self.setting.validation_share, self.seed)

    @property
    def calibration(self) -> np.ndarray:
        """Training pictures for statistics."""
        return self.training_pictures(self.setting.calibration)

    def training_pictures(self, count: int) -> np.ndarray:
        """Return training pictures, drawn without order."""
        return calibration_images(self._split[0], count, self.seed)

    @property
    def _float_path(self) -> Path:
        own = {name: value for name, value in self.setting.to_dict().items() if name != "calibration"}
        name = hashlib.sha256(json.dumps(own, sort_keys=True).encode()).hexdigest()[:12]
        return self._work / f"{self.setting.data}-{name}-{self.seed}.keras"

    @property
    def has_float(self) -> bool:
        """Whether the float network is trained."""
        return self._float_path.exists()

    def train_float(self) -> tuple[keras.Model, dict[str, Any]]:
        """Return the float network with its curves: the one that is kept, or a new one that is kept from now on."""
        setting, curves_path = self.setting, self._float_path.with_suffix(".json")
        if self.has_float:
            return self.float_network(), json.loads(curves_path.read_text())
        keras.utils.set_random_seed(self.seed)
        model = bitat_tf.applications.ReActNet(
            self.images.image_shape,
            self.images.num_classes,
            width=setting.width,
            blocks=setting.blocks,
            stem_stride=setting.stem_stride,
        )
        curves = self.fit(model, setting.float_epochs, learning_rate=setting.float_learning_rate)
        self._work.mkdir(parents=True, exist_ok=True)
        write_text(curves_path, json.dumps(curves))
        save_model(model, self._float_path)
        return model, curves

    def float_network(self) -> keras.Model:
        """Return a new copy of the float network."""
        return keras.models.load_model(self._float_path, compile=False)

    @cached_property
    def float_digest(self) -> str:
        """What tells the float network, which is trained by now, from others: SHA-256 of its weights, the first 12 digits."""
        return _digest(self.float_network().get_weights())

    def training_data(self):
        """Return the batches; every call begins the same order and augmentation anew."""
        setting = self.setting
        return training_dataset(self._split[0], self._split[1], setting.batch_size, self.seed, setting.augment)

    def fit(
        self,
        model: keras.Model,
        epochs: int,
        callbacks: list | None = None,
        teacher: keras.Model | None = None,
        data: Any = None,
        learning_rate: float | None = None,
        schedules_itself: bool = False,
    ) -> dict[str, Any]:
        """Train a model and return its curves and times.

        Args:
            model: The model; compiled anew.
            epochs: Epochs; the learning rate decays linearly over them.
            callbacks: Callbacks of the recipe; what they put into `logs` becomes part of the curves.
            teacher: Float network whose outputs take the place of the labels; None for the labels.
            data: Batches to go on with; None begins them anew.
            learning_rate: At the start; None for that of the run.
            schedules_itself: Whether a callback sets the learning rate.
        """
        data = self.training_data() if data is None else data
        rate: Any = self.learning_rate if learning_rate is None else learning_rate
        if not schedules_itself:
            rate = keras.optimizers.schedules.PolynomialDecay(rate, epochs * len(data), 0.0)
        trained = model if teacher is None else Distiller(model, teacher)
        trained.compile(
            keras.optimizers.Adam(rate), keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"]
        )
        watch = Stopwatch()
        validation = evaluation_dataset(self._split[2], self._split[3], _EVALUATION_BATCH)
        history = trained.fit(data, validation_data=validation, epochs=epochs, callbacks=callbacks, verbose=0)
        curves = {name: [float(value) for value in values] for name, values in history.history.items()}
        return {**watch.times(), "curves": curves}

    def sequential(
        self, model: keras.Model, schedule: Schedule, teacher: keras.Model | None = None, **arguments: Any
    ) -> dict[str, Any]:
        """Make a model binary layer by layer and return its curves; `arguments` are those of `SequentialBinarization`."""
        bitat = SequentialBinarization(self.calibration, schedule, verbose=0, seed=self.seed, **arguments)
        return self.fit(model, bitat.total_epochs(model), [bitat, self.error_curve], teacher, schedules_itself=True)

    @cached_property
    def reference(self) -> FloatReference:
        """The float network, measured: what the errors of all recipes are against."""
        return FloatReference(self.float_network(), self.calibration)

    @property
    def error_curve(self) -> GapMonitor:
        """A callback that logs these errors, as in Fig. 8."""
        return GapMonitor(self.reference)

    def accuracies(self, model: keras.Model) -> dict[str, float]:
        """Return top-1 on the validation and on the test images."""
        images = self.images
        parts = {"val": self._split[2:], "test": (images.test_images, images.test_labels)}
        found = {}
        for name, (pictures, labels) in parts.items():
            outputs = model.predict(evaluation_dataset(pictures, labels, _EVALUATION_BATCH), verbose=0)
            found[f"{name}_accuracy"] = float(np.mean(outputs.argmax(axis=-1) == labels))
        return found


class Stopwatch:
    """Wall time and processor time since it was made; the latter is hardly longer when another program runs beside it."""

    def __init__(self):
        self._started = time.monotonic(), time.process_time()

    def times(self) -> dict[str, float]:
        """Return `seconds` and `cpu_seconds`."""
        wall, processor = self._started
        return {"seconds": time.monotonic() - wall, "cpu_seconds": time.process_time() - processor}
