"""Q_orig and Q_ours of ReActNet's way to a binary network and of BiTAT's (appendix 7.4, Fig. 8)."""

import json
from collections.abc import Callable
from typing import Any

import keras

from bitat_tf._console import say
from bitat_tf._files import save_model, write_text
from bitat_tf.analysis import FloatReference, GapMonitor, ResultTable, layer_agreement, q_ratio_curve, quantization_gap
from bitat_tf.applications import ReActNet
from bitat_tf.calibration.statistics import check_statistics_possible
from bitat_tf.callbacks import Schedule, SequentialBinarization
from bitat_tf.layers import binary_layers
from bitat_tf.workflow.experiments.experiment import Experiment
from bitat_tf.workflow.experiments.folder import ExperimentFolder
from bitat_tf.workflow.experiments.gap_report import (
    BITAT,
    REACTNET,
    draw_agreement,
    draw_curves,
    draw_gap,
    gap_markdown,
)
from bitat_tf.workflow.experiments.settings import GapSettings
from bitat_tf.workflow.history import read_log
from bitat_tf.workflow.plots import save_figure
from bitat_tf.workflow.train import network_blocks
from bitat_tf.workflow.training import accuracy_metric

_SECOND_HALF = 1000  # no fewer than the repetitions that are allowed, whose seeds follow one another


class GapExperiment(Experiment[GapSettings]):
    """Trains a float ReActNet, makes it binary in ReActNet's two steps and with BiTAT, and compares accuracy, Q_orig, Q_ours.

    Both start from the same float network and train for the same number of steps. Arguments and errors are those of
    `Experiment`.
    """

    _measured: FloatReference | None = None

    def build(self) -> keras.Model:
        """Return a ReActNet in float state."""
        blocks = network_blocks(self.images.image_shape, self.config.blocks)
        return ReActNet(self.images.image_shape, self.images.num_classes, width=self.config.width, blocks=blocks)

    def compile(self, model: keras.Model) -> None:
        """Compile for Adam with a linear decay."""
        self._compile(model, self.config.learning_rate, self.config.epochs)

    def check_float_network(self, model: keras.Model) -> None:
        """Raise ValueError unless a network has binary layers, all in float state, and the epochs suffice."""
        layers = binary_layers(model)
        if not layers or any(layer.state != "float" for layer in layers):
            raise ValueError(
                f"{self.config.command}: the float network must have binary layers of bitat_tf, in float state. Received: "
                f"{len(layers)} binary layers, {sum(layer.state != 'float' for layer in layers)} of them not float. Build it "
                "with bitat_tf.layers or bitat_tf.applications, or pass yours through bitat_tf.binarize, and save it."
            )
        cure = "Use groups=1, or leave these layers float: bitat_tf.binarize(model, skip=[...])."
        check_statistics_possible(self.config.command, layers, cure)
        SequentialBinarization(self.calibration, self._schedule(model)).total_epochs(model)
        self._schedule(model).timeline([layer.name for layer in layers], self.training.steps)

    def run(self, folder: ExperimentFolder) -> dict[str, Any]:
        """Do the experiment; each binary network is kept as soon as it is there."""
        accuracy = self.test_accuracy(self.float_network(folder))
        say(f"float network: test accuracy {accuracy:.2%}")
        rows: list[dict[str, Any]] = []
        for seed in self.config.seeds:
            for name, train in ((REACTNET, self._two_step), (BITAT, self._bitat)):
                part = folder.part(f"{name}_{seed}")
                if not part.exists():
                    write_text(part, json.dumps(self._result(folder, name, seed, train)))
                rows.append(json.loads(part.read_text()))
        self._write(folder, accuracy, rows)
        return json.loads(folder.report_json.read_text())

    def _result(self, folder: ExperimentFolder, name: str, seed: int, train: Callable) -> dict[str, Any]:
        keras.utils.set_random_seed(seed)
        log = f"{name}_{seed}"
        model = train(folder, log, seed)
        save_model(model, folder.parts / f"{log}.keras")
        gap = quantization_gap(self._reference(folder), {name: model})
        accuracy = self.test_accuracy(model)
        say(f"{name}, seed {seed}: test accuracy {accuracy:.2%}")
        curve = q_ratio_curve(read_log(folder.log(log)))
        return {"network": name, "seed": seed, "accuracy": accuracy, "gap": list(gap.rows), "curve": list(curve.rows)}

    def _two_step(self, folder: ExperimentFolder, log: str, seed: int) -> keras.Model:
        """ReActNet's training: binary inputs first, then binary weights as well, half of the epochs each."""
        model, epochs = self.float_network(folder), self.config.binarization_epochs
        monitor = GapMonitor(self._reference(folder))
        half = epochs // 2
        self._compile(model, self.config.binarization_learning_rate, half)
        for layer in binary_layers(model):
            layer.set_binary(input=True, kernel=False)
        self.training.fit(model, folder, log, half, [monitor], seed=seed)
        for layer in binary_layers(model):
            layer.set_binary()
        self._compile(model, self.config.binarization_learning_rate, epochs - half)
        # Another seed: the new optimizer counts from 0, and the order and augmentation of the first half would come again.
        self.training.fit(
            model,
            folder,
            log,
            epochs,
            [monitor],
            seed=seed + _SECOND_HALF,
            initial_epoch=half,
            backup=f"{log}_weights",
        )
        return model

    def _bitat(self, folder: ExperimentFolder, log: str, seed: int) -> keras.Model:
        model = self.float_network(folder)
        bitat = SequentialBinarization(self.calibration, self._schedule(model), seed=seed)
        model.compile(
            keras.optimizers.Adam(self.config.binarization_learning_rate), self.loss(model), metrics=[accuracy_metric()]
        )
        callbacks = [bitat, GapMonitor(self._reference(folder))]
        self.training.fit(model, folder, log, bitat.total_epochs(model), callbacks, seed=seed)
        return model

    def _agreement(self, folder: ExperimentFolder, part: str) -> list[dict[str, Any]]:
        model = keras.models.load_model(folder.parts / f"{part}.keras", compile=False)
        return list(layer_agreement(self.float_network(folder), model, self.calibration).rows)

    def _reference(self, folder: ExperimentFolder) -> FloatReference:
        if self._measured is None:
            self._measured = FloatReference(self.float_network(folder), self.calibration, self.config.seed)
        return self._measured

    def _schedule(self, model: keras.Model) -> Schedule:
        config = self.config
        epochs, rate = config.binarization_epochs, config.binarization_learning_rate
        phase = (1 - config.joint_share) * epochs / 2 / len(binary_layers(model))
        return Schedule(
            quantization_epochs=phase,
            fine_tuning_epochs=phase,
            joint_epochs=config.joint_share * epochs,
            retarget=not config.float_reference,
            strength=config.strength,
            quantization_learning_rate=rate,
            fine_tuning_learning_rate=rate,
            joint_learning_rate=rate,
        )

    def _compile(self, model: keras.Model, learning_rate: float, epochs: int) -> None:
        decay = keras.optimizers.schedules.PolynomialDecay(learning_rate, self.training.steps * epochs, 0.0)
        model.compile(keras.optimizers.Adam(decay), self.loss(model), metrics=[accuracy_metric()])

    def _write(self, folder: ExperimentFolder, float_accuracy: float, rows: list[dict[str, Any]]) -> None:
        table = ResultTable(
            tuple({"seed": row["seed"], "accuracy": row["accuracy"], **one} for row in rows for one in row["gap"])
        )
        table.to_csv(folder.table)
        save_figure(folder.figure, lambda axes: draw_gap(axes, table), (9, 4.5))
        save_figure(folder.curve, lambda axes: draw_curves(axes, rows), (7, 4.5))
        rows = [{**row, "agreement": self._agreement(folder, f"{row['network']}_{row['seed']}")} for row in rows]
        save_figure(folder.agreement, lambda axes: draw_agreement(axes, rows), (9, 4.5))
        report = {**self.facts(), "float_accuracy": float_accuracy, "results": rows}
        write_text(folder.report_markdown, gap_markdown(report, table))
        folder.finish(json.dumps(report, indent=2) + "\n")
