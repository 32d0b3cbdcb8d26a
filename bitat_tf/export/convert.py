"""Conversion with larq-compute-engine, and its verification."""

import hashlib
import os
from collections.abc import Sequence
from importlib.metadata import version

import larq_compute_engine as lce

from bitat_tf._files import write_bytes
from bitat_tf._keras import keras, tf
from bitat_tf._pixels import BYTES
from bitat_tf._validation import check_finite, check_model
from bitat_tf.export.folding import fold
from bitat_tf.export.int8.layers import FakeQuantization
from bitat_tf.export.int8.quantize_rest import input_grid, without_rescaling
from bitat_tf.export.integer_input import with_uint8_input
from bitat_tf.export.interface import FileInterface, run_tflite
from bitat_tf.export.judging import check_not_different, judge, limits_of, model_answers
from bitat_tf.export.plain import count_binary_operators, to_plain_larq
from bitat_tf.export.report import ExportReport, count_operators
from bitat_tf.export.request import (
    Arrays,
    check_description,
    check_known_sizes,
    check_zero_padding,
    model_inputs,
    output_labels,
)
from bitat_tf.layers import binary_layers
from bitat_tf.model_graph import CallGraph
from bitat_tf.tflite_file.content import SEAL_FORMAT, parse, sealed
from bitat_tf.tflite_file.operators import Operator, read_operators

_PACKAGES = ("bitat_tf", "larq", "larq-compute-engine", "tensorflow", "tf_keras", "numpy")


def to_tflite(
    model: keras.Model,
    path: str | os.PathLike,
    data: Arrays | None = None,
    labels: Arrays | None = None,
    allow_partial: bool = False,
    minimum_agreement: float = 0.9,
    *,
    folded: bool = True,
    classes: Sequence[str] = (),
    pixels: str | None = None,
    maximum_difference: float | None = None,
) -> ExportReport:
    """Write a binarized model as a `.tflite` file for larq-compute-engine, and check that the file does what the model does.

    The file is converted from a plain Larq copy (`to_plain_larq`), in which constants have vanished into their neighbours
    (`fold`). It is run in larq-compute-engine's interpreter and compared with the Keras model; every binary layer must have
    become one `LceBconv2d`. It is written only after that, with a seal: a digest by which damage is seen, versions, classes.

    Args:
        model: A functional or sequential model with inputs of known sizes: binarized, or from `quantize_rest`, for a file
            whose other layers are int8. Layers of mixed precision are written in float32.
        path: Where the file goes; its name ends with `.tflite`. An existing file is replaced at the end, in one step.
        data: Inputs for the verification, shape (n, ...), prepared as for training; of several a list, or a dict by their
            names. Default 16 random ones.
        labels: Of `data`, for the accuracy: class indices, shape (n,) or (n, 1), one-hot ones, or 0 and 1 for each unit; of
            several outputs a list or dict of these and None.
        allow_partial: Whether layers may stay float: not binarized yet, or not fused by the converter.
        minimum_agreement: Share of the decisions (top-1, or yes and no), or of the samples whose values are compared, on which
            file and model must agree, else nothing is written; each output is judged as by `verify`. Default 0.9: a value on a
            threshold may round to the other side, so that some samples may differ. 0 writes the file whatever it gives.
        folded: Whether constants per channel are moved into their neighbours first. Default True.
        classes: Names of the classes in the order of the outputs, for the device's programs; they go into the seal.
        pixels: What the model expects of pixels 0..255, for the device's programs: "0..255" (as they are), "0..1", "-1..1",
            "imagenet" or "caffe". Default None: not known.
        maximum_difference: Largest difference of a sample's values that agree, relative to their spread, as in `verify`.

    Returns:
        An `ExportReport`. Its verdict is "same", or "no verdict" where the data cannot tell: such a file is written, too.

    Raises:
        ValueError: If the model is not fully binarized, its sizes are not known, its data, labels or classes are unusable, or
            the file holds a float operator that should be binary or does not do what the model does.
        TypeError: If it is no Keras 2 model.
        OSError: If the file cannot be written; nothing is left under its name.

    Examples:
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
    check_known_sizes("to_tflite", model)
    classes = check_description(model, classes, pixels)
    inputs, random_data = model_inputs("to_tflite", model, data)
    answers = model_answers("to_tflite", model, inputs, output_labels("to_tflite", model, data, labels), classes)

    grid = input_grid(model)  # of a network from `quantize_rest`, which is plain and folded already
    plain = model if grid is not None else to_plain_larq(model, allow_partial)
    if folded and grid is None:
        plain = fold(plain)
    folded = folded or grid is not None
    check_zero_padding(CallGraph(plain))
    float_layers = tuple(layer.name for layer in binary_layers(model) if layer.state != "binary")
    expected = count_binary_operators(plain)
    content, input_type, takes_bytes = _convert(plain, grid)
    operators = read_operators(content)
    counts = count_operators(operators)
    _check_fused(expected, operators, allow_partial)
    versions = {package: version(package) for package in _PACKAGES}
    facts = {
        "format": SEAL_FORMAT,
        "name": model.name,
        "expected_binary": expected,
        "float_layers": list(float_layers),
        "folded": folded,
        "int8": grid is not None,
        "classes": list(classes),
        "pixels": BYTES if takes_bytes else pixels,
        "versions": versions,
    }
    content = sealed(parse(content), facts)

    interface = FileInterface(parse(content), model.input_names, model.output_names)
    limits = limits_of("to_tflite", interface, minimum_agreement, maximum_difference)
    given = run_tflite(content, interface.ordered(inputs))
    found = interface.values(given if isinstance(given, list) else [given])
    for values in found:
        check_finite("to_tflite", "the outputs of the file", values)
    outputs = judge(answers, found, limits, interface.steps)
    check_not_different("to_tflite", outputs)
    write_bytes(path, content)
    return ExportReport(
        path=str(path),
        size=len(content),
        float_size=4 * plain.count_params(),
        sha256=hashlib.sha256(content).hexdigest(),
        operators=counts,
        expected_binary=expected,
        fused_binary=counts.get("LceBconv2d", 0),
        float_layers=float_layers,
        folded=folded,
        int8=grid is not None,
        input_type=input_type,
        outputs=outputs,
        random_data=random_data,
        versions=versions,
    )


def _convert(plain: keras.Model, grid: FakeQuantization | None) -> tuple[bytes, str, bool]:
    """Return the content of the file, the type of its input, and whether that takes the bytes of pictures."""
    input_type, takes_bytes = "float32", False
    if grid is not None:
        input_type = grid.input_type
        plain, takes_bytes = without_rescaling(plain)
    integers = tf.float32 if input_type == "float32" else tf.int8
    try:
        content = lce.convert_keras_model(plain, inference_input_type=integers)
    except RuntimeError as error:
        raise ValueError(
            f"to_tflite: larq-compute-engine cannot convert the model ({error}). Received: {plain.name!r}. A layer of it has "
            "no form on the device: recurrent layers need unroll=True; bitat_tf.check(model) names what it knows of."
        ) from error
    return (with_uint8_input(content) if input_type == "uint8" else content), input_type, takes_bytes


def _check_fused(expected: int, operators: list[Operator], allow_partial: bool) -> None:
    fused = count_operators(operators).get("LceBconv2d", 0)
    left = [operator.output for operator in operators if operator.binary_kernel]
    if (fused < expected or left) and not allow_partial:
        raise ValueError(
            f"to_tflite: {expected} binary layers must become LceBconv2d operators. Received: {fused} of them"
            + (f", and float operators with a binary kernel at {', '.join(left)}" if left else "")
            + ". Something stands between a sign and its convolution, or a group has no multiple of 32 channels. "
            "Pass allow_partial=True to write the file all the same."
        )
