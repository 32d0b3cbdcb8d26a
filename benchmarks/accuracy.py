"""How accurate binary networks are, by recipe: `python -m benchmarks.accuracy --data DIR` appends runs to a JSON-lines file.

From the same float network, in the same number of training steps, with the same order and augmentation of the images: (a) all
layers at once, (b) ReActNet's two steps, (b+) distilled, (c) BiTAT as the library has it, (c+) distilled, (d) without training.
A program that was stopped goes on with the runs that the file does not hold. `--report` writes the table and the plots.
"""

import argparse
import json
import sys
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from benchmarks.accuracy_page import by_recipe, write_report
from benchmarks.accuracy_recipes import ABLATIONS, RECIPES
from benchmarks.accuracy_runs import Run, Setting, parse_blocks
from bitat_tf._keras import keras, tf
from bitat_tf.deployment.machine import this_machine

DOCS = Path(__file__).parents[1] / "docs"
ALL = {**RECIPES, **ABLATIONS}


def read_results(path: Path) -> list[dict[str, Any]]:
    """Return the runs of a JSON-lines file; none if there is no file.

    Raises:
        ValueError: If a line is no JSON.
    """
    if not path.exists():
        return []
    results = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        try:
            results.append(json.loads(line))
        except json.JSONDecodeError as error:
            raise ValueError(
                f"accuracy: line {number} of {path} is no JSON ({error}). Remove it; its run is done again."
            ) from error
    return results


def is_done(results: list[dict[str, Any]], setting: Setting, recipe: str, seed: int) -> bool:
    """Whether the runs hold one of a recipe."""
    return seed in by_recipe(results, setting).get(recipe, {})


def run_recipe(run: Run, recipe: str) -> dict[str, Any]:
    """Train one recipe, or the float network ("float"), and return what the file keeps of it."""
    keras.backend.clear_session()
    keras.utils.set_random_seed(run.seed)
    model, trained = run.train_float() if recipe == "float" else ALL[recipe].train(run)
    return {
        "recipe": recipe,
        "seed": run.seed,
        **run.accuracies(model),
        "seconds": trained["seconds"],
        "setting": run.setting.to_dict(),
        "threads": tf.config.threading.get_intra_op_parallelism_threads(),
        "machine": asdict(this_machine()),
        "curves": trained["curves"],
    }


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accuracy", description=__doc__.split("\n\n")[0])
    parser.add_argument("--data", required=True, metavar="digits|DIR", help="the digits, or a folder of class folders")
    parser.add_argument("--results", type=Path, default=DOCS / "accuracy.jsonl", help="file that runs are appended to")
    parser.add_argument("--work", type=Path, default=Path("runs/accuracy"), help="folder that keeps the float networks")
    parser.add_argument("--recipes", nargs="+", default=list(RECIPES), choices=list(ALL), metavar="NAME", help=", ".join(ALL))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--image-size", type=int)
    parser.add_argument("--subset", type=int, default=22500, help="training images, validation included")
    parser.add_argument("--validation-share", type=float, default=1 / 9)
    parser.add_argument("--augment", default="shift-flip")
    parser.add_argument("--width", type=float, default=0.5)
    parser.add_argument("--stem-stride", type=int, choices=(1, 2))
    parser.add_argument("--blocks", default="64/2,128,128/2,256,256", help="filters/stride of the network's blocks")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--float-epochs", type=int, default=20)
    parser.add_argument("--epochs", type=int, default=20, help="of every binarization")
    parser.add_argument("--float-learning-rate", type=float, default=1e-3)
    parser.add_argument("--learning-rate", type=float, default=1e-3, help="of every binarization")
    parser.add_argument("--calibration", type=int, default=512)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--report", action="store_true", help="train nothing; write the page and the plots of the results")
    return parser.parse_args(arguments)


def setting_of(options: argparse.Namespace) -> Setting:
    """Return the setting that the options name."""
    digits = options.data == "digits"
    given = {field.name: getattr(options, field.name) for field in fields(Setting)}
    given["data"] = "digits" if digits else Path(options.data).resolve().name
    given["subset"] = None if digits else options.subset
    return Setting(**{**given, "blocks": parse_blocks(options.blocks)})


def main(arguments: list[str] | None = None) -> None:
    """Do the runs that are missing, or write the report."""
    options = parse(arguments)
    setting = setting_of(options)
    if options.report:
        given = [word for word in (sys.argv[1:] if arguments is None else arguments) if word != "--report"]
        write_report(read_results(options.results), setting, given, options.results.with_suffix(".md"))
        return
    tf.config.threading.set_intra_op_parallelism_threads(options.threads)
    tf.config.threading.set_inter_op_parallelism_threads(options.threads)
    for seed in options.seeds:
        run = Run(setting, seed, options.data, options.work)
        for recipe in ("float", *options.recipes):
            if is_done(read_results(options.results), setting, recipe, seed) and (recipe != "float" or run.has_float):
                continue
            result = run_recipe(run, recipe)
            options.results.parent.mkdir(parents=True, exist_ok=True)
            with options.results.open("a") as file:
                file.write(json.dumps(result) + "\n")
            sys.stdout.write(
                f"{recipe}, seed {seed}: validation {result['val_accuracy']:.2%}, test {result['test_accuracy']:.2%}, "
                f"{result['seconds']:.0f} s\n"
            )
            sys.stdout.flush()


if __name__ == "__main__":
    main()
