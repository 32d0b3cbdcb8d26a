"""Which layers of a model become binary, which stay float, and why."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from typing import Any

from rich.console import Console
from rich.table import Table

from bitat_tf._keras import keras
from bitat_tf.graph import CallGraph
from bitat_tf.inspection.ends import first_calls, last_calls
from bitat_tf.inspection.float_layers import float_operator, obstacle
from bitat_tf.inspection.kernels import is_quantized

BINARY, EXPAND, FLOAT = "binary", "expand", "float"
Skip = str | Callable[[keras.layers.Layer], bool] | Sequence[str | Callable[[keras.layers.Layer], bool]] | None


@dataclass(frozen=True)
class LayerPlan:
    """What becomes of one layer.

    Attributes:
        layer: Path of the layer, the names of nested models before its own.
        kind: Its class.
        action: "binary" (a binary layer takes its place), "expand" (a depthwise convolution becomes a full binary one) or
            "float" (it stays).
        reason: Why it stays float; empty otherwise.
        cure: What can be done about that; empty otherwise.
        shortcut: What the shortcut around it is, or why there is none; empty without `shortcuts`.
    """

    layer: str
    kind: str
    action: str
    reason: str = ""
    cure: str = ""
    shortcut: str = ""


@dataclass(frozen=True)
class BinarizationPlan:
    """What `binarize` does with every layer that computes with a kernel. Prints as a table of those that stay float."""

    model: str
    layers: tuple[LayerPlan, ...]

    @property
    def binary(self) -> tuple[LayerPlan, ...]:
        """The layers that become binary."""
        return tuple(layer for layer in self.layers if layer.action != FLOAT)

    @property
    def kept_float(self) -> tuple[LayerPlan, ...]:
        """The layers that stay float."""
        return tuple(layer for layer in self.layers if layer.action == FLOAT)

    def to_dicts(self) -> list[dict[str, Any]]:
        """Return one row a layer, of plain values."""
        return [asdict(layer) for layer in self.layers]

    def table(self) -> Table:
        """Return the table of the layers that stay float, for a terminal or a notebook."""
        binary = f"{len(self.binary)} layer{'s' if len(self.binary) != 1 else ''} can become binary"
        title = f"{self.model}: {binary}, {len(self.kept_float)} stay float"
        table = Table(title=title)
        for column in ("stays float", "kind", "because", "cure"):
            table.add_column(column, overflow="fold")
        for layer in self.kept_float:
            table.add_row(layer.layer, layer.kind, layer.reason, layer.cure)
        return table

    def __rich__(self) -> Table:
        return self.table()

    def __str__(self) -> str:
        console = Console(width=160, color_system=None)
        with console.capture() as capture:
            console.print(self.table())
        return capture.get().rstrip("\n")


def plan_layers(graph: CallGraph, skip: Skip, first_and_last: bool, expand: bool) -> dict[int, LayerPlan]:
    """Return the plan of every layer that computes with a kernel, by `id(layer)`, in the order of the network.

    Args:
        graph: The calls of the model.
        skip: As in `binarize`.
        first_and_last: As in `binarize`.
        expand: Whether depthwise convolutions become full ones.

    Raises:
        ValueError: If a pattern matches no layer.
        TypeError: If `skip` holds something else.
    """
    firsts = {id(call.layer) for call in first_calls(graph)}
    lasts = {id(call.layer) for call in last_calls(graph)}
    computing: dict[int, tuple[str, keras.layers.Layer]] = {}
    for call in graph.calls:
        if float_operator(call.layer) is not None or obstacle(call.layer) is not None:
            computing.setdefault(id(call.layer), (call.path, call.layer))
    skipped = _skipped(computing.values(), skip)
    plans = {}
    for key, (path, layer) in computing.items():
        where = "first" if key in firsts else "last" if key in lasts else ""
        action, reason, cure = _decide(layer, path in skipped, "" if first_and_last else where, expand)
        plans[key] = LayerPlan(path, type(layer).__name__, action, reason, cure)
    return plans


def _decide(layer: keras.layers.Layer, skipped: bool, where: str, expand: bool) -> tuple[str, str, str]:
    if is_quantized(layer):
        return FLOAT, "it has quantizers already, and is taken over as it is", ""
    if skipped:
        return FLOAT, "named in `skip`", ""
    found = obstacle(layer)
    expandable = expand and type(layer) in (keras.layers.DepthwiseConv2D, keras.layers.SeparableConv2D)
    if found is not None and not expandable:
        return FLOAT, *found
    if where:
        reason = f"the {where} layer of the network: binary, it costs more accuracy than any other"
        return FLOAT, reason, "Pass first_and_last=True to make it binary all the same."
    return (EXPAND if expandable else BINARY), "", ""


def _skipped(layers: Iterable[tuple[str, keras.layers.Layer]], skip: Skip) -> set[str]:
    """Return the paths of the layers that the user wants to stay float."""
    layers = list(layers)
    paths: set[str] = set()
    for rule in [] if skip is None else [skip] if isinstance(skip, str) or callable(skip) else skip:
        if callable(rule):
            paths.update(path for path, layer in layers if rule(layer))
            continue
        if not isinstance(rule, str):
            raise TypeError(
                "binarize: `skip` must be a name or pattern, a function of a layer, or a list of those. "
                f"Received: {rule!r} of type {type(rule).__name__}."
            )
        matched = {path for path, layer in layers if fnmatchcase(path, rule) or fnmatchcase(layer.name, rule)}
        if not matched:
            known = ", ".join(path for path, _ in layers[:8]) + (", ..." if len(layers) > 8 else "")
            raise ValueError(
                f"binarize: `skip` names a layer or pattern that no convolution or dense layer of the model has: {rule!r}. "
                f"Received: a model with {known}."
            )
        paths |= matched
    return paths
