"""Which layers of a float model `bitat_tf.binarize` makes binary, which stay float, and why."""

from dataclasses import asdict, dataclass
from typing import Any

import keras
from rich.console import Group
from rich.table import Table

from bitat_tf._tables import ShownAsTable, TextTable, as_text, shown_text
from bitat_tf.inspection.kernel_layers import first_calls, float_operator, is_binary, last_calls, obstacle
from bitat_tf.model_graph import CallGraph

BINARY, EXPAND, FLOAT = "binary", "expand", "float"
# What depthwise="expand" makes of a layer that has no binary kernel itself.
_EXPANSIONS = {
    keras.layers.DepthwiseConv2D: "for a full convolution",
    keras.layers.SeparableConv2D: "for a full convolution and a binary 1x1 one",
}


@dataclass(frozen=True)
class Argument:
    """An argument of `binarize` that would make a layer binary.

    Attributes:
        name: Its name.
        value: What to pass.
        effect: What that would do: "for a full convolution".
    """

    name: str
    value: Any
    effect: str

    def __str__(self) -> str:
        return f"Pass {self.name}={self.value!r} to binarize, {self.effect}."


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
        argument: The argument of `binarize` that `cure` speaks of, if it speaks of one.
    """

    layer: str
    kind: str
    action: str
    reason: str = ""
    cure: str = ""
    shortcut: str = ""
    argument: Argument | None = None


@dataclass(frozen=True)
class BinarizationPlan(ShownAsTable):
    """What `binarize` does with every layer that computes with a kernel. Prints as a table of those that stay float.

    Attributes:
        model: Name of the model.
        layers: One plan for every such layer, in the order of the network.
        notes: What else will be different: frozen layers, which would keep binary layers from finding their place.
    """

    model: str
    layers: tuple[LayerPlan, ...]
    notes: tuple[str, ...] = ()

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
        table = TextTable(title=title)
        for column in ("stays float", "kind", "because", "cure"):
            table.add_column(column, overflow="fold")
        for layer in self.kept_float:
            table.add_row(layer.layer, layer.kind, layer.reason, layer.cure)
        return table

    def __rich__(self) -> Group:
        return Group(self.table(), *map(shown_text, self.notes))

    def __str__(self) -> str:
        return as_text(self, 160).rstrip("\n")


def plan_layers(graph: CallGraph, first_and_last: bool = False, expand: bool = False) -> dict[int, LayerPlan]:
    """Return the plan of every layer that computes with a kernel, by `id(layer)`, in the order of the network.

    Args:
        graph: The calls of the model.
        first_and_last: As in `binarize`.
        expand: Whether depthwise convolutions become full ones.
    """
    ends = {} if first_and_last else _ends(graph)
    plans: dict[int, LayerPlan] = {}
    for call in graph.calls:
        layer = call.layer
        if id(layer) not in plans and (float_operator(layer) is not None or obstacle(layer) is not None):
            plans[id(layer)] = _plan_layer(layer, call.path, ends.get(id(layer), ""), expand)
    return plans


def _ends(graph: CallGraph) -> dict[int, str]:
    """Return which layers are the first or the last ones of the network, by `id`."""
    last = {id(call.layer): "last" for call in last_calls(graph)}
    return {**last, **{id(call.layer): "first" for call in first_calls(graph)}}


def _plan_layer(layer: keras.layers.Layer, path: str, end: str, expand: bool) -> LayerPlan:
    kind = type(layer).__name__

    def stays_float(reason: str, cure: str = "", argument: Argument | None = None) -> LayerPlan:
        return LayerPlan(path, kind, FLOAT, reason, cure if argument is None else str(argument), argument=argument)

    if is_binary(layer):
        return stays_float("it has quantizers already, and is taken over as it is")
    found, expansion = obstacle(layer), _EXPANSIONS.get(type(layer))
    if found is not None and expansion is None:
        return stays_float(*found)
    if found is not None and expansion is not None and not expand:
        return stays_float(found[0], argument=Argument("depthwise", "expand", expansion))
    if end:
        reason = f"the {end} layer of the network: binary, it costs more accuracy than any other"
        return stays_float(reason, argument=Argument("first_and_last", True, "to make it binary all the same"))
    return LayerPlan(path, kind, BINARY if found is None else EXPAND)
