"""The job that all runs share: a float network, wherever it comes from, becomes a verified binary one."""

import json
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, Protocol

import keras
import numpy as np
from rich import get_console

from bitat_tf._console import say, warn
from bitat_tf._files import save_model, write_text
from bitat_tf._printable import printable, readable_values
from bitat_tf.callbacks import SequentialBinarization, StageSummaries, Timeline
from bitat_tf.callbacks.problems import ShortPhaseWarning
from bitat_tf.data import ImageData
from bitat_tf.deployment.engine_times import engine_times
from bitat_tf.distillation import Distiller
from bitat_tf.export import ExportReport, to_tflite
from bitat_tf.inspection import CheckReport, check
from bitat_tf.inspection.findings import describe
from bitat_tf.layers import binary_layers
from bitat_tf.post_training import binarize_post_training
from bitat_tf.workflow.config import RunConfig
from bitat_tf.workflow.history import merge_logs, read_rows
from bitat_tf.workflow.html_report import Evidence, html_report
from bitat_tf.workflow.images import calibration_images
from bitat_tf.workflow.opening import few_steps, missing_engine, opening_line
from bitat_tf.workflow.pixels import RAW
from bitat_tf.workflow.plots import error_plot_width, plot_accuracy, plot_layer_errors, save_figure
from bitat_tf.workflow.report import layer_errors_of, markdown, results_table
from bitat_tf.workflow.run_folder import RunFolder
from bitat_tf.workflow.training import Training, accuracy_metric


class FloatSource(Protocol):
    """Where the float network of a job comes from, and with it the size of the images.

    Attributes:
        from_logits: Whether the network gives logits; probabilities otherwise. Known after `build`.
    """

    from_logits: bool

    def load_images(self) -> ImageData:
        """Return the images, in the size and colors that the network takes."""

    def build(self, images: ImageData) -> keras.Model:
        """Return the network for these images: binary layers, in float state; nothing is trained or written."""

    def introduce(self, report: CheckReport, evaluate: Callable[[keras.Model], float]) -> None:
        """Say what is known before the job starts.

        Args:
            report: What `check` says of the network.
            evaluate: Returns a model's accuracy on the test images.
        """

    def facts(self) -> dict[str, Any]:
        """Return what the report says of the source, as plain values; after `introduce`."""


class Job:
    """Takes or trains a float network, binarizes it layer by layer, exports and verifies it, and writes the report.

    The constructor reads the data and checks everything that can be checked before training; it writes nothing.

    Args:
        config: The settings.
        source: Where the float network comes from.

    Raises:
        ValueError: If the data, the network or the settings are unusable.
        OSError: If the data cannot be read.
    """

    def __init__(self, config: RunConfig, source: FloatSource):
        self.config = config
        self.source = source
        self.schedule = config.schedule()
        keras.utils.set_random_seed(config.seed)
        self.images = source.load_images()
        self.training = Training(self.images, config.validation_share, config.batch_size, config.augment, config.seed)
        self.model = source.build(self.images)
        self.check_report = check(self.model)
        if not self.check_report.ok:
            raise ValueError(
                f"{config.command}: the network would not be binary on the device, or could not be exported. "
                f"{describe(self.check_report.errors)} Nothing was trained or written."
            )
        self.warnings = [*self.images.notes]
        self._outputs: dict[str, np.ndarray] = {}
        self.timeline: Timeline | None = None
        if not config.post_training:
            # Now, so that what the schedule refuses (layers of one name, a phase shorter than a step) is found before the float
            # network has been trained.
            SequentialBinarization(self.training.train_images, self.schedule).total_epochs(self.model)
            self.timeline = self.schedule.timeline([layer.name for layer in binary_layers(self.model)], self.training.steps)
            short = few_steps(config, len(self.training.train_images), self.timeline)
            self.warnings += [] if short is None else [short]

    def run(self, folder: RunFolder) -> dict[str, Any]:
        """Do the job in a run's folder, which was begun or resumed with the same settings.

        What is done already is taken from the folder: a finished float network, the last whole epoch of an interrupted one.

        Returns:
            The report, as `report.json` holds it.

        Raises:
            OSError: If a file cannot be written.
        """
        write_text(folder.labels, "".join(f"{printable(name)}\n" for name in self.images.class_names))
        binary_steps = 0 if self.timeline is None else self.timeline.total_steps
        say(opening_line(self.images, self.training.steps * self.config.epochs, binary_steps, self.config.squares))
        missing = missing_engine()
        for text in (*self.warnings, *([missing] if missing else [])):
            warn(text)
        self.source.introduce(self.check_report, self._test_accuracy)
        float_accuracy = self._train_float(folder)
        binary_accuracy = self._binarize(folder)
        test = self.images.test_images.astype(np.float32), self.images.test_labels
        exported = to_tflite(self.model, folder.tflite, *test, classes=self.images.class_names, pixels=RAW)
        report = self._report(float_accuracy, binary_accuracy, exported)
        self._write_results(folder, report)
        get_console().print(results_table(report))
        # Last: the results are safe, whatever native code does that runs the file again.
        times = engine_times(folder.tflite)
        report["times"] = times.to_dict()
        self._write_report(folder, report)
        get_console().print(f"{times}", highlight=False, soft_wrap=True, markup=False)
        return report

    def _train_float(self, folder: RunFolder) -> float:
        config = self.config
        if not folder.float_model.exists():
            if config.epochs:
                decay = keras.optimizers.schedules.PolynomialDecay(
                    config.learning_rate, self.training.steps * config.epochs, 0.0
                )
                self._compile(self.model, decay)
                self._fit(folder, "float", config.epochs, [], self.model)
            save_model(self.model, folder.float_model)
        self.model = keras.models.load_model(folder.float_model, compile=False)
        self._compile(self.model, config.binarization_learning_rate)
        accuracy = self._test_accuracy(self.model, "float")
        get_console().print(f"float network: test accuracy {accuracy:.2%}", highlight=False)
        return accuracy

    def _binarize(self, folder: RunFolder) -> float:
        calibration = calibration_images(self.training.train_images, self.config.calibration, self.config.seed)
        if not folder.binary_model.exists():
            if self.config.post_training:
                self._binarize_post_training(folder, calibration)
            else:
                bitat = SequentialBinarization(calibration, self.schedule, seed=self.config.seed)
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", ShortPhaseWarning)  # said at the start, with the options of the command
                    self._fit(folder, "binary", bitat.total_epochs(self.model), [bitat], self._with_teacher(folder))
            save_model(self.model, folder.binary_model)
        self.model = keras.models.load_model(folder.binary_model)
        return self._test_accuracy(self.model, "binary")

    def _binarize_post_training(self, folder: RunFolder, calibration: np.ndarray) -> None:
        started = time.monotonic()
        self.model = binarize_post_training(self.model, calibration, seed=self.config.seed)
        write_text(folder.log("binary"), f"epoch,seconds\n0,{time.monotonic() - started:.3f}\n")

    def _with_teacher(self, folder: RunFolder) -> keras.Model:
        """Return the network as it is trained: under its float teacher, if the settings say so."""
        if not self.config.distillation:
            return self.model
        teacher = keras.models.load_model(folder.float_model, compile=False)
        outputs = "logits" if self.source.from_logits else "probabilities"
        distiller = Distiller(self.model, teacher, self.config.distillation, outputs=outputs)
        self._compile(distiller, self.config.binarization_learning_rate)
        return distiller

    def _compile(self, model: keras.Model, learning_rate) -> None:
        model.compile(
            keras.optimizers.Adam(learning_rate),
            keras.losses.SparseCategoricalCrossentropy(from_logits=self.source.from_logits),
            metrics=[accuracy_metric()],
        )

    def _fit(self, folder: RunFolder, name: str, epochs: int, callbacks: list, model: keras.Model) -> None:
        writers = self._tensorboard(folder, name, callbacks)
        self.training.fit(model, folder, name, epochs, callbacks, writers)

    def _tensorboard(self, folder: RunFolder, name: str, sources: list) -> list:
        """Return the callbacks that write for TensorBoard, if the settings say so."""
        if not self.config.tensorboard:
            return []
        curves = keras.callbacks.TensorBoard(str(folder.tensorboard / name), write_graph=False)
        return [curves, StageSummaries(folder.tensorboard / name, sources)] if sources else [curves]

    def _test_accuracy(self, model: keras.Model, kept_as: str | None = None) -> float:
        """Return top-1 on the test images; the outputs are kept for the report under a name."""
        outputs = self.training.test_outputs(model)
        if kept_as:
            self._outputs[kept_as] = outputs
        return self.training.test_accuracy(outputs)

    def _report(self, float_accuracy: float, binary_accuracy: float, exported: ExportReport) -> dict[str, Any]:
        report = {
            **self.training.facts(self.config),
            "skipped_images": list(self.images.skipped),
            "warnings": self.warnings,
            "source": self.source.facts(),
            "outputs": "logits" if self.source.from_logits else "probabilities",
            "float_accuracy": float_accuracy,
            "binary_accuracy": binary_accuracy,
            "export": exported.to_dict(),
            "layers": layer_errors_of(self.model),
            "settings": self.config.to_dict(),
            "schedule": None if self.config.post_training else asdict(self.schedule),
        }
        return readable_values(report)

    def _write_results(self, folder: RunFolder, report: dict[str, Any]) -> None:
        logs = {name: folder.log(name) for name in ("float", "binary")}
        write_text(folder.history, merge_logs(logs))
        rows = read_rows(folder.history)
        report["seconds"] = {
            name: sum(float(row["seconds"]) for row in rows if row["run"] == name) for name in ("float", "binary")
        }
        report["curves"] = any(row.get("accuracy") for row in rows)  # none where nothing was trained
        if report["curves"]:
            save_figure(
                folder.accuracy_plot, lambda axes: plot_accuracy(axes, rows, self.timeline, self.training.steps), (9, 4.5)
            )
        layers = report["layers"]
        save_figure(folder.error_plot, lambda axes: plot_layer_errors(axes, layers), (error_plot_width(layers), 4.5))
        self._write_report(folder, report)

    def _write_report(self, folder: RunFolder, report: dict[str, Any]) -> None:
        write_text(folder.report_markdown, markdown(report))
        rows = read_rows(folder.history)
        evidence = Evidence(self.images, self._outputs, rows, self.timeline, self.training.steps)
        write_text(folder.report_html, html_report(report, evidence))
        folder.finish(json.dumps(report, indent=2) + "\n")
