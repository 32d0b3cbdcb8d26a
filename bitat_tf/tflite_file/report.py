"""What `inspect` found in a file, as values and as a table with lines below it."""

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any, Literal

from rich.console import Group
from rich.table import Table

from bitat_tf._tables import ShownAsTable, TextTable, as_text, shown_text
from bitat_tf.tflite_file.operators import Operator, Shape, Tensor
from bitat_tf.tflite_file.reasons import LeftOperator

_WIDTH = 150


@dataclass(frozen=True)
class TensorSpec:
    """An input or an output of a network.

    Attributes:
        name: Name of its tensor.
        type: "float32", "int8", ...
        shape: The batch included.
        scale, zero_point: value = scale * (number - zero_point); None where numbers are the values.
    """

    name: str
    type: str
    shape: Shape
    scale: float | None
    zero_point: int | None


@dataclass(frozen=True)
class FileTotals:
    """What all operators take.

    Attributes:
        parameters: Number of weights.
        constant_bytes: Bytes of all constants, each counted once.
        macs, binary_macs, float_macs, int8_macs: Multiply-accumulates of a sample.
        binary_mac_share: binary_macs / macs; 0 without any.
        binary_convolutions: Number of `LceBconv2d`.
        expected_binary: How many there must be, as the exporter wrote it into the file; None in files of another origin.
        elementwise: Number of float element-wise operators between binary ones and around them.
        elementwise_per_convolution: elementwise / binary_convolutions; None without any.
    """

    parameters: int
    constant_bytes: int
    macs: int
    binary_macs: int
    float_macs: int
    int8_macs: int
    binary_mac_share: float
    binary_convolutions: int
    expected_binary: int | None
    elementwise: int
    elementwise_per_convolution: float | None


@dataclass(frozen=True)
class FileReport(ShownAsTable):
    """Result of `inspect`. Prints as a table.

    Attributes:
        path: The file.
        size: Its size in bytes.
        sha256: Its hash.
        sealed: Whether it has a seal of bitat_tf; the content agrees with it.
        facts: What bitat_tf wrote into it beside the network (name, versions, classes, pixels, ...); empty in other files.
        engine: What was asked whether it takes the file: "bitat-runtime" or "larq-compute-engine"; None if none is installed.
        loadable: Whether it does; None if none is installed.
        obstacle: Why it does not; None if it does.
        inputs, outputs: Of the network.
        operators: In order of execution.
        left: Float operators between binary ones, float convolutions with a binary kernel, and `LceDequantize`, with reasons.
        totals: Sums over all operators.
        remarks: What the report does not show, and why.
    """

    path: str
    size: int
    sha256: str
    sealed: bool
    facts: dict[str, Any]
    engine: str | None
    loadable: bool | None
    obstacle: str | None
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    operators: tuple[Operator, ...]
    left: tuple[LeftOperator, ...]
    totals: FileTotals
    remarks: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values for JSON."""
        return asdict(self)

    def __rich__(self) -> Group:
        return Group(_table(self), *map(shown_text, _lines(self)))

    def __str__(self) -> str:
        return as_text(self, _WIDTH)


def _table(report: FileReport) -> Table:
    """Return the table of the operators for a terminal or a notebook."""
    table = TextTable(title=str(report.facts.get("name") or report.path), show_footer=True)
    totals = report.totals
    columns: tuple[tuple[str, Literal["left", "right"], str], ...] = (
        ("", "right", str(len(report.operators))),
        ("operator", "left", ""),
        ("output", "left", ""),
        ("arith-\nmetic", "left", ""),
        ("reads", "right", ""),
        ("writes", "right", ""),
        ("params", "right", _short_count(totals.parameters)),
        ("kB", "right", f"{totals.constant_bytes / 1024:,.1f}"),
        ("MACs", "right", _short_count(totals.macs)),
        ("why\nfloat", "right", f"{len(report.left)}"),
    )
    for name, justify, footer in columns:
        table.add_column(name, footer, justify=justify, overflow="fold", no_wrap=name not in ("operator", "output"))
    numbers = {reason: number for number, (reason, _) in enumerate(_reasons(report), 1)}
    why = {left.index: f"[{numbers[left.reason]}]" for left in report.left}
    for operator in report.operators:
        cells = (
            str(operator.index),
            operator.name,
            _short_name(operator),
            operator.arithmetic,
            "\n".join(_tensor(tensor) for tensor in operator.inputs),
            "\n".join(_tensor(tensor) for tensor in operator.outputs),
            _short_count(operator.parameters),
            f"{operator.constant_bytes / 1024:,.1f}",
            _short_count(operator.macs),
            why.get(operator.index, ""),
        )
        table.add_row(*cells)
    return table


def _lines(report: FileReport) -> list[str]:
    """Return what stands below the table: the file, the totals, and the reasons of the float operators."""
    totals = report.totals
    expected = "" if totals.expected_binary is None else f" of {totals.expected_binary} expected"
    average = totals.elementwise_per_convolution
    lines = [
        f"file            {report.path}",
        f"size            {report.size:,} bytes, {totals.constant_bytes:,} of them constants",
        f"sha256          {report.sha256}",
        f"seal            {'whole: as bitat_tf wrote it' if report.sealed else 'none: damage to weights would not be seen'}",
        *(f"{'input' if spec in report.inputs else 'output':16}{_spec(spec)}" for spec in (*report.inputs, *report.outputs)),
        *_fact_lines(report),
        f"binary kernels  {totals.binary_convolutions}{expected} LceBconv2d",
        f"MACs            {totals.macs:,}, {totals.binary_mac_share:.2%} of them binary; "
        f"float: {totals.float_macs:,}, int8: {totals.int8_macs:,}",
        f"element-wise    {totals.elementwise} float operators between and around binary ones"
        + ("" if average is None else f", {average:.1f} for each LceBconv2d"),
        f"loadable        {_loadable(report)}",
        *report.remarks,
    ]
    if report.left:
        lines += ["", "Why float operators are left:"]
    for number, (reason, kinds) in enumerate(_reasons(report), 1):
        counted = ", ".join(f"{count} {name}" for name, count in sorted(kinds.items()))
        lines.append(f"[{number}] {counted}: {reason}")
    return lines


def _loadable(report: FileReport) -> str:
    if report.loadable is None:
        return "not tried: neither bitat-runtime nor larq-compute-engine is installed"
    return f"yes, by {report.engine}" if report.loadable else f"no, not by {report.engine}: {report.obstacle}"


def _short_name(operator: Operator) -> str:
    """Return the name of an operator's output without that of the model and of the layers that are fused into it."""
    name = operator.output.split(";")[0]
    return name.split("/", 1)[-1]


def _short_count(number: int) -> str:
    """Return a number that fits into a column: 12,345 or 12.3 M."""
    return f"{number:,}" if number < 1_000_000 else f"{number / 1e6:,.1f} M"


def _shape_text(shape: tuple[int, ...]) -> str:
    """Return 1x8x8x32; "scalar" for ()."""
    return "x".join(map(str, shape)) or "scalar"


def _tensor(tensor: Tensor) -> str:
    return f"{tensor.type} {_shape_text(tensor.shape)}"


def _spec(spec: TensorSpec) -> str:
    scale = "" if spec.scale is None else f", {spec.scale:.6g} * (number - {spec.zero_point or 0})"
    return f"{spec.name}: {spec.type} {_shape_text(spec.shape)}{scale}"


def _fact_lines(report: FileReport) -> list[str]:
    facts = report.facts
    lines = []
    if facts.get("pixels"):
        lines.append(f"pixels          {facts['pixels']}")
    if facts.get("classes"):
        lines.append(f"classes         {len(facts['classes'])}")
    if facts.get("float_layers"):
        lines.append(f"still float     {', '.join(map(str, facts['float_layers']))}")
    if isinstance(facts.get("versions"), dict):
        lines.append(f"versions        {', '.join(f'{name} {version}' for name, version in facts['versions'].items())}")
    return lines


def _reasons(report: FileReport) -> list[tuple[str, Counter[str]]]:
    """Return each reason with the number of operators of each kind, the most frequent first."""
    found: dict[str, Counter[str]] = {}
    for left in report.left:
        found.setdefault(left.reason, Counter())[left.name] += 1
    return sorted(found.items(), key=lambda item: -sum(item[1].values()))
