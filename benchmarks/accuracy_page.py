"""`docs/accuracy.md` and its plots, from the runs in the JSON-lines file."""

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from benchmarks.accuracy_recipes import ABLATIONS, RECIPES, Recipe
from benchmarks.accuracy_runs import Setting

Runs = dict[str, dict[int, dict[str, Any]]]
BY_HAND = "<!-- written by hand: the command keeps what follows -->"
_CURVES = ("one-shot", "two-step", "two-step-distilled", "bitat", "bitat-distilled")
_MARGINS = (("bitat", "one-shot"), ("bitat", "two-step"), ("bitat-distilled", "two-step-distilled"), ("bitat-half", "two-step"))


def by_recipe(results: list[dict[str, Any]], setting: Setting) -> Runs:
    """Return the runs of one setting, by recipe and seed."""
    runs: Runs = defaultdict(dict)
    for result in results:
        if result["setting"] == setting.to_dict():
            runs[result["recipe"]][result["seed"]] = result
    return dict(runs)


def differences(runs: Runs, recipe: str, other: str, what: str = "test_accuracy") -> np.ndarray:
    """Return the differences in points of two recipes, of the seeds that both have."""
    pairs = _pairs(runs, recipe, other)
    return np.array([100 * (run[what] - other_run[what]) for run, other_run in pairs])


def _ratio_of_times(runs: Runs, recipe: str, other: str) -> str:
    """Return the mean ratio of the seconds of two recipes, of the seeds that both have; empty if there are none."""
    ratios = [run["seconds"] / other_run["seconds"] for run, other_run in _pairs(runs, recipe, other)]
    return f"{np.mean(ratios):.2f}" if ratios else ""


def _pairs(runs: Runs, recipe: str, other: str) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    shared = sorted(set(runs.get(recipe, {})) & set(runs.get(other, {})))
    return [(runs[recipe][seed], runs[other][seed]) for seed in shared]


def spread(values: np.ndarray) -> str:
    """Return mean and sample standard deviation; of one value, that."""
    return f"{values.mean():.2f}" + (f" ± {values.std(ddof=1):.2f}" if len(values) > 1 else " (one seed)")


def page(results: list[dict[str, Any]], setting: Setting, arguments: list[str]) -> str:
    """Return the page as Markdown.

    Args:
        results: All runs of the file.
        setting: The setting that the page is about.
        arguments: Those of the command.

    Raises:
        ValueError: If there are no runs of that setting.
    """
    runs = by_recipe(results, setting)
    if "float" not in runs:
        raise ValueError(f"accuracy: the results hold no runs of this setting: {setting}. Name the options of the runs.")
    lines = ["# Accuracy", "", "Written by this command from the runs in the JSON-lines file beside it; without `--report`"]
    lines += ["it does those that are missing:", ""]
    lines += [f"    python -m benchmarks.accuracy {' '.join(arguments)} --report", "", *_setting(runs, setting), ""]
    lines += ["## Recipes", *_recipes(runs), ""]
    lines += ["![accuracy on the validation images over training](images/accuracy.png)", "", *_margins(runs), ""]
    lines += [
        "## Errors of the weights",
        *_errors(runs),
        "",
        "![Q_ours / Q_orig over training](images/accuracy_errors.png)",
        "",
    ]
    if set(runs) & set(ABLATIONS):
        lines += ["## Ablations", *_ablations(runs), ""]
    return "\n".join(lines)


def _setting(runs: Runs, setting: Setting) -> list[str]:
    first = next(iter(runs["float"].values()))
    machine = first["machine"]
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    blocks = ",".join(f"{filters}/{stride}" if stride > 1 else str(filters) for filters, stride in setting.blocks)
    return [
        f"Data {setting.data}, {setting.subset or 'all'} training images of which {setting.validation_share:.3g} are kept for",
        f"validation, augmentation {setting.augment}. ReActNet of blocks {blocks} (two binary layers each), width",
        f"{setting.width}; batches of {setting.batch_size}, Adam from {setting.learning_rate} linearly to 0; "
        f"{setting.float_epochs} epochs in float,",
        f"then {setting.epochs} epochs for every recipe, from the same float weights, with the same order and augmentation.",
        "Top-1 of the test images, which no choice was made on; mean and sample standard deviation over the seeds.",
        "",
        f"{machine['cpu']}, {first['threads']} thread(s) a run, two runs at a time; {versions}.",
    ]


def _accuracies(runs: Mapping[int, dict[str, Any]], what: str) -> np.ndarray:
    return np.array([100 * run[what] for _, run in sorted(runs.items())])


def _recipes(runs: Runs) -> list[str]:
    lines = [
        "| recipe | seeds | test | validation | gap to float | seconds | time / (b)'s |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in ("float", *RECIPES):
        if name not in runs:
            continue
        text = "float network" if name == "float" else RECIPES[name].text
        seconds = np.mean([run["seconds"] for run in runs[name].values()])
        gap = "" if name == "float" else f"{-differences(runs, name, 'float').mean():.2f}"
        ratio = "" if name in ("float", "post-training") else _ratio_of_times(runs, name, "two-step")
        listed = ", ".join(map(str, sorted(runs[name])))
        test, validation = (spread(_accuracies(runs[name], f"{part}_accuracy")) for part in ("test", "val"))
        lines.append(f"| {text} | {listed} | {test} | {validation} | {gap} | {seconds:.0f} | {ratio} |")
    return lines


def _margins(runs: Runs) -> list[str]:
    lines = ["Differences in points, seed by seed (test images):", ""]
    for name, other in _MARGINS:
        found = differences(runs, name, other)
        if len(found):
            each = ", ".join(f"{value:+.2f}" for value in found)
            lines.append(f"- {RECIPES[name].text} less {RECIPES[other].text}: {spread(found)} ({each})")
    return lines


def _errors(runs: Runs) -> list[str]:
    lines = [
        "At the end, of the signs against the float network's weights, summed over the layers as in Fig. 8 of the paper; one",
        "metric for all recipes, that of the float network's inputs.",
        "",
        "| recipe | Q_orig | Q_ours | Q_ours / Q_orig |",
        "|---|---|---|---|",
    ]
    for name, recipe in RECIPES.items():
        curves = [run["curves"] for run in runs.get(name, {}).values()]
        if curves:
            values = (np.mean([c[f"float_{q}"][-1] for c in curves]) for q in ("q_orig", "q_ours", "q_ratio"))
            lines.append(f"| {recipe.text} | {' | '.join(f'{value:.4g}' for value in values)} |")
    return lines


def _ablations(runs: Runs) -> list[str]:
    lines = [
        "Each differs from (c) in what it says; points of difference to (c) of the same seeds.",
        "",
        "| variant | seeds | validation | validation less (c)'s | test less (c)'s | time / (c)'s |",
        "|---|---|---|---|---|---|",
    ]
    for name, recipe in ABLATIONS.items():
        if name not in runs:
            continue
        found = [differences(runs, name, "bitat", f"{part}_accuracy") for part in ("val", "test")]
        cells = [spread(values) if len(values) else "" for values in found] + [_ratio_of_times(runs, name, "bitat")]
        listed = ", ".join(map(str, sorted(runs[name])))
        validation = spread(_accuracies(runs[name], "val_accuracy"))
        lines.append(f"| {recipe.text} | {listed} | {validation} | {' | '.join(cells)} |")
    return lines


def plot_curves(runs: Runs, what: str, label: str, recipes: Mapping[str, Recipe], scale: float = 1.0) -> Figure:
    """Return a plot of one curve a recipe over epochs: the mean of the seeds, and a band from the least to the largest."""
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.add_subplot()
    for name in _CURVES:
        if name not in runs:
            continue
        curves = scale * np.array([run["curves"][what] for run in runs[name].values()])
        epochs = np.arange(1, curves.shape[1] + 1)
        (line,) = axes.plot(epochs, curves.mean(axis=0), label=recipes[name].text)
        axes.fill_between(epochs, curves.min(axis=0), curves.max(axis=0), color=line.get_color(), alpha=0.15, linewidth=0)
    axes.set_xlabel("epoch of the binarization")
    axes.set_ylabel(label)
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    return figure


def write_report(results: list[dict[str, Any]], setting: Setting, arguments: list[str], path: Path) -> None:
    """Write the page, and the plots in `images/` beside it; what is written by hand at the end of the page stays.

    Args:
        results: All runs.
        setting: The setting that the page is about.
        arguments: Those of the command.
        path: The page.
    """
    text = page(results, setting, arguments)
    remarks = path.read_text().partition(BY_HAND)[2] if path.exists() else "\n"
    runs = by_recipe(results, setting)
    images = path.parent / "images"
    images.mkdir(parents=True, exist_ok=True)
    accuracy = plot_curves(runs, "val_accuracy", "top-1 of the validation images, %", RECIPES, 100)
    accuracy.savefig(images / "accuracy.png", dpi=110)
    plot_curves(runs, "float_q_ratio", "Q_ours / Q_orig", RECIPES).savefig(images / "accuracy_errors.png", dpi=110)
    path.write_text(f"{text}\n{BY_HAND}{remarks}")
