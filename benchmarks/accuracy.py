"""How accurate binary networks are, by recipe: `python -m benchmarks.accuracy --data DIR` appends runs to a JSON-lines file.

From the same float network, in the same number of training steps, with the same order and augmentation of the images: (a) all
layers at once, (b) ReActNet's two steps, (b+) distilled, (c) BiTAT as the library has it, (c+) distilled, (d) without training.
A program that was stopped goes on with the runs that the file does not hold. `--report` writes the table and the plots.
"""

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from benchmarks.accuracy_options import ALL, load, parse, setting_of
from benchmarks.accuracy_page import write_report
from benchmarks.accuracy_results import FLOAT, UNTRAINED, is_done, read_results
from benchmarks.accuracy_runs import Run
from bitat_tf.deployment.machine import this_machine


def run_recipe(run: Run, recipe: str) -> dict[str, Any]:
    """Train one recipe, or the float network ("float"), and return what the file keeps of it."""
    keras.backend.clear_session()
    keras.utils.set_random_seed(run.seed)
    model, trained = run.train_float() if recipe == FLOAT else ALL[recipe].train(run)
    epochs, learning_rate = _length_of(run, recipe)
    return {
        "recipe": recipe,
        "seed": run.seed,
        "epochs": epochs,
        "learning_rate": learning_rate,
        **run.accuracies(model),
        "seconds": trained["seconds"],
        "cpu_seconds": trained["cpu_seconds"],
        "float_network": run.float_digest,
        "setting": run.setting.to_dict(),
        "threads": tf.config.threading.get_intra_op_parallelism_threads(),
        "machine": asdict(this_machine()),
        "curves": trained["curves"],
    }


def _length_of(run: Run, recipe: str) -> tuple[int, float]:
    """Return epochs and learning rate of a recipe; none of what is not trained."""
    if recipe == FLOAT:
        return run.setting.float_epochs, run.setting.float_learning_rate
    return (0, 0.0) if recipe in UNTRAINED else (run.epochs, run.learning_rate)


def main(arguments: list[str] | None = None) -> None:
    """Do the runs that are missing, or write the report."""
    options = parse(arguments)
    if options.report:
        write_report(read_results(options.results), options.results.with_suffix(".md"))
        return
    tf.config.threading.set_intra_op_parallelism_threads(options.threads)
    tf.config.threading.set_inter_op_parallelism_threads(options.threads)
    images = load(options)
    setting = setting_of(options, images)
    for seed in options.seeds:
        for learning_rate in options.learning_rates:
            run = Run(setting, images, seed, options.epochs, learning_rate, options.work)
            for recipe in (FLOAT, *options.recipes):
                done = is_done(read_results(options.results), setting.to_dict(), recipe, seed, options.epochs, learning_rate)
                if done and (recipe != FLOAT or run.has_float):
                    continue
                result = run_recipe(run, recipe)
                _append(options.results, result)
                sys.stdout.write(
                    f"{recipe}, seed {seed}, {result['epochs']} epochs at {result['learning_rate']:g}: validation "
                    f"{result['val_accuracy']:.2%}, test {result['test_accuracy']:.2%}, {result['seconds']:.0f} s\n"
                )
                sys.stdout.flush()


def _append(path: Path, result: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # In one piece: several programs may write to the file.
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(descriptor, f"{json.dumps(result)}\n".encode())
    finally:
        os.close(descriptor)


if __name__ == "__main__":
    main()
