"""`inspect`: what a `.tflite` file holds, and what its operators cost."""

import hashlib
import os
from dataclasses import asdict, dataclass
from typing import Any

from larq_compute_engine.mlir.python import tflite_schema as schema
from rich.console import Group
from rich.text import Text

from bitat_tf._tables import as_text
from bitat_tf.tflite_file.neighbours import elementwise_around_binary
from bitat_tf.tflite_file.operators import Operator, Shape, indices, list_operators, tensor_name, tensor_shape, type_name
from bitat_tf.tflite_file.reading import read
from bitat_tf.tflite_file.reasons import LeftOperator, left_operators
from bitat_tf.tflite_file.report_text import WIDTH, report_lines, report_table


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
class FileReport:
    """Result of `inspect`. Prints as a table.

    Attributes:
        path: The file.
        size: Its size in bytes.
        sha256: Its hash.
        sealed: Whether it has a seal of bitat_tf; the content agrees with it.
        facts: What bitat_tf wrote into it beside the network (name, versions, classes, pixels, ...); empty in other files.
        loadable: Whether larq-compute-engine's interpreter takes it.
        obstacle: Why not; None if it does.
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
    loadable: bool
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
        return Group(report_table(self), *(Text(line) for line in report_lines(self)))

    def __str__(self) -> str:
        return as_text(self, WIDTH)


def inspect(path: str | os.PathLike) -> FileReport:
    """Tell what a `.tflite` file holds: its operators, what each costs, and why float ones are left among binary ones.

    Any file is taken, of this library or of another origin. It is read in a process of its own first, so that a damaged
    one cannot do harm.

    Args:
        path: The file.

    Returns:
        A `FileReport`: prints as a table; `operators`, `left`, `totals` and `to_dict()` are for programs.

    Raises:
        ValueError: If it is no `.tflite` file, or a damaged one; the message names the file and what was found.
        OSError: If it cannot be opened.

    Examples:
        >>> model = bitat_tf.applications.ReActNet((8, 8, 1), 10, width=0.5, blocks=((64, 1),))
        >>> for layer in bitat_tf.layers.binary_layers(model):
        ...     layer.set_binary()
        >>> path = os.path.join(folder, "model.tflite")
        >>> _ = bitat_tf.export.to_tflite(model, path)
        >>> report = inspect(path)
        >>> report.totals.binary_convolutions, report.loadable
        (2, True)
        >>> [operator.name for operator in report.operators if operator.arithmetic == "binary"]
        ['LceQuantize', 'LceBconv2d', 'LceQuantize', 'LceBconv2d']
    """
    file = read(path)
    graph = file.model.subgraphs[0]
    operators = tuple(list_operators(file.model))
    others = len(file.model.subgraphs) - 1
    return FileReport(
        path=file.path,
        size=len(file.content),
        sha256=hashlib.sha256(file.content).hexdigest(),
        sealed=file.sealed,
        facts=file.facts,
        loadable=file.obstacle is None,
        obstacle=file.obstacle,
        inputs=_specs(graph, graph.inputs),
        outputs=_specs(graph, graph.outputs),
        operators=operators,
        left=left_operators(operators),
        totals=_totals(operators, file.facts),
        remarks=(f"{others} more subgraphs (loops, conditions), which are not counted.",) if others else (),
    )


def _specs(graph: schema.SubGraphT, numbers) -> tuple[TensorSpec, ...]:
    specs = []
    for tensor in (graph.tensors[number] for number in indices(numbers)):
        quantization = tensor.quantization
        scales = [] if quantization is None or quantization.scale is None else quantization.scale
        zeros = [] if quantization is None or quantization.zeroPoint is None else quantization.zeroPoint
        scale = float(scales[0]) if len(scales) else None
        zero = int(zeros[0]) if len(zeros) else None
        specs.append(TensorSpec(tensor_name(tensor), type_name(tensor.type), tensor_shape(tensor), scale, zero))
    return tuple(specs)


def _totals(operators: tuple[Operator, ...], facts: dict[str, Any]) -> FileTotals:
    macs = {kind: 0 for kind in ("binary", "float", "int8", "other")}
    for operator in operators:
        macs[operator.arithmetic] += operator.macs
    convolutions = sum(operator.name == "LceBconv2d" for operator in operators)
    expected = facts.get("expected_binary")
    elementwise = len(elementwise_around_binary(operators))
    total = sum(macs.values())
    return FileTotals(
        parameters=sum(operator.parameters for operator in operators),
        constant_bytes=sum(operator.constant_bytes for operator in operators),
        macs=total,
        binary_macs=macs["binary"],
        float_macs=macs["float"],
        int8_macs=macs["int8"],
        binary_mac_share=macs["binary"] / total if total else 0.0,
        binary_convolutions=convolutions,
        expected_binary=expected if isinstance(expected, int) else None,
        elementwise=elementwise,
        elementwise_per_convolution=elementwise / convolutions if convolutions else None,
    )
