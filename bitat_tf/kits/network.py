"""What a kit must know of a `.tflite` file: that it is an image classifier, its input and its output."""

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bitat_tf.tflite_file.operators import indices, list_operators, tensor_shape, type_name
from bitat_tf.tflite_file.reading import read

_TYPES = ("float32", "uint8", "int8")


@dataclass(frozen=True)
class TensorKind:
    """Shape and type of an input or an output; values of 8 bits stand for scale * (value - zero_point)."""

    shape: tuple[int, ...]
    dtype: str
    scale: float | None = None
    zero_point: int = 0

    def __str__(self) -> str:
        text = f"{' x '.join(map(str, self.shape))}, {self.dtype}"
        return text if self.scale is None else f"{text}: {self.scale:.6g} * (value - {self.zero_point})"


@dataclass(frozen=True)
class KitNetwork:
    """An image classifier in a `.tflite` file.

    Attributes:
        content: The file.
        name: Of the model, or of the file.
        input: Shape (1, height, width, 1 or 3).
        output: Shape (1, classes).
        classes: Names; empty if the file does not hold them.
        pixels: What the file says of the pixels that it takes: "0..255", ...; None if it says nothing.
        operators: Number of operators by name.
    """

    content: bytes
    name: str
    input: TensorKind
    output: TensorKind
    classes: tuple[str, ...]
    pixels: str | None
    operators: Mapping[str, int]

    @property
    def channels(self) -> int:
        """Channels of the picture."""
        return self.input.shape[3]


def read_network(path: str | os.PathLike) -> KitNetwork:
    """Return what a kit must know of a file.

    Raises:
        ValueError: If it is no `.tflite` file, is damaged, cannot be run, or is no image classifier.
        OSError: If it cannot be read.
    """
    file = read(path)
    if file.obstacle is not None:
        raise ValueError(
            f"write_kit: expected a network that can be run. Received: {file.path}, which the interpreter does not take "
            f"({file.obstacle})."
        )
    graph = file.model.subgraphs[0]
    inputs, outputs = indices(graph.inputs), indices(graph.outputs)
    if len(inputs) != 1 or len(outputs) != 1:
        raise ValueError(
            "write_kit: a kit is for a network of one input and one output. "
            f"Received: {len(inputs)} inputs and {len(outputs)} outputs."
        )
    taken, given = _kind("input", graph.tensors[inputs[0]]), _kind("output", graph.tensors[outputs[0]])
    if len(taken.shape) != 4 or taken.shape[0] != 1 or taken.shape[3] not in (1, 3) or min(taken.shape) < 1:
        raise ValueError(f"write_kit: the input must be a picture, 1 x height x width x 1 or 3 channels. Received: {taken}.")
    if len(given.shape) != 2 or given.shape[0] != 1 or given.shape[1] < 1:
        raise ValueError(f"write_kit: the output must be one score a class, 1 x classes. Received: {given}.")
    own = file.facts
    return KitNetwork(
        content=file.content,
        name=str(own.get("name") or Path(path).stem),
        input=taken,
        output=given,
        classes=tuple(own.get("classes") or ()),
        pixels=own.get("pixels"),
        operators=dict(Counter(operator.name for operator in list_operators(file.model)).most_common()),
    )


def _kind(what: str, tensor: Any) -> TensorKind:
    dtype = type_name(tensor.type)
    if dtype not in _TYPES:
        raise ValueError(f"write_kit: the {what} must be of {', '.join(_TYPES)}. Received: {dtype}.")
    quantization = tensor.quantization
    if quantization is None or quantization.scale is None or not len(quantization.scale):
        return TensorKind(tensor_shape(tensor), dtype)
    return TensorKind(tensor_shape(tensor), dtype, float(quantization.scale[0]), int(quantization.zeroPoint[0]))
