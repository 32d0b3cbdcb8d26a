"""The inputs of a model as its file takes them: in the file's order, and integers on the file's grid."""

from collections.abc import Mapping, Sequence

import numpy as np

from bitat_tf._pixels import BYTES
from bitat_tf.tflite_file.content import data_type, facts
from bitat_tf.tflite_file.operators import tensor_name
from bitat_tf.tflite_file.schema import schema


def stored_inputs(
    where: str, model: schema.ModelT, inputs: np.ndarray | Sequence[np.ndarray] | Mapping[str, np.ndarray]
) -> list[np.ndarray]:
    """Return an array for each input of a file, in its order, of the type that it takes.

    Args:
        where: Name of the public function, for the messages.
        model: The objects of the file.
        inputs: Shape (n, ...), n >= 1, as the Keras model takes them; for several inputs a list of arrays in the order of the
            file, or a dict of them by the names of the inputs, of the model or of the file's tensors.

    Raises:
        ValueError: If an input is missing or unknown, or an array has another shape than its input.
    """
    graph = model.subgraphs[0]
    tensors = [graph.tensors[number] for number in graph.inputs]
    arrays = _in_order(where, model, inputs)
    takes_bytes = facts(model).get("pixels") == BYTES
    stored = []
    for tensor, array in zip(tensors, arrays, strict=True):
        sizes = tensor.shape if tensor.shapeSignature is None else tensor.shapeSignature
        shape = tuple(int(size) for size in sizes[1:])
        fits = array.ndim == len(shape) + 1 and all(size in (-1, own) for size, own in zip(shape, array.shape[1:], strict=True))
        if not fits or len(array) != len(arrays[0]) or not len(array):
            wanted = ", ".join("any size" if size < 0 else str(size) for size in shape)
            raise ValueError(
                f"{where}: {tensor_name(tensor)!r} must have the shape (n >= 1, {wanted}), with the same n for all inputs. "
                f"Received: {', '.join(str(one.shape) for one in arrays)}."
            )
        scale, zero = None, None  # floats, and integers that mean themselves
        if tensor.quantization is not None and tensor.quantization.scale is not None and len(tensor.quantization.scale):
            scale, zero = float(tensor.quantization.scale[0]), int(tensor.quantization.zeroPoint[0])
        stored.append(on_grid(array, data_type(tensor.type), scale, zero, takes_bytes and scale is not None))
    return stored


def on_grid(inputs: np.ndarray, kind: np.dtype, scale: float | None, zero: int | None, takes_bytes: bool) -> np.ndarray:
    """Return inputs of a model as the file takes them.

    Args:
        inputs: Values as the Keras model takes them.
        kind: Type of the file's input: float32, int8, uint8, ...
        scale: Of its grid, for integers: value = scale * (integer - zero). None for integers that mean themselves.
        zero: The zero point of the grid.
        takes_bytes: Whether the integers are the bytes of pictures, less 128 for int8, whatever the grid is.
    """
    if not np.issubdtype(kind, np.integer):
        return np.ascontiguousarray(inputs, kind)
    limits = np.iinfo(kind)
    if takes_bytes or scale is None or zero is None:
        integers = np.rint(inputs) + (limits.min if takes_bytes else 0)
    else:
        integers = np.rint(np.asarray(inputs) / scale) + zero
    return np.ascontiguousarray(np.clip(integers, limits.min, limits.max).astype(kind))


def _in_order(
    where: str, model: schema.ModelT, inputs: np.ndarray | Sequence[np.ndarray] | Mapping[str, np.ndarray]
) -> list[np.ndarray]:
    graph = model.subgraphs[0]
    count = len(graph.inputs)
    if not isinstance(inputs, Mapping):
        rank = len(graph.tensors[graph.inputs[0]].shape)
        # A list of samples of a single input is one array of them.
        several = isinstance(inputs, (list, tuple)) and (count > 1 or (len(inputs) == 1 and np.ndim(inputs[0]) == rank))
        arrays = [np.asarray(array) for array in (inputs if several else [inputs])]
        if len(arrays) != count:
            raise ValueError(
                f"{where}: the file has {count} inputs, so a list of {count} arrays is expected, or a dict of them. Received: "
                f"{len(arrays)}."
            )
        return arrays
    names = _names(model)
    found = [next((inputs[name] for name in own if name in inputs), None) for own in names]
    if len(inputs) != count or any(array is None for array in found):
        listed = ", ".join(repr(own[0]) for own in names)
        raise ValueError(f"{where}: expected a dict with arrays for {listed}. Received: {', '.join(map(repr, inputs))}.")
    return [np.asarray(array) for array in found]


def _names(model: schema.ModelT) -> list[tuple[str, ...]]:
    """Return for each input the names that it goes by: that of the model's input, if the file has it, and its tensor's."""
    graph = model.subgraphs[0]
    in_signature = {
        int(entry.tensorIndex): entry.name.decode(errors="replace")
        for signature in (model.signatureDefs or [])[:1]
        for entry in signature.inputs or []
    }
    return [
        (*([in_signature[number]] if number in in_signature else []), tensor_name(graph.tensors[number]))
        for number in map(int, graph.inputs)
    ]
