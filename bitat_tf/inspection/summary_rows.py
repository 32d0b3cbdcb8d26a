"""The rows of a summary, one a layer call, and their sums."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import keras
from keras import ops

from bitat_tf.inspection.kernel_layers import device_operator, is_binary
from bitat_tf.inspection.layer_profile import Parameters, call_macs, estimate_file_size, input_precision, layer_parameters
from bitat_tf.layers import BinaryLayer
from bitat_tf.model_graph import CallGraph, LayerCall, is_graph

_NO_GRAPH = (
    "{} is a subclassed model without a graph of layers: shapes, MACs and the size of the file are not known. Build it with "
    "keras.Model(inputs, outputs) to see them."
)
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
        file_size: Bytes of the file of `bitat_tf.export.to_tflite` once all binary layers are binary: an estimate,
            `weight_bytes` + 200 a layer call, +-10 % above 100 kB. None for a model without a graph.
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
    calls: list[tuple[keras.layers.Layer, LayerCall | None]]
    if is_graph(model):
        calls = [(call.layer, call) for call in CallGraph(model).calls]
    else:
        calls = [(layer, None) for layer in _leaves(model)]
    rows, trainable = [], 0
    seen: set[int] = set()
    for layer, call in calls:
        parameters = Parameters(0, 0, 0)
        if id(layer) not in seen:
            seen.add(id(layer))
            parameters = layer_parameters(layer, is_binary(layer))
            trainable += parameters.trainable
        rows.append(_row(layer, call, parameters))
    states = Counter(_state(layer) for layer in {id(layer): layer for layer, _ in calls}.values())
    remarks = () if is_graph(model) else (_NO_GRAPH.format(type(model).__name__),)
    return tuple(rows), _totals(rows, trainable, states, is_graph(model)), remarks


def _leaves(layer: keras.layers.Layer) -> Iterator[keras.layers.Layer]:
    """Yield the layers that compute something: those with weights of their own, and those without layers inside."""
    for inner in layer._flatten_layers(recursive=False, include_self=False):
        parts = list(inner._flatten_layers(recursive=False, include_self=False))
        if parts and not inner._trainable_variables and not inner._non_trainable_variables:
            yield from _leaves(inner)
        elif not isinstance(inner, (keras.layers.InputLayer, keras.metrics.Metric)):
            yield inner


def _row(layer: keras.layers.Layer, call: LayerCall | None, parameters: Parameters) -> SummaryRow:
    macs = None if call is None else call_macs(layer, call.input_shapes[0], call.output_shapes[0])
    binary = is_binary(layer)
    return SummaryRow(
        layer=layer.name if call is None else call.path,
        type=type(layer).__name__,
        state=_state(layer),
        kernel=device_operator(layer) or "",
        output_shape=None if call is None else call.output_shapes[0],
        input_precision=input_precision(layer),
        binary_parameters=parameters.binary,
        float_parameters=parameters.floats,
        bits_per_weight=parameters.bits / parameters.count if parameters.count else None,
        kilobytes=parameters.bits / _KILOBYTE,
        binary_macs=macs if binary or macs is None else 0,
        float_macs=0 if binary and macs is not None else macs,
    )


def _state(layer: keras.layers.Layer) -> str:
    if not isinstance(layer, BinaryLayer) or not layer.built:
        return ""
    state = layer.state
    held = layer.disentangled_state
    pulled_at = float(ops.convert_to_numpy(held.strength)) > 0 and held.metric is not None
    return "quantizing" if state == "mixed" or (state == "binary" and pulled_at) else state


def _totals(rows: list[SummaryRow], trainable: int, states: Counter[str], has_graph: bool) -> SummaryTotals:
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
        file_size=estimate_file_size(weight_bytes, len(rows)) if has_graph else None,
    )
