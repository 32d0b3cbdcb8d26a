"""The job of an engineer who brings a trained float network: it becomes a verified binary one."""

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
from rich import get_console

from bitat_tf._console import show, warn
from bitat_tf._validation import check_finite
from bitat_tf.calibration.statistics import has_statistics
from bitat_tf.conversion import BinarizationPlan, binarize, plan_binarization
from bitat_tf.data import ImageData
from bitat_tf.inspection import CheckReport, rules
from bitat_tf.inspection.plan import Argument
from bitat_tf.layers import binary_layers
from bitat_tf.model_graph import CallGraph
from bitat_tf.workflow.binarize_config import BinarizeConfig
from bitat_tf.workflow.images import load_images
from bitat_tf.workflow.job import Job
from bitat_tf.workflow.loading import load_model
from bitat_tf.workflow.model_format import check_classes, gives_probabilities, input_shape
from bitat_tf.workflow.pixels import PIXELS, RAW, check_channels, taking_pixels

_SAMPLES = 256  # training images that the other scalings are tried on
_CLEARLY_BETTER = 0.1


class LoadedNetwork:
    """A trained network from a file, with binary layers in place of float ones; a `FloatSource`.

    Args:
        config: The settings.
        path: The file: the user's, or the copy in the run's folder.
        any_size: As in `load_model`.

    Raises:
        ValueError: If the file holds no model that can be used.
        OSError: If it cannot be read.
    """

    def __init__(self, config: BinarizeConfig, path: str | os.PathLike, any_size: bool = False):
        self._config = config
        self._trained = load_model(path, any_size)
        self._shape = input_shape(self._trained)
        check_channels(config.pixels, self._shape[-1])
        self._options: dict[str, Any] = {
            "skip": list(config.skip),
            "first_and_last": config.first_and_last,
            "shortcuts": config.shortcuts,
            "depthwise": config.depthwise,
        }
        self.plan = _with_options(plan_binarization(self._trained, **self._options))
        self.from_logits = True
        self._warnings = [*self.plan.notes]
        self._facts: dict[str, Any] = {}

    def load_images(self) -> ImageData:
        """Return the images in the size and colors that the model takes."""
        return load_images("binarize", self._config, self._shape)

    def build(self, images: ImageData) -> keras.Model:
        """Return the network with binary layers, in float state, which takes raw pixels."""
        config = self._config
        check_classes(self._trained, images.class_names)
        samples = images.train_images[:: -(-len(images.train_images) // _SAMPLES)]
        labels = images.train_labels[:: -(-len(images.train_images) // _SAMPLES)]
        outputs = {
            pixels: self._trained.predict(scaling(samples), verbose=0)
            for pixels, scaling in PIXELS.items()
            if scaling.channels in (None, self._shape[-1])
        }
        check_finite("binarize", "the outputs of the model", outputs[config.pixels])
        self.from_logits = not gives_probabilities(self._trained, outputs[config.pixels])
        self._warn_of_scaling({pixels: float(np.mean(o.argmax(axis=-1) == labels)) for pixels, o in outputs.items()})
        model = binarize(self._trained, activation=config.activation, verbose=0, **self._options)
        if config.post_training:
            _check_post_training(model)
        return taking_pixels(model, config.pixels)

    def introduce(self, report: CheckReport, evaluate: Callable[[keras.Model], float]) -> None:
        """Print what stays float, what `check` says, and how accurate the model is as it came."""
        # What the conversion leaves float, the plan lists with the reason; what it makes binary, this run trains.
        findings = tuple(finding for finding in report.findings if finding.rule != rules.NOT_YET_BINARY)
        report = replace(report, findings=findings)
        show(replace(self.plan, notes=()))  # which are among the warnings
        get_console().print(report.summary_line(), highlight=False)
        accuracy = evaluate(taking_pixels(self._trained, self._config.pixels))
        get_console().print(f"the model as it came: test accuracy {accuracy:.2%}", highlight=False)
        warnings = [*self._warnings]
        classes = self._trained.output_shape[-1]
        if accuracy < min(2 / classes, 1 / classes + 0.2):  # 2 of 2 classes would be all
            warnings.append(
                f"the model as it came has an accuracy of {accuracy:.1%} on the test images; chance is {1 / classes:.1%}. "
                f"Usual causes: --pixels (received {self._config.pixels}; what was it trained on?), or another order of the "
                "classes (here the alphabetical one of their folders, as in labels.txt)."
            )
        for text in warnings:
            warn(text)
        self._facts = {
            "kind": "model",
            "model": Path(self._config.model).name,
            "pixels": self._config.pixels,
            "accuracy": accuracy,
            "plan": self.plan.to_dicts(),
            "check": {"summary": report.summary_line(), **report.to_dict()},
            "warnings": warnings,
        }

    def facts(self) -> dict[str, Any]:
        """Return the model's name and accuracy, the plan, the check and the warnings."""
        return self._facts

    def _warn_of_scaling(self, accuracies: dict[str, float]) -> None:
        chosen, best = self._config.pixels, max(accuracies, key=lambda pixels: accuracies[pixels])
        if accuracies[best] > accuracies[chosen] + _CLEARLY_BETTER:
            self._warnings.append(
                f"--pixels {chosen}{' (the default)' if chosen == RAW else ''}: of {_SAMPLES} training images at most, the "
                f"model recognizes {accuracies[chosen]:.1%}, with --pixels {best} {accuracies[best]:.1%}. Was it trained so?"
            )


class BinarizeJob(Job):
    """Loads a trained float network, binarizes it, exports and verifies it, and writes the report.

    Args:
        config: The settings.
        path: The model's file. Default: `config.model`; a resumed run takes its own copy.
        any_size: As in `load_model`.

    Raises:
        ValueError: If the model, the data or the settings are unusable.
        OSError: If the model or the data cannot be read.
    """

    def __init__(self, config: BinarizeConfig, path: str | os.PathLike | None = None, any_size: bool = False):
        super().__init__(config, LoadedNetwork(config, config.model if path is None else path, any_size))


def _check_post_training(model: keras.Model) -> None:
    """Raise ValueError for layers that have no closed forms, before anything is trained."""
    # Layers of nested models may share a name without being one layer.
    layers, uses = binary_layers(model), Counter(id(call.layer) for call in CallGraph(model).calls)
    for names, what in (
        ([layer.name for layer in layers if not has_statistics(layer)], "with groups > 1"),
        ([layer.name for layer in layers if uses[id(layer)] > 1], "that are used several times"),
    ):
        if names:
            raise ValueError(
                "binarize: --post-training is for layers that are used once and whose outputs see all input channels. "
                f"Received: layers {what}: {', '.join(names)}. Leave --post-training out, or leave them float: "
                f"{' '.join(f'--skip {name}' for name in names)}."
            )


def _with_options(plan: BinarizationPlan) -> BinarizationPlan:
    """Return a plan whose cures name the options of the command instead of the arguments of `bitat_tf.binarize`."""
    layers = [layer if layer.argument is None else replace(layer, cure=_option(layer.argument)) for layer in plan.layers]
    return replace(plan, layers=tuple(layers))


def _option(argument: Argument) -> str:
    option = f"--{argument.name.replace('_', '-')}"
    return f"Pass {option if argument.value is True else f'{option} {argument.value}'} {argument.effect}."
