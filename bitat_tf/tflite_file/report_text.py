"""A report of a file as a table and as lines."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Literal

from rich.table import Table
from rich.text import Text

from bitat_tf.tflite_file.operators import Operator, Tensor

if TYPE_CHECKING:
    from bitat_tf.tflite_file.report import FileReport, TensorSpec

WIDTH = 150


def report_table(report: FileReport) -> Table:
    """Return the table of the operators for a terminal or a notebook."""
    table = Table(title=Text(str(report.facts.get("name") or report.path)), show_footer=True)
    totals = report.totals
    columns: tuple[tuple[str, Literal["left", "right"], str], ...] = (
        ("", "right", str(len(report.operators))),
        ("operator", "left", ""),
        ("output", "left", ""),
        ("arith-\nmetic", "left", ""),
        ("reads", "right", ""),
        ("writes", "right", ""),
        ("params", "right", short_count(totals.parameters)),
        ("kB", "right", f"{totals.constant_bytes / 1024:,.1f}"),
        ("MACs", "right", short_count(totals.macs)),
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
            short_name(operator),
            operator.arithmetic,
            "\n".join(_tensor(tensor) for tensor in operator.inputs),
            "\n".join(_tensor(tensor) for tensor in operator.outputs),
            short_count(operator.parameters),
            f"{operator.constant_bytes / 1024:,.1f}",
            short_count(operator.macs),
            why.get(operator.index, ""),
        )
        table.add_row(*map(Text, cells))  # as it stands: names may hold what rich takes for markup
    return table


def report_lines(report: FileReport) -> list[str]:
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
        f"loadable        {'yes, by larq-compute-engine' if report.loadable else 'no: ' + str(report.obstacle)}",
        *report.remarks,
    ]
    if report.left:
        lines += ["", "Why float operators are left:"]
    for number, (reason, kinds) in enumerate(_reasons(report), 1):
        counted = ", ".join(f"{count} {name}" for name, count in sorted(kinds.items()))
        lines.append(f"[{number}] {counted}: {reason}")
    return lines


def short_name(operator: Operator) -> str:
    """Return the name of an operator's output without that of the model and of the layers that are fused into it."""
    name = operator.output.split(";")[0]
    return name.split("/", 1)[-1]


def short_count(number: int) -> str:
    """Return a number that fits into a column: 12,345 or 12.3 M."""
    return f"{number:,}" if number < 1_000_000 else f"{number / 1e6:,.1f} M"


def shape_text(shape: tuple[int, ...]) -> str:
    """Return 1x8x8x32; "scalar" for ()."""
    return "x".join(map(str, shape)) or "scalar"


def _tensor(tensor: Tensor) -> str:
    return f"{tensor.type} {shape_text(tensor.shape)}"


def _spec(spec: TensorSpec) -> str:
    scale = "" if spec.scale is None else f", {spec.scale:.6g} * (number - {spec.zero_point or 0})"
    return f"{spec.name}: {spec.type} {shape_text(spec.shape)}{scale}"


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
