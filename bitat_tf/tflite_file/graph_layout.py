"""Where the boxes of a picture of a network stand: one below the other, in several columns if there are many."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

from bitat_tf.tflite_file.report import FileReport

BOX_WIDTH, BOX_HEIGHT = 2.6, 0.2  # inches
ROW_HEIGHT, GUTTER = 0.3, 0.6
_ASPECT = 1.5  # of the picture, width to height
_SLACK = 0.15  # share of a column by which it may be longer or shorter, to end where few lines cross


@dataclass(frozen=True)
class Box:
    """A box of the picture; the first one is what comes into the network, the last one what comes out.

    Attributes:
        column, row: Its place.
        operator: Index of the operator that it stands for; None of the first and the last one.
    """

    column: int
    row: int
    operator: int | None

    @property
    def left(self) -> float:
        """Its left side, in inches."""
        return GUTTER + self.column * (BOX_WIDTH + GUTTER)

    @property
    def middle(self) -> float:
        """Its middle, in inches below the top."""
        return (self.row + 0.5) * ROW_HEIGHT


@dataclass(frozen=True)
class Layout:
    """Boxes, in order of execution, and the lines between them.

    Attributes:
        boxes: The boxes.
        lines: Pairs of numbers of boxes: from where, to where.
        width, height: In inches.
    """

    boxes: tuple[Box, ...]
    lines: tuple[tuple[int, int], ...]
    width: float
    height: float

    def is_shortcut(self, line: tuple[int, int]) -> bool:
        """Return whether a line passes over boxes."""
        return line[1] != line[0] + 1


def lay_out(report: FileReport) -> Layout:
    """Return where the operators of a report stand in its picture."""
    lines = _lines(report)
    count = len(report.operators) + 2
    breaks = _breaks(count, lines)
    boxes = []
    for column, (start, stop) in enumerate(zip(breaks, breaks[1:], strict=False)):
        for row, number in enumerate(range(start, stop)):
            boxes.append(Box(column, row, number - 1 if 0 < number < count - 1 else None))
    rows = max(stop - start for start, stop in zip(breaks, breaks[1:], strict=False))
    return Layout(tuple(boxes), lines, GUTTER + (len(breaks) - 1) * (BOX_WIDTH + GUTTER), rows * ROW_HEIGHT)


def _lines(report: FileReport) -> tuple[tuple[int, int], ...]:
    """Return the lines between boxes; the box of operator i has the number i + 1."""
    last = len(report.operators) + 1
    lines = {(source + 1, operator.index + 1) for operator in report.operators for source in operator.sources}
    names = {spec.name for spec in report.outputs}
    for operator in report.operators:
        if any(tensor.name in names for tensor in operator.outputs):
            lines.add((operator.index + 1, last))
    return tuple(sorted(line for line in lines if line[0] < line[1]))


def _breaks(count: int, lines: Sequence[tuple[int, int]]) -> list[int]:
    """Return the number of the first box of each column, and the number after the last box."""
    columns = max(1, round(sqrt(count * ROW_HEIGHT * _ASPECT / (BOX_WIDTH + GUTTER))))
    length = count / columns
    crossing = _crossing(count, lines)
    breaks = [0]
    for column in range(1, columns):
        ideal = round(column * length)
        slack = int(_SLACK * length)
        choices = [number for number in range(ideal - slack, ideal + slack + 1) if breaks[-1] < number < count]
        # Of equally good places the nearest to the ideal one.
        breaks.append(min((crossing[number], abs(number - ideal), number) for number in choices)[-1])
    return [*breaks, count]


def _crossing(count: int, lines: Sequence[tuple[int, int]]) -> list[int]:
    """Return for each box how many lines pass between it and the one before."""
    changes = [0] * (count + 1)
    for start, stop in lines:
        changes[start + 1] += 1
        changes[stop + 1] -= 1
    crossing, total = [], 0
    for change in changes:
        total += change
        crossing.append(total)
    return crossing
