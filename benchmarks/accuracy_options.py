"""The options of the comparison of accuracies, and back from the runs to the command that made them."""

import argparse
from collections import defaultdict
from dataclasses import fields
from pathlib import Path
from typing import Any

from benchmarks.accuracy_recipes import ABLATIONS, RECIPES
from benchmarks.accuracy_results import FLOAT, Result
from benchmarks.accuracy_runs import Setting, digest_of, parse_blocks
from bitat_tf.data import ImageData, load_digits, load_folder
from bitat_tf.workflow.config import DIGITS

DOCS = Path(__file__).parents[1] / "docs"
ALL = {**RECIPES, **ABLATIONS}


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Return the options; the defaults are those of `docs/accuracy.md`."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.accuracy", description="Accuracy of binary networks, by recipe."
    )
    parser.add_argument("--data", metavar="digits|DIR", help="the digits, or a folder of class folders")
    parser.add_argument("--results", type=Path, default=DOCS / "accuracy.jsonl", help="file that runs are appended to")
    parser.add_argument("--work", type=Path, default=Path("runs/accuracy"), help="folder that keeps the float networks")
    parser.add_argument("--recipes", nargs="+", default=list(RECIPES), choices=list(ALL), metavar="NAME", help=", ".join(ALL))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=4, help="of every binarization, at least 2")
    parser.add_argument(
        "--learning-rates",
        nargs="+",
        type=float,
        default=[1e-2],
        help="of every binarization; the best on the validation counts",
    )
    parser.add_argument("--image-size", type=int)
    parser.add_argument("--subset", type=int, help="training images, validation included (default: all)")
    parser.add_argument("--validation-share", type=float, default=1 / 9)
    parser.add_argument("--augment", default="shift-flip")
    parser.add_argument("--width", type=float, default=0.5)
    parser.add_argument("--stem-stride", type=int, choices=(1, 2))
    parser.add_argument("--blocks", default="64/2,128,128/2,256,256", help="filters/stride of the network's blocks")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--float-epochs", type=int, default=40)
    parser.add_argument("--float-learning-rate", type=float, default=2e-3)
    parser.add_argument("--calibration", type=int, default=512)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--report", action="store_true", help="train nothing; write the page and the plots of the results")
    options = parser.parse_args(arguments)
    if options.report:
        return options
    if options.data is None:
        parser.error("--data is missing: digits, or a folder of class folders")
    if options.epochs < 2:
        parser.error(f"--epochs must be at least 2, one for each of the two steps of (b). Received: {options.epochs}")
    if options.data == DIGITS and (options.image_size or options.subset):
        parser.error("--image-size and --subset are for folders of images. Received: the digits as data")
    return options


def load(options: argparse.Namespace) -> ImageData:
    """Return the pictures that the options name."""
    if options.data == DIGITS:
        return load_digits()
    return load_folder(options.data, options.image_size, subset=options.subset)


def setting_of(options: argparse.Namespace, images: ImageData) -> Setting:
    """Return the setting that the options name."""
    name = options.data if options.data == DIGITS else Path(options.data).resolve().name
    own = {"data": name, "digest": digest_of(images), "blocks": parse_blocks(options.blocks)}
    given = {field.name: getattr(options, field.name) for field in fields(Setting) if field.name not in own}
    return Setting(**given, **own)


def commands(results: list[Result], name: str) -> list[str]:
    """Return the commands that make all runs of a setting, one a length, learning rate and set of seeds.

    Args:
        results: The runs.
        name: Name of the file of results, without `.jsonl`.
    """
    setting = results[0]["setting"]
    seeds: dict[tuple, list[int]] = defaultdict(list)
    for result in results:
        if result["recipe"] != FLOAT:
            key = result["threads"], result["epochs"], result["learning_rate"], result["recipe"]
            seeds[key].append(result["seed"])
    recipes: dict[tuple, list[str]] = defaultdict(list)
    for (*key, recipe), of_recipe in seeds.items():
        recipes[(*key, tuple(sorted(set(of_recipe))))].append(recipe)
    shared = " ".join(_options_of(setting)) + results_option(name)
    lines = []
    for (threads, epochs, learning_rate, of_recipes), names in sorted(recipes.items()):
        trained = f" --epochs {epochs} --learning-rates {learning_rate:g}" if epochs else ""
        lines.append(
            f"python -m benchmarks.accuracy {shared} --threads {threads}{trained} --seeds {' '.join(map(str, of_recipes))} "
            f"--recipes {' '.join(name for name in ALL if name in names)}"
        )
    return lines


def results_option(name: str) -> str:
    """Return the option that names a file of results; nothing for the default one."""
    return "" if name == "accuracy" else f" --results {name}.jsonl"


def _options_of(setting: dict[str, Any]) -> list[str]:
    """Return the options that name a setting, without those that have their defaults."""
    data = DIGITS if setting["data"] == DIGITS else "DIR"
    defaults = vars(parse(["--data", DIGITS]))
    given = {**setting, "blocks": blocks_text(setting["blocks"])}
    options = [f"--data {data}"]
    for name, value in given.items():
        if name in defaults and name != "data" and value != defaults[name]:
            options.append(f"--{name.replace('_', '-')} {value}")
    return options


def blocks_text(blocks: list[list[int]]) -> str:
    """Return blocks as `--blocks` takes them."""
    return ",".join(f"{filters}/{stride}" if stride > 1 else str(filters) for filters, stride in blocks)
