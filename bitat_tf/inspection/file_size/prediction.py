"""The size of the exported file, told before there is one."""

from collections.abc import Mapping
from dataclasses import dataclass

from bitat_tf.inspection.file_size.fusion import fuse
from bitat_tf.inspection.file_size.lowering import lower
from bitat_tf.inspection.file_size.operators import OperatorGraph, file_bytes, join_names
from bitat_tf.inspection.file_size.other_layers import UNKNOWN
from bitat_tf.inspection.kernels import Kernel
from bitat_tf.model_graph import CallGraph


@dataclass(frozen=True)
class FileSize:
    """Predicted bytes of a `.tflite` file.

    Attributes:
        total: Bytes of the file.
        by_call: Bytes of what a layer call adds to it, by `id(call)`; a call that is fused into another one adds nothing.
        rest: Bytes of what belongs to no layer: header, inputs, names of the operators.
        unknown: Paths of layers without a rule, counted as their weights and an operator or more: the file may differ.
    """

    total: int
    by_call: Mapping[int, int]
    rest: int
    unknown: tuple[str, ...] = ()


def predict_file_size(graph: CallGraph, kernels: Mapping[int, Kernel], name: str = "model") -> FileSize | None:
    """Predict the size of the file that larq-compute-engine writes of a trained model, all of its binary layers binary.

    The layers are written down as the operators that they become (`lowering`), fused as the converter fuses them
    (`fusion`), and their constants, tensors and names counted (`operators`). Weights are taken as trained: a vector
    of equal values, as many initializers make, is written as one number.

    Args:
        graph: The calls of the model.
        kernels: Their kernels, from `predict_kernels`.
        name: Name of the model, which the names in the file begin with.

    Returns:
        The size; None where sizes of pictures are not known, as nothing is fused then.

    Examples:
        >>> from bitat_tf.inspection.kernels import predict_kernels
        >>> graph = CallGraph(keras.Sequential([keras.Input((8, 8, 6)), keras.layers.Conv2D(8, 3)]))
        >>> predict_file_size(graph, predict_kernels(graph)).total // 100  # 2.7 kB, of which 1.7 are weights
        26
    """
    if any(None in shape[1:] for call in [*graph.sources, *graph.calls] for shape in call.output_shapes):
        return None
    operators = predict_operators(graph, kernels, name)
    sizes = file_bytes(operators.operators)
    rest = sizes.pop(None)
    by_call = {key: size for key, size in sizes.items() if key is not None}
    without_rule = [one.call for one in operators.operators if one.call is not None and one.kind.startswith(UNKNOWN)]
    unknown = tuple(dict.fromkeys(call.path for call in without_rule))
    return FileSize(rest + sum(by_call.values()), by_call, rest, unknown)


def predict_operators(graph: CallGraph, kernels: Mapping[int, Kernel], name: str = "model") -> OperatorGraph:
    """Return the operators of the file, after the converter's fusion; the inputs of the model are among them."""
    operators = lower(graph, kernels, name)
    fuse(operators)
    _name_ends(operators)
    return operators


def _name_ends(graph: OperatorGraph) -> None:
    """The constants of the first operator have its name, those of later ones numbers; outputs have one of their own."""
    first = next((operator for operator in graph.operators if operator.kind != "INPUT"), None)
    if first is not None:
        for number, constant in enumerate(first.constants):
            constant.name = max(constant.name, join_names(first.name, first.name) if number else first.name)
    for output in graph.outputs:
        output.name = len("StatefulPartitionedCall:0")
