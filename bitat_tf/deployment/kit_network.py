"""What a kit must know of a `.tflite` file: an image classifier, its input and output, and who wrote it."""

import os
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from larq_compute_engine.mlir.python import tflite_schema as schema

from bitat_tf.tflite_file.operators import indices, list_operators, operator_name, tensor_shape, type_name
from bitat_tf.tflite_file.reading import read

_ENGINE = "larq-compute-engine"
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
        engine_version: Version of larq-compute-engine that wrote the file, or the installed one.
        engine_known: Whether the file says which version wrote it.
        operators: Number of operators by name.
        grouped: Whether it has grouped binary convolutions, which one kernel only can run.
    """

    content: bytes
    name: str
    input: TensorKind
    output: TensorKind
    classes: tuple[str, ...]
    pixels: str | None
    engine_version: str
    engine_known: bool
    operators: Mapping[str, int]
    grouped: bool

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
            f"write_kit: expected a network that larq-compute-engine can run. Received: {file.path}, which it does not take "
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
        name=_plain(own.get("name") or Path(path).stem),
        input=taken,
        output=given,
        classes=tuple(own.get("classes") or ()),
        pixels=own.get("pixels"),
        engine_version=_engine_version(own),
        engine_known=_ENGINE in own.get("versions", {}),
        operators=dict(Counter(operator.name for operator in list_operators(file.model)).most_common()),
        grouped=_has_groups(file.model),
    )


def _kind(what: str, tensor: schema.TensorT) -> TensorKind:
    dtype = type_name(tensor.type)
    if dtype not in _TYPES:
        raise ValueError(f"write_kit: the {what} must be of {', '.join(_TYPES)}. Received: {dtype}.")
    quantization = tensor.quantization
    if quantization is None or quantization.scale is None or not len(quantization.scale):
        return TensorKind(tensor_shape(tensor), dtype)
    return TensorKind(tensor_shape(tensor), dtype, float(quantization.scale[0]), int(quantization.zeroPoint[0]))


def _engine_version(own: Mapping[str, Any]) -> str:
    found = own.get("versions", {}).get(_ENGINE) or version(_ENGINE)
    # It becomes a part of commands, so nothing but a version may stand there.
    if not isinstance(found, str) or not re.fullmatch(r"[0-9]+\.[0-9]+\.[0-9]+", found):
        raise ValueError(
            f"write_kit: expected a released version of larq-compute-engine, such as 0.16.0. Received: {found!r}. Export the "
            "model again with a released version: the device needs the same one."
        )
    return found


def _plain(name: str) -> str:
    return re.sub(r"[^\w .:+-]", "_", str(name)).strip() or "model"


def _has_groups(model: schema.ModelT) -> bool:
    """Return whether a binary convolution reads only a part of its input's channels (32 to a word) for each output."""
    graph = model.subgraphs[0]
    for operator in graph.operators:
        if operator_name(model, operator) == "LceBconv2d":
            inputs, kernel = (tensor_shape(graph.tensors[index]) for index in indices(operator.inputs)[:2])
            if inputs[-1] > kernel[-1]:
                return True
    return False
