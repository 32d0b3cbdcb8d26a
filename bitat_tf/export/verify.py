"""Does a file do what a Keras model does, on data?"""

import os
from collections.abc import Sequence

import keras
import numpy as np

from bitat_tf._validation import check_model
from bitat_tf.export.agreement import DIFFERENT
from bitat_tf.export.ends import input_names, output_names
from bitat_tf.export.inside import Run, compare_inside
from bitat_tf.export.interface import FileInterface
from bitat_tf.export.judging import judge, limits_of, model_answers
from bitat_tf.export.report import VerificationReport
from bitat_tf.export.request import Arrays, check_known_sizes, model_inputs, output_labels
from bitat_tf.export.tensorflow_child import on_tensorflow
from bitat_tf.layers import binary_layers
from bitat_tf.model_graph import CallGraph, rebuilt
from bitat_tf.tflite_file.engines import Engine
from bitat_tf.tflite_file.operators import list_operators
from bitat_tf.tflite_file.reading import TfliteFile, read


@on_tensorflow
def verify(
    model: keras.Model,
    path: str | os.PathLike,
    data: Arrays | None = None,
    labels: Arrays | None = None,
    traced: int = 8,
    minimum_agreement: float = 0.9,
    engine: str | None = None,
    maximum_difference: float | None = None,
) -> VerificationReport:
    """Compare a file with the Keras model that it was exported from: outputs on all data, signs inside on some.

    Each output is judged by what it is. Classes (a softmax, a cross-entropy that the model is compiled with, labels or names of
    classes) by the largest unit; yes or no of one or more units (a sigmoid, a binary cross-entropy, labels of 0 and 1) by the
    decisions at 0.5 or, of logits, 0; all else by the differences of the values, which must be small against their spread over
    the samples. That is asked of classes and decisions too, more loosely, or a file that always gives the same would agree on a
    class that is rare. Where the data cannot tell, as with outputs that are the same for all samples, there is no verdict.

    Rounding differs between the two, and a value on the threshold of a sign may fall on the other side of it: then the bit is
    another one, and what follows too. So for the samples that differ most the signs before each binary layer are compared, and
    where they first differ it is looked whether the values lie on their thresholds.

    Args:
        model: The model given to `to_tflite`, with inputs of known sizes.
        path: The file. It is run in a process of its own.
        data: Inputs, shape (n, ...), prepared as for training; of several a list, or a dict by their names. Default 16 random
            ones.
        labels: Of `data`, for the accuracy: class indices, shape (n,) or (n, 1), one-hot ones, or 0 and 1 for each unit; of
            several outputs a list or dict of these and None.
        traced: Number of samples whose signs inside are compared, >= 0. Default 8.
        minimum_agreement: Share of the decisions, or of the samples whose values are compared, that must agree, as in
            `to_tflite`. Of a float file, what comes after the first layer at which values on a threshold explain a difference
            is judged by the outputs only. Default 0.9.
        engine: What runs the file: "bitat-runtime" in a stock interpreter, LiteRT's or TensorFlow's, or "larq-compute-engine"
            in its own. Default: the first of them that is installed. Signs inside are compared in the same one, after a second
            run in which they are read; its outputs must be those of the first.
        maximum_difference: Largest difference of a sample's values that agree, relative to their spread. Default None: 0.1 for
            a float file, 0.5 for one with an int8 rest (why: `bitat_tf.export.agreement`).

    Returns:
        A `VerificationReport`.

    Raises:
        ValueError: If the file is damaged, cannot be run, or is not one of this model, or the data do not fit.
        TypeError: If it is no Keras 3 model.
        ImportError: If the engine is not installed, or none is; the message says what to install.
        OSError: If the file cannot be read.

    Examples:
        >>> model = bitat_tf.applications.ReActNet((8, 8, 1), 10, width=0.5, blocks=((64, 1),))
        >>> for layer in bitat_tf.layers.binary_layers(model):
        ...     layer.set_binary()
        >>> path = os.path.join(folder, "model.tflite")
        >>> report = bitat_tf.export.to_tflite(model, path)
        >>> verify(model, path).verdict
        'same'
    """
    check_model(model, "verify")
    check_known_sizes("verify", model)
    runner = Engine("verify", engine)
    inputs, random_data = model_inputs("verify", model, data)
    given = output_labels("verify", model, data, labels)
    if traced < 0:
        raise ValueError(f"verify: `traced` must be at least 0. Received: {traced}.")
    file = read(path)
    if file.obstacle is not None and file.engine == runner.name:
        raise ValueError(f"verify: {runner.name} cannot run {path}: {file.obstacle}.")
    interface = _interface(model, file)
    limits = limits_of("verify", interface, minimum_agreement, maximum_difference)
    answers = model_answers("verify", model, inputs, given, file.facts.get("classes") or ())
    stored, run = interface.stored(inputs), _runner(runner, file.path)
    outputs = run(file.content, stored)
    found = interface.values(outputs)
    _check_shapes("outputs", [array.shape[1:] for array in answers.outputs], [array.shape[1:] for array in found], file)
    chosen = _most_different(answers.outputs, found)[:traced]
    inside = None
    if traced:
        some, as_stored, given_out = ([array[chosen] for array in arrays] for arrays in (inputs, stored, outputs))
        inside = compare_inside(_in_float32(model), file, some, as_stored, given_out, run)
    report = VerificationReport(
        path=str(path),
        outputs=judge(answers, found, limits, interface.steps),
        inside=inside,
        random_data=random_data,
        engine=runner.name,
        ran_in=runner.description,
    )
    if report.verdict == DIFFERENT:
        _check_state(model, file)
    return report


def _check_state(model: keras.Model, file: TfliteFile) -> None:
    """Raise ValueError if a file that differs holds binary layers and the model none: then it is the network from before."""
    binary = sum(operator.name == "LceBconv2d" for operator in list_operators(file.model))
    layers = binary_layers(model)
    if not binary or any(layer.state == "binary" for layer in layers):
        return
    states = f"{len(layers)} binary layers, all of them still in float state" if layers else "no binary layers"
    raise ValueError(
        f"verify: {file.path} holds {binary} binary convolutions, and model {model.name!r} has {states}: it is the float "
        "network, and not the one that the file was exported from. Pass the binary one: what was given to to_tflite, or "
        "binary.keras of a run. How much the two networks differ, bitat_tf.analysis.layer_agreement says."
    )


def _in_float32(model: keras.Model) -> keras.Model:
    """Return a model that computes as its file does: rounding of mixed precision explains no sign, and none of the outputs."""
    if all(getattr(call.layer, "compute_dtype", "float32") == "float32" for call in CallGraph(model).calls):
        return model
    return rebuilt(model, in_float32=True)


def _interface(model: keras.Model, file: TfliteFile) -> FileInterface:
    """Return what a file takes and gives; raise ValueError unless these are the model's inputs and as many outputs."""
    interface = FileInterface(file.model, input_names(model), output_names(model))
    if (len(interface.inputs), len(interface.outputs)) != (len(model.inputs), len(model.outputs)):
        raise ValueError(
            f"verify: the file must be one of this model, with {len(model.inputs)} inputs and {len(model.outputs)} outputs. "
            f"Received: a file with {len(interface.inputs)} inputs and {len(interface.outputs)} outputs: {file.path}."
        )
    _check_shapes("inputs", [tuple(one.shape[1:]) for one in model.inputs], [end.shape for end in interface.inputs], file)
    if any(end.kind is None for end in interface.inputs):
        raise ValueError(f"verify: the file must take floats or integers. Received: one with other inputs: {file.path}.")
    return interface


def _check_shapes(what: str, expected: list[tuple[int, ...]], found: list[tuple[int, ...]], file: TfliteFile) -> None:
    for ours, theirs in zip(expected, found, strict=True):
        if ours != theirs:
            raise ValueError(
                f"verify: the file must be one of this model, with {what} of shape {ours}. Received: a file with {what} of "
                f"shape {theirs}: {file.path}."
            )


def _runner(engine: Engine, path: str) -> Run:
    def run(content: bytes, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        return engine.run(path, content, inputs)

    return run


def _most_different(expected: Sequence[np.ndarray], found: Sequence[np.ndarray]) -> np.ndarray:
    """Return the numbers of the samples, those with the largest differences of an output first."""
    differences = []
    for ours, theirs in zip(expected, found, strict=True):
        difference = np.where(np.isfinite(theirs), np.abs(ours - theirs), np.inf).reshape(len(ours), -1).max(axis=1)
        differences.append(difference / max(float(np.abs(ours).max()), 1e-12))
    return np.argsort(-np.max(differences, axis=0), kind="stable")
