"""The operators that layers without kernels become in the file: normalizations, pooling, sums, shapes."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from bitat_tf._keras import keras
from bitat_tf.inspection.file_size.activations import ACTIVATION_RULES
from bitat_tf.inspection.file_size.operators import Constant
from bitat_tf.inspection.file_size.steps import Chain, scalar

UNKNOWN = "unknown: "
_L = keras.layers
_WITHOUT_OPERATORS = (
    _L.Dropout,
    _L.SpatialDropout1D,
    _L.SpatialDropout2D,
    _L.SpatialDropout3D,
    _L.AlphaDropout,
    _L.GaussianDropout,
    _L.GaussianNoise,
    _L.ActivityRegularization,
    _L.InputLayer,
    _L.RandomFlip,
    _L.RandomRotation,
    _L.RandomZoom,
    _L.RandomTranslation,
    _L.RandomContrast,
    _L.RandomBrightness,
)
_MERGES = (
    (_L.Subtract, "SUB"),
    (_L.Multiply, "MUL"),
    (_L.Average, "ADD"),
    (_L.Maximum, "MAXIMUM"),
    (_L.Minimum, "MINIMUM"),
    (_L.Add, "ADD"),
)
_POOLING = (
    (_L.GlobalMaxPooling1D, "REDUCE_MAX"),
    (_L.GlobalMaxPooling2D, "REDUCE_MAX"),
    (_L.GlobalAveragePooling1D, "MEAN"),
    (_L.GlobalAveragePooling2D, "MEAN"),
    (_L.MaxPooling1D, "MAX_POOL_2D"),
    (_L.AveragePooling1D, "AVERAGE_POOL_2D"),
    (_L.MaxPooling2D, "MAX_POOL_2D"),
    (_L.AveragePooling2D, "AVERAGE_POOL_2D"),
)
_FUNCTIONS = {
    "add": "ADD",
    "__radd__": "ADD",
    "subtract": "SUB",
    "sub": "SUB",
    "multiply": "MUL",
    "mul": "MUL",
    "truediv": "DIV",
    "relu": "RELU",
    "relu6": "RELU6",
    "sigmoid": "LOGISTIC",
    "tanh": "TANH",
    "concat": "CONCATENATION",
}


def lower_other_layer(chain: Chain) -> None:
    """Add the operators of a layer without a kernel; of a layer that is not known, one operator with its weights."""
    layer = chain.call.layer
    if isinstance(layer, _WITHOUT_OPERATORS):
        chain.add("")
        return
    for kind, rule in _RULES:
        if isinstance(layer, kind):
            rule(chain)
            return
    # Keras wraps operations on tensors into layers that are not public; ChannelSlice is that of MeliusNet.
    wrapped = {"TFOpLambda": _function, "SlicingOpLambda": _one("STRIDED_SLICE", 3), "ChannelSlice": _one("STRIDED_SLICE", 3)}
    wrapped.get(type(layer).__name__, unknown_layer)(chain)


def _function(chain: Chain) -> None:
    """An operation on tensors that Keras wraps into a layer: `x + 1.0`, `tf.nn.relu(x)`, `x[:, 0]`."""
    layer = chain.call.layer
    name = str(getattr(layer, "symbol", "") or getattr(layer.function, "__name__", "")).split(".")[-1]
    kind = _FUNCTIONS.get(name)
    if kind is None:
        unknown_layer(chain)
    elif kind in ("ADD", "SUB", "MUL", "DIV") and len(chain.sources) == 1:
        chain.add(kind, [scalar()], chain.output_shape)
    else:
        chain.add(kind, None, chain.output_shape, list(chain.sources))


def unknown_layer(chain: Chain) -> None:
    """A layer that there is no rule for: its weights, and one operator for each layer inside of it."""
    layer = chain.call.layer
    weights = [Constant(math.prod(weight.shape), len(weight.shape)) for weight in layer.weights]
    kind = f"{UNKNOWN}{type(layer).__name__}"
    chain.add(kind, weights, chain.output_shape, list(chain.sources))
    for _ in layer._flatten_layers(include_self=False):
        chain.add(kind)


def _batch_normalization(chain: Chain) -> None:
    channels = chain.input_shape[-1]
    layer = chain.call.layer
    chain.add("MUL", [Constant(channels, value=("factor", id(layer)))])
    chain.add("ADD", [Constant(channels, value=("summand", id(layer)))])


def _layer_normalization(chain: Chain) -> None:
    """Written with FusedBatchNorm over transposed pictures."""
    shape = chain.input_shape
    channels, rows = shape[-1], math.prod(shape[:-1])
    inner, turned, statistics = (1, rows, channels, 1), (1, channels, 1, rows), (rows,)
    axes = [Constant(3, value=("axes", 3))]
    _reshape(chain, inner)
    chain.add("TRANSPOSE", [Constant(4, value="transpose")], turned)
    chain.add("MEAN", axes, statistics)
    chain.add("SQUARED_DIFFERENCE", None, turned, [chain.operators[1], chain.last])
    chain.add("MEAN", axes, statistics)
    chain.add("ADD", [scalar("epsilon")], statistics)
    chain.add("RSQRT")
    # Sums of operators that take each other's outputs: none of them is affine.
    for kind, constants, result in (
        ("MUL", [], turned),
        ("MUL", [], statistics),
        ("SUB", [Constant(rows, value=("zeros", rows))], statistics),
        ("ADD", [], turned),
    ):
        chain.add(kind, constants, result, [chain.last, chain.operators[2]])
    chain.add("TRANSPOSE", [Constant(4, value="transpose back")], inner)
    _reshape(chain, shape)
    chain.add("MUL", [Constant(channels)], shape)
    chain.add("ADD", [Constant(channels)], shape)


def _group_normalization(chain: Chain) -> None:
    """Moments with weights, which are written out as zeros of the size of the picture."""
    layer, shape = chain.call.layer, chain.input_shape
    groups, channels = layer.groups, shape[-1]
    split = (*shape[:-1], groups, channels // groups)
    ones = (1,) * (len(shape) - 1)
    moments = (*ones, groups, 1)
    _reshape(chain, split)
    chain.add("ZEROS_LIKE")
    chain.add("ADD", [Constant(math.prod(split), len(split))])
    for kind in ("SUM", "SUM", "EQUAL", "DIV", "SELECT", "SUB", "SQUARE", "SUM", "DIV", "SELECT"):
        constants = {"SUM": [Constant(3, value=("axes", 3))], "EQUAL": [Constant(groups, 5, value=("zeros", moments))]}
        chain.add(kind, constants.get(kind), split if kind in ("SUB", "SQUARE") else moments, [chain.last, chain.operators[0]])
    chain.add("ADD", [scalar("epsilon")])
    chain.add("RSQRT")
    chain.add("MUL", [Constant(channels, 5)], (*ones, groups, channels // groups))
    chain.add("MUL", None, split, [chain.operators[0], chain.last])
    chain.add("MUL", None, chain.operators[-2].shape, [chain.operators[-2], chain.last])
    chain.add("SUB", [Constant(channels, 5)])
    chain.add("ADD", None, split, [chain.last, chain.operators[0]])
    _reshape(chain, shape)


def _merge(chain: Chain) -> None:
    layer = chain.call.layer
    kind = next(kind for merge, kind in _MERGES if isinstance(layer, merge))
    for source in chain.sources[1:]:
        chain.add(kind, None, chain.output_shape, [chain.last, source])
    if isinstance(layer, _L.Average):
        chain.add("MUL", [scalar()])


def _pool(chain: Chain) -> None:
    layer, shape = chain.call.layer, chain.output_shape
    kind = next(kind for pooling, kind in _POOLING if isinstance(layer, pooling))
    if kind in ("MEAN", "REDUCE_MAX"):
        axes = len(chain.input_shape) - 2
        chain.add(kind, [Constant(axes, rank=int(axes > 1), name=45, value=("axes", axes))], shape)
    elif len(shape) == 3:
        batch, length, channels = chain.input_shape
        _reshape(chain, (batch, length, 1, channels))
        chain.add(kind, None, (shape[0], shape[1], 1, shape[2]))
        _reshape(chain, shape)
    else:
        chain.add(kind, None, shape)


def _reshape(chain: Chain, shape: Any = None) -> None:
    shape = chain.output_shape if shape is None else tuple(shape)
    chain.add("RESHAPE", [Constant(len(shape), value=("shape", shape))], shape)


def _rescaling(chain: Chain) -> None:
    layer = chain.call.layer
    chain.add("MUL", [Constant(max(1, np.size(layer.scale)), rank=0, value=("scalar", str(layer.scale)))])
    if np.any(layer.offset):
        chain.add("ADD", [Constant(max(1, np.size(layer.offset)), rank=0, value=("scalar", str(layer.offset)))])


def _normalization(chain: Chain) -> None:
    size = int(np.size(chain.call.layer.mean))
    chain.add("SUB", [Constant(size, len(chain.input_shape))])
    chain.add("MUL", [Constant(size, len(chain.input_shape))])


def _padding(chain: Chain) -> None:
    rank = len(chain.input_shape)
    paddings = getattr(chain.call.layer, "padding", ())
    paddings = paddings if isinstance(paddings, tuple) and rank == 4 else ()
    chain.add("PAD", [Constant(2 * rank, 2, name=45, value=("paddings", paddings))], chain.output_shape, padding=paddings)


def _embedding(chain: Chain) -> None:
    layer = chain.call.layer
    chain.add("CAST")
    chain.add("GATHER", [Constant(math.prod(layer.embeddings.shape), 2)], chain.output_shape)


def _repeat(chain: Chain) -> None:
    batch, *rest = chain.output_shape
    _reshape(chain, (batch, 1, *rest[1:]))
    chain.add("TILE", [Constant(3)], chain.output_shape)


def _masking(chain: Chain) -> None:
    start = chain.last
    chain.add("NOT_EQUAL", [scalar()])
    chain.add("REDUCE_ANY", [scalar()])
    chain.add("CAST")
    chain.add("MUL", inputs=[start, chain.last])


def _resize(chain: Chain) -> None:
    kind = "NEAREST_NEIGHBOR" if getattr(chain.call.layer, "interpolation", "") == "nearest" else "BILINEAR"
    chain.add(f"RESIZE_{kind}", [Constant(2, name=45)], chain.output_shape)


def _one(kind: str, constants: int = 0, length: int = 4, rank: int = 1) -> Callable[[Chain], None]:
    """Return the rule of a layer that is one operator, with this many small constants."""

    def rule(chain: Chain) -> None:
        shapes = [Constant(length if rank else 1, rank, name=40) for _ in range(constants)]
        chain.add(kind, shapes, chain.output_shape, list(chain.sources))

    return rule


_RULES: tuple[tuple[Any, Callable[[Chain], None]], ...] = (
    (_L.BatchNormalization, _batch_normalization),
    (_L.LayerNormalization, _layer_normalization),
    (_L.GroupNormalization, _group_normalization),
    *ACTIVATION_RULES,
    (_L.Concatenate, _one("CONCATENATION")),
    (tuple(merge for merge, _ in _MERGES), _merge),
    (tuple(pooling for pooling, _ in _POOLING), _pool),
    ((_L.Flatten, _L.Reshape), _reshape),
    (_L.Permute, _one("TRANSPOSE", 1)),
    (_L.Rescaling, _rescaling),
    (_L.Normalization, _normalization),
    ((_L.Resizing, _L.UpSampling2D), _resize),
    ((_L.ZeroPadding1D, _L.ZeroPadding2D), _padding),
    ((_L.Cropping1D, _L.Cropping2D), _one("STRIDED_SLICE", 3)),
    (_L.UnitNormalization, _one("L2_NORMALIZATION")),
    (_L.Embedding, _embedding),
    (_L.RepeatVector, _repeat),
    (_L.Masking, _masking),
)
