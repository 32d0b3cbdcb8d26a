"""What a user's model takes and gives: pictures of a known size, one output a class, logits or probabilities."""

from collections.abc import Sequence

import keras
import numpy as np

from bitat_tf.model_graph import CallGraph, is_graph

_REBUILD = (
    "new = <the code that built it, with keras.Input({shape})>; new.set_weights(model.get_weights()); new.save('model.keras')"
)


def input_shape(model: keras.Model, command: str = "binarize") -> tuple[int, int, int]:
    """Return height, width and channels of the pictures that a model takes.

    Args:
        model: The model.
        command: Name of the command, for messages.

    Raises:
        ValueError: If it does not take pictures of one known size, float32, gray or RGB, or gives anything but one number a
            class.
    """
    if not is_graph(model):
        raise ValueError(
            f"{command}: the model must be functional or sequential. Received: a subclassed model, {type(model).__name__}, "
            "whose graph is not known. Build it with keras.Model(inputs, outputs)."
        )
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise ValueError(
            f"{command}: the model must have one input and one output. Received: {len(model.inputs)} inputs and "
            f"{len(model.outputs)} outputs. Build a keras.Model of one of each that shares the layers."
        )
    shape = tuple(model.inputs[0].shape)[1:]
    if len(shape) != 3 or shape[-1] not in (1, 3):
        raise ValueError(
            f"{command}: the model must take pictures of shape (height, width, channels), gray (1 channel) or RGB (3). "
            f"Received: input shape {shape}. Data of other kinds: bitat_tf.binarize and SequentialBinarization in Python."
        )
    if None in shape:
        example = f"({', '.join(str(size or 96) for size in shape)})"
        raise ValueError(
            f"{command}: the model must know the size of its pictures, or the file for the device cannot be written. Received: "
            f"input shape {shape}. Build it for one size and take the weights over: {_REBUILD.format(shape=example)}."
        )
    if model.inputs[0].shape[0] is not None:
        raise ValueError(
            f"{command}: the model must take batches of any size. Received: batches of {model.inputs[0].shape[0]}. Build it "
            f"without a batch size and take the weights over: {_REBUILD.format(shape=shape)}."
        )
    if model.inputs[0].dtype != "float32":
        raise ValueError(
            f"{command}: the model must take float32 pixels. Received: {model.inputs[0].dtype}. Build it with float32 "
            f"inputs and take the weights over: {_REBUILD.format(shape=shape)}."
        )
    height, width, channels = shape
    return height, width, channels


def check_classes(model: keras.Model, class_names: Sequence[str], command: str = "binarize") -> None:
    """Raise ValueError unless a model has one output for each class."""
    shape = tuple(model.outputs[0].shape)[1:]
    if shape == (len(class_names),):
        return
    names = ", ".join(class_names[:10]) + (", ..." if len(class_names) > 10 else "")
    cure = "Name the data that it was trained on as --data, or give it a last layer of as many outputs and train it."
    if shape == (1,) and len(class_names) == 2:
        cure = "In place of one sigmoid, give it two outputs: Dense(2, 'softmax') of kernel (-w/2, w/2) and bias (-b/2, b/2)."
    raise ValueError(
        f"{command}: the model must have one output for each class of the data, {len(class_names)} ({names}). Received: a "
        f"model with outputs of shape {shape}. {cure}"
    )


def gives_probabilities(model: keras.Model, outputs: np.ndarray) -> bool:
    """Return whether a model gives probabilities rather than logits.

    Args:
        model: A functional or sequential model.
        outputs: Its outputs for some pictures, shape (n, classes).

    Examples:
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, "softmax")])
        >>> gives_probabilities(model, np.asarray(model(np.ones((3, 4)))))
        True
    """
    last = CallGraph(model).outputs[0].layer
    if isinstance(last, keras.layers.Softmax):
        return True
    if getattr(last, "activation", None) in (keras.activations.softmax, keras.activations.sigmoid):
        return True
    # A softmax of another form: an operator, a layer of one's own, one under a cast.
    return bool(outputs.min() >= 0 and np.allclose(outputs.sum(axis=-1), 1, atol=1e-3))
