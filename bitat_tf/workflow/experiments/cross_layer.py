"""Noise along the principal directions of every layer's input (appendix 7.3, Fig. 3)."""

import json
from typing import Any

import keras
import numpy as np

from bitat_tf._console import say
from bitat_tf._files import write_text
from bitat_tf.analysis import ResultTable, confidence_bands, noise_sensitivity, plot_noise_sensitivity
from bitat_tf.analysis.checked import checked_noise_layers
from bitat_tf.analysis.kernel_layers import kernel_layers
from bitat_tf.applications import MobileNetV2
from bitat_tf.workflow.experiments.experiment import Experiment
from bitat_tf.workflow.experiments.folder import ExperimentFolder
from bitat_tf.workflow.experiments.settings import CrossLayerSettings, check_size_of_mobilenet
from bitat_tf.workflow.plots import save_figure
from bitat_tf.workflow.source_report import warning_lines
from bitat_tf.workflow.training import accuracy_metric

_MOMENTUM = 0.9  # Keras' 0.999 for this network averages over more steps than a short training has
_K = 5  # rows of w~, as in the paper


class CrossLayerExperiment(Experiment[CrossLayerSettings]):
    """Trains a MobileNetV2 with SGD and weight decay, then measures accuracy under noise: four curves, several seeds.

    Arguments and errors are those of `Experiment`.
    """

    def build(self) -> keras.Model:
        """Return a MobileNetV2.

        Raises:
            ValueError: If the pictures are too small for it.
        """
        check_size_of_mobilenet(self.config, *self.images.image_shape[:2])
        model = MobileNetV2(self.images.image_shape, self.images.num_classes, width=self.config.width)
        for layer in model.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.momentum = _MOMENTUM
        return model

    def check_float_network(self, model: keras.Model) -> None:
        """Raise ValueError unless a network has layers that take noise."""
        checked_noise_layers(self.config.command, model)

    def compile(self, model: keras.Model) -> None:
        """Compile for standard SGD with momentum and weight decay, the latter on kernels alone."""
        steps = self.training.steps * self.config.epochs
        warmup = min(self.training.steps, steps // 10)
        rate = keras.optimizers.schedules.CosineDecay(
            self.config.learning_rate / 100, steps - warmup, warmup_target=self.config.learning_rate, warmup_steps=warmup
        )
        optimizer = keras.optimizers.SGD(rate, momentum=0.9, nesterov=True, weight_decay=self.config.weight_decay)
        optimizer.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
        model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=[accuracy_metric()])

    def run(self, folder: ExperimentFolder) -> dict[str, Any]:
        """Do the experiment; each seed's curves are kept as soon as they are there."""
        config = self.config
        model = self.float_network(folder)
        accuracy = self.test_accuracy(model)
        say(f"float network: test accuracy {accuracy:.2%}")
        chosen = np.random.default_rng(config.seed).permutation(len(self.images.test_images))[: config.test_images]
        data = self.images.test_images[chosen].astype(np.float32), self.images.test_labels[chosen]
        rows: list[dict[str, Any]] = []
        for seed in config.seeds:
            part = folder.part(f"seed_{seed}")
            if not part.exists():
                found = noise_sensitivity(model, data, config.scales, k=_K, calibration=self.calibration, seeds=[seed])
                write_text(part, json.dumps(list(found.rows)))
            rows += json.loads(part.read_text())
            say(f"noise of seed {seed}: done")
        curves = ResultTable(tuple(rows))
        curves.to_csv(folder.table)
        save_figure(folder.figure, lambda axes: plot_noise_sensitivity(axes, curves), (7, 4.5))
        bands = confidence_bands(curves)
        report = {
            **self.facts(),
            "float_accuracy": accuracy,
            "noise_test_images": len(data[0]),
            "layers": len(kernel_layers(model)),
            "curves": list(bands.rows),
        }
        write_text(folder.report_markdown, _markdown(report))
        folder.finish(json.dumps(report, indent=2) + "\n")
        return report


def _markdown(report: dict[str, Any]) -> str:
    bands = ResultTable(tuple(report["curves"]))
    columns = [(rows, dependent) for dependent in bands.distinct("dependent") for rows in bands.distinct("rows")]
    lines = [
        f"# Noise along principal directions, on {report['data']}",
        "",
        *warning_lines(report),
        f"A float network of {report['float_accuracy']:.2%} on {report['test_images']} test images. Noise goes into {_K} rows "
        f"of w~ = V^T w of each of {report['layers']} layers; accuracy under noise is measured on "
        f"{report['noise_test_images']} test images, {_repetitions(report['settings']['repeats'])}.",
        "",
        "![accuracy against the scale of the noise](figure.png)",
        "",
        "| scale | " + " | ".join(f"{rows}, layer-{'' if dep else 'in'}dependent" for rows, dep in columns) + " |",
        "|---|" + "---|" * len(columns),
    ]
    for scale in bands.distinct("scale"):
        cells = []
        for rows, dependent in columns:
            row = bands.where(rows=rows, dependent=dependent, scale=scale).rows[0]
            interval = f" ± {100 * row['half_width']:.1f}" if row["seeds"] > 1 else ""
            cells.append(f"{100 * row['accuracy']:.1f}{interval}")
        lines.append(f"| {scale:g} | " + " | ".join(cells) + " |")
    lines += ["", "## Settings", *(f"- {name}: {value}" for name, value in report["settings"].items())]
    return "\n".join(lines) + "\n"


def _repetitions(seeds: int) -> str:
    return "one seed" if seeds == 1 else f"means over {seeds} seeds with 95 % intervals of the mean"
