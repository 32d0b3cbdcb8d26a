"""`docs/accuracy.md` and its plots, from the runs in the JSON-lines file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.accuracy_options import blocks_text, commands, results_option
from benchmarks.accuracy_plots import plot_budgets, plot_curves
from benchmarks.accuracy_recipes import ABLATIONS, RECIPES
from benchmarks.accuracy_results import (
    FLOAT,
    UNTRAINED,
    Result,
    Runs,
    best_rate,
    budgets,
    chosen_runs,
    differences,
    only_setting,
    ratios_of_times,
    runs_at,
    runs_by_rate,
)

BY_HAND = "<!-- written by hand: the command keeps what follows -->"
_MARGINS = (("bitat", "one-shot"), ("bitat", "two-step"), ("bitat-distilled", "two-step-distilled"), ("bitat-half", "two-step"))
_READING = """\
All recipes of a seed begin with the same float network and see the same images in the same order with the same augmentation, in
the same number of steps of Adam; the learning rate decays linearly to 0. (a) has no learned thresholds: Larq's `ste_sign`. (b)
trains its first half without binary weights, with a decay and an Adam of its own, and does without the weight decay that its
authors have in that half. (c) gives half of the epochs to the layers, one after the other, and half to the joint phase, as the
library's default schedule does for ten layers. (d) sees 2,048 training images and no label."""


def page(results: list[Result], name: str = "accuracy") -> str:
    """Return the page as Markdown.

    Args:
        results: All runs of the file.
        name: Name of that file without `.jsonl`; page and plots have it too.

    Raises:
        ValueError: If they are not of one setting.
    """
    setting = only_setting(results)
    lines = ["# Accuracy", "", *_setting(results, setting), "", _READING, ""]
    for epochs in reversed(budgets(results)):
        lines += _budget(results, epochs)
    lines += [f"![accuracy over the length of training](images/{name}_budgets.png)", ""]
    lines += [f"![accuracy on the validation images over training](images/{name}.png)", ""]
    lines += ["Before the end, the networks of (c) are partly float: only the last points are binary networks.", ""]
    lines += [*_rates(results), "", *_errors(results, name), ""]
    for epochs in budgets(results):
        for learning_rate in sorted({rate for name in ABLATIONS for rate in runs_by_rate(results, name, epochs)}):
            lines += [*_ablations(results, epochs, learning_rate), ""]
    lines += [
        "## Commands",
        f"Runs that [{name}.jsonl]({name}.jsonl) holds are not done again; `--report` writes this page.",
        "",
    ]
    report = f"python -m benchmarks.accuracy{results_option(name)} --report"
    return "\n".join([*lines, *(f"    {command}" for command in [*commands(results, name), report]), ""])


def _setting(results: list[Result], setting: dict[str, Any]) -> list[str]:
    machines = {
        f"{result['machine']['cpu']}, {result['threads']} thread(s) a run; "
        f"{', '.join(f'{name} {number}' for name, number in result['machine']['versions'].items())}."
        for result in results
    }
    stem = f", stem of stride {setting['stem_stride']}" if setting["stem_stride"] else ""
    size = f" of side {setting['image_size']}" if setting["image_size"] else ""
    images = f"{setting['subset']:,}" if setting["subset"] else "all"
    blocks, width = blocks_text(setting["blocks"]), setting["width"]
    return [
        f"Data: {setting['data']} (digest {setting['digest']}), {images} training images{size}, of which",
        f"{setting['validation_share']:.3g} are kept for validation, augmentation {setting['augment']}. Network: ReActNet of",
        f"blocks {blocks} ({2 * len(setting['blocks'])} binary layers), width {width}{stem};",
        f"in float {setting['float_epochs']} epochs, learning rate {setting['float_learning_rate']:g}.",
        f"Batches of {setting['batch_size']}; statistics from {setting['calibration']} training images.",
        "Top-1, mean and sample standard deviation over the seeds; choices were made on the validation images.",
        "",
        *sorted(machines),
        "Times are the process's own processor time, as several runs shared the machine.",
    ]


def _accuracies(runs: Mapping[int, Result], what: str) -> np.ndarray:
    return np.array([100 * run[what] for _, run in sorted(runs.items())])


def spread(values: np.ndarray) -> str:
    """Return mean and sample standard deviation; of one value, that."""
    return f"{values.mean():.2f}" + (f" ± {values.std(ddof=1):.2f}" if len(values) > 1 else " (one seed)")


def _budget(results: list[Result], epochs: int) -> list[str]:
    runs = chosen_runs(results, RECIPES, epochs)
    if len(runs) < 2:
        return []
    lines = [
        f"## Recipes, {epochs} epochs",
        "| recipe | learning rate | seeds | test | validation | gap to float | processor seconds | / (b)'s |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, of_seeds in runs.items():
        is_float = name == FLOAT
        some = next(iter(of_seeds.values()))
        test, validation = (spread(_accuracies(of_seeds, f"{part}_accuracy")) for part in ("test", "val"))
        cells = [
            "float network" if is_float else RECIPES[name].text,
            "" if is_float or name in UNTRAINED else f"{some['learning_rate']:g}",
            ", ".join(map(str, sorted(of_seeds))),
            test,
            validation,
            "" if is_float else f"{-differences(runs, name, FLOAT).mean():.2f}",
            "" if is_float else f"{np.mean([run['cpu_seconds'] for run in of_seeds.values()]):.0f}",
            "" if is_float else _ratio(runs, name, "two-step"),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, "", *_margins(runs), ""]


def _ratio(runs: Runs, name: str, other: str) -> str:
    ratios = ratios_of_times(runs, name, other)
    return f"{ratios.mean():.2f}" if len(ratios) else ""


def _margins(runs: Runs) -> list[str]:
    lines = ["Differences in points, seed by seed (test images):", ""]
    for name, other in _MARGINS:
        found = differences(runs, name, other)
        if len(found):
            each = ", ".join(f"{value:+.2f}" for value in found)
            lines.append(f"- {RECIPES[name].text} less {RECIPES[other].text}: {spread(found)} ({each})")
    return lines


def _rates(results: list[Result]) -> list[str]:
    lines = [
        "## Learning rates",
        "Validation accuracy; the best one of each recipe, over the seeds that all of its rates have, is the one above.",
        "",
        "| epochs | recipe | learning rate: validation (seeds) |",
        "|---|---|---|",
    ]
    for epochs in budgets(results):
        for name in RECIPES:
            rates = runs_by_rate(results, name, epochs)
            if name not in UNTRAINED and len(rates) > 1:
                best = best_rate(rates)
                cells = []
                for rate, runs in rates.items():
                    cell = f"{rate:g}: {spread(_accuracies(runs, 'val_accuracy'))} ({', '.join(map(str, sorted(runs)))})"
                    cells.append(f"**{cell}**" if rate == best else cell)
                lines.append(f"| {epochs} | {RECIPES[name].text} | {'; '.join(cells)} |")
    return lines


def _errors(results: list[Result], name: str) -> list[str]:
    lines = [
        "## Errors of the weights",
        "At the end, of the signs against the float network's weights, summed over the layers as in Fig. 8 of the paper; one",
        "metric for all recipes, that of the float network's inputs.",
        "",
        "| epochs | recipe | Q_orig | Q_ours | Q_ours / Q_orig |",
        "|---|---|---|---|---|",
    ]
    for epochs in budgets(results):
        runs = chosen_runs(results, RECIPES, epochs)
        for recipe_name, recipe in RECIPES.items():
            curves = [run["curves"] for run in runs.get(recipe_name, {}).values()]
            if curves:
                values = (np.mean([c[f"float_{q}"][-1] for c in curves]) for q in ("q_orig", "q_ours", "q_ratio"))
                lines.append(f"| {epochs} | {recipe.text} | {' | '.join(f'{value:.4g}' for value in values)} |")
    return [*lines, "", f"![Q_ours / Q_orig over training](images/{name}_errors.png)"]


def _ablations(results: list[Result], epochs: int, learning_rate: float) -> list[str]:
    runs = runs_at(results, ("bitat", *ABLATIONS), epochs, learning_rate)
    lines = [
        f"## Ablations, {epochs} epochs from {learning_rate:g}",
        "Each differs from (c) in what it says; points of difference to (c) of the same seeds and learning rate.",
        "",
        "| variant | seeds | validation | validation less (c)'s | test less (c)'s | processor time / (c)'s |",
        "|---|---|---|---|---|---|",
    ]
    for name, of_seeds in runs.items():
        text = RECIPES[name].text if name == "bitat" else ABLATIONS[name].text
        found = [differences(runs, name, "bitat", f"{part}_accuracy") for part in ("val", "test")]
        cells = [spread(values) if len(values) else "" for values in found] + [_ratio(runs, name, "bitat")]
        if name == "bitat":
            cells = [""] * len(cells)
        listed = ", ".join(map(str, sorted(of_seeds)))
        lines.append(f"| {text} | {listed} | {spread(_accuracies(of_seeds, 'val_accuracy'))} | {' | '.join(cells)} |")
    return lines


def write_report(results: list[Result], path: Path) -> None:
    """Write the page, and the plots in `images/` beside it; what is written by hand at the end of the page stays.

    Args:
        results: All runs.
        path: The page.

    Raises:
        ValueError: If the results are not of one setting, or the page lacks the mark before what is written by hand.
    """
    name = path.stem
    text, remarks = page(results, name), "\n"
    if path.exists():
        _, mark, remarks = path.read_text().partition(BY_HAND)
        if not mark:
            raise ValueError(
                f"accuracy: what is written by hand in {path} stands after the line {BY_HAND!r}. Received: a page without that "
                "line. Put it in, or remove the page."
            )
    runs = {epochs: chosen_runs(results, RECIPES, epochs) for epochs in budgets(results)}
    images = path.parent / "images"
    images.mkdir(parents=True, exist_ok=True)
    longest = runs[max(runs)]
    plots = {
        name: plot_curves(longest, "val_accuracy", "top-1 of the validation images, %", 100),
        f"{name}_errors": plot_curves(longest, "float_q_ratio", "Q_ours / Q_orig"),
        f"{name}_budgets": plot_budgets(runs),
    }
    for plot, figure in plots.items():
        figure.savefig(images / f"{plot}.png", dpi=110)
    path.write_text(f"{text}\n{BY_HAND}{remarks}")
