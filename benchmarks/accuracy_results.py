"""The runs of the comparison of accuracies as the JSON-lines file holds them: which of them belong together."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

FLOAT = "float"
UNTRAINED = ("post-training",)  # recipes that no length or learning rate changes

Result = dict[str, Any]
Runs = dict[str, dict[int, Result]]


def read_results(path: Path) -> list[Result]:
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


def only_setting(results: list[Result]) -> dict[str, Any]:
    """Return the setting that all runs have.

    Raises:
        ValueError: If there are no runs, or runs of several settings.
    """
    settings = [result["setting"] for result in results]
    if not settings or any(setting != settings[0] for setting in settings):
        differing = sorted({name for other in settings for name in other if other[name] != settings[0].get(name)})
        raise ValueError(
            f"accuracy: a page is about runs of one setting. Received: {len(settings)} runs"
            + (f" that differ in {', '.join(differing)}" if differing else "")
            + ". Name another --results for another setting."
        )
    return settings[0]


def is_done(results: list[Result], setting: dict[str, Any], recipe: str, seed: int, epochs: int, learning_rate: float) -> bool:
    """Whether the runs hold one of a recipe, of the same setting: runs of different settings are never compared.

    The float network of a seed is one for all epochs and learning rates; so is what is not trained.
    """
    any_length = recipe in (FLOAT, *UNTRAINED)
    return any(
        (result["setting"], result["recipe"], result["seed"]) == (setting, recipe, seed)
        and (any_length or (result["epochs"], result["learning_rate"]) == (epochs, learning_rate))
        for result in results
    )


def budgets(results: list[Result]) -> list[int]:
    """Return the lengths, in epochs, of the binarizations."""
    return sorted({result["epochs"] for result in results if result["recipe"] not in (FLOAT, *UNTRAINED)})


def runs_by_rate(results: list[Result], recipe: str, epochs: int) -> dict[float, dict[int, Result]]:
    """Return the runs of a recipe by learning rate and seed; of one that is not trained those of all lengths."""
    rates: dict[float, dict[int, Result]] = {}
    for result in results:
        if result["recipe"] == recipe and (result["epochs"] == epochs or recipe in UNTRAINED):
            rates.setdefault(result["learning_rate"], {})[result["seed"]] = result
    return dict(sorted(rates.items()))


def best_rate(rates: Mapping[float, Mapping[int, Result]]) -> float:
    """Return the learning rate of the best mean accuracy on the validation images, over the seeds that all rates have.

    Raises:
        ValueError: If the rates share no seed.
    """
    seeds = set.intersection(*(set(runs) for runs in rates.values()))
    if not seeds:
        raise ValueError(f"accuracy: learning rates are compared on the same seeds. Received: {sorted(rates)} without one.")
    return max(rates, key=lambda rate: np.mean([rates[rate][seed]["val_accuracy"] for seed in seeds]))


def chosen_runs(results: list[Result], recipes: Iterable[str], epochs: int) -> Runs:
    """Return the runs of each recipe at the learning rate that is best for it, and those of the float network."""
    runs: Runs = {FLOAT: {result["seed"]: result for result in results if result["recipe"] == FLOAT}}
    for recipe in recipes:
        rates = runs_by_rate(results, recipe, epochs)
        if rates:
            runs[recipe] = rates[best_rate(rates)]
    return runs


def runs_at(results: list[Result], recipes: Iterable[str], epochs: int, learning_rate: float) -> Runs:
    """Return the runs of recipes at one learning rate."""
    found = {recipe: runs_by_rate(results, recipe, epochs).get(learning_rate) for recipe in recipes}
    return {recipe: runs for recipe, runs in found.items() if runs}


def pairs(runs: Runs, recipe: str, other: str) -> list[tuple[Result, Result]]:
    """Return the runs of two recipes from the same float networks, seed by seed.

    Raises:
        ValueError: If a seed's runs are of different float networks.
    """
    shared = sorted(set(runs.get(recipe, {})) & set(runs.get(other, {})))
    found = [(runs[recipe][seed], runs[other][seed]) for seed in shared]
    for run, other_run in found:
        if run["float_network"] != other_run["float_network"]:
            raise ValueError(
                f"accuracy: {recipe} and {other} of seed {run['seed']} began with different float networks. Remove the runs "
                "of one of them from the results."
            )
    return found


def differences(runs: Runs, recipe: str, other: str, what: str = "test_accuracy") -> np.ndarray:
    """Return the differences in points of two recipes, of the seeds that both have."""
    return np.array([100 * (run[what] - other_run[what]) for run, other_run in pairs(runs, recipe, other)])


def ratios_of_times(runs: Runs, recipe: str, other: str) -> np.ndarray:
    """Return the ratios of the processor seconds of two recipes, of the seeds that both have."""
    return np.array([run["cpu_seconds"] / other_run["cpu_seconds"] for run, other_run in pairs(runs, recipe, other)])
