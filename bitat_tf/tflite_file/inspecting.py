"""`inspect`: what a `.tflite` file holds, and what its operators cost."""

import hashlib
import os
from typing import Any

from bitat_tf.tflite_file.neighbours import elementwise_around_binary
from bitat_tf.tflite_file.operators import Operator, indices, list_operators, tensor_name, tensor_shape, type_name
from bitat_tf.tflite_file.reading import read
from bitat_tf.tflite_file.reasons import left_operators
from bitat_tf.tflite_file.report import FileReport, FileTotals, TensorSpec
from bitat_tf.tflite_file.schema import schema


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
        engine=file.engine,
        loadable=None if file.engine is None else file.obstacle is None,
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
