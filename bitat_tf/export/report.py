"""What an export found, and what a verification did."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bitat_tf._tables import ShownAsTable
from bitat_tf.export.agreement import DIFFERENT, NO_VERDICT, SAME, OutputAgreement, overall_verdict
from bitat_tf.export.inside import InsideComparison
from bitat_tf.tflite_file.operators import Operator

_VERDICTS = {
    SAME: "The file does what the model does.",
    DIFFERENT: "The file does something else than the model.",
    NO_VERDICT: "No verdict: these data cannot tell whether the file does what the model does.",
}


@dataclass(frozen=True)
class ExportReport(ShownAsTable):
    """Result of `to_tflite`.

    Attributes:
        path: The file.
        size: Its size in bytes.
        float_size: Bytes that the model's weights take as float32.
        sha256: Hash of the file.
        operators: Number of operators by name.
        expected_binary, fused_binary: Number of layers that must be, and of those that are `LceBconv2d`.
        float_layers: Names of binary layers that were exported as float ones (only with `allow_partial`).
        int8: Whether what is not binary is int8.
        input_type: What the file takes: "float32", "int8" or "uint8".
        outputs: The file against the Keras model, for each output; empty without verification.
        random_data: Whether the data of the verification were random.
        ran_in: What ran the file for the verification, with versions; empty without verification.
        versions: Versions of the packages.
    """

    path: str
    size: int
    float_size: int
    sha256: str
    operators: dict[str, int]
    expected_binary: int
    fused_binary: int
    float_layers: tuple[str, ...]
    int8: bool
    input_type: str
    outputs: tuple[OutputAgreement, ...]
    random_data: bool
    ran_in: str
    versions: dict[str, str]

    @property
    def verdict(self) -> str:
        """Return "same", or "no verdict" where the data cannot tell, or nothing was compared. Others are not written."""
        return overall_verdict([output.verdict for output in self.outputs]) if self.outputs else NO_VERDICT

    @property
    def accuracy(self) -> float | None:
        """Accuracy of the file on the first output with labels; None without labels."""
        return _accuracy(self.outputs, "accuracy")

    @property
    def keras_accuracy(self) -> float | None:
        """Accuracy of the Keras model on the first output with labels; None without labels."""
        return _accuracy(self.outputs, "keras_accuracy")

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values for JSON."""
        found = {"verdict": self.verdict, "accuracy": self.accuracy, "keras_accuracy": self.keras_accuracy}
        return {**asdict(self), **found}

    def __str__(self) -> str:
        lines = [
            f"file            {self.path}",
            f"size            {self.size:,} bytes (float32 weights: {self.float_size:,})",
            f"binary kernels  {self.fused_binary} of {self.expected_binary} LceBconv2d",
            f"operators       {', '.join(f'{count} {name}' for name, count in sorted(self.operators.items()))}",
            f"the rest        {'int8' if self.int8 else 'float32'}, input {self.input_type}",
            *_output_lines(self.outputs, self.random_data),
        ]
        if self.float_layers:
            lines.append(f"still float     {', '.join(self.float_layers)}")
        if not self.outputs:
            lines.append("The file was not compared with the model.")
        elif self.verdict == NO_VERDICT:
            lines.append(_VERDICTS[NO_VERDICT])
        return "\n".join(lines)


@dataclass(frozen=True)
class VerificationReport(ShownAsTable):
    """What `verify` found out about a file.

    Attributes:
        path: The file.
        outputs: Each output of the file against that of the model, on all data.
        inside: The tensors inside, on the samples of the largest differences; None if they were not compared.
        random_data: Whether the data were random.
        engine: What ran the file, "bitat-runtime" or "larq-compute-engine".
        ran_in: The same with versions; of bitat-runtime also the kernels, and the interpreter that it ran in.
    """

    path: str
    outputs: tuple[OutputAgreement, ...]
    inside: InsideComparison | None
    random_data: bool
    engine: str
    ran_in: str

    @property
    def verdict(self) -> str:
        """Return "same", "different" if an output or something inside is, or "no verdict", where the data cannot tell."""
        inside = SAME if self.inside is None or self.inside.ok else DIFFERENT
        return overall_verdict([inside, *(output.verdict for output in self.outputs)])

    @property
    def ok(self) -> bool:
        """Whether the file was seen to do what the model does: the verdict is "same"."""
        return self.verdict == SAME

    @property
    def accuracy(self) -> float | None:
        """Accuracy of the file on the first output with labels; None without labels."""
        return _accuracy(self.outputs, "accuracy")

    @property
    def keras_accuracy(self) -> float | None:
        """Accuracy of the Keras model on the first output with labels; None without labels."""
        return _accuracy(self.outputs, "keras_accuracy")

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values for JSON."""
        return {
            **asdict(self),
            "inside": None if self.inside is None else self.inside.to_dict(),
            "verdict": self.verdict,
            "ok": self.ok,
            "accuracy": self.accuracy,
            "keras_accuracy": self.keras_accuracy,
        }

    def __str__(self) -> str:
        return "\n".join(
            [
                f"file            {self.path}",
                f"ran in          {self.ran_in}",
                *_output_lines(self.outputs, self.random_data),
                "inside          not compared: only the outputs were" if self.inside is None else str(self.inside),
                _VERDICTS[self.verdict],
            ]
        )


def count_operators(operators: list[Operator]) -> dict[str, int]:
    """Return the number of operators of each name."""
    return dict(Counter(operator.name for operator in operators))


def _accuracy(outputs: Sequence[OutputAgreement], name: str) -> float | None:
    return next((getattr(output, name) for output in outputs if output.accuracy is not None), None)


def _output_lines(outputs: Sequence[OutputAgreement], random_data: bool) -> list[str]:
    lines = []
    for output in outputs:
        if len(outputs) > 1:
            lines.append(f"output          {output.name}")
        samples = f"{output.samples:,} {'random inputs' if random_data else 'samples'}"
        lines.append(
            f"agreement       {output.measure}: {output.agreement:.2%} of {samples}; {output.share_different:.2%} of them "
            "differ by more than rounding"
        )
        lines.append(f"differences     {_differences(output)}")
        if output.accuracy is not None:
            lines.append(f"accuracy        file {output.accuracy:.2%}, Keras {output.keras_accuracy:.2%}")
        if output.reason:
            lines.append(f"{output.verdict:<15} {output.reason}")
    return lines


def _differences(output: OutputAgreement) -> str:
    if output.relative_difference is None:
        return "the file's outputs are not finite"
    steps = ", ".join(f"{value:.2g} ({name} %)" for name, value in output.percentiles.items())
    return f"{steps}; {output.relative_difference:.2g} of {'their spread' if output.varies else 'the largest'}"
