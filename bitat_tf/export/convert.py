"""Conversion with larq-compute-engine, and its verification."""

import hashlib
import os
from importlib.metadata import version

import larq_compute_engine as lce
import numpy as np

from bitat_tf._files import write_bytes
from bitat_tf._keras import keras
from bitat_tf._validation import check_finite, check_labels, check_model
from bitat_tf.export.plain import count_binary_operators, to_plain_larq
from bitat_tf.export.report import ExportReport, count_operators
from bitat_tf.export.verification import agreement, run_tflite
from bitat_tf.layers import binary_layers
from bitat_tf.tflite_file.operators import read_operators

_RANDOM_SAMPLES = 16
_PACKAGES = ("bitat_tf", "larq", "larq-compute-engine", "tensorflow", "tf_keras", "numpy")


def to_tflite(
    model: keras.Model,
    path: str | os.PathLike,
    data: np.ndarray | None = None,
    labels: np.ndarray | None = None,
    allow_partial: bool = False,
    minimum_agreement: float = 0.9,
) -> ExportReport:
    """Write a binarized model as a `.tflite` file for larq-compute-engine, and check that the file does what the model does.

    The file is converted from a plain Larq copy (`to_plain_larq`), run in larq-compute-engine's interpreter and compared with
    the Keras model; every binary layer must have become one `LceBconv2d`. It is written only after that.

    Args:
        model: A functional or sequential model with one input of known size and one output, float32.
        path: Where the file goes; its name ends with `.tflite`. An existing file is replaced at the end, in one step.
        data: Inputs for the verification, shape (n, ...), prepared as for training. Default 16 random ones.
        labels: Class indices of `data`, shape (n,), for the accuracy.
        allow_partial: Whether layers may stay float: not binarized yet, or not fused by the converter.
        minimum_agreement: Share of the samples on which top-1 of the file and of the model must agree, else nothing is
            written. Default 0.9: a value on a threshold may round to the other side, so that some samples may differ.

    Returns:
        An `ExportReport`.

    Raises:
        ValueError: If the model is not fully binarized, its sizes are not known, its data or labels are unusable, or the file
            holds a float operator that should be binary or does not do what the model does.
        TypeError: If it is no Keras 2 model.
        OSError: If the file cannot be written; nothing is left under its name.

    Example:
        >>> model = bitat_tf.applications.ReActNet((8, 8, 1), 10, width=0.5, blocks=((64, 1),))
        >>> for layer in bitat_tf.layers.binary_layers(model):
        ...     layer.set_binary()
        >>> report = to_tflite(model, os.path.join(folder, "model.tflite"))
        >>> report.fused_binary, report.expected_binary
        (2, 2)
    """
    check_model(model, "to_tflite")
    if not str(path).endswith(".tflite"):
        raise ValueError(f"to_tflite: the file's name must end with .tflite. Received: {str(path)!r}.")
    _check_sizes(model)
    data, random_data = _verification_data(model, data, labels)

    plain = to_plain_larq(model, allow_partial)
    layers = binary_layers(model)
    float_layers = tuple(layer.name for layer in layers if layer.state != "binary")
    content = _convert(plain)
    operators = read_operators(content)
    counts = count_operators(operators)
    expected, fused = count_binary_operators(plain), counts.get("LceBconv2d", 0)
    left = [operator.output for operator in operators if operator.binary_kernel]
    if (fused < expected or left) and not allow_partial:
        raise ValueError(
            f"to_tflite: {expected} binary layers must become LceBconv2d operators. Received: {fused} of them"
            + (f", and float operators with a binary kernel at {', '.join(left)}" if left else "")
            + ". Something stands between a sign and its convolution, or a group has no multiple of 32 channels. "
            "Pass allow_partial=True to write the file all the same."
        )

    keras_outputs = model.predict(data, verbose=0)
    outputs = run_tflite(content, data)
    for what, values in (("the outputs of the Keras model", keras_outputs), ("the outputs of the file", outputs)):
        check_finite("to_tflite", what, values)
    found = agreement(keras_outputs, outputs)
    if found.top1 < minimum_agreement:
        raise ValueError(
            f"to_tflite: top-1 of the file and of the Keras model must agree on {minimum_agreement:.1%} of the samples. "
            f"Received: {found.top1:.1%} of {found.samples}, largest difference {found.largest_difference:.3g}. No file was "
            "written. Pass representative `data` (random inputs may all lie on thresholds), or a lower `minimum_agreement`."
        )
    write_bytes(path, content)
    return ExportReport(
        path=str(path),
        size=len(content),
        float_size=4 * plain.count_params(),
        sha256=hashlib.sha256(content).hexdigest(),
        operators=counts,
        expected_binary=expected,
        fused_binary=fused,
        float_layers=float_layers,
        agreement=found,
        accuracy=None if labels is None else float(np.mean(outputs.argmax(axis=-1) == np.asarray(labels))),
        keras_accuracy=None if labels is None else float(np.mean(keras_outputs.argmax(axis=-1) == np.asarray(labels))),
        random_data=random_data,
        versions={package: version(package) for package in _PACKAGES},
    )


def _convert(plain: keras.Model) -> bytes:
    try:
        return lce.convert_keras_model(plain)
    except RuntimeError as error:
        raise ValueError(
            f"to_tflite: larq-compute-engine cannot convert the model ({error}). Received: {plain.name!r}. A layer of it has "
            "no form on the device: recurrent layers need unroll=True; bitat_tf.check(model) names what it knows of."
        ) from error


def _check_sizes(model: keras.Model) -> None:
    if len(model.inputs or ()) != 1 or len(model.outputs or ()) != 1:
        raise ValueError(
            "to_tflite: the model must be functional or sequential, with one input and one output. Received: "
            f"{len(model.inputs or ())} inputs and {len(model.outputs or ())} outputs."
        )
    if None in model.input_shape[1:]:
        raise ValueError(
            f"to_tflite: the size of the input must be known, or no layer is fused. Received: input shape {model.input_shape}. "
            "Build the model with a fixed input_shape and load the weights into it."
        )


def _verification_data(model, data, labels) -> tuple[np.ndarray, bool]:
    shape = model.input_shape[1:]
    if data is None:
        if labels is not None:
            raise ValueError("to_tflite: `labels` come with `data`. Received: labels without data.")
        return np.random.default_rng(0).uniform(-1, 1, (_RANDOM_SAMPLES, *shape)).astype(np.float32), True
    data = np.asarray(data, np.float32)
    if data.shape[1:] != shape or not len(data):
        raise ValueError(f"to_tflite: `data` must have shape (n >= 1, {', '.join(map(str, shape))}). Received: {data.shape}.")
    check_finite("to_tflite", "the data of the verification", data)
    if labels is not None:
        expected = (len(data), *model.output_shape[1:-1])
        if np.shape(labels) != expected:
            raise ValueError(
                f"to_tflite: `labels` must be class indices of shape {expected}. Received: shape {np.shape(labels)}. Labels of "
                "shape (n, 1) become such with labels.ravel(), one-hot ones with labels.argmax(axis=1)."
            )
        check_labels("to_tflite", labels, model.output_shape[-1])
    return data, False
