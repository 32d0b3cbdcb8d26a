"""What a benchmark found, as a table."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from rich.console import Group
from rich.table import Table

from bitat_tf._tables import ShownAsTable, TextTable, as_text, shown_text
from bitat_tf.deployment.machine import Machine
from bitat_tf.tflite_file.engines import LCE, RUNTIME

_WIDTH = 150
_BUSY = 0.1


@dataclass(frozen=True)
class Timing:
    """One file in one interpreter, with one kernel and one number of threads.

    Attributes:
        file: Name of the file; the first one of a report is the file under test.
        size: Its bytes.
        engine: What runs it: "bitat-runtime" in TensorFlow Lite's interpreter, "larq-compute-engine", or "TensorFlow Lite".
        kernel: Kernel of `LceBconv2d`: "indirect", "default" or "reference"; of bitat-runtime the family, "avx2" or another.
            None where TensorFlow Lite runs the file.
        xnnpack: Whether the operators that XNNPACK knows are run by it.
        threads: Number of threads that the interpreter may use.
        input_shape: Shape of the (first) input, the batch included.
        seconds: What each run took, in the order of the runs; empty if the file cannot be run in this way.
        difference: Of the file under test the largest absolute difference of an output from that of its first kernel. A value
            on the threshold of a sign may round to its other side in another interpreter.
        error: Why it cannot be run; empty if it can.
    """

    file: str
    size: int
    engine: str
    kernel: str | None
    xnnpack: bool
    threads: int
    input_shape: tuple[int, ...]
    seconds: tuple[float, ...]
    difference: float | None = None
    error: str = ""

    @property
    def label(self) -> str:
        """What runs it: "indirect", "default, XNNPACK", "TensorFlow Lite, XNNPACK", "bitat-runtime, avx2"."""
        if self.engine == RUNTIME:  # XNNPACK runs its float operators always
            return ", ".join(filter(None, (self.engine, self.kernel)))
        return (self.kernel or self.engine) + (", XNNPACK" if self.xnnpack else "")

    @property
    def median(self) -> float:
        """Median of the seconds; NaN without runs."""
        return float(np.median(self.seconds)) if self.seconds else float("nan")

    @property
    def minimum(self) -> float:
        """Smallest of the seconds; NaN without runs."""
        return min(self.seconds, default=float("nan"))

    @property
    def spread(self) -> float:
        """Seconds between the first and the third quartile; NaN without runs."""
        return float(np.subtract(*np.percentile(self.seconds, (75, 25)))) if self.seconds else float("nan")


@dataclass(frozen=True)
class BenchmarkReport(ShownAsTable):
    """Result of `benchmark`. Prints as a table.

    Attributes:
        name: Name of the file under test.
        timings: One for each file, kernel and number of threads.
        order: Indices of `timings` in the order in which they were run.
        runs: Number of runs that were asked for.
        machine: Where it was measured.
        twins: Whether twins of the network are among the files.
        foreign: How many cores other programs used, on average, while the files were timed; None where that is not known.
        runtime_obstacle: Why bitat-runtime was not measured; None if it was, or is not for this file.
    """

    name: str
    timings: tuple[Timing, ...]
    order: tuple[int, ...]
    runs: int
    machine: Machine
    twins: bool = False
    foreign: float | None = None
    runtime_obstacle: str | None = None

    def fastest(self, threads: int) -> Timing | None:
        """Return the fastest kernel of the file under test with a number of threads; None if none of them ran."""
        ran = [one for one in self.timings if one.file == self.name and one.threads == threads and one.seconds]
        return min(ran, key=lambda one: one.median, default=None)

    def ratio(self, timing: Timing) -> float | None:
        """Return how many times as long as the fastest kernel of the file under test, with as many threads, a timing takes."""
        fastest = self.fastest(timing.threads)
        return timing.median / fastest.median if fastest and timing.seconds else None

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values for JSON: "name", "runs", "timings", "order", "machine", "foreign", "remarks"."""
        timings = [
            {
                **asdict(timing),
                "input_shape": [*timing.input_shape],
                "seconds": [*timing.seconds],
                **{name: getattr(timing, name) if timing.seconds else None for name in ("median", "minimum", "spread")},
                "ratio": self.ratio(timing),
            }
            for timing in self.timings
        ]
        return {
            "name": self.name,
            "runs": self.runs,
            "timings": timings,
            "order": [*self.order],
            "machine": asdict(self.machine),
            "foreign": self.foreign,
            "remarks": self.remarks(),
        }

    def table(self) -> Table:
        """Return the table for a terminal or a notebook."""
        table = TextTable(title=self.name)
        columns: tuple[tuple[str, Literal["left", "right"]], ...] = (
            ("threads", "right"),
            ("file", "left"),
            ("kernel", "left"),
            ("median\nms", "right"),
            ("minimum\nms", "right"),
            ("quartiles\nms apart", "right"),
            ("times its\nfastest", "right"),
            ("runs", "right"),
            ("largest\ndifference", "right"),
            ("kB", "right"),
        )
        for name, justify in columns:
            table.add_column(name, justify=justify, overflow="fold", no_wrap=name != "file")
        before = None
        for timing in self.timings:
            if before is not None and timing.threads != before:
                table.add_section()
            before = timing.threads
            ratio = self.ratio(timing)
            table.add_row(
                str(timing.threads),
                timing.file,
                timing.label,
                _milliseconds(timing.median),
                _milliseconds(timing.minimum),
                _milliseconds(timing.spread),
                "-" if ratio is None else f"{ratio:.2f}",
                str(len(timing.seconds)) if timing.seconds else "failed",
                "-" if timing.difference is None else f"{timing.difference:.1e}",
                f"{timing.size / 1024:,.1f}",
            )
        return table

    def lines(self) -> list[str]:
        """Return what stands below the table: the machine and the remarks."""
        machine = self.machine
        load = "not known" if machine.load is None else f"{machine.load:.2f}"
        foreign = "not known how many cores" if self.foreign is None else f"{self.foreign:.2f} cores"
        versions = ", ".join(f"{name} {number}" for name, number in machine.versions.items())
        return [
            f"machine   {machine.cpu}, {machine.architecture}, {machine.cores} cores, {machine.system}",
            f"load      {load} on average over the minute before; {foreign} used by other programs meanwhile",
            f"versions  {versions}",
            *self.remarks(),
        ]

    def remarks(self) -> list[str]:
        """Return what the figures cannot say by themselves."""
        machine = self.machine
        remarks = []
        engines = {timing.engine for timing in self.timings}
        if not machine.arm64 and LCE in engines:
            remarks.append(
                f"The kernels of larq-compute-engine are made for 64-bit ARM only. On this {machine.architecture} its portable "
                "ones were measured, against optimized float and int8 ones: the ratios say nothing about a phone."
            )
        if self.foreign is not None and self.foreign >= _BUSY:
            remarks.append(
                f"Other programs used {self.foreign:.2f} cores meanwhile: the figures may be too high, most of all those with "
                "several threads. Repeat it on an idle machine."
            )
        threads = max(timing.threads for timing in self.timings)
        if threads > machine.cores:
            remarks.append(f"There are fewer cores ({machine.cores}) than threads ({threads}).")
        if threads > 1 and LCE in engines:
            remarks.append(f"{LCE}'s indirect and reference kernels use one thread; further ones serve the other operators.")
        fewer = [f"{self._place(one)} {len(one.seconds)}" for one in self.timings if 0 < len(one.seconds) < self.runs]
        if fewer:
            remarks.append(f"Slow ones had fewer than {self.runs} runs, spread over all rounds: {', '.join(fewer)}.")
        remarks += [f"Failed: {self._place(timing)}: {timing.error}." for timing in self.timings if timing.error]
        shapes = {timing.file: timing.input_shape for timing in self.timings if timing.seconds}
        if len(set(shapes.values())) > 1:
            listed = ", ".join(f"{file} {'x'.join(map(str, shape))}" for file, shape in shapes.items())
            remarks.append(f"The inputs differ, so the files do not do the same work: {listed}.")
        if self.runtime_obstacle and any(one.file == self.name and one.engine == LCE for one in self.timings):
            remarks.append(f"Not measured: {RUNTIME}, which {self.runtime_obstacle}.")
        if self.twins:
            remarks.append(
                "The twins are the same network with ordinary kernels, for time and size; their outputs mean nothing."
            )
        return remarks

    def _place(self, timing: Timing) -> str:
        return f"{timing.file} ({timing.label}, {timing.threads} {'thread' if timing.threads == 1 else 'threads'})"

    def __rich__(self) -> Group:
        return Group(self.table(), *map(shown_text, self.lines()))

    def __str__(self) -> str:
        return as_text(self, _WIDTH)


def _milliseconds(seconds: float) -> str:
    return "-" if np.isnan(seconds) else f"{1000 * seconds:,.4g}"
