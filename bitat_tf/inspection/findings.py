"""What `check` finds in a model."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from bitat_tf._tables import ShownAsTable, TextTable, as_text
from bitat_tf.inspection.outlook import Outlook

ERROR, WARNING, NOTE = "error", "warning", "note"
SEVERITIES = (ERROR, WARNING, NOTE)
_STYLES = {ERROR: "bold red", WARNING: "yellow", NOTE: "dim"}
_SHOWN_LAYERS = 4


@dataclass(frozen=True)
class Finding:
    """One rule that a layer does not follow.

    Attributes:
        rule: Number of the rule, as in docs/rules.md.
        severity: "error" (a layer that is meant to be binary cannot be, or the file cannot be written), "warning" (it runs,
            but slower or less accurately than it could) or "note".
        layer: Path of the layer, the names of nested models before its own; "" for the model as a whole.
        effect: What will happen on the device.
        cure: What to do about it.
    """

    rule: int
    severity: str
    layer: str
    effect: str
    cure: str


@dataclass(frozen=True)
class CheckReport(ShownAsTable):
    """What `check` found. Prints as a table.

    Attributes:
        model: Name of the model.
        findings: All findings, errors first.
        binary_layers: Paths of the calls of binary layers without an error, in order: each becomes one `LceBconv2d`.
        other_layers: Paths of the calls of all other convolutions and dense layers.
        outlook: What `bitat_tf.binarize` would make of a float network; None where there are binary layers, or no graph.
    """

    model: str
    findings: tuple[Finding, ...]
    binary_layers: tuple[str, ...] = ()
    other_layers: tuple[str, ...] = ()
    outlook: Outlook | None = None

    @property
    def errors(self) -> tuple[Finding, ...]:
        """The findings of severity "error"."""
        return tuple(finding for finding in self.findings if finding.severity == ERROR)

    @property
    def ok(self) -> bool:
        """Whether there is no error."""
        return not self.errors

    def to_dicts(self) -> list[dict[str, Any]]:
        """Return one row a finding, of plain values."""
        return [asdict(finding) for finding in self.findings]

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values for JSON."""
        return {
            "model": self.model,
            "ok": self.ok,
            "findings": self.to_dicts(),
            "binary_layers": [*self.binary_layers],
            "other_layers": [*self.other_layers],
            "outlook": None if self.outlook is None else self.outlook.to_dict(),
        }

    def table(self) -> Table:
        """Return the table for a terminal or a notebook; layers of which the same is said share a row."""
        table = TextTable(title=f"{self.model}: {self._counts()}", caption="rules: docs/rules.md", show_lines=True)
        for column in ("rule", "severity", "layers", "on the device", "cure"):
            table.add_column(column, overflow="fold")
        for (rule, severity, effect, cure), layers in _grouped(self.findings).items():
            table.add_row(str(rule), Text(severity, _STYLES[severity]), _shortened(layers), effect, cure)
        return table

    def summary_line(self) -> str:
        """Return one line: how many layers will be binary on the device."""
        count = len(self.binary_layers) + len(self.other_layers)
        return f"{len(self.binary_layers)} of {count} convolutions and dense layers will run in a binary kernel"

    def _counts(self) -> str:
        numbers = {severity: sum(finding.severity == severity for finding in self.findings) for severity in SEVERITIES}
        parts = [f"{number} {name}{'' if number == 1 else 's'}" for name, number in numbers.items()]
        return ", ".join(parts)

    def __rich__(self) -> Group:
        if self.outlook is None:
            return Group(self.table(), self.summary_line())
        return Group(*([self.table()] if self.findings else []), self.outlook)

    def __str__(self) -> str:
        return as_text(self, 160).rstrip("\n")


def sorted_findings(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return findings without repetitions, errors first, each severity by rule; layers in the order of the model."""
    unique = dict.fromkeys(findings)
    return tuple(sorted(unique, key=lambda finding: (SEVERITIES.index(finding.severity), finding.rule)))


def describe(findings: Iterable[Finding], most: int = 5) -> str:
    """Return findings in one paragraph, for a warning or an exception; "" for none."""
    parts = [
        f"{_shortened(layers)}: {effect} (rule {rule}). {cure}"
        for (rule, _, effect, cure), layers in _grouped(findings).items()
    ]
    more = f" ... and {len(parts) - most} more kinds." if len(parts) > most else ""
    return " ".join(parts[:most]) + more


def _grouped(findings: Iterable[Finding]) -> dict[tuple[int, str, str, str], list[str]]:
    groups: dict[tuple[int, str, str, str], list[str]] = {}
    for finding in findings:
        groups.setdefault((finding.rule, finding.severity, finding.effect, finding.cure), []).append(finding.layer)
    return groups


def _shortened(layers: list[str]) -> str:
    named = [layer for layer in layers if layer]
    more = f" and {len(named) - _SHOWN_LAYERS} more" if len(named) > _SHOWN_LAYERS else ""
    return ", ".join(named[:_SHOWN_LAYERS]) + more or "the model"
