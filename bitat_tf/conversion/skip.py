"""Layers that the user wants to stay float: by name, by pattern, or by a function."""

from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase

import keras

from bitat_tf.inspection.plan import FLOAT, LayerPlan
from bitat_tf.model_graph import CallGraph

_BAD_SKIP = (
    "binarize: `skip` must be a name or pattern, a function of a layer, or a list of those. Received: {!r} of type {}. For a "
    "layer pass its name."
)
Skip = str | Callable[[keras.layers.Layer], bool] | Sequence[str | Callable[[keras.layers.Layer], bool]] | None


def without_skipped(graph: CallGraph, plans: Mapping[int, LayerPlan], skip: Skip) -> dict[int, LayerPlan]:
    """Return a plan in which the layers that the user names stay float.

    Args:
        graph: The calls of the model.
        plans: From `plan_layers`.
        skip: As in `binarize`.

    Raises:
        ValueError: If a pattern matches no layer.
        TypeError: If `skip` holds something else.
    """
    paths: dict[int, list[str]] = {key: [] for key in plans}  # a shared layer may have several
    layers = {}
    for call in graph.calls:
        if id(call.layer) in plans:
            layers[id(call.layer)] = call.layer
            paths[id(call.layer)].append(call.path)
    skipped = _skipped(layers, paths, plans, skip)
    return {
        key: LayerPlan(plan.layer, plan.kind, FLOAT, "skipped, as you asked") if key in skipped else plan
        for key, plan in plans.items()
    }


def _skipped(
    layers: Mapping[int, keras.layers.Layer], paths: Mapping[int, list[str]], plans: Mapping[int, LayerPlan], skip: Skip
) -> set[int]:
    """Return the `id` of the layers that the user wants to stay float."""
    if skip is None or isinstance(skip, str) or callable(skip):
        skip = [] if skip is None else [skip]
    if not isinstance(skip, Sequence):
        raise TypeError(_BAD_SKIP.format(skip, type(skip).__name__))
    skipped: set[int] = set()
    for rule in skip:
        if isinstance(rule, keras.layers.Layer) or not (isinstance(rule, str) or callable(rule)):
            raise TypeError(_BAD_SKIP.format(rule, type(rule).__name__))
        if callable(rule):
            # Only layers that would become binary: a function need not know of all others.
            skipped.update(key for key, layer in layers.items() if plans[key].action != FLOAT and rule(layer))
            continue
        matched = {key for key, layer in layers.items() if any(fnmatchcase(name, rule) for name in (layer.name, *paths[key]))}
        if not matched:
            known = ", ".join(names[0] for names in list(paths.values())[:8]) + (", ..." if len(paths) > 8 else "")
            raise ValueError(
                f"binarize: `skip` names a layer or pattern that no convolution or dense layer of the model has: {rule!r}. "
                f"Received: a model with {known}."
            )
        skipped |= matched
    return skipped
