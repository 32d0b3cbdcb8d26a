"""The profile that larq-compute-engine's benchmark program prints, as a table."""

import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

_OWN_PREFIX = "Lce"
_REGULAR = "Operator-wise Profiling Info for Regular Benchmark Runs"
_TITLE = re.compile(r"={10,} (?P<title>[^=]+?) ={10,}")
_TIMINGS = re.compile(r"Inference timings in us:(?P<pairs>.*)")
_NUMBER = r"[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?"
_OPERATOR = frozenset(("node type", "avg ms", "%", "name"))
_KIND = frozenset(("node type", "count", "avg ms", "avg %"))
_TIMING_NAMES = {
    "initialization_ms": "Init",
    "first_ms": "First inference",
    "warmup_ms": "Warmup (avg)",
    "inference_ms": "Inference (avg)",
}


@dataclass(frozen=True)
class OperatorTime:
    """The time of one operator of the file.

    Attributes:
        name: Name of its output as the benchmark prints it: "[tensor]:number".
        node_type: "LceBconv2d", "CONV_2D", ..., or the delegate that took its place.
        milliseconds: Average of a run.
        percent: Share of the time of a run.
    """

    name: str
    node_type: str
    milliseconds: float
    percent: float


@dataclass(frozen=True)
class TypeTime:
    """The time of all operators of a type: their number, the average of a run, the share of a run."""

    node_type: str
    count: int
    milliseconds: float
    percent: float


@dataclass(frozen=True)
class ProfileReport:
    """What the benchmark program measured.

    Attributes:
        operators: Operators in order of execution.
        types: Their sums by type, the slowest first, as the program printed them.
        delegated: What a delegate (XNNPACK) did inside, in order of execution; its time is part of `operators` already.
        binary_ms: Time of larq-compute-engine's operators (`Lce...`): binary convolutions, and packing signs into bits.
        other_ms: Time of all others, float or int8.
        initialization_ms, first_ms, warmup_ms, inference_ms: Times of the line "Inference timings in us"; the last one is the
            average of a run, with what the profiler itself takes. None if the line is not there.
    """

    operators: tuple[OperatorTime, ...]
    types: tuple[TypeTime, ...]
    delegated: tuple[OperatorTime, ...]
    binary_ms: float
    other_ms: float
    initialization_ms: float | None = None
    first_ms: float | None = None
    warmup_ms: float | None = None
    inference_ms: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain values, for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        return self.table()

    def table(self) -> str:
        """Return the types and the two sums as a table of Markdown."""
        total = max(self.binary_ms + self.other_ms, 1e-12)
        lines = ["| operators | number | ms | % |", "|---|--:|--:|--:|"]
        lines += [f"| {row.node_type} | {row.count} | {row.milliseconds:.3f} | {row.percent:.1f} |" for row in self.types]
        for name, value, binary in (("binary", self.binary_ms, True), ("others", self.other_ms, False)):
            count = sum(row.count for row in self.types if row.node_type.startswith(_OWN_PREFIX) == binary)
            lines.append(f"| **{name}** | {count} | {value:.3f} | {100 * value / total:.1f} |")
        if self.inference_ms is not None:
            lines += ["", f"Average of a run: {self.inference_ms:.3f} ms."]
        return "\n".join(lines)


def parse_profile(text: str) -> ProfileReport:
    r"""Return what `lce_benchmark_model --enable_op_profiling=true` printed as a report.

    Args:
        text: What the program wrote, as it is, with other lines around it if need be.

    Returns:
        A `ProfileReport` of the regular runs; the profile of the initialization is passed over.

    Raises:
        ValueError: If the profile is not there, cut off, or not of the form that TensorFlow Lite prints.

    Examples:
        >>> lines = ["Operator-wise Profiling Info for Regular Benchmark Runs:"]
        >>> lines += ["============================== Run Order =============================="]
        >>> lines += ["\t[node type]\t[first]\t[avg ms]\t[%]\t[cdf%]\t[mem KB]\t[times called]\t[Name]"]
        >>> lines += ["\tLceBconv2d\t3.0\t3.0\t75.0%\t75.0%\t0.0\t1\t[a]:0"]
        >>> lines += ["\tADD\t1.0\t1.0\t25.0%\t100.0%\t0.0\t1\t[b]:1", ""]
        >>> lines += ["============================== Summary by node type =============================="]
        >>> lines += ["\t[Node type]\t[count]\t[avg ms]\t[avg %]\t[cdf %]\t[mem KB]\t[times called]"]
        >>> lines += ["\tLceBconv2d\t1\t3.0\t75.0%\t75.0%\t0.0\t1", "\tADD\t1\t1.0\t25.0%\t100.0%\t0.0\t1", ""]
        >>> report = parse_profile("\n".join(lines))
        >>> report.binary_ms, report.other_ms
        (3.0, 1.0)
    """
    if not isinstance(text, str):
        raise TypeError(f"parse_profile: expected the text that the benchmark printed. Received: {type(text).__name__}.")
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    start = next((number for number, line in enumerate(lines) if _REGULAR in line), None)
    if start is None:
        what = "an empty text" if not text.strip() else f"{len(lines)} lines without it"
        raise ValueError(
            f"parse_profile: the profile must be there, which starts with {_REGULAR!r}. Received: {what}. Run "
            "lce_benchmark_model with --enable_op_profiling=true, to its end."
        )
    end = next((number for number in range(start, len(lines)) if "Delegate internal:" in lines[number]), len(lines))
    main, inner = lines[start:end], lines[end:]
    operators = tuple(map(_operator, _rows(main, "Run Order", _OPERATOR)))
    types = tuple(map(_type, _rows(main, "Summary by node type", _KIND)))
    _check_complete(operators, types)
    binary = sum(row.milliseconds for row in operators if row.node_type.startswith(_OWN_PREFIX))
    return ProfileReport(
        operators=operators,
        types=types,
        delegated=tuple(map(_operator, _rows(inner, "Run Order", _OPERATOR))) if inner else (),
        binary_ms=binary,
        other_ms=sum(row.milliseconds for row in operators) - binary,
        **_timings(lines),
    )


def _rows(lines: list[str], title: str, columns: frozenset[str]) -> list[dict[str, str]]:
    """Return the rows of the first table of a title, by the names in its head, which differ between versions."""
    number = next((number for number, line in enumerate(lines) if _title(line) == title), None)
    if number is None or number + 1 == len(lines):
        raise ValueError(f"parse_profile: the profile must have the table {title!r}. Received: one that is cut off before it.")
    names = [name.strip("[]").lower() for name in _cells(lines[number + 1])]
    if not columns <= set(names):
        raise ValueError(
            f"parse_profile: the table {title!r} must have the columns {sorted(columns)}. "
            f"Received: {lines[number + 1].strip()[:90]!r}. "
            "A profile that was written as CSV is not read."
        )
    rows: list[dict[str, str]] = []
    for line in lines[number + 2 :]:
        if not line.strip():
            return rows
        cells = _cells(line)
        if len(cells) != len(names):
            raise ValueError(
                f"parse_profile: each line of the table {title!r} must have {len(names)} columns. "
                f"Received: {len(cells)} in {line.strip()[:100]!r}. The profile was cut off or changed."
            )
        rows.append(dict(zip(names, cells, strict=True)))
    raise ValueError(
        f"parse_profile: the table {title!r} must end with an empty line. Received: a profile that ends within it."
    )


def _title(line: str) -> str | None:
    match = _TITLE.search(line)
    return match["title"] if match else None


def _cells(line: str) -> list[str]:
    """Return the columns: separated by tabs, or, where a terminal has replaced them, by two spaces at least."""
    line = line.strip()
    return [cell.strip() for cell in (re.split(r"\t+", line) if "\t" in line else re.split(r" {2,}|(?<=\]) (?=\[)", line))]


def _operator(row: dict[str, str]) -> OperatorTime:
    return OperatorTime(row["name"], row["node type"], _number(row, "avg ms"), _number(row, "%"))


def _type(row: dict[str, str]) -> TypeTime:
    return TypeTime(row["node type"], int(_number(row, "count")), _number(row, "avg ms"), _number(row, "avg %"))


def _number(row: dict[str, str], name: str) -> float:
    text = row[name].removesuffix("%")
    if re.fullmatch(r"[-+]?nan", text):
        return 0.0  # a share of no time at all
    if not re.fullmatch(_NUMBER, text):
        raise ValueError(f"parse_profile: the column [{name}] must hold numbers. Received: {text!r} of {row['node type']!r}.")
    return float(text)


def _check_complete(operators: Iterable[OperatorTime], types: Iterable[TypeTime]) -> None:
    """Raise ValueError unless both tables hold equally many operators of each type."""
    found: dict[str, int] = {}
    for operator in operators:
        found[operator.node_type] = found.get(operator.node_type, 0) + 1
    summed = {row.node_type: row.count for row in types}
    if not found or found != summed:
        raise ValueError(
            f"parse_profile: both tables must hold the same operators. Received: {found} in the run order, {summed} in the "
            "summary. The profile was cut off or changed."
        )


def _timings(lines: list[str]) -> dict[str, float | None]:
    match = next((match for match in map(_TIMINGS.search, lines) if match), None)
    if match is None:
        return {}
    found: dict[str, float | None] = {}
    for key, name in _TIMING_NAMES.items():
        value = re.search(re.escape(name) + rf": ({_NUMBER})(?=,|\s|$)", match["pairs"])
        found[key] = float(value[1]) / 1000 if value else None
    return found
