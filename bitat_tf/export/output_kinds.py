"""What the outputs of a model are, classes, decisions or values: from its last layers, its loss, and the labels."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from bitat_tf.export.agreement import DECISIONS, TOP_1, UNKNOWN, VALUES, Measure
from bitat_tf.export.ends import output_names
from bitat_tf.export.labels import INDICES, MULTI_HOT, ONE_HOT, label_form
from bitat_tf.model_graph import CallGraph, LayerCall

L = keras.layers

SOFTMAX, SIGMOID = "softmax", "sigmoid"

# Layers behind an activation that leave its values what they are.
_PASSING = (L.Reshape, L.Flatten, L.Permute, L.Dropout, L.Cropping1D, L.Cropping2D, L.UpSampling2D)
_PASSING_OPERATORS = ("cast", "reshape", "squeeze", "identity", "transpose", "resize")
_NAMES = {
    **dict.fromkeys(("softmax", "softmax_v2", "log_softmax", "log_softmax_v2", "logsoftmax"), SOFTMAX),
    **dict.fromkeys(("sigmoid", "hard_sigmoid", "hardsigmoid"), SIGMOID),
}

# Names of Keras' losses, with what stands for them, in lower case and without underscores.
_OF_CLASSES = {
    *("sparsecategoricalcrossentropy", "categoricalcrossentropy", "categoricalfocalcrossentropy", "categoricalhinge"),
    *("kldivergence", "kullbackleiblerdivergence", "kld"),
}
_OF_MARGINS = {"hinge", "squaredhinge"}
_OF_DECISIONS = {"binarycrossentropy", "bce", "binaryfocalcrossentropy", *_OF_MARGINS}
_OF_VALUES = {
    *("meansquarederror", "mse", "meanabsoluteerror", "mae", "meanabsolutepercentageerror", "mape", "huber", "huberloss"),
    *("meansquaredlogarithmicerror", "msle", "logcosh", "poisson", "cosinesimilarity"),
}


@dataclass(frozen=True)
class Loss:
    """A loss that a model was compiled with.

    Attributes:
        name: In lower case, without underscores.
        from_logits: Whether it takes logits.
    """

    name: str = ""
    from_logits: bool = False


def measures(
    where: str,
    model: keras.Model,
    outputs: Sequence[np.ndarray],
    labels: Sequence[np.ndarray | None],
    classes: Sequence[str] = (),
) -> list[Measure]:
    """Return how each output of a model is judged.

    Args:
        where: Name of the public function, for the messages.
        model: A functional or sequential model.
        outputs: Its outputs, shape (n, ..., units) each.
        labels: Those of each output, or None.
        classes: Names of the classes of a model of one output, if they are known.

    Raises:
        ValueError: If labels are in no form that is known.

    Examples:
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, "sigmoid")])
        >>> [str(measure) for measure in measures("verify", model, [np.array([[0.2], [0.9]])], [None])]
        ['decisions at 0.5 (sigmoid)']
    """
    found = []
    for number, (call, array, given) in enumerate(zip(CallGraph(model).outputs, outputs, labels, strict=True)):
        form = None if given is None else label_form(where, given, array.shape if array.ndim > 1 else (*array.shape, 1))
        loss = _loss(model, number)
        found.append(choose_measure(array, last_activation(call), loss, form, bool(classes) and len(outputs) == 1))
    return found


def choose_measure(
    outputs: np.ndarray,
    activation: str = "",
    loss: Loss = Loss(),
    form: str | None = None,
    named: bool = False,  # noqa: B008
) -> Measure:
    """Return how an output is judged. What the labels are says most, then the loss, then the activation.

    Args:
        outputs: The model's outputs, shape (n, ..., units), or (n,) for one unit.
        activation: From `last_activation`.
        loss: That the model was compiled with.
        form: Of the labels, from `label_form`; None without labels.
        named: Whether the units are named as classes.

    Examples:
        >>> str(choose_measure(np.array([[0.2, 3.0], [-1.0, 0.5]]), loss=Loss("sparsecategoricalcrossentropy", True)))
        'top-1 (loss)'
    """
    several = outputs.ndim > 1 and outputs.shape[-1] > 1
    inside = bool(outputs.min() >= 0 and outputs.max() <= 1)
    if form is not None:
        apart = activation == SIGMOID or loss.name in _OF_DECISIONS
        if form == INDICES or (form == ONE_HOT and not apart) or (form == MULTI_HOT and activation == SOFTMAX):
            return Measure(TOP_1, because="labels")
        likely = activation == SIGMOID or (inside and not loss.from_logits)  # an average of sigmoids, a layer of one's own
        return Measure(DECISIONS, 0.5 if likely else 0.0, "labels")
    if several and (activation == SOFTMAX or loss.name in _OF_CLASSES):
        return Measure(TOP_1, because=SOFTMAX if activation == SOFTMAX else "loss")
    if loss.name in _OF_DECISIONS:
        logits = activation != SIGMOID and (loss.from_logits or loss.name in _OF_MARGINS)
        return Measure(DECISIONS, 0.0 if logits else 0.5, "loss")
    if loss.name in _OF_VALUES:
        return Measure(VALUES, because="loss")
    if activation == SIGMOID:
        return Measure(DECISIONS, 0.5, SIGMOID)
    if several and named:
        return Measure(TOP_1, because="names of classes")
    if several and inside and np.allclose(outputs.sum(axis=-1), 1, atol=1e-3):
        return Measure(TOP_1, because="the units sum to 1")
    return Measure(UNKNOWN if several else VALUES)


def last_activation(call: LayerCall) -> str:
    """Return "softmax" or "sigmoid" if an output is one, also behind layers that only move its values; else "".

    Args:
        call: The call that the output comes from.
    """
    while True:
        layer = call.layer
        name = "softmax" if isinstance(layer, L.Softmax) else _function(layer)
        if name in _NAMES:
            return _NAMES[name]
        passes = isinstance(layer, _PASSING) or name in _PASSING_OPERATORS
        passes = passes or (isinstance(layer, L.Activation) and name == "linear")  # a cast at the end, of mixed precision
        if not passes or len(call.inputs) != 1:
            return ""
        (call,) = call.inputs


def _function(layer: Any) -> str:
    """Return the name of a layer's activation, or of an operator, in lower case; "" if it has none."""
    if not isinstance(layer, L.Layer):
        return type(layer).__name__.lower()
    return getattr(getattr(layer, "activation", None), "__name__", "")


def _loss(model: keras.Model, number: int) -> Loss:
    given: Any = getattr(model, "loss", None)
    if isinstance(given, dict):
        given = given.get(output_names(model)[number])
    elif isinstance(given, (list, tuple)):
        given = given[number] if number < len(given) else None
    if given is None:
        return Loss()
    name = given if isinstance(given, str) else getattr(given, "__name__", type(given).__name__)
    settings = given.get_config() if isinstance(given, keras.losses.Loss) else {}
    return Loss(name.replace("_", "").lower(), bool(settings.get("from_logits", False)))
