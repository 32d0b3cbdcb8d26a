"""What is said of a model before it is trained: what training will not mend."""

import warnings
from collections.abc import Mapping

import keras

from bitat_tf.calibration.statistics import has_statistics
from bitat_tf.inspection import check
from bitat_tf.inspection.findings import describe
from bitat_tf.inspection.rules import CANNOT_ADAPT
from bitat_tf.layers import BinaryLayer


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
