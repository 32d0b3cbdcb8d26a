"""What folding and int8 bring for ReActNet-A: `python -m benchmarks.deployment` writes `docs/deployment_figures.md`, `.json`.

Weights are random, statistics of batch normalization, thresholds, shifts and slopes too, so that nothing folds by being 0 or 1.
Sizes, operators and times do not depend on the values; accuracies are not measured here. All files are timed in one run.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from bitat_tf._keras import keras
from bitat_tf.applications import ReActNetA
from bitat_tf.applications.reactnet import REACTNET_A_BLOCKS, STEM_FILTERS
from bitat_tf.deployment import benchmark, float_twin, int8_twin
from bitat_tf.export import quantize_rest, to_tflite
from bitat_tf.layers import BinaryConv2D, RPReLU, binary_layers
from bitat_tf.tflite_file import inspect

_DOCS = Path(__file__).parents[1] / "docs"
_ELEMENTWISE = ("ADD", "SUB", "MUL", "PRELU", "RELU", "MINIMUM", "MAXIMUM", "ABS", "NEG")
L = keras.layers


def paired_reactnet_a(size: int, width: float, classes: int) -> keras.Model:
    """Return ReActNet-A as its authors built it: two parallel 1x1 convolutions where the filters double, 31 binary layers."""

    def unit(x, shortcut, name, filters, kernel, stride=1):
        y = BinaryConv2D(filters, kernel, stride, padding="same", use_bias=False, name=f"{name}_conv")(x)
        return L.Add(name=f"{name}_add")([shortcut, L.BatchNormalization(name=f"{name}_bn")(y)])

    filters = max(8, int(STEM_FILTERS * width))
    x = inputs = keras.Input((size, size, 3), name="image")
    x = L.Rescaling(1 / 127.5, -1.0, name="rescaling")(x)
    x = L.Conv2D(filters, 3, 2 if size > 96 else 1, padding="same", use_bias=False, name="stem_conv")(x)
    x = L.BatchNormalization(name="stem_bn")(x)
    previous = STEM_FILTERS
    for number, (wanted, stride) in enumerate(REACTNET_A_BLOCKS, 1):
        name = f"block_{number}"
        shortcut = L.AveragePooling2D(stride, padding="same", name=f"{name}_pool")(x) if stride > 1 else x
        x = RPReLU(name=f"{name}_rprelu3x3")(unit(x, shortcut, f"{name}_3x3", filters, 3, stride))
        if wanted == previous:
            x = unit(x, x, f"{name}_1x1", filters, 1)
        else:
            x = L.Concatenate(name=f"{name}_pair")([unit(x, x, f"{name}_1x1_{half}", filters, 1) for half in "ab"])
            filters, previous = 2 * filters, wanted
        x = RPReLU(name=f"{name}_rprelu1x1")(x)
    x = L.Dense(classes, name="logits")(L.GlobalAveragePooling2D(name="pool")(x))
    return keras.Model(inputs, x, name="reactnet_a_paired")


def randomize(model: keras.Model) -> keras.Model:
    """Give a network random statistics, shifts, slopes and thresholds, and make it binary."""
    generator = np.random.default_rng(0)
    for weight in model.weights:
        name = weight.name.split("/")[-1]
        if name.startswith(("moving_variance", "gamma")):
            weight.assign(generator.uniform(0.5, 1.5, weight.shape))
        elif name.startswith(("moving_mean", "beta", "shift", "threshold")):
            weight.assign(generator.normal(0, 0.3, weight.shape))
        elif name.startswith("alpha"):
            weight.assign(generator.uniform(0.1, 0.4, weight.shape))
    for layer in binary_layers(model):
        layer.set_binary()
    return model


def elementwise(operators: dict[str, int]) -> int:
    """Return the number of element-wise operators among counted ones."""
    return sum(operators.get(name, 0) for name in _ELEMENTWISE)


def measure(model: keras.Model, folder: Path, runs: int) -> dict[str, Any]:
    """Return figures of a network: of its files, and their times in one run."""
    pixels = np.random.default_rng(1).uniform(0, 255, (8, *model.input_shape[1:])).astype(np.float32)
    started = time.monotonic()
    folded = to_tflite(model, folder / "folded.tflite", pixels, minimum_agreement=0.0)
    seconds = time.monotonic() - started
    unfolded = to_tflite(model, folder / "unfolded.tflite", pixels, minimum_agreement=0.0, folded=False)
    quantized = quantize_rest(model, pixels, "uint8")
    rest = to_tflite(quantized, folder / "int8_rest.tflite", pixels, minimum_agreement=0.0)
    sizes = {"float32 twin": len(float_twin(model)), "int8 twin": len(int8_twin(model, pixels))}
    others = [folder / "unfolded.tflite", folder / "int8_rest.tflite"]
    timed = benchmark(folder / "folded.tflite", others, model, pixels, runs=runs, seconds=60.0)
    return {
        "network": model.name,
        "input": list(model.input_shape[1:]),
        "binary_layers": folded.expected_binary,
        "fused": {"folded": folded.fused_binary, "int8 rest": rest.fused_binary},
        "bytes": {**sizes, "folded": folded.size, "unfolded": unfolded.size, "int8 rest": rest.size},
        "elementwise": {"unfolded": elementwise(unfolded.operators), "folded": elementwise(folded.operators)},
        "operators": {"unfolded": unfolded.operators, "folded": folded.operators, "int8 rest": rest.operators},
        "binary_share_of_macs": inspect(folded.path).totals.binary_mac_share,
        "export_seconds": seconds,
        "times": timed.to_dict(),
        "table": str(timed),
    }


def page(results: list[dict[str, Any]]) -> str:
    """Return the page of the figures."""
    lines = ["# Deployment figures", "", "Written by `python -m benchmarks.deployment`; random weights, see there.", ""]
    for one in results:
        sizes, float32 = one["bytes"], one["bytes"]["float32 twin"]
        lines += [
            f"## {one['network']}, {'x'.join(map(str, one['input']))}",
            "",
            "| file | bytes | float32 twin is larger by | element-wise operators |",
            "|---|---|---|---|",
        ]
        counts = {**one["elementwise"], "int8 rest": elementwise(one["operators"]["int8 rest"])}
        lines += [f"| {name} | {size:,} | {float32 / size:.1f}x | {counts.get(name, '')} |" for name, size in sizes.items()]
        lines += [
            "",
            f"{one['fused']['folded']} of {one['binary_layers']} binary layers are one `LceBconv2d` each (int8 rest: "
            f"{one['fused']['int8 rest']}); {one['binary_share_of_macs']:.2%} of the multiply-accumulates run in them. The "
            f"export took {one['export_seconds']:.0f} s with its verification.",
            "",
            "```text",
            one["table"].rstrip(),
            "```",
            "",
        ]
    return "\n".join(lines)


def main() -> None:
    """Measure both forms of ReActNet-A and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=224, help="side of the pictures (default 224)")
    parser.add_argument("--width", type=float, default=1.0, help="multiplier of the filters (default 1)")
    parser.add_argument("--runs", type=int, default=31, help="timed runs of each file and kernel (default 31)")
    parser.add_argument("--out", type=Path, default=_DOCS, help="folder of the page (default docs)")
    options = parser.parse_args()
    networks = [
        ReActNetA((options.size, options.size, 3), width=options.width),
        paired_reactnet_a(options.size, options.width, 1000),
    ]
    results = []
    for network in networks:
        with tempfile.TemporaryDirectory() as folder:
            results.append(measure(randomize(network), Path(folder), options.runs))
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "deployment_figures.json").write_text(json.dumps(results, indent=1) + "\n")
    (options.out / "deployment_figures.md").write_text(page(results))


if __name__ == "__main__":
    main()
