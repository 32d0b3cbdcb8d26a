"""What is shown: tables in terminals, the same as plain text in pipes and files; a line that is kept up to date."""

import atexit
import json
import sys
import time
from typing import Any

from rich import get_console
from rich.console import Console, RenderableType
from rich.markup import escape, render
from rich.progress import BarColumn, Progress, TextColumn

from bitat_tf._printable import message
from bitat_tf._tables import shown_text

_SECONDS = 0.2  # between two states of a line in a notebook
_BAR = 30  # characters


def show(report: RenderableType) -> None:
    """Print something with a table: in a terminal as wide as that is, elsewhere in the width that it has as text.

    Args:
        report: Something of rich that is a table in its `str` too: `CheckReport`, `ModelSummary`, `BinarizationPlan`.
    """
    if get_console().is_terminal:
        get_console().print(report)
    else:
        say(str(report))  # as a table rich would fold it to 80 columns


def say(text: str) -> None:
    """Print lines as they stand, with names of strangers in them."""
    get_console().print(shown_text(text), soft_wrap=True)


def write_json(content: dict[str, Any]) -> None:
    """Print one JSON object."""
    sys.stdout.write(json.dumps(content, indent=2) + "\n")


def show_or_write(report: Any, as_json: bool) -> None:
    """Print a report with a table as `show` does, or as one JSON object."""
    if as_json:
        write_json(report.to_dict())
    else:
        show(report)


def warn(text: str, to_stderr: bool = False) -> None:
    """Print a warning that nobody overlooks, and that stands in the report as well."""
    console = Console(stderr=True) if to_stderr else get_console()
    console.print(f"[bold yellow]WARNING[/] {escape(message(text))}", highlight=False, soft_wrap=True)


class LiveLine:
    """A line that is kept up to date: with a bar in a terminal, as text in a notebook; nothing where the output goes to a file.

    In notebooks rich would draw with ipywidgets, and ask for them where they are not installed.

    Args:
        total: What is complete.
        text: What stands at its beginning.
        transient: Whether it disappears at the end.
        shown: Whether it is shown at all.
        console: Where it is drawn. Default rich's console of the process, so that others can print above the line.
    """

    def __init__(
        self, total: float, text: str = "", transient: bool = False, shown: bool = True, console: Console | None = None
    ):
        console = console or get_console()
        self._open = shown and (console.is_terminal or console.is_jupyter)
        if not self._open:
            return
        self._line = _NotebookLine(total, transient) if console.is_jupyter else _TerminalLine(total, transient, console)
        self.update(0, text)
        atexit.register(self.close)  # an exception must not leave the terminal without its cursor

    def update(self, completed: float, text: str) -> None:
        """Show how much of the total is done.

        Args:
            completed: How much.
            text: What stands at the beginning, with rich's markup.
        """
        if self._open:
            self._line.update(completed, text)

    def close(self) -> None:
        """End the line."""
        if self._open:
            self._line.close()
            self._open = False
            atexit.unregister(self.close)


class _TerminalLine:
    def __init__(self, total: float, transient: bool, console: Console):
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%"),
            console=console,
            transient=transient,
            # An exception may leave the line open: it must not keep the user's standard output.
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._task = self._bar.add_task("", total=total)
        self._bar.start()

    def update(self, completed: float, text: str) -> None:
        self._bar.update(self._task, completed=completed, description=text)

    def close(self) -> None:
        self._bar.stop()


class _NotebookLine:
    def __init__(self, total: float, transient: bool):
        from IPython.display import display  # there is one where there is a notebook

        self._total = total
        self._transient = transient
        self._text = ""
        self._shown = 0.0
        self._handle = display(_Plain(""), display_id=True)

    def update(self, completed: float, text: str) -> None:
        share = completed / self._total if self._total else 1.0
        done = round(share * _BAR)
        self._text = f"{render(text).plain} {'━' * done}{' ' * (_BAR - done)} {share:4.0%}"
        if time.monotonic() >= self._shown + _SECONDS:
            self._show(self._text)

    def close(self) -> None:
        self._show("" if self._transient else self._text)

    def _show(self, text: str) -> None:
        self._shown = time.monotonic()
        if self._handle is not None:  # none outside of IPython
            self._handle.update(_Plain(text))


class _Plain:
    """A text that IPython displays as it stands."""

    def __init__(self, text: str):
        self._text = text

    def __repr__(self) -> str:
        return self._text
