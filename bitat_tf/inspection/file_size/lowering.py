"""The operators that each layer becomes in the file, before anything is fused: convolutions and dense layers."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import larq as lq

from bitat_tf._keras import keras
from bitat_tf.inspection.file_size.activations import activation_steps
from bitat_tf.inspection.file_size.operators import Constant, Operator, OperatorGraph, Size
from bitat_tf.inspection.file_size.other_layers import lower_other_layer
from bitat_tf.inspection.file_size.steps import Chain, one_sample
from bitat_tf.inspection.kernels import Kernel
from bitat_tf.model_graph import CallGraph

BINARY = "LceBconv2d"
_WORD = 32


def lower(graph: CallGraph, kernels: Mapping[int, Kernel], name: str) -> OperatorGraph:
    """Return the operators of a model, as they are before anything is fused.

    Args:
        graph: The calls of the model.
        kernels: Their kernels, from `predict_kernels`.
        name: Name of the model, which the names of the tensors begin with.
    """
    result = OperatorGraph()
    outputs: dict[int, Operator] = {}
    for source in graph.sources:
        operator = Operator("INPUT", [], [], one_sample(source.output_shapes[0]), None, len(f"serving_default_{source.path}:0"))
        result.operators.append(operator)
        outputs[id(source)] = operator
    for call in graph.calls:
        chain = Chain(call, [outputs[id(source)] for source in call.inputs], len(name) + 1 + len(call.path))
        kernel = kernels.get(id(call))
        if kernel is None or not _lower_kernel(chain, kernel):
            lower_other_layer(chain)
        result.operators.extend(chain.operators)
        outputs[id(call)] = chain.last
    result.outputs = [outputs[id(call)] for call in graph.outputs]
    _unpack_bits(result)
    return result


def _unpack_bits(graph: OperatorGraph) -> None:
    """What is no binary convolution takes numbers: LceDequantize."""
    users = graph.users()
    for sign in [operator for operator in graph.operators if operator.kind == "LceQuantize"]:
        others = [user for user in users[id(sign)] if user.kind != BINARY]
        if others:
            unpacked = Operator("LceDequantize", [sign], [], sign.shape, sign.call)
            for user in others:
                user.inputs = [unpacked if source is sign else source for source in user.inputs]
            graph.outputs = [unpacked if output is sign else output for output in graph.outputs]
            graph.operators.insert(graph.operators.index(sign) + 1, unpacked)


def _lower_kernel(chain: Chain, kernel: Kernel) -> bool:
    """Add the operators of a convolution or dense layer; return whether it is of a known kind."""
    layer = chain.call.layer
    if isinstance(layer, (keras.layers.SeparableConv1D, keras.layers.SeparableConv2D)):
        _separable(chain)
    elif isinstance(layer, keras.layers.Dense):
        _dense(chain, kernel)
    elif isinstance(layer, keras.layers.Conv2DTranspose):
        _quantize(chain)
        chain.add("TRANSPOSE_CONV", [_shape_constant(chain.output_shape), _kernel(layer.kernel.shape, 4, chain), *_bias(layer)])
        chain.last.shape = chain.output_shape
    elif isinstance(layer, keras.layers.Conv3D):
        chain.add("CONV_3D", [_kernel(layer.kernel.shape, 5, chain)], chain.output_shape)
        if layer.use_bias:
            chain.add("ADD", _bias(layer), chain.output_shape)
    elif isinstance(layer, (keras.layers.Conv1D, keras.layers.DepthwiseConv1D)):
        _in_one_dimension(chain, layer.padding)
    elif isinstance(layer, (keras.layers.Conv2D, keras.layers.DepthwiseConv2D)):
        _conv2d(chain, kernel)
    else:
        return False
    activation_steps(chain, layer.activation)
    return True


def _conv2d(chain: Chain, kernel: Kernel) -> None:
    layer = chain.call.layer
    padding, shape = layer.padding.upper(), chain.output_shape
    _quantize(chain)
    pads = padding == "SAME" and max(layer.kernel_size) > 1
    if pads and getattr(layer, "pad_values", 0.0) != 0.0:
        padding = "ONE"
    elif not pads:
        padding = "VALID"
    if kernel.binary:
        _binary_convolution(chain, (*layer.kernel_size, chain.input_shape[-1] // layer.groups, layer.filters), shape, padding)
        return
    if padding == "ONE":
        chain.add("PADV2", [Constant(8, rank=2), Constant(1, rank=0)], chain.last.shape)
        padding = "VALID"
    if isinstance(layer, keras.layers.DepthwiseConv2D):
        weights = _kernel(layer.depthwise_kernel.shape, 4, chain)
        chain.add("DEPTHWISE_CONV_2D", [weights, _some_bias(layer, shape)], shape, padding=padding, strides=layer.strides)
    else:
        weights = _kernel(layer.kernel.shape, 4, chain)
        chain.add("CONV_2D", [weights, _some_bias(layer, shape)], shape, padding=padding, strides=layer.strides)


def _binary_convolution(chain: Chain, kernel_shape: Iterable[int], shape: Size, padding: str) -> None:
    layer = chain.call.layer
    *taps, channels, filters = kernel_shape
    words = -(-channels // _WORD) * math.prod(taps) * filters
    scaled = isinstance(layer.kernel_quantizer, lq.quantizers.MagnitudeAwareSign)
    unit_scale = not scaled and not layer.use_bias
    bias = Constant(filters, value=("bias", id(layer)) if layer.use_bias else ("zeros", filters))
    scale = Constant(filters, value=("alpha", id(layer)) if scaled else ("ones", filters))
    weights = Constant(words, rank=4, value=("bits", id(layer)))
    chain.add(BINARY, [weights, scale, bias], shape, padding=padding, unit_scale=unit_scale)


def _quantize(chain: Chain) -> None:
    """Add the input quantizer of a layer: a sum with its thresholds, and the sign."""
    quantizer = getattr(chain.call.layer, "input_quantizer", None)
    if quantizer is None:
        return
    shape = chain.last.shape
    for weight in getattr(quantizer, "weights", []):
        chain.add("ADD", [Constant(math.prod(weight.shape), value=("variable", id(weight)))], shape)
    if getattr(quantizer, "precision", 32) == 1:
        chain.add("LceQuantize", [], shape)


def _dense(chain: Chain, kernel: Kernel) -> None:
    layer, shape = chain.call.layer, chain.output_shape
    if kernel.binary:
        # Written as a 1x1 convolution over pictures of one pixel.
        rows = math.prod(chain.input_shape[:-1])
        chain.add("RESHAPE", [_shape_constant((rows, 1, 1, chain.input_shape[-1]))], (rows, 1, 1, chain.input_shape[-1]))
        _quantize(chain)
        _binary_convolution(chain, (1, 1, chain.input_shape[-1], layer.units), (rows, 1, 1, layer.units), "VALID")
        chain.add("RESHAPE", [_shape_constant(shape)], shape)
        return
    _quantize(chain)
    chain.add("FULLY_CONNECTED", [_kernel(layer.kernel.shape, 2, chain), *_bias(layer)], shape)


def _separable(chain: Chain) -> None:
    layer, shape = chain.call.layer, chain.output_shape
    one_dimension = isinstance(layer, keras.layers.SeparableConv1D)
    _quantize(chain)
    if one_dimension:
        _expand(chain)
    channels = layer.depthwise_kernel.shape[-1] * layer.depthwise_kernel.shape[-2]
    pixels = shape[:-1] if not one_dimension else (shape[0], 1, shape[1])
    options: dict[str, Any] = {"padding": layer.padding.upper(), "strides": layer.strides}
    depthwise = [_kernel(layer.depthwise_kernel.shape, 4, chain), Constant(channels, value=("zeros", channels))]
    chain.add("DEPTHWISE_CONV_2D", depthwise, (*pixels, channels), **options)
    pointwise = [_kernel(layer.pointwise_kernel.shape, 4, chain), _some_bias(layer, shape)]
    chain.add("CONV_2D", pointwise, (*pixels, shape[-1]), padding="SAME", strides=(1, 1))
    if one_dimension:
        chain.add("RESHAPE", [_shape_constant(shape)], shape)


def _in_one_dimension(chain: Chain, padding: str) -> None:
    """Convolutions over sequences are convolutions over pictures of height 1."""
    layer, shape = chain.call.layer, chain.output_shape
    _quantize(chain)
    if padding == "causal":
        chain.add("PAD", [Constant(6, rank=2)], chain.last.shape)
    _expand(chain)
    depthwise = isinstance(layer, keras.layers.DepthwiseConv1D)
    kind, weights = ("DEPTHWISE_CONV_2D", layer.depthwise_kernel) if depthwise else ("CONV_2D", layer.kernel)
    pixels = (shape[0], 1, *shape[1:])
    chain.add(kind, [_kernel(weights.shape, 4, chain), _some_bias(layer, shape)], pixels)
    chain.add("RESHAPE", [_shape_constant(shape)], shape)


def _expand(chain: Chain) -> None:
    batch, *rest = chain.last.shape
    shape = (batch, 1, *rest)
    chain.add("RESHAPE", [_shape_constant(shape)], shape)


def _kernel(shape: Size, rank: int, chain: Chain) -> Constant:
    return Constant(math.prod(shape), rank=rank, value=("kernel", id(chain.call.layer), shape))


def _bias(layer: keras.layers.Layer) -> list[Constant]:
    if not layer.use_bias:
        return []
    return [Constant(int(layer.bias.shape[0]), name=len(layer.name) + 5, value=("bias", id(layer)))]


def _some_bias(layer: keras.layers.Layer, shape: Size) -> Constant:
    """Return the bias, zeros where there is none: the operators of convolutions want one."""
    return (_bias(layer) or [Constant(shape[-1], value=("zeros", shape[-1]))])[0]


def _shape_constant(shape: Size) -> Constant:
    return Constant(len(shape), value=("shape", tuple(shape)))
