"""What the steps of a delegate took: as objects to compute with and as a table to read."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import overload


@dataclass(frozen=True)
class StepProfile:
    """One step of the delegate: an operator of the file, or several that run as one.

    Attributes:
        name: The operators, joined by "+": `LceBconv2d+ADD+PRELU`.
        nodes: Their numbers in the file.
        output: Name of the tensor that the step writes.
        runs: How often it ran since the last reset; 0 unless the delegate was made with `profile=True`.
        seconds: What all these runs took together.
        macs: Binary multiply-accumulates of one run; 0 for operators that are no convolution.
    """

    name: str
    nodes: tuple[int, ...]
    output: str
    runs: int
    seconds: float
    macs: int

    @property
    def seconds_per_run(self) -> float:
        """Mean duration of a run, 0 if there was none."""
        return self.seconds / self.runs if self.runs else 0.0

    @property
    def macs_per_second(self) -> float:
        """Binary multiply-accumulates per second, 0 if nothing was measured."""
        return self.macs * self.runs / self.seconds if self.seconds > 0 else 0.0


class Profile(Sequence[StepProfile]):
    """The steps of a delegate in the order in which they run; `str()` makes a table of them."""

    def __init__(self, steps: Iterable[StepProfile]):
        self._steps = tuple(steps)

    @classmethod
    def from_json(cls, text: str) -> Profile:
        """Read what the library's `bitat_profile` writes."""
        return cls(
            StepProfile(
                name=step["name"],
                nodes=tuple(step["nodes"]),
                output=step["output"],
                runs=step["runs"],
                seconds=float(step["seconds"]),
                macs=step["macs"],
            )
            for step in json.loads(text)
        )

    @property
    def seconds_per_run(self) -> float:
        """What all the steps take together, each of them run once."""
        return sum(step.seconds_per_run for step in self._steps)

    @property
    def macs(self) -> int:
        """Binary multiply-accumulates of all the steps, each of them run once."""
        return sum(step.macs for step in self._steps)

    @overload
    def __getitem__(self, index: int) -> StepProfile: ...

    @overload
    def __getitem__(self, index: slice) -> Profile: ...

    def __getitem__(self, index: int | slice) -> StepProfile | Profile:
        """Return one step, or the profile of a range of them."""
        return Profile(self._steps[index]) if isinstance(index, slice) else self._steps[index]

    def __len__(self) -> int:
        """Return the number of steps."""
        return len(self._steps)

    def __eq__(self, other: object) -> bool:
        """Compare the steps."""
        return self._steps == other._steps if isinstance(other, Profile) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._steps)

    def __repr__(self) -> str:
        return f"Profile({list(self._steps)!r})"

    def __str__(self) -> str:
        """Return a table with one line for each step and a last line with the sum."""
        if not self._steps:
            return "The delegate runs no step: it took no operator of a file yet."
        total = self.seconds_per_run
        rows = [("step", "nodes", "output", "runs", "ms", "share", "G MAC/s")]
        for step in self._steps:
            rows.append(
                (
                    step.name,
                    ",".join(map(str, step.nodes)),
                    _shortened(step.output),
                    str(step.runs),
                    f"{step.seconds_per_run * 1e3:.4f}" if step.runs else "-",
                    f"{step.seconds_per_run / total:.1%}" if total else "-",
                    f"{step.macs_per_second / 1e9:.0f}" if step.macs_per_second else "-",
                )
            )
        rate = f"{self.macs / total / 1e9:.0f}" if total and self.macs else "-"
        rows.append(("sum", "", "", "", f"{total * 1e3:.4f}" if total else "-", "", rate))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = []
        for row in rows:  # words to the left, numbers to the right
            cells = [cell.ljust(w) if i < 3 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))]
            lines.append("  ".join(cells).rstrip())
        if not any(step.runs for step in self._steps):
            lines.append("Nothing was measured: make the delegate with profile=True and run the file.")
        return "\n".join(lines)


def _shortened(name: str, length: int = 40) -> str:
    # The end of a tensor's name tells more than its beginning, which all of a network's names share.
    return name if len(name) <= length else "..." + name[3 - length :]
