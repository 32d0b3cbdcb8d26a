"""What `to_tflite` and `verify` are asked for: whether the model, the data and the description can be used."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from bitat_tf._pixels import PIXELS
from bitat_tf._validation import check_choice, check_finite
from bitat_tf.export.ends import as_model_takes, input_names, output_names
from bitat_tf.layers import BinaryConv2D
from bitat_tf.model_graph import CallGraph, fixed_batch_size, is_graph

_RANDOM_SAMPLES = 16

Arrays = np.ndarray | Sequence[Any] | Mapping[str, Any]
"""An array; for models of several inputs or outputs a list, a tuple or a dict by their names, as Keras takes them."""


def check_description(model: keras.Model, classes: Sequence[str], pixels: str | None) -> tuple[str, ...]:
    """Return the names of the classes; raise ValueError unless they fit the outputs, and the kind of pixels the inputs."""
    if isinstance(classes, str) or not all(isinstance(name, str) for name in classes):
        raise ValueError(f"to_tflite: `classes` must be a sequence of names. Received: {classes!r}.")
    classes = tuple(map(str, classes))
    shapes = [tuple(tensor.shape) for tensor in (*model.inputs, *model.outputs)]
    if (classes or pixels is not None) and len(shapes) != 2:
        raise ValueError(
            "to_tflite: `classes` and `pixels` describe models of one input and one output. Received: "
            f"{len(model.inputs)} inputs and {len(model.outputs)} outputs. Leave them out."
        )
    if classes and len(classes) != shapes[-1][-1]:
        raise ValueError(
            f"to_tflite: `classes` must name the {shapes[-1][-1]} outputs of the model. Received: {len(classes)} names."
        )
    if pixels is not None:
        check_choice("to_tflite", "pixels", pixels, tuple(PIXELS))
        channels = PIXELS[pixels].channels
        if channels not in (None, shapes[0][-1]):
            raise ValueError(
                f"to_tflite: pixels={pixels!r} is for pictures of {channels} channels. Received: a model of inputs "
                f"{shapes[0][1:]}. Choose another one of {', '.join(PIXELS)}."
            )
    return classes


def check_known_sizes(where: str, model: keras.Model) -> None:
    """Raise ValueError unless a model is functional or sequential, with inputs of known sizes."""
    if not is_graph(model):
        raise ValueError(
            f"{where}: the model must be functional or sequential. Received: a {type(model).__name__}, whose graph of layers "
            "is not known. Build it with keras.Model(inputs, outputs)."
        )
    for tensor in model.inputs:
        if None in tensor.shape[1:]:
            raise ValueError(
                f"{where}: the size of the input must be known, or no layer is fused. Received: input shape "
                f"{tuple(tensor.shape)}. Build the model with a fixed input_shape and load the weights into it."
            )


def model_inputs(where: str, model: keras.Model, data: Arrays | None, what: str = "data") -> tuple[list[np.ndarray], bool]:
    """Return data as a list of the model's inputs, and whether they are random.

    Args:
        where: Name of the public function, for the messages.
        model: A functional or sequential model with inputs of known sizes.
        data: An array of shape (n, ...), of several inputs a list, tuple or dict (by the names of the inputs) of such, as Keras
            takes them. None for 16 random ones, uniform in -1..1 (of integer inputs 0 or 1).
        what: Name of the argument, for the messages.

    Raises:
        ValueError: If the shapes do not fit, there are no samples, or a number is not finite.
    """
    tensors = list(model.inputs)
    if data is None:
        generator = np.random.default_rng(0)
        return [_random(generator, tensor) for tensor in tensors], True
    arrays = [
        np.asarray(array, _numpy_kind(tensor))
        for array, tensor in zip(_in_order(where, what, data, input_names(model), "input"), tensors, strict=True)
    ]
    for name, array, tensor in zip(input_names(model), arrays, tensors, strict=True):
        shape = tuple(tensor.shape[1:])
        if array.shape[1:] != shape or not len(array):
            of = f" of input {name!r}" if len(tensors) > 1 else ""
            expected = ", ".join(["n >= 1", *map(str, shape)])
            raise ValueError(f"{where}: `{what}`{of} must have shape ({expected}). Received: {array.shape}.")
        check_finite(where, f"`{what}`", array)
    if len({len(array) for array in arrays}) > 1:
        sizes = ", ".join(f"{len(array)} of {name!r}" for name, array in zip(input_names(model), arrays, strict=True))
        raise ValueError(f"{where}: `{what}` must have as many samples for each input. Received: {sizes}.")
    return arrays, False


def output_labels(where: str, model: keras.Model, data: Arrays | None, labels: Arrays | None) -> list[np.ndarray | None]:
    """Return the labels of each output, None of those without.

    Args:
        where: Name of the public function, for the messages.
        model: A functional or sequential model.
        data: As given; labels come with data.
        labels: An array, of several outputs a list, tuple or dict (by the names of the outputs) of arrays and None.

    Raises:
        ValueError: If there are labels without data, or not as many as outputs.
    """
    if labels is None:
        return [None] * len(model.outputs)
    if data is None:
        raise ValueError(f"{where}: `labels` come with `data`. Received: labels without data.")
    given = _in_order(where, "labels", labels, output_names(model), "output")
    return [None if one is None else np.asarray(one) for one in given]


def predict(model: keras.Model, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return the outputs of a model, also of one that was built for batches of one size.

    Args:
        model: A functional or sequential model.
        inputs: Of each input an array, shape (n, ...), n >= 1.

    Returns:
        Of each output an array, shape (n, ...), in the order of `model.outputs`.

    Examples:
        >>> inputs = keras.Input((2,), batch_size=8)
        >>> model = keras.Model(inputs, keras.layers.Dense(3)(inputs))
        >>> predict(model, [np.zeros((10, 2), np.float32)])[0].shape
        (10, 3)
    """
    number = len(inputs[0])
    size = fixed_batch_size(model)
    if size is not None:
        missing = -number % size
        inputs = [np.concatenate([array, np.repeat(array[-1:], missing, axis=0)]) for array in inputs]
    outputs = model.predict(as_model_takes(model, inputs), batch_size=size, verbose=0)
    return [np.asarray(output)[:number] for output in keras.tree.flatten(outputs)]


def _in_order(where: str, what: str, given: Any, names: Sequence[str], kind: str) -> list[Any]:
    """Return one value for each input or output of a model, from what Keras takes: a value, a sequence or a dict."""
    if isinstance(given, Mapping):
        if set(given) != set(names):
            raise ValueError(
                f"{where}: `{what}` must have the {kind}s' names, {', '.join(map(repr, names))}. Received: "
                f"{', '.join(map(repr, given))}."
            )
        return [given[name] for name in names]
    if len(names) == 1:
        alone = isinstance(given, (list, tuple)) and len(given) == 1 and isinstance(given[0], np.ndarray)
        return [given[0] if alone else given]
    if not isinstance(given, (list, tuple)) or len(given) != len(names):
        received = f"{len(given)}" if isinstance(given, (list, tuple)) else f"one {type(given).__name__}"
        raise ValueError(
            f"{where}: `{what}` must be a list of {len(names)} arrays, one for each {kind} ({', '.join(names)}), or a dict by "
            f"these names. Received: {received}."
        )
    return list(given)


def _random(generator: np.random.Generator, tensor: Any) -> np.ndarray:
    shape, kind = (_RANDOM_SAMPLES, *tensor.shape[1:]), _numpy_kind(tensor)
    if np.issubdtype(kind, np.floating):
        return generator.uniform(-1, 1, shape).astype(kind)
    return generator.integers(0, 2, shape).astype(kind)


def _numpy_kind(tensor: Any) -> np.dtype:
    return np.dtype(np.float32) if tensor.dtype == "bfloat16" else np.dtype(tensor.dtype)


def check_zero_padding(graph: CallGraph) -> None:
    """Raise ValueError for binary convolutions of which larq-compute-engine 0.16 computes the zero padding wrongly.

    It does where the kernel, with its dilation, is larger than the image.
    """
    for call in graph.calls:
        layer = call.layer
        if not isinstance(layer, BinaryConv2D) or layer.padding != "same" or layer.pad_values != 0.0:
            continue
        if layer.state != "binary":
            continue
        reach = [(kernel - 1) * step + 1 for kernel, step in zip(layer.kernel_size, layer.dilation_rate, strict=True)]
        size = call.input_shapes[0][1:3]
        if any(length is not None and length < needed for length, needed in zip(size, reach, strict=True)):
            raise ValueError(
                f"to_tflite: a binary convolution padded with zeros must not be larger than its image, or larq-compute-engine "
                f"computes something else. Received: {call.path}, which reaches over {reach[0]}x{reach[1]} pixels of an image "
                f"of {size[0]}x{size[1]}. Pad with ones (pad_values=1.0), or use a smaller kernel there."
            )
