"""What is said of a model and its data before it is trained, which training will not mend; and of one that is not finished."""

import math
import warnings
from collections.abc import Mapping

import keras

from bitat_tf.calibration.statistics import has_statistics
from bitat_tf.callbacks.schedule import FINE_TUNING, JOINT, QUANTIZATION, Phase, Timeline
from bitat_tf.inspection import check
from bitat_tf.inspection.findings import describe
from bitat_tf.inspection.rules import CANNOT_ADAPT
from bitat_tf.layers import BinaryLayer

ENOUGH_STEPS = 20  # of a phase, about
_EPOCHS = {QUANTIZATION: "quantization_epochs", FINE_TUNING: "fine_tuning_epochs", JOINT: "joint_epochs"}
_FEW_SAMPLES = 8


class ShortPhaseWarning(UserWarning):
    """Phases of a schedule have so few steps that a layer cannot find its binary weights."""


def warn_of_problems(model: keras.Model, layers: Mapping[str, BinaryLayer]) -> None:
    """Warn of layers that cannot be binary on the device, of layers that cannot adapt, and of those without statistics.

    Args:
        model: The model that is to be trained.
        layers: Its binary layers, by name.
    """
    report = check(model)
    more = "bitat_tf.check(model) lists everything."
    if not report.ok:
        warnings.warn(
            "SequentialBinarization: some layers will not be binary in the exported file, or will compute something else. "
            f"{describe(report.errors)} {more}",
            stacklevel=3,
        )
    held = describe(finding for finding in report.findings if finding.rule in CANNOT_ADAPT)
    if held:
        warnings.warn(
            f"SequentialBinarization: some layers cannot adapt to binary ones, which costs most of the accuracy. {held} {more}",
            stacklevel=3,
        )
    grouped = [name for name, layer in layers.items() if not has_statistics(layer)]
    if grouped:
        warnings.warn(
            f"SequentialBinarization: grouped convolutions have no single covariance; {', '.join(grouped)} become binary "
            "without the disentangled loss, by straight-through gradients alone. Use groups=1 where it matters.",
            stacklevel=3,
        )


def warn_of_few_samples(samples: int) -> None:
    """Warn where there are hardly any calibration inputs.

    Args:
        samples: Their number.
    """
    if samples < _FEW_SAMPLES:
        warnings.warn(
            f"SequentialBinarization: statistics of few samples say little. Received: {samples} calibration inputs. Pass "
            "a few hundred training inputs, of all classes, as in `x_train[:512]`.",
            stacklevel=4,
        )


def shortest_phase(timeline: Timeline) -> Phase | None:
    """Return the shortest phase of a schedule if it has too few steps; else None."""
    shortest = min(timeline.phases, key=lambda phase: phase.stop - phase.start)
    return shortest if shortest.stop - shortest.start < ENOUGH_STEPS else None


def warn_of_short_phases(timeline: Timeline, steps_per_epoch: int) -> None:
    """Warn where phases have too few steps.

    Args:
        timeline: The phases.
        steps_per_epoch: Training steps of an epoch.
    """
    phase = shortest_phase(timeline)
    if phase is not None:
        # The epochs of all phases that are too short, so that one change does.
        short = {_EPOCHS[one.kind]: None for one in timeline.phases if one.stop - one.start < ENOUGH_STEPS}
        epochs = math.ceil(10 * ENOUGH_STEPS / steps_per_epoch) / 10
        warnings.warn(
            f"SequentialBinarization: in less than about {ENOUGH_STEPS} steps a layer may not find its binary weights, which "
            f"costs accuracy. Received: {phase.kind} phases of {phase.stop - phase.start} of the {steps_per_epoch} steps of an "
            f"epoch. Use a smaller batch, or Schedule({', '.join(f'{name}={epochs}' for name in short)}).",
            ShortPhaseWarning,
            stacklevel=4,
        )


def warn_of_unfinished(layers: Mapping[str, BinaryLayer]) -> None:
    """Warn of layers that are not binary after the last epoch.

    Args:
        layers: The layers of the schedule, by name.
    """
    left = [name for name, layer in layers.items() if layer.state != "binary"]
    if left:
        warnings.warn(
            f"SequentialBinarization: fit ended before the schedule did: {len(left)} of {len(layers)} layers are not "
            f"binary: {', '.join(left[:5])}{', ...' if len(left) > 5 else ''}. An EarlyStopping callback, "
            "restore_best_weights or steps_per_execution longer than a phase are the usual causes. Save the model and "
            "continue with `initial_epoch`, or train it to the end.",
            stacklevel=3,
        )
