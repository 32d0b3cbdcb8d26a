"""Tables of rich as text."""

from rich.console import Console, RenderableType


def as_text(renderable: RenderableType, width: int) -> str:
    """Return what rich prints into a console of `width` columns, without colors: for files and pipes."""
    console = Console(width=width, color_system=None)
    with console.capture() as capture:
        console.print(renderable)
    return capture.get()
