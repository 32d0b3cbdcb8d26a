"""What `to_tflite` and `verify` are asked for: whether the model, the data and the description can be used."""

from collections.abc import Sequence

import larq as lq
import numpy as np

from bitat_tf._keras import keras
from bitat_tf._pixels import PIXELS
from bitat_tf._validation import check_choice, check_finite, check_labels
from bitat_tf.model_graph import CallGraph

_RANDOM_SAMPLES = 16


def check_description(model: keras.Model, classes: Sequence[str], pixels: str | None) -> tuple[str, ...]:
    """Return the names of the classes; raise ValueError unless they fit the outputs, and the kind of pixels the inputs."""
    if isinstance(classes, str) or not all(isinstance(name, str) for name in classes):
        raise ValueError(f"to_tflite: `classes` must be a sequence of names. Received: {classes!r}.")
    classes = tuple(map(str, classes))
    if classes and len(classes) != model.output_shape[-1]:
        raise ValueError(
            f"to_tflite: `classes` must name the {model.output_shape[-1]} outputs of the model. Received: {len(classes)} names."
        )
    if pixels is not None:
        check_choice("to_tflite", "pixels", pixels, tuple(PIXELS))
        channels = PIXELS[pixels].channels
        if channels not in (None, model.input_shape[-1]):
            raise ValueError(
                f"to_tflite: pixels={pixels!r} is for pictures of {channels} channels. Received: a model of inputs "
                f"{model.input_shape[1:]}. Choose another one of {', '.join(PIXELS)}."
            )
    return classes


def check_sizes(where: str, model: keras.Model) -> None:
    """Raise ValueError unless a model has one input of known size and one output."""
    if len(model.inputs or ()) != 1 or len(model.outputs or ()) != 1:
        raise ValueError(
            f"{where}: the model must be functional or sequential, with one input and one output. Received: "
            f"{len(model.inputs or ())} inputs and {len(model.outputs or ())} outputs."
        )
    if None in model.input_shape[1:]:
        raise ValueError(
            f"{where}: the size of the input must be known, or no layer is fused. Received: input shape {model.input_shape}. "
            "Build the model with a fixed input_shape and load the weights into it."
        )


def verification_data(where: str, model: keras.Model, data, labels) -> tuple[np.ndarray, bool]:
    """Return the inputs of the verification, float32, and whether they are random."""
    shape = model.input_shape[1:]
    if data is None:
        if labels is not None:
            raise ValueError(f"{where}: `labels` come with `data`. Received: labels without data.")
        return np.random.default_rng(0).uniform(-1, 1, (_RANDOM_SAMPLES, *shape)).astype(np.float32), True
    data = np.asarray(data, np.float32)
    if data.shape[1:] != shape or not len(data):
        raise ValueError(f"{where}: `data` must have shape (n >= 1, {', '.join(map(str, shape))}). Received: {data.shape}.")
    check_finite(where, "`data`", data)
    if labels is not None:
        expected = (len(data), *model.output_shape[1:-1])
        if np.shape(labels) != expected:
            raise ValueError(
                f"{where}: `labels` must be class indices of shape {expected}. Received: shape {np.shape(labels)}. Labels of "
                "shape (n, 1) become such with labels.ravel(), one-hot ones with labels.argmax(axis=1)."
            )
        check_labels(where, labels, model.output_shape[-1])
    return data, False


def check_zero_padding(graph: CallGraph) -> None:
    """Raise ValueError for binary convolutions of which larq-compute-engine 0.16 computes the zero padding wrongly.

    It does where the kernel, with its dilation, is larger than the image.
    """
    for call in graph.calls:
        layer = call.layer
        if not isinstance(layer, lq.layers.QuantConv2D) or layer.padding != "same" or layer.pad_values != 0.0:
            continue
        if getattr(layer.input_quantizer, "precision", None) != 1:
            continue
        reach = [(kernel - 1) * step + 1 for kernel, step in zip(layer.kernel_size, layer.dilation_rate, strict=True)]
        size = call.input_shapes[0][1:3]
        if any(length is not None and length < needed for length, needed in zip(size, reach, strict=True)):
            raise ValueError(
                f"to_tflite: a binary convolution padded with zeros must not be larger than its image, or larq-compute-engine "
                f"computes something else. Received: {call.path}, which reaches over {reach[0]}x{reach[1]} pixels of an image "
                f"of {size[0]}x{size[1]}. Pad with ones (pad_values=1.0), or use a smaller kernel there."
            )
