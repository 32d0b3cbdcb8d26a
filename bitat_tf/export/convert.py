"""From a binarized model to a verified `.tflite` file."""

import contextlib
import hashlib
import math
import os
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

import keras
import numpy as np

from bitat_tf._files import write_bytes
from bitat_tf._pixels import BYTES
from bitat_tf._validation import check_choice, check_finite, check_model
from bitat_tf.export.agreement import OutputAgreement
from bitat_tf.export.conversion import Conversion
from bitat_tf.export.ends import input_names, output_names
from bitat_tf.export.interface import FileInterface
from bitat_tf.export.judging import ModelAnswers, check_not_different, judge, limits_of, model_answers
from bitat_tf.export.larq_converter import convert_with_larq
from bitat_tf.export.lowering import INPUT_TYPES, Program, convert, lower, lower_to_int8
from bitat_tf.export.report import ExportReport, count_operators
from bitat_tf.export.request import (
    Arrays,
    check_description,
    check_known_sizes,
    check_zero_padding,
    model_inputs,
    output_labels,
)
from bitat_tf.export.tensorflow_child import on_tensorflow
from bitat_tf.layers import binary_layers, device_weights, required_binary_layers
from bitat_tf.model_graph import CallGraph
from bitat_tf.tflite_file.content import SEAL_FORMAT, parse, sealed
from bitat_tf.tflite_file.engines import Engine
from bitat_tf.tflite_file.operators import read_operators

DIRECT, LARQ = CONVERTERS = ("direct", "larq-compute-engine")
_PACKAGES = ("bitat_tf", "keras", "larq-compute-engine", "tensorflow", "numpy")


@on_tensorflow
def to_tflite(
    model: keras.Model,
    path: str | os.PathLike,
    data: Arrays | None = None,
    labels: Arrays | None = None,
    allow_partial: bool = False,
    minimum_agreement: float = 0.9,
    *,
    maximum_difference: float | None = None,
    calibration: Arrays | None = None,
    input_type: str = "float32",
    classes: Sequence[str] = (),
    pixels: str | None = None,
    converter: str = DIRECT,
    verify: bool = True,
    engine: str | None = None,
) -> ExportReport:
    """Write a binarized model as a `.tflite` file with larq-compute-engine's operators, and check that it does the same.

    Every binary layer becomes one `LceBconv2d`, because it is written as one: batch normalizations, scales and biases are its
    multiplier and bias; what is monotone between it and the next sign, a ReLU for one, becomes a threshold, and signs are
    written where nothing else is read. The rest goes through TensorFlow's converter. The file is run and compared with the
    Keras model, and written only after that, with a seal: a digest by which damage is seen, versions, classes.

    Args:
        model: A functional or sequential model with inputs of known sizes, binarized. Layers of mixed precision are written
            in float32. The file takes any number of samples, whatever batch size the model was built with.
        path: Where the file goes; its name ends with `.tflite`. An existing file is replaced at the end, in one step.
        data: Inputs for the verification, shape (n, ...), prepared as for training; of several inputs a list, or a dict by
            their names. Default 16 random ones.
        labels: Of `data`, for the accuracy: class indices, shape (n,) or (n, 1), one-hot ones, or 0 and 1 for each unit; of
            several outputs a list or dict of these and None.
        allow_partial: Whether layers may stay float that are not binarized yet.
        minimum_agreement: Share of the decisions that must agree, or of the samples whose values are compared, else nothing
            is written. Default 0.9: a value on a threshold may round to the other side, so that some samples may differ.
        maximum_difference: Largest difference of a sample's values that agree, relative to their spread, as in `verify`.
        calibration: Inputs as for training, some hundred, not those that the accuracy is measured on: what is not binary
            becomes int8, with ranges measured on them. Default None: it is float32.
        input_type: What a file with `calibration` takes. "float32": what the model takes. "uint8": the bytes of a picture as
            they are, if the model takes pixels 0..255 (also through a `Rescaling` of one scale, which vanishes), "int8": the
            same less 128; for other models, values on a grid whose scale and zero point stand in the file.
        classes: Names of the classes in the order of the outputs, for the device's programs; they go into the seal.
        pixels: What the model expects of pixels 0..255, for the device's programs: "0..255" (as they are), "0..1", "-1..1",
            "imagenet" or "caffe". Default None: not known.
        converter: "direct", or "larq-compute-engine" for its own converter, if that is installed: another opinion of the same
            model. It takes no `calibration`.
        verify: Whether the file is run and compared before it is written.
        engine: What runs it: "bitat-runtime" or "larq-compute-engine". Default: the first of them that is installed.

    Returns:
        An `ExportReport`.

    Raises:
        ValueError: If the model is not fully binarized, its sizes are not known, its data, labels or classes are unusable, a
            layer has no form on the device, or the file does not do what the model does.
        TypeError: If it is no Keras 3 model.
        ImportError: If nothing is installed that runs the file; the message says what to install.
        ChildProcessError: If Keras runs on another backend, and the process in which it runs on TensorFlow fails.
        OSError: If the file cannot be written; nothing is left under its name.

    Examples:
        >>> model = bitat_tf.applications.ReActNet((8, 8, 1), 10, width=0.5, blocks=((64, 1),))
        >>> for layer in bitat_tf.layers.binary_layers(model):
        ...     layer.set_binary()
        >>> report = to_tflite(model, os.path.join(folder, "model.tflite"))
        >>> report.fused_binary, report.expected_binary
        (2, 2)
        >>> pixels = np.random.default_rng(0).uniform(0, 255, (64, 8, 8, 1)).astype(np.float32)
        >>> path = os.path.join(folder, "int8.tflite")
        >>> to_tflite(model, path, pixels, calibration=pixels, input_type="uint8").operators["CONV_2D"]
        1
    """
    check_model(model, "to_tflite")
    if not str(path).endswith(".tflite"):
        raise ValueError(f"to_tflite: the file's name must end with .tflite. Received: {str(path)!r}.")
    check_known_sizes("to_tflite", model)
    check_choice("to_tflite", "converter", converter, CONVERTERS)
    _check_int8(calibration, input_type, converter, allow_partial)
    _check_binary_layers(model, allow_partial)
    check_zero_padding(CallGraph(model))
    classes = check_description(model, classes, pixels)
    inputs, random_data = model_inputs("to_tflite", model, data)
    given = output_labels("to_tflite", model, data, labels)
    runner = Engine("to_tflite", engine) if verify else None

    if converter == LARQ:
        conversion = convert_with_larq(model, allow_partial)
    else:
        conversion = _lowered(model, allow_partial, calibration, input_type)
    float_layers = tuple(layer.name for layer in binary_layers(model) if layer.state != "binary")
    versions = _versions()
    facts = {
        "format": SEAL_FORMAT,
        "name": model.name,
        "converter": converter,
        "expected_binary": conversion.expected_binary,
        "float_layers": list(float_layers),
        "int8": calibration is not None,
        "classes": list(classes),
        "pixels": BYTES if conversion.takes_bytes else pixels,
        "versions": versions,
    }
    content = sealed(conversion.model, facts)
    outputs: tuple[OutputAgreement, ...] = ()
    if runner is not None:
        answers = model_answers("to_tflite", model, inputs, given, classes)
        outputs = _judged(content, answers, inputs, model, runner, str(path), (minimum_agreement, maximum_difference))
    write_bytes(path, content)
    counts = count_operators(read_operators(content))
    return ExportReport(
        path=str(path),
        size=len(content),
        float_size=4 * sum(math.prod(weight.shape) for weight in device_weights(model)),
        sha256=hashlib.sha256(content).hexdigest(),
        operators=counts,
        expected_binary=conversion.expected_binary,
        fused_binary=counts.get("LceBconv2d", 0),
        float_layers=float_layers,
        int8=calibration is not None,
        input_type=input_type,
        outputs=outputs,
        random_data=random_data,
        ran_in="" if runner is None else runner.description,
        versions=versions,
    )


def _check_int8(calibration: Arrays | None, input_type: str, converter: str, allow_partial: bool) -> None:
    check_choice("to_tflite", "input_type", input_type, INPUT_TYPES)
    if calibration is None and input_type != "float32":
        raise ValueError(
            f"to_tflite: input_type={input_type!r} is for files whose rest is int8, with ranges measured on `calibration`. "
            "Received: no calibration. Pass some hundred training inputs."
        )
    if calibration is not None and allow_partial:
        raise ValueError(
            "to_tflite: an int8 rest is for networks that are binarized whole. Received: calibration and allow_partial=True. "
            "Leave one of them out."
        )
    if calibration is not None and converter != DIRECT:
        raise ValueError(
            f"to_tflite: an int8 rest is written by converter='direct' only. Received: calibration with {converter!r}."
        )


def _check_binary_layers(model: keras.Model, allow_partial: bool) -> None:
    layers = binary_layers(model)
    missing = [f"{layer.name} ({layer.state})" for layer in layers if layer.state != "binary"]
    if missing and not allow_partial:
        raise ValueError(
            f"to_tflite: every binary layer must be binarized. Received: {len(missing)} of {len(layers)} that are not: "
            f"{', '.join(missing[:10])}{', ...' if len(missing) > 10 else ''}. Finish the schedule, call `layer.set_binary()`, "
            "or pass allow_partial=True to leave them float."
        )


def _lowered(model: keras.Model, allow_partial: bool, calibration: Arrays | None, input_type: str) -> Conversion:
    takes_bytes = False
    if calibration is None:
        program = lower(model, allow_partial)
    else:
        ranges, _ = model_inputs("to_tflite", model, calibration, "calibration")
        program, int8_input = lower_to_int8(model, ranges, input_type)
        takes_bytes = int8_input.takes_bytes
    _check_has_binary_layers(program, model, allow_partial)
    return Conversion(convert(program, input_type), len(program.binary_convolutions()), takes_bytes)


def _check_has_binary_layers(program: Program, model: keras.Model, allow_partial: bool) -> None:
    if not program.binary_convolutions() and not (allow_partial and binary_layers(model)):
        layers = required_binary_layers("to_tflite", model)
        raise ValueError(
            f"to_tflite: no binary layer of model {model.name!r} is between its inputs and outputs. Received: "
            f"{', '.join(layer.name for layer in layers[:10])}. Export the model that uses them."
        )


def _judged(
    content: bytes,
    answers: ModelAnswers,
    inputs: Sequence[np.ndarray],
    model: keras.Model,
    runner: Engine,
    path: str,
    limits: tuple[float, float | None],
) -> tuple[OutputAgreement, ...]:
    """Run a file and compare its outputs with the model's; raise ValueError if one is different."""
    interface = FileInterface(parse(content), input_names(model), output_names(model))
    found = interface.values(runner.run(path, content, interface.stored(inputs)))
    for values in found:
        check_finite("to_tflite", "the outputs of the file", values)
    outputs = judge(answers, found, limits_of("to_tflite", interface, *limits), interface.steps)
    check_not_different("to_tflite", outputs)
    return outputs


def _versions() -> dict[str, str]:
    """Return the versions of the packages that are installed under their usual names."""
    found = {}
    for package in _PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            found[package] = version(package)
    return found
