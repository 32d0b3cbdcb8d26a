"""What a file takes and gives, beside the inputs and outputs of a model."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bitat_tf._pixels import BYTES
from bitat_tf.tflite_file.content import facts
from bitat_tf.tflite_file.inputs import on_grid
from bitat_tf.tflite_file.schema import schema

_KINDS: dict[int, np.dtype] = {
    schema.TensorType.FLOAT32: np.dtype("float32"),
    schema.TensorType.INT8: np.dtype("int8"),
    schema.TensorType.UINT8: np.dtype("uint8"),
    schema.TensorType.INT32: np.dtype("int32"),
    schema.TensorType.INT64: np.dtype("int64"),
}
_INTEGERS = (schema.TensorType.INT8, schema.TensorType.UINT8)


@dataclass(frozen=True)
class End:
    """An input or output of a file.

    Attributes:
        number: Of its tensor.
        shape: Of a sample, without the batch.
        kind: Type of its values; None if it is none that a Keras model takes or gives.
        scale, zero: Of the grid of int8 and uint8: value = scale * (integer - zero). None for numbers that mean themselves.
    """

    number: int
    shape: tuple[int, ...]
    kind: np.dtype | None
    scale: float | None
    zero: int | None


class FileInterface:
    """Inputs and outputs of a file, in the order of a model's.

    A converter may have put them into another order; the names in the file tell.

    Args:
        model: The objects of the file.
        input_names, output_names: Those of the model; None to take them as they stand in the file.

    Attributes:
        inputs, outputs: The ends of the file.
        takes_bytes: Whether it takes the bytes of pictures, less 128 for int8.
        steps: For each output the step of the int8 grid that its values lie on, 0 where it is computed as floats.
        is_int8: Whether something in it is computed in int8.
    """

    def __init__(
        self, model: schema.ModelT, input_names: Sequence[str] | None = None, output_names: Sequence[str] | None = None
    ):
        graph = model.subgraphs[0]
        signature = model.signatureDefs[0] if len(model.signatureDefs or ()) == 1 else None
        self._model = model
        self._input_order = _order(graph, graph.inputs, signature.inputs if signature else (), input_names)
        self._output_order = _order(graph, graph.outputs, signature.outputs if signature else (), output_names)
        self.inputs = [_end(graph, graph.inputs[position]) for position in self._input_order]
        self.outputs = [_end(graph, graph.outputs[position]) for position in self._output_order]
        self.takes_bytes = facts(model).get("pixels") == BYTES
        self.steps = [_step(graph, model, end) for end in self.outputs]
        written = [graph.tensors[number].type for operator in graph.operators for number in operator.outputs if number >= 0]
        self.is_int8 = any(kind in _INTEGERS for kind in written)

    def stored(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return a model's inputs, shape (n, ...) each, as the file takes them, in its order."""
        stored = [
            on_grid(array, end.kind or array.dtype, end.scale, end.zero, self.takes_bytes and end.scale is not None)
            for end, array in zip(self.inputs, arrays, strict=True)
        ]
        return self.ordered(stored)

    def ordered(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return arrays for the model's inputs in the order of the file's."""
        ordered = list(arrays)
        for position, array in zip(self._input_order, arrays, strict=True):
            ordered[position] = array
        return ordered

    def values(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return what the file gave, as values of the model's outputs, in their order."""
        values = []
        for position, end in zip(self._output_order, self.outputs, strict=True):
            array = np.asarray(arrays[position])
            if end.scale is not None and np.issubdtype(array.dtype, np.integer):
                array = (end.scale * (array.astype(np.float32) - (end.zero or 0))).astype(np.float32)
            values.append(array)
        return values


def _order(graph: Any, numbers: Sequence[int], signature: Sequence[Any], names: Sequence[str] | None) -> list[int]:
    """Return for each name the position of its tensor in the file."""
    numbers = [int(number) for number in numbers]
    in_tensors = {_text(graph.tensors[number].name): number for number in numbers}
    for named in ({_text(one.name): int(one.tensorIndex) for one in signature}, in_tensors):
        if names is not None and set(named) == set(names) and sorted(named.values()) == sorted(numbers):
            return [numbers.index(named[name]) for name in names]
    return list(range(len(numbers)))


def _text(name: bytes | str | None) -> str:
    return name.decode(errors="replace") if isinstance(name, bytes) else name or ""


def _end(graph: Any, number: int) -> End:
    tensor = graph.tensors[number]
    scale, zero = _grid(tensor)
    shape = () if tensor.shape is None else tuple(int(size) for size in tensor.shape[1:])
    return End(int(number), shape, _KINDS.get(tensor.type), scale, zero)


def _grid(tensor: Any) -> tuple[float | None, int | None]:
    grid = tensor.quantization
    if tensor.type not in _INTEGERS or grid is None or grid.scale is None or not len(grid.scale):
        return None, None
    return float(grid.scale[0]), int(grid.zeroPoint[0])


def _step(graph: Any, model: schema.ModelT, end: End) -> float:
    """Return the step of an output's grid; a float output may be the values of an int8 tensor."""
    if end.scale is not None:
        return end.scale
    for operator in graph.operators:
        if end.number in operator.outputs:
            code = model.operatorCodes[operator.opcodeIndex]
            if max(code.builtinCode, code.deprecatedBuiltinCode) == schema.BuiltinOperator.DEQUANTIZE:
                return _grid(graph.tensors[operator.inputs[0]])[0] or 0.0
    return 0.0
