"""The progress line of a binarization: which layer, which phase, how much time is left."""

import time

from rich import get_console
from rich.console import Console
from rich.markup import escape

from bitat_tf._console import LiveLine
from bitat_tf._printable import message
from bitat_tf.callbacks.schedule import Phase


def format_seconds(seconds: float) -> str:
    """Return a duration as h:mm:ss or m:ss."""
    minutes, rest = divmod(int(round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


class ProgressLine:
    """One line on a terminal or in a notebook; nothing at all where the output goes to a file.

    Where Keras draws its own bar (`fit(verbose=1)`), the two would overwrite each other: there a line is printed at the start
    of every phase instead of one that is kept up to date.

    Args:
        total_steps: Steps of the run.
        live: Whether the line is kept up to date.
        console: Where it is drawn. Default rich's console of the process, so that others can print above the line.
    """

    def __init__(self, total_steps: int, live: bool, console: Console | None = None):
        self._console = console or get_console()
        self._visible = self._console.is_terminal or self._console.is_jupyter
        self._total = total_steps
        self._started = time.monotonic()
        self._first_step: int | None = None
        self._text = ""
        self._line = LiveLine(total_steps, console=self._console) if live else None

    def phase(self, phase: Phase, num_layers: int, step: int) -> None:
        """Show that a phase begins."""
        name = f" [bold]{escape(message(phase.layer))}[/bold]" if phase.layer else ""
        stage = f"layer {phase.stage}/{num_layers}{name}, " if phase.layer else f"all {num_layers} layers, "
        self._text = f"{stage}{phase.kind} phase"
        self.update(step)
        if self._visible and self._line is None:
            self._console.print(f"\n{self._text}{self._left(step)}", highlight=False)

    def update(self, step: int) -> None:
        """Show that `step` steps are done."""
        if self._first_step is None:
            self._first_step = step
        if self._line is not None:
            self._line.update(step, self._text + self._left(step))

    def _left(self, step: int) -> str:
        done = step - (self._first_step or 0)
        if not done:
            return ""
        return f", {format_seconds((time.monotonic() - self._started) / done * (self._total - step))} left"

    def close(self) -> None:
        """End the line."""
        if self._line is not None:
            self._line.close()
