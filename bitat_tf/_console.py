"""What the commands show: tables in terminals, the same as plain text in pipes and files."""

import json
import sys
from typing import Any

from rich import get_console
from rich.console import RenderableType
from rich.markup import escape


def show(report: RenderableType) -> None:
    """Print something with a table: in a terminal as wide as that is, elsewhere in the width that it has as text.

    Args:
        report: Something of rich that is a table in its `str` too: `CheckReport`, `ModelSummary`, `BinarizationPlan`.
    """
    if get_console().is_terminal:
        get_console().print(report)
    else:
        sys.stdout.write(f"{report}\n")  # rich would fold it to 80 columns


def write_json(content: dict[str, Any]) -> None:
    """Print one JSON object."""
    sys.stdout.write(json.dumps(content, indent=2) + "\n")


def show_or_write(report: Any, as_json: bool) -> None:
    """Print a report with a table as `show` does, or as one JSON object."""
    if as_json:
        write_json(report.to_dict())
    else:
        show(report)


def warn(text: str) -> None:
    """Print a warning that nobody overlooks, and that stands in the report as well."""
    get_console().print(f"[bold yellow]WARNING[/] {escape(text)}", highlight=False, soft_wrap=True)
