"""What the functions of the analysis return: rows with names, as a table and as arrays."""

import csv
import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from bitat_tf._files import write_text
from bitat_tf._tables import TextTable, as_html, as_text

_SHOWN = 60  # rows of a long table that are printed


@dataclass(frozen=True)
class ResultTable:
    """Rows of one kind, each a mapping from column to value.

    `pandas.DataFrame(table.rows)` makes a data frame of it. Prints as a table.

    Attributes:
        rows: The rows, all with the same columns.

    Examples:
        >>> table = ResultTable(({"layer": "conv", "q_rel": 0.25}, {"layer": "dense", "q_rel": 0.5}))
        >>> table.column("q_rel")
        array([0.25, 0.5 ])
        >>> table.where(layer="dense").rows
        ({'layer': 'dense', 'q_rel': 0.5},)
    """

    rows: tuple[dict[str, Any], ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns."""
        return tuple(self.rows[0]) if self.rows else ()

    def __len__(self) -> int:
        return len(self.rows)

    def column(self, name: str) -> np.ndarray:
        """Return the values of a column, shape (rows,).

        Raises:
            ValueError: If there is no such column.
        """
        if name not in self.columns:
            raise ValueError(f"ResultTable: there is no column {name!r}. It has {', '.join(self.columns)}.")
        return np.array([row[name] for row in self.rows])

    def distinct(self, name: str) -> list[Any]:
        """Return the different values of a column, in the order of their first row."""
        return list(dict.fromkeys(self.column(name).tolist()))

    def where(self, **values: Any) -> "ResultTable":
        """Return the rows that have these values in the columns named.

        Raises:
            ValueError: If there is no such column.
        """
        if self.rows:
            for name in values:
                self.column(name)
        return ResultTable(tuple(row for row in self.rows if all(row[name] == value for name, value in values.items())))

    def to_csv(self, path: str | os.PathLike) -> Path:
        """Write the table as CSV, in one piece, and return the path."""
        buffer = io.StringIO()
        writer = csv.DictWriter(buffer, self.columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        return write_text(path, buffer.getvalue())

    def table(self) -> Table:
        """Return the table for a terminal: the first rows where it is long."""
        table = TextTable()
        for name in self.columns:
            table.add_column(name, justify="left" if isinstance(self.rows[0][name], str) else "right")
        for row in self.rows[:_SHOWN]:
            table.add_row(*map(_as_cell, row.values()))
        return table

    def __str__(self) -> str:
        return as_text(self.table(), 120) + self._left_out

    def _repr_html_(self) -> str:
        return as_html(self.table()) + self._left_out

    @property
    def _left_out(self) -> str:
        return f"{_SHOWN} of {len(self.rows)} rows" if len(self.rows) > _SHOWN else ""


def _as_cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
