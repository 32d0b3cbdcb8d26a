"""The outputs of a file judged beside those of the model, each by what it is."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import keras
import numpy as np

from bitat_tf._validation import check_finite, check_number
from bitat_tf.export.agreement import (
    DIFFERENT,
    FLOAT_DIFFERENCE,
    INT8_DIFFERENCE,
    Limits,
    Measure,
    OutputAgreement,
    compare_outputs,
)
from bitat_tf.export.ends import output_names
from bitat_tf.export.interface import FileInterface
from bitat_tf.export.labels import accuracy, wanted
from bitat_tf.export.output_kinds import measures
from bitat_tf.export.request import predict


@dataclass(frozen=True, eq=False)
class ModelAnswers:
    """What a model gives for some samples, and how it is judged.

    Attributes:
        names: Of its outputs.
        outputs: Shape (n, ...) each, in the order of `model.outputs`.
        measures: How each is judged.
        labels: Of each output what its labels ask for, None without labels.
    """

    names: tuple[str, ...]
    outputs: tuple[np.ndarray, ...]
    measures: tuple[Measure, ...]
    labels: tuple[np.ndarray | None, ...]


def model_answers(
    where: str,
    model: keras.Model,
    inputs: Sequence[np.ndarray],
    labels: Sequence[np.ndarray | None],
    classes: Sequence[str] = (),
) -> ModelAnswers:
    """Return what a model gives for some samples, with labels that fit.

    Args:
        where: Name of the public function, for the messages.
        model: A functional or sequential model.
        inputs: Its inputs, shape (n, ...) each.
        labels: Of each output the labels, or None.
        classes: Names of the classes, if they are known.

    Raises:
        ValueError: If an output is not finite, or labels do not fit their output.
    """
    outputs = predict(model, inputs)
    for output in outputs:
        check_finite(where, "the outputs of the Keras model", output)
    kinds = measures(where, model, outputs, labels, classes)
    asked = (
        None if given is None else wanted(where, given, _with_units(output).shape, measure)
        for output, given, measure in zip(outputs, labels, kinds, strict=True)
    )
    return ModelAnswers(tuple(output_names(model)), tuple(outputs), tuple(kinds), tuple(asked))


def judge(
    answers: ModelAnswers, found: Sequence[np.ndarray], limits: Limits, steps: Sequence[float]
) -> tuple[OutputAgreement, ...]:
    """Compare each output of a file with that of the model.

    Args:
        answers: What the model gives.
        found: What the file gives, shape (n, ...) each, in the same order.
        limits: What they may differ by.
        steps: Of each output the step of its int8 grid, 0 for floats.
    """
    judged = []
    for number, (name, output, measure, asked) in enumerate(
        zip(answers.names, answers.outputs, answers.measures, answers.labels, strict=True)
    ):
        one = compare_outputs(output, found[number], measure, limits, steps[number], name)
        if asked is not None:
            of_file, of_model = (accuracy(_with_units(array), asked, measure) for array in (found[number], output))
            one = replace(one, accuracy=of_file, keras_accuracy=of_model)
        judged.append(one)
    return tuple(judged)


def check_not_different(where: str, outputs: Sequence[OutputAgreement]) -> None:
    """Raise ValueError if an output of a file is different from the model's."""
    for output in outputs:
        if output.verdict == DIFFERENT:
            raise ValueError(
                f"{where}: the file must give what the Keras model gives. {output.reason} Output {output.name!r} is judged by "
                f"{output.measure}, on {output.samples} samples; the largest difference is {output.largest_difference:.3g}. "
                "No file was written. Pass representative `data` (random inputs may all lie on thresholds), or a lower "
                "`minimum_agreement`."
            )


def limits_of(where: str, interface: FileInterface, minimum_agreement: float, maximum_difference: float | None) -> Limits:
    """Return what a file may differ by; by default more where its rest is int8.

    Raises:
        ValueError: If `minimum_agreement` is no share, or `maximum_difference` no number >= 0 (or None).
    """
    check_number(where, "minimum_agreement", minimum_agreement, maximum=1.0)
    if maximum_difference is None:
        return Limits(minimum_agreement, INT8_DIFFERENCE if interface.is_int8 else FLOAT_DIFFERENCE)
    check_number(where, "maximum_difference", maximum_difference)
    return Limits(minimum_agreement, maximum_difference)


def _with_units(array: np.ndarray) -> np.ndarray:
    return array if array.ndim > 1 else array[:, None]
