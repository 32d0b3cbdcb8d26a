"""Writing what is in a `.tflite` file for programs that are not TFLite; `description` says how, key by key."""

import io
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bitat_tf._files import write_bytes, write_text
from bitat_tf.tflite_file.c_header import c_header
from bitat_tf.tflite_file.description import describe
from bitat_tf.tflite_file.reading import read


@dataclass(frozen=True)
class Dump:
    """What `dump` has written.

    Attributes:
        arrays_path: The `.npz` file.
        header_path: The C header.
        operators: Number of operators.
        binary_operators: Number of `LceBconv2d` among them.
        arrays: Number of arrays, without the graph.
        binary_weights: Number of weights that take one bit.
    """

    arrays_path: str
    header_path: str
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
                f"arrays          {self.arrays_path}: {self.arrays} arrays of {self.operators} operators",
                f"C header        {self.header_path}",
                f"binary kernels  {self.binary_operators}, {self.binary_weights:,} weights of one bit",
            ]
        )


def dump(path: str | os.PathLike, destination: str | os.PathLike, overwrite: bool = False) -> Dump:
    """Write the packed weights, thresholds, scales and the graph of a `.tflite` file as `.npz` and as a C header.

    `help(bitat_tf.tflite_file.description)` says what each array holds, and how larq-compute-engine computes with it.

    Args:
        path: A `.tflite` file, of this library or another one. It need not have binary operators.
        destination: A folder that exists, or a path that ends with "/": the files are then named as the `.tflite` file; else
            what the names of both files begin with.
        overwrite: Whether files that are there may be replaced.

    Returns:
        A `Dump`.

    Raises:
        ValueError: If the file is damaged or none of TFLite's, or has operators that larq-compute-engine 0.16 does not write.
        FileExistsError: If one of the two files is there and `overwrite` is False; nothing is written.
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
    prefix = _prefix(Path(path), destination)
    targets = Path(f"{prefix}.npz"), Path(f"{prefix}.h")
    there = [str(target) for target in targets if target.exists()]
    if there and not overwrite:
        raise FileExistsError(
            f"dump: expected names that are free. Received: {' and '.join(there)}, which exist. Choose another destination, or "
            "pass overwrite=True."
        )
    file = read(path)
    try:
        graph, arrays = describe(file.model)
    except ValueError as error:
        raise ValueError(f"dump: {path}: {error}") from error
    header = c_header(prefix.name, Path(path).name, graph, arrays)
    content = io.BytesIO()
    np.savez(content, graph=np.array(json.dumps(graph)), **arrays)
    write_bytes(targets[0], content.getvalue())
    try:
        write_text(targets[1], header)
    except OSError:
        if not there:
            targets[0].unlink(missing_ok=True)  # one of the two alone would look like a dump
        raise
    binary = [operator for operator in graph["operators"] if operator["name"] == "LceBconv2d"]
    return Dump(
        arrays_path=str(targets[0]),
        header_path=str(targets[1]),
        operators=len(graph["operators"]),
        binary_operators=len(binary),
        arrays=len(arrays),
        binary_weights=sum(_weights(operator, arrays) for operator in binary),
    )


def _prefix(path: Path, destination: str | os.PathLike) -> Path:
    text = os.fspath(destination)
    if Path(text).is_dir() or text.endswith(("/", os.sep)):
        return Path(text, path.stem)
    for suffix in (".npz", ".h"):
        text = text.removesuffix(suffix)
    if not text or not Path(text).name:
        raise ValueError(f"dump: expected a folder, or a path with a name. Received: {os.fspath(destination)!r}.")
    return Path(text)


def _weights(operator: dict[str, Any], arrays: dict[str, np.ndarray]) -> int:
    outputs, *kernel, _ = arrays[operator["constants"][1]].shape
    options = operator["options"]
    return outputs * int(np.prod(kernel)) * (options["channels_in"] // options["groups"])
