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
from bitat_tf.callbacks import SequentialBinarization
from bitat_tf.data import ImageData, evaluation_dataset, load_digits, load_folder, split_validation, training_dataset
from bitat_tf.export import to_tflite
from bitat_tf.workflow.config import DIGITS, TrainConfig
from bitat_tf.workflow.history import EpochLines, merge_logs, read_log
from bitat_tf.workflow.plots import plot_accuracy, plot_layer_errors, save_figure
from bitat_tf.workflow.report import layer_errors_of, markdown, results_table
from bitat_tf.workflow.run_folder import RunFolder


def train(config: TrainConfig, folder: RunFolder) -> dict[str, Any]:
    """Train a float network, binarize it layer by layer, export and verify it, and write the report.

    What is done already is taken from the folder: a finished float network, and the last whole epoch of an interrupted one.

    Args:
        config: The settings.
        folder: The run's folder, begun or resumed with the same settings.

    Returns:
        The report, as `report.json` holds it.

    Raises:
        ValueError: If the data or the settings are unusable.
        OSError: If a file cannot be written.
    """
    schedule = config.schedule()
    keras.utils.set_random_seed(config.seed)
    images = _load(config)
    train_images, train_labels, val_images, val_labels = split_validation(
        images.train_images, images.train_labels, config.validation_share, config.seed
    )
    write_text(folder.labels, "".join(f"{name}\n" for name in images.class_names))
    console = get_console()
    seconds: dict[str, float] = {}

    def fit(model: keras.Model, name: str, epochs: int, callbacks: list) -> None:
        started = time.monotonic()
        # The callbacks given come first: what they put into `logs` is what the others write.
        model.fit(
            training_dataset(train_images, train_labels, config.batch_size, config.seed, config.augment),
            validation_data=evaluation_dataset(val_images, val_labels, 256),
            epochs=epochs,
            verbose=0,
            callbacks=[
                *callbacks,
                keras.callbacks.CSVLogger(str(folder.logs / f"{name}.csv"), append=True),
                EpochLines(name),
                keras.callbacks.BackupAndRestore(str(folder.checkpoints / name), delete_checkpoint=False),
            ],
        )
        seconds[name] = time.monotonic() - started

    def test_accuracy(model: keras.Model) -> float:
        test = evaluation_dataset(images.test_images, images.test_labels, 256)
        return float(model.evaluate(test, verbose=0, return_dict=True)["accuracy"])

    steps = math.ceil(len(train_images) / config.batch_size)
    if not folder.float_model.exists():
        model = ReActNet(
            images.image_shape, images.num_classes, width=config.width, blocks=config.network_blocks(images.image_shape)
        )
        decay = keras.optimizers.schedules.PolynomialDecay(config.learning_rate, steps * config.epochs, 0.0)
        _compile(model, decay)
        fit(model, "float", config.epochs, [])
        save_model(model, folder.float_model)
    model = keras.models.load_model(folder.float_model, compile=False)
    _compile(model, config.learning_rate)
    float_accuracy = test_accuracy(model)
    console.print(f"float network: test accuracy {float_accuracy:.2%}", highlight=False)

    calibration = np.random.default_rng(config.seed).permutation(len(train_images))[: config.calibration]
    bitat = SequentialBinarization(train_images[calibration].astype(np.float32), schedule, seed=config.seed)
    if not folder.binary_model.exists():
        fit(model, "binary", bitat.total_epochs(model), [bitat])
        save_model(model, folder.binary_model)
    model = keras.models.load_model(folder.binary_model)
    binary_accuracy = test_accuracy(model)

    started = time.monotonic()
    exported = to_tflite(model, folder.tflite, images.test_images.astype(np.float32), images.test_labels)
    seconds["export and verification"] = time.monotonic() - started

    report: dict[str, Any] = {
        "data": config.data if config.data == DIGITS else Path(config.data).name,
        "classes": images.num_classes,
        "image_shape": list(images.image_shape),
        "train_images": len(train_images),
        "validation_images": len(val_images),
        "test_images": len(images.test_images),
        "skipped_images": list(images.skipped),
        "float_accuracy": float_accuracy,
        "binary_accuracy": binary_accuracy,
        "export": exported.to_dict(),
        "layers": layer_errors_of(model),
        "settings": config.to_dict(),
        "schedule": asdict(schedule),
        "seconds": seconds,
    }
    timeline = schedule.timeline([row["layer"] for row in report["layers"]], steps)
    _write_results(folder, report, timeline, steps)
    return report


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


def _write_results(folder: RunFolder, report: dict[str, Any], timeline, steps_per_epoch: int) -> None:
    logs = {name: folder.logs / f"{name}.csv" for name in ("float", "binary")}
    write_text(folder.history, merge_logs(logs))
    rows = [{"run": name, **row} for name, path in logs.items() for row in read_log(path)]
    save_figure(folder.accuracy_plot, lambda axes: plot_accuracy(axes, rows, timeline, steps_per_epoch), (9, 4.5))
    width = max(6.0, 2 + 0.35 * len(report["layers"]))
    save_figure(folder.error_plot, lambda axes: plot_layer_errors(axes, report["layers"]), (width, 4.5))
    write_text(folder.report_markdown, markdown(report))
    write_text(folder.report_json, json.dumps(report, indent=2) + "\n")  # last: it says that the run is finished
    get_console().print(results_table(report))
