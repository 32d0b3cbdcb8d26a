"""Writing what is in a `.tflite` file for programs that are not TFLite; `description` says how, key by key."""

import io
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bitat_tf._files import write_bytes
from bitat_tf._tables import ShownAsTable
from bitat_tf.tflite_file.description import describe
from bitat_tf.tflite_file.reading import read


@dataclass(frozen=True)
class Dump(ShownAsTable):
    """What `dump` has written.

    Attributes:
        path: The `.npz` file.
        operators: Number of operators.
        binary_operators: Number of `LceBconv2d` among them.
        arrays: Number of arrays, without the graph.
        binary_weights: Number of weights that take one bit.
    """

    path: str
    operators: int
    binary_operators: int
    arrays: int
    binary_weights: int

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        return "\n".join(
            [
                f"arrays          {self.path}: {self.arrays} arrays of {self.operators} operators",
                f"binary kernels  {self.binary_operators}, {self.binary_weights:,} weights of one bit",
            ]
        )


def dump(path: str | os.PathLike, destination: str | os.PathLike, overwrite: bool = False) -> Dump:
    """Write the packed weights, thresholds, scales and the graph of a `.tflite` file as `.npz`, for programs of your own.

    `help(bitat_tf.tflite_file.description)` says what each array holds, and how larq-compute-engine computes with it.

    Args:
        path: A `.tflite` file, of this library or another one. It need not have binary operators.
        destination: A folder that exists, or a path that ends with "/": the file is then named as the `.tflite` file; else
            its path, with or without ".npz".
        overwrite: Whether a file that is there may be replaced.

    Returns:
        A `Dump`.

    Raises:
        ValueError: If the file is damaged or none of TFLite's, or has operators that larq-compute-engine 0.16 does not write.
        FileExistsError: If the file is there and `overwrite` is False; nothing is written.
        OSError: If a file cannot be read or written.

    Examples:
        >>> model = bitat_tf.applications.ReActNet((8, 8, 1), 10, width=0.5, blocks=((64, 1),))
        >>> for layer in bitat_tf.layers.binary_layers(model):
        ...     layer.set_binary()
        >>> report = bitat_tf.export.to_tflite(model, os.path.join(folder, "model.tflite"))
        >>> dump(os.path.join(folder, "model.tflite"), os.path.join(folder, "bits")).binary_operators
        2
        >>> arrays = np.load(os.path.join(folder, "bits.npz"))
        >>> [arrays[key].shape for key in arrays if key.endswith("weights_bits")]
        [(16, 3, 3, 1), (32, 1, 1, 1)]
    """
    target = _target(Path(path), destination)
    if target.exists() and not overwrite:
        raise FileExistsError(
            f"dump: expected a name that is free. Received: {target}, which exists. Choose another destination, or pass "
            "overwrite=True."
        )
    file = read(path)
    try:
        graph, arrays = describe(file.model)
    except ValueError as error:
        raise ValueError(f"dump: {path}: {error}") from error
    content = io.BytesIO()
    np.savez(content, graph=np.array(json.dumps(graph)), **arrays)
    write_bytes(target, content.getvalue())
    binary = [operator for operator in graph["operators"] if operator["name"] == "LceBconv2d"]
    return Dump(
        path=str(target),
        operators=len(graph["operators"]),
        binary_operators=len(binary),
        arrays=len(arrays),
        binary_weights=sum(_weights(operator, arrays) for operator in binary),
    )


def _target(path: Path, destination: str | os.PathLike) -> Path:
    text = os.fspath(destination)
    if Path(text).is_dir() or text.endswith(("/", os.sep)):
        return Path(text, f"{path.stem}.npz")
    name = text.removesuffix(".npz")
    if not name or not Path(name).name:
        raise ValueError(f"dump: expected a folder, or a path with a name. Received: {text!r}.")
    return Path(f"{name}.npz")


def _weights(operator: dict[str, Any], arrays: dict[str, np.ndarray]) -> int:
    outputs, *kernel, _ = arrays[operator["constants"][1]].shape
    options = operator["options"]
    return outputs * int(np.prod(kernel)) * (options["channels_in"] // options["groups"])
