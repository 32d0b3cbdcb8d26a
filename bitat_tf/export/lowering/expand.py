"""A Keras model as a program of steps: every layer call becomes the few steps that it stands for."""

import functools
import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from bitat_tf.export.lowering import steps
from bitat_tf.export.lowering.binary_kernel import binary_kernel, check_groups, gives_signs
from bitat_tf.export.lowering.binary_steps import BinaryConvolution, MaxPool, Sign
from bitat_tf.export.lowering.float_layers import FloatLayers
from bitat_tf.export.lowering.layer_kinds import (
    ADD,
    as_array,
    clamp_bounds,
    elementwise_function,
    geometry_of,
    is_cast,
    latent_or_binary,
    normalization,
    normalizes_channels,
    sample_shape,
    without_effect,
)
from bitat_tf.export.lowering.program import Program
from bitat_tf.export.lowering.steps import Step
from bitat_tf.layers import BinaryLayer, RPReLU
from bitat_tf.model_graph import CallGraph, LayerCall, free_name, in_float32, relu_bounds
from bitat_tf.quantizers import RSign

L = keras.layers
# f(x + c) = f(x) + c for a constant c per channel. Averages leave out what they pad.
_PASS_SHIFTS = (L.AveragePooling2D, L.GlobalAveragePooling2D, L.GlobalMaxPooling2D, L.UpSampling2D, L.Cropping2D)
_SAME_VALUES = (L.GlobalMaxPooling2D, L.Cropping2D, L.ZeroPadding2D, L.Permute, L.RepeatVector)
_RESHAPES = (L.Flatten, L.Reshape)


def expand(graph: CallGraph, name: str, output_names: Sequence[str], allow_partial: bool = False) -> Program:
    """Return the steps of a model, as Keras computes them at inference.

    Args:
        graph: The calls of the model.
        name: Name of the program.
        output_names: Names of the outputs, in order.
        allow_partial: Whether binary layers that are not binarized yet stay float.

    Raises:
        ValueError: If a binary layer is not binarized and `allow_partial` is False, its input quantizer gives other values than
            signs, or its kernel quantizer other values than +-alpha with an alpha for every filter.
    """
    return _Expansion(graph, allow_partial).program(name, output_names)


class _Expansion(FloatLayers):
    def __init__(self, graph: CallGraph, allow_partial: bool):
        super().__init__()
        self._graph = graph
        self._allow_partial = allow_partial
        self._outputs: dict[tuple[int, int], Step] = {}  # by call and number of its output
        self._in_float32: dict[int, Any] = {}

    def program(self, name: str, output_names: Sequence[str]) -> Program:
        sources = []
        for call in self._graph.sources:
            dtype = tf.as_dtype(call.node.outputs[0].dtype)
            dtype = tf.float32 if dtype.is_floating else dtype
            source = steps.Source(
                name=free_name(call.layer.name, self._names), inputs=[], shape=sample_shape(call), dtype=dtype
            )
            self._outputs[id(call), 0] = source
            sources.append(source)
        for call in self._graph.calls:
            inputs = [self._outputs[id(one), number] for one, number in zip(call.inputs, call.input_numbers, strict=True)]
            for number, output in enumerate(self._expanded(call, inputs)):
                self._outputs[id(call), number] = output
        numbered = zip(self._graph.outputs, self._graph.output_numbers, strict=True)
        return Program(name, sources, [self._outputs[id(call), number] for call, number in numbered], output_names)

    def _expanded(self, call: LayerCall, inputs: list[Step]) -> list[Step]:
        layer = call.layer
        if len(call.output_shapes) > 1:
            return [self._keras_call(call, inputs, number) for number in range(len(call.output_shapes))]
        if len(inputs) == 1:
            return [self._of_one_input(call, inputs[0])]
        alike = len({shape[1:] for shape in call.input_shapes}) == 1
        if alike and type(layer) in (L.Add, ADD):
            return [self._make(steps.Sum, call, inputs)]
        if type(layer) is L.Concatenate and layer.axis in (-1, len(call.output_shapes[0]) - 1):
            return [self._make(steps.Concatenation, call, inputs)]
        return [self._keras_call(call, inputs)]

    def _of_one_input(self, call: LayerCall, inputs: Step) -> Step:
        layer = call.layer
        kind = type(layer)
        if without_effect(layer):
            return inputs
        if not getattr(inputs, "dtype", tf.float32).is_floating and kind is not L.Rescaling:
            return self._keras_call(call, [inputs])  # it may cast
        if is_cast(layer):
            return inputs  # all floats are float32 here
        if isinstance(layer, BinaryLayer):
            return self._binary_layer(call, inputs)
        known = self._known_float_layer(call, inputs)
        if known is not None:
            return known
        if normalizes_channels(layer, call):
            scale, shift = normalization(layer)
            return self._make(steps.Affine, call, [inputs], scale=scale, shift=shift)
        if kind is RPReLU:
            before = self._make(steps.Affine, call, [inputs], suffix="shift_before", shift=-as_array(layer.shift_before))
            after = self._make(steps.Slope, call, [before], suffix="prelu", slope=as_array(layer.prelu.alpha).ravel())
            return self._make(steps.Affine, call, [after], shift=as_array(layer.shift_after))
        if (
            kind is L.Rescaling
            and np.size(layer.scale) in (1, inputs.channels)
            and np.size(layer.offset) in (1, inputs.channels)
        ):
            if not getattr(inputs, "dtype", tf.float32).is_floating:
                cast = functools.partial(tf.cast, dtype=tf.float32)
                inputs = self._make(steps.Function, call, [inputs], suffix="cast", shape=inputs.shape, function=cast)
            scale, shift = (np.broadcast_to(np.asarray(value, float), inputs.channels) for value in (layer.scale, layer.offset))
            return self._make(steps.Affine, call, [inputs], scale=scale, shift=shift)
        if kind is L.PReLU and int(np.prod(layer.alpha.shape)) == inputs.channels == layer.alpha.shape[-1]:
            return self._make(steps.Slope, call, [inputs], slope=as_array(layer.alpha).ravel())
        relu = relu_bounds(layer)
        if relu is not None and relu.negative_slope and relu.high == np.inf:
            return self._make(steps.Slope, call, [inputs], slope=np.full(inputs.channels, relu.negative_slope))
        if kind is L.MaxPooling2D and layer.data_format == "channels_last":
            pooling = {"window": layer.pool_size, "strides": layer.strides, "padding": layer.padding}
            return self._make(MaxPool, call, [inputs], **pooling)
        if kind in _RESHAPES and getattr(layer, "data_format", None) != "channels_first" and None not in sample_shape(call):
            return self._make(steps.Reshape, call, [inputs])
        function = elementwise_function(layer)
        return self._keras_call(call, [inputs]) if function is None else self._activation(call, inputs, function)

    def _binary_layer(self, call: LayerCall, inputs: Step) -> Step:
        layer = call.layer
        if layer.state != "binary":
            if not self._allow_partial:
                raise ValueError(
                    f"to_tflite: every binary layer must be binarized. Received: layer {call.path!r} in state {layer.state!r}. "
                    "Finish the schedule, call `layer.set_binary()`, or pass allow_partial=True to leave such layers float."
                )
            return self._not_yet_binary(call, inputs)
        signs, alpha = binary_kernel(layer, call.path)
        if isinstance(layer, L.Dense):
            return self._binary_dense(call, inputs, signs[None, None], alpha)
        outputs = self._binary_convolution(call, self._sign(call, inputs), signs, alpha, **geometry_of(layer))
        return self._after_kernel(call, outputs)

    def _binary_dense(self, call: LayerCall, inputs: Step, signs: np.ndarray, alpha: np.ndarray) -> Step:
        """Return a dense layer as a 1x1 convolution: of one pixel, or of all pixels of a picture."""
        image = inputs
        if len(inputs.shape) != 3:
            shape = (
                (1, 1, inputs.channels)
                if len(inputs.shape) == 1
                else (1, math.prod(size or 0 for size in inputs.shape[:-1]), inputs.channels)
            )
            image = self._reshape(call, inputs, shape, "pixels")
        outputs = self._after_kernel(call, self._binary_convolution(call, self._sign(call, image), signs, alpha))
        return outputs if image is inputs else self._reshape(call, outputs, (*inputs.shape[:-1], outputs.channels), "rows")

    def _binary_convolution(self, call, inputs: Step, signs: np.ndarray, alpha: np.ndarray, **geometry) -> Step:
        if geometry.get("padding") == "same":
            pad_value = float(call.layer.pad_values)
            if pad_value not in (0.0, 1.0):
                raise ValueError(
                    f"to_tflite: binary layers are padded with 1 or 0. Received: pad_values={pad_value} of layer {call.path!r}."
                )
            geometry["pad_value"] = int(pad_value)
        check_groups(call.path, inputs.channels, signs.shape[2])
        size = inputs.shape[:2] if isinstance(call.layer, L.Dense) else call.output_shapes[0][1:3]
        return BinaryConvolution(
            name=free_name(f"{call.path}/convolution", self._names),
            path=call.path,
            inputs=[inputs],
            shape=(*size, len(alpha)),
            kernel=signs,
            multiplier=alpha,
            bias=np.zeros_like(alpha),
            **geometry,
        )

    def _after_kernel(self, call: LayerCall, outputs: Step) -> Step:
        layer = call.layer
        if layer.use_bias:
            bias = as_array(layer.bias)
            name = free_name(f"{call.path}/bias", self._names)
            outputs = steps.Affine(name=name, inputs=[outputs], shape=outputs.shape, shift=bias)
        function = layer.activation
        if function in (None, keras.activations.linear):
            return outputs
        bounds = clamp_bounds(function)
        name = free_name(f"{call.path}/activation", self._names)
        if bounds is not None:
            return steps.Clamp(name=name, inputs=[outputs], shape=outputs.shape, low=bounds[0], high=bounds[1])
        return steps.Function(name=name, inputs=[outputs], shape=outputs.shape, function=function)

    def _sign(self, call: LayerCall, inputs: Step) -> Step:
        quantizer = call.layer.input_quantizer
        threshold = as_array(quantizer.threshold) if type(quantizer) is RSign else None
        if threshold is None and not gives_signs(quantizer):
            raise ValueError(
                f"to_tflite: the input quantizer of a binary layer must give signs, +1 for 0. Received: {quantizer!r} of layer "
                f"{call.path!r}. Use bitat_tf.quantizers.RSign, or another one that is a sign, as 'ste_sign'."
            )
        threshold = None if threshold is None or not threshold.any() else threshold
        name = free_name(f"{call.path}/sign", self._names)
        return Sign(name=name, inputs=[inputs], shape=inputs.shape, threshold=threshold)

    def _not_yet_binary(self, call: LayerCall, inputs: Step) -> Step:
        """Return a binary layer whose input or kernel is float."""
        layer = call.layer
        input_is_binary, kernel_is_binary = bool(as_array(layer.input_is_binary)), bool(as_array(layer.kernel_is_binary))
        if input_is_binary:
            pads = float(layer.pad_values) if isinstance(layer, L.Conv2D) and layer.padding == "same" else 0.0
            quantizer = layer.input_quantizer
            inputs = self._make(steps.Function, call, [inputs], suffix="sign", shape=inputs.shape, function=quantizer)
            if pads:
                return self._padded(call, inputs, pads, kernel_is_binary)
        else:
            inputs = self._activation(call, inputs, layer.float_activation)
        return self._float_layer(call, inputs, latent_or_binary(layer, kernel_is_binary))

    def _padded(self, call: LayerCall, inputs: Step, value: float, kernel_is_binary: bool) -> Step:
        """Return a float convolution of signs, padded with `value`."""
        layer = call.layer
        convolution = BinaryConvolution(
            name="", path="", inputs=[], shape=(), kernel=np.ones(layer.kernel.shape, np.int8), **geometry_of(layer)
        )
        pads = [(0, 0), *convolution.pads(inputs.shape[:2]), (0, 0)]  # type: ignore[arg-type]
        shape = (*(size + sum(pad) for size, pad in zip(inputs.shape[:2], pads[1:3], strict=True)), inputs.channels)  # type: ignore
        padded = self._make(
            steps.Function, call, [inputs], suffix="pad", shape=shape, function=lambda x: tf.pad(x, pads, constant_values=value)
        )
        return self._float_layer(call, padded, latent_or_binary(layer, kernel_is_binary), padding="valid")

    def _keras_call(self, call: LayerCall, inputs: list[Step], number: int = 0) -> Step:
        layer = call.layer
        kind = type(layer)
        channels_last = getattr(layer, "data_format", "channels_last") == "channels_last"
        step = steps.KerasCall(
            name=free_name(call.path, self._names),
            inputs=inputs,
            shape=tuple(call.output_shapes[number][1:]),
            call=call,
            layer=self._float32_layer(call),
            output=number,
            same_values=kind in _SAME_VALUES or (kind is L.UpSampling2D and layer.interpolation == "nearest"),
            passes_shift=kind in _PASS_SHIFTS and channels_last,
        )
        # What Keras says of an output's type is that of its layers, which leave integers what they are.
        integers = any(not getattr(one, "dtype", tf.float32).is_floating for one in inputs)
        own = not kind.__module__.startswith("keras.")
        kept = step.traced().outputs[0].dtype if integers or own else tf.as_dtype(call.node.outputs[number].dtype)
        step.dtype = tf.float32 if kept.is_floating else kept
        return step

    def _float32_layer(self, call: LayerCall) -> Any:
        """Return the layer of a call, or its copy in float32: one for all its calls."""
        if id(call.layer) not in self._in_float32:
            self._in_float32[id(call.layer)] = in_float32(call)
        return self._in_float32[id(call.layer)]
