"""What `bitat_tf.binarize` would make of a float network: told to who checks or sums up one that has no binary layers."""

from dataclasses import dataclass
from typing import Any

import keras
from rich.console import Group

from bitat_tf._tables import ShownAsTable, shown_text
from bitat_tf.inspection.adaptation import layers_that_must_train, notes
from bitat_tf.inspection.kernel_layers import holds_binary
from bitat_tf.inspection.layer_profile import estimate_file_size, layer_parameters
from bitat_tf.inspection.plan import BINARY, BinarizationPlan, plan_layers
from bitat_tf.model_graph import CallGraph

ESTIMATE = "an estimate, +-10 % above 100 kB; exact: the export"
_SHOWN_LAYERS = 8
_NEXT = (
    "next           in Python bitat_tf.binarize(model); or the whole job: bitat-tf binarize MODEL.keras --data DIR --out RUN"
)


@dataclass(frozen=True)
class Outlook(ShownAsTable):
    """What `bitat_tf.binarize` would make of a network without binary layers. Prints as a table with lines below.

    Attributes:
        plan: Which layers would become binary, which would stay float, and why.
        file_size: Estimated bytes of the file of the float network.
        binary_file_size: The same once the layers of the plan are binary.
    """

    plan: BinarizationPlan
    file_size: int
    binary_file_size: int

    def lines(self) -> list[str]:
        """Return what stands below the plan: what would become binary and train again, the sizes, what to do next."""
        names = [layer.layer for layer in self.plan.binary]
        if not names:
            return ["No layer can become binary: the table says why, and what can be done."]
        more = f" and {len(names) - _SHOWN_LAYERS} more" if len(names) > _SHOWN_LAYERS else ""
        sizes = f"about {self.file_size:,} bytes in float32, {self.binary_file_size:,} with these layers binary"
        return [
            f"can be binary  {', '.join(names[:_SHOWN_LAYERS])}{more}",
            *(f"binarize       {note}" for note in self.plan.notes),
            f"file           {sizes} ({ESTIMATE})",
            _NEXT,
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values for JSON: "plan", "notes", "file_size", "binary_file_size"."""
        sizes = {"file_size": self.file_size, "binary_file_size": self.binary_file_size}
        return {"plan": self.plan.to_dicts(), "notes": [*self.plan.notes], **sizes}

    def __rich__(self) -> Group:
        return Group(self.plan.table(), *map(shown_text, self.lines()))


def outlook_of(model: keras.Model, graph: CallGraph) -> Outlook | None:
    """Return what `bitat_tf.binarize` would make of a float network; None for one that has binary layers already.

    Args:
        model: The model.
        graph: Its calls.

    Examples:
        >>> model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(32, 3), keras.layers.Conv2D(32, 3),
        ...     keras.layers.Flatten(), keras.layers.Dense(2)])
        >>> outlook = outlook_of(model, CallGraph(model))
        >>> [layer.action for layer in outlook.plan.layers], outlook.file_size, outlook.binary_file_size
        (['float', 'binary', 'float'], 45480, 9896)
    """
    layers = {id(call.layer): call.layer for call in graph.calls}
    if any(holds_binary(layer) for layer in layers.values()):
        return None
    plans = plan_layers(graph)
    planned = {key for key, plan in plans.items() if plan.action == BINARY}
    sizes = []
    for binary in (set(), planned):
        bits = sum(layer_parameters(layer, binary_kernel=key in binary).bits for key, layer in layers.items())
        sizes.append(estimate_file_size(-(-bits // 8), len(graph.calls)))
    must_train = layers_that_must_train(graph, lambda layer: id(layer) in planned)
    return Outlook(BinarizationPlan(model.name, tuple(plans.values()), notes(model, must_train)), *sizes)
