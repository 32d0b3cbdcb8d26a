"""Tables of rich as text, and as HTML for notebooks."""

import html
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from bitat_tf._printable import printable, shortened

_ROWS = 60  # of a table in a notebook
_CHARACTERS = 300  # of a value of which nothing is known
_KEY_WIDTH = 16
_NAMED = re.compile(r"(\S.{0,30}?) {2,}(.*)")  # a line "name            value"


class TextTable(Table):
    """A table of texts as they stand: rich would take names of layers and files for markup where they look like it.

    Args:
        title: What stands above it.
        options: Of rich's `Table`.
    """

    def __init__(self, title: str | None = None, **options: Any):
        super().__init__(title=None if title is None else shown_text(title), **options)

    def add_row(self, *cells: str | Text) -> None:  # type: ignore[override]
        """Add a row; what is a `Text` already keeps its style."""
        super().add_row(*(shown_text(cell) if isinstance(cell, str) else cell for cell in cells))


def shown_text(text: str) -> Text:
    """Return a text for rich as it stands, in which nothing controls the terminal, and of which too long lines are cut."""
    return Text(printable("\n".join(map(shortened, text.split("\n"))), lines=True))


def as_text(renderable: RenderableType, width: int) -> str:
    """Return what rich prints into a console of `width` columns, without colors: for files and pipes."""
    console = Console(width=width, color_system=None)
    with console.capture() as capture:
        console.print(renderable)
    return capture.get()


class ShownAsTable:
    """Mixin of what is returned to users: a notebook shows it as a small table, not as all that it holds."""

    def _repr_html_(self) -> str:
        return as_html(self)


def as_html(shown: Any) -> str:
    """Return HTML of a report: of its tables and lines, as rich or `str` give them, else of the fields of its dataclass.

    Args:
        shown: Something with `__rich__`, a table, a group or a text of rich; an object with a `str` of lines; a dataclass.

    Examples:
        >>> as_html(Text("a sentence: 1 < 2"))
        '<table><tbody><tr><td colspan="2" style="text-align:left">a sentence: 1 &lt; 2</td></tr></tbody></table>'
    """
    parts: list[str] = []
    lines: list[str] = []
    for part in _parts(shown):
        if isinstance(part, Table):
            parts += [_lines(lines), _table(part)]
            lines = []
        else:
            lines += part.split("\n")
    return "".join([*parts, _lines(lines)])


def _parts(shown: Any) -> Iterator[Table | str]:
    if isinstance(shown, (Table, str)):
        yield shown
    elif isinstance(shown, Text):
        yield shown.plain
    elif isinstance(shown, Group):
        for part in shown.renderables:
            yield from _parts(part)
    elif hasattr(shown, "__rich__"):
        yield from _parts(shown.__rich__())
    elif is_dataclass(shown) and type(shown).__str__ is object.__str__:
        yield from (f"{field.name:{_KEY_WIDTH}}  {_brief(getattr(shown, field.name))}" for field in fields(shown))
    else:
        yield str(shown).rstrip("\n")


def _brief(value: Any) -> str:
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"array of {value.dtype}, shape {tuple(value.shape)}"
    text = str(value)
    return text if len(text) <= _CHARACTERS else f"{text[:_CHARACTERS]} ..."


def _table(table: Table) -> str:
    sides = ["right" if column.justify == "right" else "left" for column in table.columns]
    rows = [*zip(*([_plain(cell) for cell in column.cells] for column in table.columns), strict=True)]
    head = _row([column.header for column in table.columns], sides, "th")
    body = "".join(_row(row, sides) for row in rows[:_ROWS])
    foot = f"<tfoot>{_row([column.footer for column in table.columns], sides, 'th')}</tfoot>" if table.show_footer else ""
    title = f"<caption>{html.escape(_plain(table.title))}</caption>" if table.title else ""
    notes = [_plain(table.caption)] if table.caption else []
    if len(rows) > _ROWS:
        notes.append(f"{_ROWS} of {len(rows)} rows")
    return f"<table>{title}<thead>{head}</thead><tbody>{body}</tbody>{foot}</table>{''.join(map(_paragraph, notes))}"


def _lines(lines: Sequence[str]) -> str:
    """Return lines as a table of two columns: names with what belongs to them; a line without a name takes both."""
    rows = ""
    for line in filter(str.strip, lines):
        found = _NAMED.fullmatch(line)
        if found:
            rows += f"<tr>{_cell(found[1], 'left', 'th')}{_cell(found[2], 'left')}</tr>"
        else:
            rows += f'<tr><td colspan="2" style="text-align:left">{html.escape(line.strip())}</td></tr>'
    return f"<table><tbody>{rows}</tbody></table>" if rows else ""


def _row(cells: Iterable[Any], sides: Iterable[str], kind: str = "td") -> str:
    return f"<tr>{''.join(_cell(_plain(cell), side, kind) for cell, side in zip(cells, sides, strict=True))}</tr>"


def _cell(text: str, side: str, kind: str = "td") -> str:
    content = html.escape(text).replace("\n", "<br>")
    return f'<{kind} style="text-align:{side}">{content}</{kind}>'


def _paragraph(text: str) -> str:
    return f"<p>{html.escape(text)}</p>"


def _plain(cell: Any) -> str:
    return cell.plain if isinstance(cell, Text) else str(cell)
