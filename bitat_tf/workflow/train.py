"""The main job: a folder of images becomes a verified binary network."""

import json
import math
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from rich import get_console

from bitat_tf._files import save_model, write_text
from bitat_tf._keras import keras
from bitat_tf.applications import ReActNet
from bitat_tf.callbacks import SequentialBinarization, Timeline
from bitat_tf.data import ImageData, evaluation_dataset, load_digits, load_folder, split_validation, training_dataset
from bitat_tf.export import ExportReport, to_tflite
from bitat_tf.layers import binary_layers
from bitat_tf.post_training import binarize_post_training
from bitat_tf.workflow.config import DIGITS, TrainConfig
from bitat_tf.workflow.history import EpochLines, merge_logs, read_log
from bitat_tf.workflow.plots import plot_accuracy, plot_layer_errors, save_figure
from bitat_tf.workflow.report import layer_errors_of, markdown, results_table
from bitat_tf.workflow.run_folder import RunFolder

_EVALUATION_BATCH = 256


class TrainJob:
    """Trains a float network, binarizes it layer by layer, exports and verifies it, and writes the report.

    The constructor reads the data and checks everything that can be checked before training; it writes nothing.

    Args:
        config: The settings.

    Raises:
        ValueError: If the data or the settings are unusable.
        OSError: If the data cannot be read.
    """

    def __init__(self, config: TrainConfig):
        self.config = config
        self.schedule = config.schedule()
        keras.utils.set_random_seed(config.seed)
        self.images = _load(config)
        self.train_images, self.train_labels, self.val_images, self.val_labels = split_validation(
            self.images.train_images, self.images.train_labels, config.validation_share, config.seed
        )
        self.steps = math.ceil(len(self.train_images) / config.batch_size)
        blocks = config.network_blocks(self.images.image_shape)
        self.model = ReActNet(self.images.image_shape, self.images.num_classes, width=config.width, blocks=blocks)
        self.timeline: Timeline | None = None
        if not config.post_training:
            # Laid out now, so that a phase shorter than a step is found before the float network has been trained.
            self.timeline = self.schedule.timeline([layer.name for layer in binary_layers(self.model)], self.steps)

    def run(self, folder: RunFolder) -> dict[str, Any]:
        """Do the job in a run's folder, which was begun or resumed with the same settings.

        What is done already is taken from the folder: a finished float network, the last whole epoch of an interrupted one.

        Returns:
            The report, as `report.json` holds it.

        Raises:
            OSError: If a file cannot be written.
        """
        write_text(folder.labels, "".join(f"{name}\n" for name in self.images.class_names))
        float_accuracy = self._train_float(folder)
        binary_accuracy = self._binarize(folder)
        exported = to_tflite(self.model, folder.tflite, self.images.test_images.astype(np.float32), self.images.test_labels)
        report = self._report(float_accuracy, binary_accuracy, exported)
        self._write_results(folder, report)
        return report

    def _train_float(self, folder: RunFolder) -> float:
        config = self.config
        if not folder.float_model.exists():
            decay = keras.optimizers.schedules.PolynomialDecay(config.learning_rate, self.steps * config.epochs, 0.0)
            _compile(self.model, decay)
            self._fit(folder, "float", config.epochs, [])
            save_model(self.model, folder.float_model)
        self.model = keras.models.load_model(folder.float_model, compile=False)
        _compile(self.model, config.learning_rate)
        accuracy = self._test_accuracy()
        get_console().print(f"float network: test accuracy {accuracy:.2%}", highlight=False)
        return accuracy

    def _binarize(self, folder: RunFolder) -> float:
        chosen = np.random.default_rng(self.config.seed).permutation(len(self.train_images))[: self.config.calibration]
        calibration = self.train_images[chosen].astype(np.float32)
        if not folder.binary_model.exists():
            if self.config.post_training:
                self._binarize_post_training(folder, calibration)
            else:
                bitat = SequentialBinarization(calibration, self.schedule, seed=self.config.seed)
                self._fit(folder, "binary", bitat.total_epochs(self.model), [bitat])
            save_model(self.model, folder.binary_model)
        self.model = keras.models.load_model(folder.binary_model)
        return self._test_accuracy()

    def _binarize_post_training(self, folder: RunFolder, calibration: np.ndarray) -> None:
        started = time.monotonic()
        self.model = binarize_post_training(self.model, calibration, seed=self.config.seed)
        write_text(folder.log("binary"), f"epoch,seconds\n0,{time.monotonic() - started:.3f}\n")

    def _fit(self, folder: RunFolder, name: str, epochs: int, callbacks: list) -> None:
        config, log = self.config, folder.log(name)
        self.model.fit(
            training_dataset(self.train_images, self.train_labels, config.batch_size, config.seed, config.augment),
            validation_data=evaluation_dataset(self.val_images, self.val_labels, _EVALUATION_BATCH),
            epochs=epochs,
            verbose=0,
            callbacks=[
                *callbacks,  # first: what they put into `logs` is what the others write
                EpochLines(name),
                keras.callbacks.CSVLogger(str(log), append=True),
                keras.callbacks.BackupAndRestore(str(folder.checkpoints / name), delete_checkpoint=False),
            ],
        )

    def _test_accuracy(self) -> float:
        test = evaluation_dataset(self.images.test_images, self.images.test_labels, _EVALUATION_BATCH)
        return float(self.model.evaluate(test, verbose=0, return_dict=True)["accuracy"])

    def _report(self, float_accuracy: float, binary_accuracy: float, exported: ExportReport) -> dict[str, Any]:
        return {
            "data": self.config.data if self.config.data == DIGITS else Path(self.config.data).name,
            "classes": self.images.num_classes,
            "image_shape": list(self.images.image_shape),
            "train_images": len(self.train_images),
            "validation_images": len(self.val_images),
            "test_images": len(self.images.test_images),
            "skipped_images": list(self.images.skipped),
            "float_accuracy": float_accuracy,
            "binary_accuracy": binary_accuracy,
            "export": exported.to_dict(),
            "layers": layer_errors_of(self.model),
            "settings": self.config.to_dict(),
            "schedule": None if self.config.post_training else asdict(self.schedule),
        }

    def _write_results(self, folder: RunFolder, report: dict[str, Any]) -> None:
        logs = {name: folder.log(name) for name in ("float", "binary")}
        write_text(folder.history, merge_logs(logs))
        rows = [{"run": name, **row} for name, path in logs.items() for row in read_log(path)]
        report["seconds"] = {
            name: sum(float(row["seconds"]) for row in rows if row["run"] == name) for name in ("float", "binary")
        }
        save_figure(folder.accuracy_plot, lambda axes: plot_accuracy(axes, rows, self.timeline, self.steps), (9, 4.5))
        width = max(6.0, 2 + 0.35 * len(report["layers"]))
        save_figure(folder.error_plot, lambda axes: plot_layer_errors(axes, report["layers"]), (width, 4.5))
        write_text(folder.report_markdown, markdown(report))
        folder.finish(json.dumps(report, indent=2) + "\n")
        get_console().print(results_table(report))


def _load(config: TrainConfig) -> ImageData:
    if config.data == DIGITS:
        return load_digits(seed=config.seed)
    return load_folder(config.data, config.image_size, seed=config.seed, subset=config.subset, skip_corrupt=config.skip_corrupt)


def _compile(model: keras.Model, learning_rate) -> None:
    model.compile(
        keras.optimizers.Adam(learning_rate),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
