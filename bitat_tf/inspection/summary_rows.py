"""The rows of a summary, one a layer call, and their sums."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from bitat_tf._keras import keras
from bitat_tf.inspection.file_size.prediction import FileSize, predict_file_size
from bitat_tf.inspection.kernels import Kernel, predict_kernels
from bitat_tf.inspection.layer_profile import Parameters, call_macs, input_precision, layer_parameters
from bitat_tf.layers import BinaryLayer
from bitat_tf.model_graph import CallGraph, LayerCall, Shape, is_graph

_NO_GRAPH = (
    "{} is a subclassed model without a graph of layers: shapes, kernels, MACs and the size of the file are not known. Build "
    "it with keras.Model(inputs, outputs) to see them."
)
_UNKNOWN_SIZES = "file: not known, as the pictures have no known size. Build the model with a fixed input_shape."
_KILOBYTE = 8 * 1024  # bits, as in Larq's summary


@dataclass(frozen=True)
class SummaryRow:
    """One call of a layer, and what it takes.

    Attributes:
        layer: Its path, "backbone/conv".
        type: Name of its class.
        state: "float", "quantizing" or "binary" of a binary layer, else "". "quantizing": the layer is binary and the
            disentangled loss pulls at it, or only its input or only its kernel is binary.
        kernel: Operator that computes it on the device, once all binary layers are binary; "" for layers without a kernel.
        output_shape: Of its first output, the batch included; None where it is not known.
        input_precision: Bits of what the kernel multiplies with; None for layers without a kernel.
        binary_parameters, float_parameters: Those of 1 and of 32 bits on the device; 0 at the second call of a shared layer.
        bits_per_weight: Of all its parameters; None without any.
        kilobytes: Memory of its parameters, in 1024 bytes.
        binary_macs, float_macs: Multiply-accumulates of a sample; None where they are not known.
        file_bytes: What it adds to the file; 0 where it is fused into another layer, None where it is not known.
    """

    layer: str
    type: str
    state: str
    kernel: str
    output_shape: tuple[int | None, ...] | None
    input_precision: int | None
    binary_parameters: int
    float_parameters: int
    bits_per_weight: float | None
    kilobytes: float
    binary_macs: int | None
    float_macs: int | None
    file_bytes: int | None


@dataclass(frozen=True)
class SummaryTotals:
    """What all layers take.

    Attributes:
        parameters, trainable_parameters: Their numbers; statistics and states of binary layers are not among them.
        weight_bytes, float32_bytes: What they take on the device, and what they would take as float32.
        compression: float32_bytes / weight_bytes.
        macs, binary_macs: Multiply-accumulates of a sample, of the layers where they are known.
        binary_mac_share: binary_macs / macs.
        layers_by_state: Number of binary layers in each state.
        file_size: Bytes of the file of `bitat_tf.export.to_tflite` without folding and seal, once all binary layers are binary;
            None where it cannot be told.
    """

    parameters: int
    trainable_parameters: int
    weight_bytes: int
    float32_bytes: int
    compression: float
    macs: int
    binary_macs: int
    binary_mac_share: float
    layers_by_state: dict[str, int]
    file_size: int | None


def summary_rows(model: keras.Model) -> tuple[tuple[SummaryRow, ...], SummaryTotals, tuple[str, ...]]:
    """Return the rows, their sums, and what could not be told."""
    size: FileSize | None = None
    if is_graph(model):
        graph = CallGraph(model)
        kernels = predict_kernels(graph)
        size = predict_file_size(graph, kernels, model.name)
        calls = [_Call.of(call, kernels) for call in graph.calls]
        remarks = [] if size is not None else [_UNKNOWN_SIZES]
        if size is not None and size.unknown:
            remarks.append(f"file: roughly, as there is no rule for {', '.join(size.unknown)}")
    else:
        calls = [_Call(layer, layer.name) for layer in _leaves(model)]
        remarks = [_NO_GRAPH.format(type(model).__name__)]
    rows, trainable = [], 0
    seen: set[int] = set()
    for call in calls:
        parameters = Parameters(0, 0, 0)
        if id(call.layer) not in seen:
            seen.add(id(call.layer))
            # Without a graph there is no telling what the device makes of a kernel: as Larq counts, its bits.
            parameters = layer_parameters(call.layer, call.kernel.binary if call.kernel else not is_graph(model))
            trainable += parameters.trainable
        rows.append(_row(call, parameters, None if size is None else size.by_call.get(call.key, 0)))
    states = Counter(_state(layer) for layer in {id(call.layer): call.layer for call in calls}.values())
    return tuple(rows), _totals(rows, trainable, states, size), tuple(remarks)


@dataclass(frozen=True)
class _Call:
    """What the graph tells about a call of a layer; less for a model without one."""

    layer: keras.layers.Layer
    path: str
    input_shape: Shape | None = None
    output_shape: Shape | None = None
    kernel: Kernel | None = None
    key: int = 0

    @classmethod
    def of(cls, call: LayerCall, kernels: Mapping[int, Kernel]) -> "_Call":
        shapes = call.input_shapes[0], call.output_shapes[0]
        return cls(call.layer, call.path, *shapes, kernels.get(id(call)), id(call))


def _leaves(layer: keras.layers.Layer) -> Iterator[keras.layers.Layer]:
    """Yield the layers that compute something: those with weights of their own, and those without layers inside."""
    for inner in layer._flatten_layers(recursive=False, include_self=False):
        parts = list(inner._flatten_layers(recursive=False, include_self=False))
        if parts and not inner._trainable_weights and not inner._non_trainable_weights:
            yield from _leaves(inner)
        elif not isinstance(inner, (keras.layers.InputLayer, keras.metrics.Metric)):
            yield inner


def _row(call: _Call, parameters: Parameters, file_bytes: int | None) -> SummaryRow:
    layer, kernel = call.layer, call.kernel
    binary = kernel is not None and kernel.binary
    macs = (
        None if call.input_shape is None or call.output_shape is None else call_macs(layer, call.input_shape, call.output_shape)
    )
    return SummaryRow(
        layer=call.path,
        type=type(layer).__name__,
        state=_state(layer),
        kernel="" if kernel is None else kernel.operator,
        output_shape=call.output_shape,
        input_precision=input_precision(layer),
        binary_parameters=parameters.binary,
        float_parameters=parameters.floats,
        bits_per_weight=parameters.bits / parameters.count if parameters.count else None,
        kilobytes=parameters.bits / _KILOBYTE,
        binary_macs=macs if binary or macs is None else 0,
        float_macs=0 if binary and macs is not None else macs,
        file_bytes=file_bytes,
    )


def _state(layer: keras.layers.Layer) -> str:
    if not layer.built or not isinstance(layer, BinaryLayer):
        return ""
    state = layer.state
    held = layer.disentangled_state
    pulled_at = float(held.strength.numpy()) > 0 and bool(held.importance.numpy().any())
    return "quantizing" if state == "mixed" or (state == "binary" and pulled_at) else state


def _totals(rows: list[SummaryRow], trainable: int, states: Counter[str], size: FileSize | None) -> SummaryTotals:
    binary, floats = sum(row.binary_parameters for row in rows), sum(row.float_parameters for row in rows)
    binary_macs = sum(row.binary_macs or 0 for row in rows)
    macs = binary_macs + sum(row.float_macs or 0 for row in rows)
    weight_bytes = -(-binary // 8) + 4 * floats
    return SummaryTotals(
        parameters=binary + floats,
        trainable_parameters=trainable,
        weight_bytes=weight_bytes,
        float32_bytes=4 * (binary + floats),
        compression=4 * (binary + floats) / max(1, weight_bytes),
        macs=macs,
        binary_macs=binary_macs,
        binary_mac_share=binary_macs / max(1, macs),
        layers_by_state={state: states[state] for state in ("float", "quantizing", "binary") if states[state]},
        file_size=None if size is None else size.total,
    )
