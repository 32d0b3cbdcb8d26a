"""What an export found."""

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

from bitat_tf.export.verification import Agreement
from bitat_tf.tflite_file.operators import Operator


@dataclass(frozen=True)
class ExportReport:
    """Result of `to_tflite`.

    Attributes:
        path: The file.
        size: Its size in bytes.
        float_size: Bytes that the model's weights take as float32.
        sha256: Hash of the file.
        operators: Number of operators by name.
        expected_binary, fused_binary: Number of layers that must be, and of those that are `LceBconv2d`.
        float_layers: Names of binary layers that were exported as float ones (only with `allow_partial`).
        folded: Whether constants were moved into their neighbours.
        int8: Whether what is not binary is int8.
        input_type: What the file takes: "float32", "int8" or "uint8".
        agreement: The file against the Keras model.
        accuracy, keras_accuracy: Top-1 accuracy of the file and of the Keras model, if labels were given.
        random_data: Whether the data of the verification were random.
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
    folded: bool
    int8: bool
    input_type: str
    agreement: Agreement
    accuracy: float | None
    keras_accuracy: float | None
    random_data: bool
    versions: dict[str, str]

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        data = "random inputs" if self.random_data else "samples"
        lines = [
            f"file            {self.path}",
            f"size            {self.size:,} bytes (float32 weights: {self.float_size:,})",
            f"binary kernels  {self.fused_binary} of {self.expected_binary} LceBconv2d",
            f"operators       {', '.join(f'{count} {name}' for name, count in sorted(self.operators.items()))}",
            f"the rest        {'int8' if self.int8 else 'float32'}, input {self.input_type}"
            + (", constants folded" if self.folded else ""),
            f"agreement       top-1 {self.agreement.top1:.2%} of {self.agreement.samples} {data}, "
            f"largest difference {self.agreement.largest_difference:.2g}",
        ]
        if self.accuracy is not None:
            lines.append(f"accuracy        file {self.accuracy:.2%}, Keras {self.keras_accuracy:.2%}")
        if self.float_layers:
            lines.append(f"still float     {', '.join(self.float_layers)}")
        return "\n".join(lines)


def count_operators(operators: list[Operator]) -> dict[str, int]:
    """Return the number of operators of each name."""
    return dict(Counter(operator.name for operator in operators))
