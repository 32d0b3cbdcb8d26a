"""Does a file do what a Keras model does, on data?"""

import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from bitat_tf._keras import keras
from bitat_tf._pixels import BYTES
from bitat_tf._validation import check_finite, check_model
from bitat_tf.export.folding import fold
from bitat_tf.export.int8.quantize_rest import input_grid
from bitat_tf.export.intermediate import Comparison, Parting
from bitat_tf.export.plain import to_plain_larq
from bitat_tf.export.request import check_sizes, verification_data
from bitat_tf.export.verification import Agreement, accuracy, agreement, sample_differences
from bitat_tf.graph import CallGraph
from bitat_tf.tflite_file.engines import Engine
from bitat_tf.tflite_file.inputs import on_grid
from bitat_tf.tflite_file.reading import TfliteFile, read
from bitat_tf.tflite_file.schema import schema

_BATCH = 2**25  # values inside of the file that are held at a time
_BEYOND_ROUNDING = 1e-3  # of the largest output
_PERCENTILES = (50, 90, 99, 100)
_KINDS = {schema.TensorType.FLOAT32: "float32", schema.TensorType.INT8: "int8", schema.TensorType.UINT8: "uint8"}


@dataclass(frozen=True)
class VerificationReport:
    """What `verify` found out about a file.

    Attributes:
        path: The file.
        agreement: Outputs of the file against those of the model, on all data.
        percentiles: Of each sample's largest difference of an output: by percentile, in units of the output.
        accuracy, keras_accuracy: Top-1 accuracy of the file and of the Keras model, if labels were given.
        random_data: Whether the data were random.
        minimum_agreement: Share of the samples on which top-1 must agree.
        traced: Number of samples of which the tensors inside were compared, those with the largest differences first.
        partings: Where they part, of the traced samples that do.
        compared_layers: Number of layers whose outputs stand in the file.
        engine: What ran the file, "bitat-runtime" or "larq-compute-engine".
        ran_in: The same with versions; of bitat-runtime also the kernels, and the interpreter that it ran in.
        unlike_inside: Number of the traced samples whose outputs were others, beyond rounding, when the tensors inside were
            read: operators that run as one are apart then.
    """

    path: str
    agreement: Agreement
    percentiles: dict[int, float]
    accuracy: float | None
    keras_accuracy: float | None
    random_data: bool
    minimum_agreement: float
    traced: int
    partings: tuple[Parting, ...]
    compared_layers: int
    engine: str = ""
    ran_in: str = ""
    unlike_inside: int = 0

    @property
    def unexplained(self) -> tuple[Parting, ...]:
        """Partings that no value on a threshold explains: of these the file is to blame."""
        return tuple(parting for parting in self.partings if not parting.explained)

    @property
    def ok(self) -> bool:
        """Whether top-1 agrees on enough samples, and those that were traced are equal or differ by values on a threshold."""
        return not self.unexplained and not self.unlike_inside and self.agreement.top1 >= self.minimum_agreement

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values for JSON."""
        partings = [{**asdict(parting), "explained": parting.explained} for parting in self.partings]
        percentiles = {str(key): value for key, value in self.percentiles.items()}
        return {**asdict(self), "percentiles": percentiles, "partings": partings, "ok": self.ok}

    def __str__(self) -> str:
        found = self.agreement
        kind = "random inputs" if self.random_data else "samples"
        lines = [
            f"file            {self.path}",
            f"ran in          {self.ran_in}",
            f"agreement       top-1 {found.top1:.2%} of {found.samples:,} {kind}; {found.share_different:.2%} of them differ "
            "by more than rounding",
            "differences     " + ", ".join(f"{value:.2g} ({name} %)" for name, value in self.percentiles.items()),
        ]
        if self.accuracy is not None:
            lines.append(f"accuracy        file {self.accuracy:.2%}, Keras {self.keras_accuracy:.2%}")
        same = self.traced - len(self.partings)
        lines.append(
            f"inside          {self.compared_layers} layers compared on the {self.traced} samples of the largest differences: "
            f"{same} equal to rounding, {len(self.partings) - len(self.unexplained)} part by values on a threshold, "
            f"{len(self.unexplained)} without"
        )
        for parting in self.partings:
            why = f"{parting.on_threshold} values on a threshold before it" if parting.explained else "no value on a threshold"
            lines.append(
                f"  part first at {parting.layer}: {parting.share:.2%} of its values, by up to "
                f"{parting.largest_difference:.2g} of {parting.largest_value:.2g}; {why}"
            )
        if self.unlike_inside:
            lines.append(f"The outputs of {self.unlike_inside} of these samples were others when the tensors inside were read.")
        if not self.traced:
            lines[-1] = "inside          not compared"
            lines.append("Only the outputs were compared.")
        if self.agreement.top1 < self.minimum_agreement:
            lines.append(f"Top-1 must agree on {self.minimum_agreement:.1%} of the samples.")
        lines.append("The file does what the model does." if self.ok else "The file does something else than the model.")
        return "\n".join(lines)


def verify(
    model: keras.Model,
    path: str | os.PathLike,
    data: np.ndarray | None = None,
    labels: np.ndarray | None = None,
    traced: int = 8,
    minimum_agreement: float = 0.9,
    engine: str | None = None,
) -> VerificationReport:
    """Compare a file with the Keras model that it was exported from: outputs on all data, tensors inside on some.

    Rounding differs between the two, and a value on the threshold of a sign may fall on the other side of it: then the bit is
    another one, and what follows too. So for the samples that differ most the layers are compared one after the other, up to
    the first at which they part, and it is looked whether a sign before it differs there although its inputs agree.

    Args:
        model: The model given to `to_tflite`; for a file with an int8 rest, that from `quantize_rest`. With the binarized
            model in its place only the outputs are compared.
        path: The file. It is run in a process of its own.
        data: Inputs, shape (n, ...), prepared as for training. Default 16 random ones.
        labels: Class indices of `data`, shape (n,), for the accuracy.
        traced: Number of samples whose tensors inside are compared, >= 0. Default 8. Of a network with a layer of several
            outputs only the outputs are compared.
        minimum_agreement: Share of the samples on which top-1 must agree, as in `to_tflite`. Of a float file, what comes after
            the first layer at which values on a threshold explain a difference is judged by the outputs only. Default 0.9.
        engine: What runs the file: "bitat-runtime", in a stock interpreter, LiteRT's or TensorFlow's; or
            "larq-compute-engine", in its own. Default: the first of them that is installed. Tensors inside are compared in the
            same one, after a second run in which they are read; its outputs must be those of the first.

    Returns:
        A `VerificationReport`.

    Raises:
        ValueError: If the file is damaged, cannot be run, or is not one of this model, or the data do not fit.
        TypeError: If it is no Keras 2 model.
        ImportError: If the engine, or any where none is named, is not installed.
        OSError: If the file cannot be read.

    Examples:
        >>> model = bitat_tf.applications.ReActNet((8, 8, 1), 10, width=0.5, blocks=((64, 1),))
        >>> for layer in bitat_tf.layers.binary_layers(model):
        ...     layer.set_binary()
        >>> path = os.path.join(folder, "model.tflite")
        >>> report = bitat_tf.export.to_tflite(model, path)
        >>> verify(model, path).ok
        True
    """
    check_model(model, "verify")
    check_sizes("verify", model)
    runner = Engine("verify", engine)
    data, random_data = verification_data("verify", model, data, labels)
    if traced < 0:
        raise ValueError(f"verify: `traced` must be at least 0. Received: {traced}.")
    file = read(path)
    if file.obstacle is not None and file.engine == runner.name:
        raise ValueError(f"verify: {runner.name} cannot run {path}: {file.obstacle}.")
    stored = _stored(file, model, data)
    keras_outputs = model.predict(data, verbose=0)
    (outputs,) = runner.run(file.path, file.content, [stored])
    if outputs.shape != keras_outputs.shape:
        raise ValueError(
            f"verify: the file must be one of this model, with outputs of shape {keras_outputs.shape[1:]}. Received: a file "
            f"with outputs of shape {outputs.shape[1:]}: {path}."
        )
    check_finite("verify", "the outputs of the Keras model", keras_outputs)
    differences = sample_differences(keras_outputs, outputs)
    if file.facts.get("int8") and input_grid(model) is None:
        traced = 0  # the network inside of the file is another one
    plain = _plain(model, file)
    if any(len(call.output_shapes) != 1 for call in CallGraph(plain).calls):
        traced = 0
    chosen = np.argsort(-differences, kind="stable")[:traced]
    comparison = Comparison(plain, file.content) if traced else None
    found: list[Parting | None] = []
    unlike_inside = 0
    if comparison is not None:
        for number, values in zip(chosen, _tensors_inside(comparison, runner, file, stored[chosen]), strict=True):
            found.append(comparison.parting(data[number], values))
            unlike_inside += _unlike(outputs[number], comparison, file, values)
    return VerificationReport(
        path=str(path),
        agreement=agreement(keras_outputs, outputs),
        percentiles={percent: float(np.percentile(differences, percent)) for percent in _PERCENTILES},
        accuracy=accuracy(outputs, labels),
        keras_accuracy=accuracy(keras_outputs, labels),
        random_data=random_data,
        minimum_agreement=minimum_agreement,
        traced=len(chosen),
        partings=tuple(parting for parting in found if parting is not None),
        compared_layers=0 if comparison is None else len(comparison.found),
        engine=runner.name,
        ran_in=runner.description,
        unlike_inside=unlike_inside,
    )


def _tensors_inside(comparison: Comparison, runner: Engine, file: TfliteFile, stored: np.ndarray) -> Iterator[list[np.ndarray]]:
    """Yield for each sample the values of the tensors that are compared."""
    size = max(1, _BATCH // max(comparison.size, 1))
    for start in range(0, len(stored), size):
        batch = stored[start : start + size]
        arrays = [np.split(array, len(batch)) for array in runner.run(file.path, comparison.content, [batch])]
        yield from (list(values) for values in zip(*arrays, strict=True))


def _unlike(output: np.ndarray, comparison: Comparison, file: TfliteFile, values: list[np.ndarray]) -> bool:
    """Return whether a sample's output differs by more than rounding from what the file gives when its tensors are read."""
    number = int(file.model.subgraphs[0].outputs[0])
    if number not in comparison.tensors:
        return False
    first = output.astype(np.float32)
    again = values[comparison.tensors.index(number)].reshape(output.shape).astype(np.float32)
    return bool(np.abs(again - first).max() > _BEYOND_ROUNDING * max(float(np.abs(first).max()), 1e-12))


def _plain(model: keras.Model, file: TfliteFile) -> keras.Model:
    """Return the network that the file was converted from."""
    if input_grid(model) is not None:
        return model
    plain = to_plain_larq(model, allow_partial=True)
    return fold(plain) if file.facts.get("folded") else plain


def _stored(file: TfliteFile, model: keras.Model, data: np.ndarray) -> np.ndarray:
    graph = file.model.subgraphs[0]
    if len(graph.inputs) != 1 or len(graph.outputs) != 1:
        raise ValueError(
            f"verify: the file must have one input and one output. Received: {len(graph.inputs)} inputs and "
            f"{len(graph.outputs)} outputs in {file.path}."
        )
    tensor = graph.tensors[graph.inputs[0]]
    shape = tuple(int(size) for size in tensor.shape)
    if shape[1:] != tuple(model.input_shape[1:]) or tensor.type not in _KINDS:
        raise ValueError(
            f"verify: the file must be one of this model, with inputs of shape {tuple(model.input_shape[1:])}. Received: a "
            f"file with inputs of shape {shape[1:]}: {file.path}."
        )
    scale, zero = None, None  # floats, and integers that mean themselves
    if tensor.quantization is not None and tensor.quantization.scale is not None:
        scale, zero = float(tensor.quantization.scale[0]), int(tensor.quantization.zeroPoint[0])
    takes_bytes = scale is not None and file.facts.get("pixels") == BYTES
    return on_grid(data, np.dtype(_KINDS[tensor.type]), scale, zero, takes_bytes)
