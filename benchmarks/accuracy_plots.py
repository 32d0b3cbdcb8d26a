"""The plots of the comparison of accuracies."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from benchmarks.accuracy_recipes import RECIPES
from benchmarks.accuracy_results import Runs

_CURVES = ("one-shot", "two-step", "two-step-distilled", "bitat", "bitat-distilled")


def plot_curves(runs: Runs, what: str, label: str, scale: float = 1.0) -> Figure:
    """Return a plot of one curve a recipe over epochs: the mean of the seeds, and a band from the least to the largest."""
    figure, axes = _figure("epoch of the binarization", label)
    for name in _CURVES:
        if name not in runs:
            continue
        curves = scale * np.array([run["curves"][what] for run in runs[name].values()])
        epochs = np.arange(1, curves.shape[1] + 1)
        (line,) = axes.plot(epochs, curves.mean(axis=0), marker=".", label=RECIPES[name].text)
        axes.fill_between(epochs, curves.min(axis=0), curves.max(axis=0), color=line.get_color(), alpha=0.15, linewidth=0)
    axes.legend(fontsize="small")
    return figure


def plot_budgets(runs: Mapping[int, Runs]) -> Figure:
    """Return a plot of the accuracy on the test images over the epochs of the binarization, seeds as points."""
    figure, axes = _figure("epochs of the binarization", "top-1 of the test images, %")
    for name in _CURVES:
        found = {
            epochs: [100 * run["test_accuracy"] for run in of_budget[name].values()]
            for epochs, of_budget in runs.items()
            if name in of_budget
        }
        if not found:
            continue
        (line,) = axes.plot(list(found), [np.mean(values) for values in found.values()], label=RECIPES[name].text)
        for epochs, values in found.items():
            axes.plot([epochs] * len(values), values, ".", color=line.get_color())
    axes.set_xscale("log")
    axes.set_xticks(list(runs), list(map(str, runs)))
    axes.minorticks_off()
    axes.legend(fontsize="small")
    return figure


def _figure(x_label: str, y_label: str):
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.add_subplot()
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.grid(alpha=0.3)
    return figure, axes
