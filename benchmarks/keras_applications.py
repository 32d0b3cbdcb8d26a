"""What becomes of the networks of `keras.applications`: `python -m benchmarks.keras_applications` writes the table.

Each is built with random weights, random statistics of its batch normalizations and without the last softmax, which would hide
differences; goes through `binarize` (as it is, and with `depthwise="expand"`), `check` and the converter.
"""

import argparse
import sys
from collections import Counter
from importlib.metadata import version
from pathlib import Path

import keras
import numpy as np

import bitat_tf
from bitat_tf.export.lowering import convert, lower
from bitat_tf.layers import binary_layers
from bitat_tf.tflite_file import read_operators
from bitat_tf.tflite_file.content import serialize

NAMES = (
    "MobileNetV2",
    "ResNet50",
    "VGG16",
    "EfficientNetB0",
    "DenseNet121",
    "Xception",
    "InceptionV3",
    "NASNetMobile",
)
_COLUMNS = (
    "network",
    "convolutions and dense layers",
    "can become binary",
    "stay float",
    "outputs differ by",
    "binary layers / `LceBconv2d` in the file",
    'can become binary with `depthwise="expand"`',
    "outputs differ by ",
)


def build(name: str, size: int = 96, classes: int = 10) -> keras.Model:
    """Return a network of `keras.applications` with random weights and statistics."""
    size = 224 if name == "NASNetMobile" else size
    network = getattr(keras.applications, name)
    model = network(weights=None, input_shape=(size, size, 3), classes=classes, classifier_activation=None)
    generator = np.random.default_rng(0)
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            mean, variance = (
                generator.normal(0, 0.1, layer.moving_mean.shape),
                generator.uniform(0.5, 1.5, layer.moving_mean.shape),
            )
            layer.moving_mean.assign(mean)
            layer.moving_variance.assign(variance)
    return model


def relative_difference(model: keras.Model, other: keras.Model) -> float:
    """Return the largest difference of any output on random pictures, relative to the largest output."""
    x = np.random.default_rng(1).uniform(-1, 1, (2, *model.input_shape[1:])).astype(np.float32)
    expected, found = model(x, training=False).numpy(), other(x, training=False).numpy()
    return float(np.abs(expected - found).max() / np.abs(expected).max())


def outcome(name: str, size: int = 96) -> dict:
    """Return what `check`, `binarize` and the converter make of one network."""
    keras.backend.clear_session()
    model = build(name, size)
    plan = bitat_tf.plan_binarization(model)
    binary = bitat_tf.binarize(model, verbose=0)
    expanded = bitat_tf.binarize(model, depthwise="expand", verbose=0)
    found = {
        "network": name,
        "layers": len(bitat_tf.check(model).other_layers),
        "binary": len(plan.binary),
        "float": Counter(layer.kind for layer in plan.kept_float),
        "difference": relative_difference(model, binary),
        "expanded": len(binary_layers(expanded)),
        "expanded_difference": relative_difference(model, expanded),
    }
    del expanded
    for layer in binary_layers(binary):
        layer.set_binary()
    report = bitat_tf.check(binary)
    operators = Counter(operator.name for operator in read_operators(serialize(convert(lower(binary)))))
    return {**found, "errors": len(report.errors), "expected": len(report.binary_layers), "in_file": operators["LceBconv2d"]}


def row(found: dict) -> str:
    """Return a row of the table."""
    kept = ", ".join(f"{count} {kind}" for kind, count in found["float"].items())
    expanded: tuple = ("the same", "")
    if found["expanded"] > found["binary"]:
        expanded = found["expanded"], f"{found['expanded_difference']:.1g}"
    cells = (found["network"], found["layers"], found["binary"], kept, f"{found['difference']:.1g}")
    cells += (f"{found['expected']} / {found['in_file']}", *expanded)
    return f"| {' | '.join(map(str, cells))} |"


def page(results: list[dict]) -> str:
    """Return the page of the table."""
    packages = ", ".join(f"{package} {version(package)}" for package in ("keras", "tensorflow"))
    return "\n".join(
        [
            "# The networks of `keras.applications`",
            "What `bitat_tf.check`, `bitat_tf.binarize` and the converter make of them: pictures of 96x96 (NASNetMobile",
            "224x224), 10 classes, random weights. The difference is the largest one of any output, relative to the largest",
            "output, between the float network and its copy with binary layers in float state. First and last layers stay",
            "float by default. A shared layer counts once among those that become binary, and at every call among the kernels.",
            "",
            "    python -m benchmarks.keras_applications",
            "",
            f"| {' | '.join(_COLUMNS)} |",
            "|" + "---|" * len(_COLUMNS),
            *(row(found) for found in results),
            "",
            f"With {packages}. Accuracy is another matter: none of these networks was",
            "made for binary layers. Depthwise convolutions stay float, or become full ones with `depthwise='expand'`, at the",
            "price of many more weights; what a sign loses of a ReLU's output, `activation='rprelu'` and `shortcuts=True` can",
            "help to keep.",
            "",
        ]
    )


def main() -> None:
    """Run all networks and write `docs/keras_applications.md`."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.keras_applications", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=NAMES, default=NAMES, help="these networks alone; nothing is written")
    options = parser.parse_args()
    results = []
    for name in options.only:
        results.append(outcome(name))
        sys.stdout.write(row(results[-1]) + "\n")
        sys.stdout.flush()
    if tuple(options.only) == NAMES:
        (Path(__file__).parents[1] / "docs" / "keras_applications.md").write_text(page(results))


if __name__ == "__main__":
    main()
