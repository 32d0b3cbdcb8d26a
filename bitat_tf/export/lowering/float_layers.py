"""Layers that are not binary as steps: float kernels, their activations, normalizations of a sample."""

import functools
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from bitat_tf.export.lowering import steps
from bitat_tf.export.lowering.layer_kinds import (
    DEPTHWISE,
    FLOAT_KERNELS,
    as_array,
    clamp_bounds,
    geometry_of,
    is_channels_last,
    is_quantized,
    kernel_of,
    sample_normalization,
    sample_shape,
)
from bitat_tf.export.lowering.steps import Affine, Linear, Rearranged, Shape, Step
from bitat_tf.export.lowering.transposed import block_convolution
from bitat_tf.model_graph import LayerCall, free_name

L = keras.layers


class FloatLayers:
    """Makes steps, of names that are new among those that it has made."""

    def __init__(self) -> None:
        self._names: set[str] = set()

    def _make(self, kind: Callable[..., Step], call: LayerCall, inputs: list[Step], suffix: str = "", **options: Any) -> Step:
        name = free_name(f"{call.path}/{suffix}" if suffix else call.path, self._names)
        options.setdefault("shape", sample_shape(call))
        return kind(name=name, inputs=list(inputs), **options)

    def _reshape(self, call: LayerCall, inputs: Step, shape: Shape, suffix: str) -> Step:
        return steps.Reshape(name=free_name(f"{call.path}/{suffix}", self._names), inputs=[inputs], shape=shape)

    def _known_float_layer(self, call: LayerCall, inputs: Step) -> Step | None:
        """Return a layer with a float kernel, or one that normalizes each sample; None if it is neither."""
        layer, kind = call.layer, type(call.layer)
        normalize = sample_normalization(layer, call)
        if normalize is not None:
            outputs = self._make(steps.Function, call, [inputs], suffix="normalized", function=normalize)
            scale, shift = (None if values is None else as_array(values) for values in (layer.gamma, layer.beta))
            return self._make(Affine, call, [outputs], scale=scale, shift=shift)
        if kind is L.CenterCrop:
            return self._center_crop(call, inputs)
        if kind is L.UpSampling2D and layer.interpolation == "nearest" and None not in sample_shape(call):
            return self._enlarged(call, inputs) if is_channels_last(layer) else None
        if not is_channels_last(layer) or is_quantized(layer):
            return None
        if kind is L.SeparableConv2D:
            return self._separable(call, inputs)
        if kind is L.Conv2DTranspose:
            return self._transposed(call, inputs)
        return self._float_layer(call, inputs) if kind in FLOAT_KERNELS else None

    def _activation(self, call: LayerCall, inputs: Step, function: Any) -> Step:
        """Return an element-wise function of Keras: a number of them are steps of their own."""
        if function in (None, keras.activations.linear):
            return inputs
        bounds = clamp_bounds(function)
        if bounds is not None:
            return self._make(steps.Clamp, call, [inputs], low=bounds[0], high=bounds[1])
        return self._make(steps.Function, call, [inputs], function=function)

    def _float_layer(self, call: LayerCall, inputs: Step, kernel: np.ndarray | None = None, padding: str | None = None) -> Step:
        layer = call.layer
        options: dict[str, Any] = {"kernel": kernel_of(layer) if kernel is None else kernel}
        if not isinstance(layer, L.Dense):
            options.update(geometry_of(layer), depthwise=isinstance(layer, DEPTHWISE))
            options["padding"] = padding or options["padding"]
        outputs = self._make(Linear, call, [inputs], suffix="kernel", **options)
        return self._biased(call, outputs)

    def _biased(self, call: LayerCall, outputs: Step) -> Step:
        if call.layer.use_bias:
            outputs = self._make(Affine, call, [outputs], suffix="bias", shift=as_array(call.layer.bias))
        return self._activation(call, outputs, call.layer.activation)

    def _separable(self, call: LayerCall, inputs: Step) -> Step:
        depthwise, pointwise = (as_array(kernel) for kernel in (call.layer.depthwise_kernel, call.layer.pointwise_kernel))
        shape = (*sample_shape(call)[:-1], pointwise.shape[2])
        options = {"kernel": depthwise, "depthwise": True, "shape": shape, **geometry_of(call.layer)}
        between = self._make(Linear, call, [inputs], suffix="depthwise", **options)
        return self._biased(call, self._make(Linear, call, [between], suffix="kernel", kernel=pointwise))

    def _transposed(self, call: LayerCall, inputs: Step) -> Step | None:
        layer, (rows, columns) = call.layer, inputs.shape[:2]
        stride = layer.strides[0]
        if layer.strides != (stride, stride) or layer.dilation_rate != (1, 1) or layer.output_padding is not None:
            return None
        if rows is None or columns is None:
            return None
        kernel, pads, (height, width) = block_convolution(as_array(layer.kernel), stride, (rows, columns), layer.padding)
        taps, outputs = kernel.shape[:2], inputs
        is_same = all(pad == ((length - 1) // 2, length // 2) for pad, length in zip(pads, taps, strict=True))
        if not is_same:
            padded = (rows + sum(pads[0]), columns + sum(pads[1]), inputs.channels)
            outputs = self._rearranged(call, outputs, "pad", padded, lambda x: tf.pad(x, [(0, 0), *pads, (0, 0)]))
        blocks = (rows + sum(pads[0]) - taps[0] + 1, columns + sum(pads[1]) - taps[1] + 1, kernel.shape[-1])
        options = {"kernel": kernel, "padding": "same" if is_same else "valid", "shape": blocks}
        outputs = self._make(Linear, call, [outputs], suffix="kernel", **options)
        if layer.use_bias:
            bias = np.tile(as_array(layer.bias), stride * stride)
            outputs = self._make(Affine, call, [outputs], suffix="bias", shape=blocks, shift=bias)
        pixels = (stride * blocks[0], stride * blocks[1], layer.filters)
        if stride > 1:
            outputs = self._rearranged(call, outputs, "pixels", pixels, lambda x: tf.nn.depth_to_space(x, stride))
        if pixels[:2] != (height, width):
            cut = (height, width, layer.filters)
            outputs = self._rearranged(call, outputs, "cut", cut, lambda x: x[:, :height, :width])
        return self._activation(call, outputs, layer.activation)

    def _center_crop(self, call: LayerCall, inputs: Step) -> Step | None:
        """Return the middle of pictures, which Keras cuts out with the number of samples as a tensor; None if it enlarges."""
        (rows, columns), height, width = inputs.shape[:2], call.layer.height, call.layer.width
        if rows is None or columns is None or rows < height or columns < width:
            return None
        top, left = (rows - height) // 2, (columns - width) // 2
        cut = (slice(None), slice(top, top + height), slice(left, left + width))
        return self._make(Rearranged, call, [inputs], function=lambda x: x[cut])

    def _enlarged(self, call: LayerCall, inputs: Step) -> Step:
        """Return pictures whose pixels are repeated, which Keras does with a dozen operators."""
        size = sample_shape(call)[:2]
        enlarge = functools.partial(tf.image.resize, size=size, method="nearest")
        return self._make(Rearranged, call, [inputs], function=enlarge, passes_shift=True)

    def _rearranged(self, call: LayerCall, inputs: Step, suffix: str, shape: Shape, function: Callable) -> Step:
        return self._make(Rearranged, call, [inputs], suffix=suffix, shape=shape, function=function)
