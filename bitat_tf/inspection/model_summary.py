"""`summary`: the layers of a model, and what they take on the device."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

import keras
from rich.console import Group
from rich.table import Table

from bitat_tf._tables import ShownAsTable, TextTable, as_text, shown_text
from bitat_tf._validation import check_model
from bitat_tf.inspection.outlook import ESTIMATE, Outlook, outlook_of
from bitat_tf.inspection.summary_rows import SummaryRow, SummaryTotals, summary_rows
from bitat_tf.model_graph import CallGraph, is_graph

_WIDTH = 150


@dataclass(frozen=True)
class ModelSummary(ShownAsTable):
    """Result of `summary`. Prints as a table.

    Attributes:
        name: Name of the model.
        rows: One a layer call, in the order in which Keras runs them.
        totals: Their sums.
        remarks: What could not be told, and why.
        outlook: What `bitat_tf.binarize` would make of a float network; None where there are binary layers, or no graph.
    """

    name: str
    rows: tuple[SummaryRow, ...]
    totals: SummaryTotals
    remarks: tuple[str, ...] = ()
    outlook: Outlook | None = None

    def to_dicts(self) -> list[dict[str, Any]]:
        """Return the rows as plain values for JSON."""
        return [{**asdict(row), "output_shape": None if row.output_shape is None else [*row.output_shape]} for row in self.rows]

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values for JSON: "name", "rows", "totals", "remarks", "outlook"."""
        return {
            "name": self.name,
            "rows": self.to_dicts(),
            "totals": asdict(self.totals),
            "remarks": [*self.remarks],
            "outlook": None if self.outlook is None else self.outlook.to_dict(),
        }

    def table(self) -> Table:
        """Return the table of the layers for a terminal or a notebook."""
        table = TextTable(title=self.name, show_footer=True)
        sums = self.totals
        floats = sums.macs - sums.binary_macs
        columns: tuple[tuple[str, Literal["left", "right"], str], ...] = (
            ("layer", "left", f"{len(self.rows)} layers"),
            ("type", "left", ""),
            ("state", "left", ""),
            ("kernel", "left", ""),
            ("output", "right", ""),
            ("input\nbits", "right", ""),
            ("1-bit\nparams", "right", _count(sum(row.binary_parameters for row in self.rows))),
            ("32-bit\nparams", "right", _count(sum(row.float_parameters for row in self.rows))),
            ("bits a\nweight", "right", f"{8 * sums.weight_bytes / max(1, sums.parameters):.3g}"),
            ("kB", "right", f"{sums.weight_bytes / 1024:,.2f}"),
            ("binary\nMACs", "right", _count(sums.binary_macs)),
            ("float\nMACs", "right", _count(floats)),
        )
        for name, justify, footer in columns:
            folds = name in ("layer", "type", "kernel")  # these may take several lines
            table.add_column(name, footer, justify=justify, overflow="fold", no_wrap=not folds)
        for row in self.rows:
            table.add_row(
                row.layer,
                row.type,
                row.state,
                row.kernel,
                _shape(row.output_shape),
                "-" if row.input_precision is None else str(row.input_precision),
                _count(row.binary_parameters),
                _count(row.float_parameters),
                "-" if row.bits_per_weight is None else f"{row.bits_per_weight:.3g}",
                f"{row.kilobytes:,.2f}",
                _count(row.binary_macs),
                _count(row.float_macs),
            )
        return table

    def lines(self) -> list[str]:
        """Return what stands below the table: the totals and the remarks."""
        sums = self.totals
        states = ", ".join(f"{count} {state}" for state, count in sums.layers_by_state.items()) or "none"
        size = "not known" if sums.file_size is None else f"about {sums.file_size:,} bytes"
        when = " once all binary layers are binary" if sums.layers_by_state else ""
        return [
            f"parameters     {sums.parameters:,}, {sums.trainable_parameters:,} of them trainable",
            f"weights        {sums.weight_bytes:,} bytes (float32: {sums.float32_bytes:,}, {sums.compression:.1f} times that)",
            f"MACs           {sums.macs:,}, {sums.binary_mac_share:.2%} of them binary",
            f"binary layers  {states}",
            *([] if self.outlook else [f"file           {size}{when} ({ESTIMATE})"]),
            *self.remarks,
        ]

    def __rich__(self) -> Group:
        return Group(self.table(), *map(shown_text, self.lines()), *([self.outlook] if self.outlook else []))

    def __str__(self) -> str:
        return as_text(self, _WIDTH)


def summary(model: keras.Model) -> ModelSummary:
    """Tell what each layer of a model is and takes: state, kernel on the device, parameters, memory, operations; and the file.

    Binary layers count with one bit a weight, whatever their state. The size of the file is an estimate, the weights and 200
    bytes a layer call: +-10 % above 100 kB; `export.to_tflite` has the exact number. Of a float network, without binary
    layers, it tells what `bitat_tf.binarize` would make of it.

    Args:
        model: A built model, with binary layers or without; float ones as well. Layers of nested
            models stand in their places. A subclassed model has no graph: its layers are listed, and the columns that
            need one stay empty.

    Returns:
        A `ModelSummary`: prints as a table; `rows`, `totals` and `to_dict()` for programs.

    Raises:
        ValueError: If the model has no weights yet.
        TypeError: If it is no Keras model.

    Examples:
        >>> model = keras.Sequential([keras.Input((8, 8, 32)), bitat_tf.layers.BinaryConv2D(32, 3, name="conv")])
        >>> result = summary(model)
        >>> row = result.rows[0]
        >>> row.layer, row.state, row.kernel, row.binary_macs
        ('conv', 'float', 'LceBconv2d', 331776)
        >>> result.totals.parameters, result.totals.float32_bytes, result.totals.weight_bytes
        (9280, 37120, 1408)
    """
    check_model(model, "summary")
    outlook = outlook_of(model, CallGraph(model)) if is_graph(model) else None
    return ModelSummary(model.name, *summary_rows(model), outlook)


def _count(number: int | None) -> str:
    """Return a number that fits into a column: 12,345 or 12.3 M."""
    if number is None:
        return "?"
    return f"{number:,}" if number < 1_000_000 else f"{number / 1e6:,.1f} M"


def _shape(shape: tuple[int | None, ...] | None) -> str:
    return "?" if shape is None else "x".join("?" if size is None else str(size) for size in shape[1:])
