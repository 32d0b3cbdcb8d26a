"""Layers that have no form on the device: TensorFlow Lite has no operator for what they compute."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import keras

from bitat_tf._converter import converted, converter_errors, converter_message
from bitat_tf.inspection import rules
from bitat_tf.inspection.findings import Finding
from bitat_tf.inspection.kernel_layers import holds_binary
from bitat_tf.model_graph import CallGraph, LayerCall, call_on, in_float32, layers_inside
from bitat_tf.tflite_file.operators import has_form, read_operators

# Layers and operators of Keras that have one whatever their settings, or that the export writes itself: converting them would
# take seconds for nothing.
_KNOWN = frozenset(
    """
    Activation Add Average AveragePooling2D BatchNormalization Cast CenterCrop Concatenate Conv2D Conv2DTranspose Cropping2D
    Dense DepthwiseConv2D Dropout ELU Flatten GaussianNoise GetItem GlobalAveragePooling2D GlobalMaxPooling2D
    GroupNormalization InputLayer LayerNormalization LeakyReLU MaxPooling2D Mean Multiply Normalization PReLU Permute ReLU
    Relu Rescaling Reshape SeparableConv2D Sigmoid Softmax SpatialDropout2D Subtract Tanh ZeroPadding2D
    """.split()
)


def findings_of_forms(graph: CallGraph, severity: str) -> Iterator[Finding]:
    """Yield the layers that TensorFlow's converter cannot write for the device; none where Keras runs on another backend.

    Args:
        graph: The calls of the model.
        severity: Of what is found.
    """
    calls = {(id(call.layer), call.input_shapes): call for call in graph.calls if _is_asked(call)}
    if keras.backend.backend() != "tensorflow" or not _missing(list(calls.values())):
        return
    for call in calls.values():
        missing = _missing([call])
        if missing:
            effect = f"it has no form on the device ({missing}): the export refuses it"
            cure = "Take another layer in its place, or leave it out of the model and compute it around."
            yield Finding(rules.FORM, severity, call.path, effect, cure)


def _is_asked(call: LayerCall) -> bool:
    layer = call.layer
    if any(None in shape[1:] for shape in call.input_shapes) or holds_binary(layer):
        return False
    if any(isinstance(part, keras.layers.RNN) and not part.unroll for part in (layer, *layers_inside(layer))):
        return False  # a rule of its own
    return not (_is_known(layer) and _is_known_function(getattr(layer, "activation", None)))


def _is_known(layer: Any) -> bool:
    kind = type(layer)
    return kind.__module__.startswith("bitat_tf.") or (kind.__module__.startswith("keras.") and kind.__name__ in _KNOWN)


def _is_known_function(function: Any) -> bool:
    if function is None or isinstance(function, keras.layers.Layer):
        return function is None or _is_known(function)
    name, module = getattr(function, "__name__", ""), getattr(function, "__module__", "") or ""
    return module.startswith("bitat_tf.") or getattr(keras.activations, name, None) is function


def _missing(calls: Sequence[LayerCall]) -> str:
    """Return what calls of layers need that the device has not, "" if nothing."""
    if not calls:
        return ""
    try:
        names = [operator.name for operator in read_operators(_converted(calls))]
    except converter_errors() as error:
        return converter_message(error)
    return ", ".join(_without_form(names))


def _without_form(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(name for name in names if not has_form(name)))


def _converted(calls: Sequence[LayerCall]) -> bytes:
    layers = [in_float32(call) for call in calls]
    kinds = [keras.backend.standardize_dtype(tensor.dtype) for call in calls for tensor in call.node.input_tensors]
    kinds = ["float32" if keras.backend.is_float_dtype(kind) else kind for kind in kinds]
    shapes = [shape[1:] for call in calls for shape in call.input_shapes]

    def compute(*tensors):
        rest, outputs = iter(tensors), []
        for call, layer in zip(calls, layers, strict=True):
            outputs += keras.tree.flatten(call_on(call, [next(rest) for _ in call.inputs], layer, at_inference=True))
        return [keras.ops.copy(output) for output in outputs]  # the same tensor cannot be two outputs

    signature = [(shape, kind, f"input_{number}") for number, (shape, kind) in enumerate(zip(shapes, kinds, strict=True))]
    return converted(compute, signature)
