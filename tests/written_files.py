"""Small `.tflite` files with binary operators, written with nothing but TFLite's schema: a millisecond each.

A `Writer` adds operators to a network; `content()` is the file. What the binary operators give is a formula on signs.
"""

import numpy as np
from flatbuffers import flexbuffers

from bitat_tf.tflite_file.content import serialize
from bitat_tf.tflite_file.schema import schema

BUILTINS = {"CONV_2D": "Conv2DOptions", "ADD": "AddOptions", "FULLY_CONNECTED": "FullyConnectedOptions"}
BUILTINS |= {"PRELU": None, "RESHAPE": None}
TYPES = {"float32": "FLOAT32", "int32": "INT32", "int8": "INT8", "uint8": "UINT8"}
BITS = 32


def words(channels):
    return -(-channels // BITS)


def pack(signs):
    """Return signs (..., channels) as words (..., ceil(channels / 32)), 1 for negative ones."""
    bits = np.zeros((*signs.shape[:-1], words(signs.shape[-1]) * BITS), np.uint8)
    bits[..., : signs.shape[-1]] = signs < 0
    return np.packbits(bits, axis=-1, bitorder="little").view("<i4")


class Writer:
    """A network in the making; tensors are numbers.

    Args:
        batch: Samples that the file runs at once.
        dynamic: Whether it says that it takes other numbers, too.
        seed: Of the weights.
    """

    def __init__(self, batch=1, dynamic=False, seed=0):
        self.batch, self.dynamic = batch, dynamic
        self.random = np.random.default_rng(seed)
        self.graph = schema.SubGraphT()
        self.graph.tensors, self.graph.operators, self.graph.inputs, self.graph.outputs = [], [], [], []
        self.model = schema.ModelT()
        self.model.version, self.model.subgraphs = 3, [self.graph]
        self.model.operatorCodes, self.model.buffers = [], [schema.BufferT()]

    def tensor(self, shape, kind="FLOAT32", name=None):
        tensor = schema.TensorT()
        tensor.shape, tensor.type = np.array(shape, np.int32), getattr(schema.TensorType, kind)
        tensor.name = (name or f"tensor_{len(self.graph.tensors)}").encode()
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def computed(self, shape, kind="FLOAT32", name=None):
        """Return a tensor of the shape of a sample, with the axis of the batch."""
        number = self.tensor((self.batch, *shape), kind, name)
        if self.dynamic:
            self.graph.tensors[number].shapeSignature = np.array((-1, *shape), np.int32)
        return number

    def constant(self, values):
        number = self.tensor(values.shape, TYPES[str(values.dtype)])
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(np.ascontiguousarray(values).tobytes(), np.uint8)
        self.model.buffers.append(buffer)
        self.graph.tensors[number].buffer = len(self.model.buffers) - 1
        return number

    def shape(self, number):
        return tuple(int(size) for size in self.graph.tensors[number].shape[1:])

    def operator(self, name, inputs, output, options=None):
        code, operator = schema.OperatorCodeT(), schema.OperatorT()
        operator.inputs, operator.outputs = np.array(inputs, np.int32), np.array([output], np.int32)
        if name in BUILTINS:
            code.builtinCode = code.deprecatedBuiltinCode = getattr(schema.BuiltinOperator, name)
            if BUILTINS[name] is not None:
                operator.builtinOptionsType = getattr(schema.BuiltinOptions, BUILTINS[name])
                operator.builtinOptions = getattr(schema, f"{BUILTINS[name]}T")()
                vars(operator.builtinOptions).update(options or {})
        else:
            code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
            code.customCode = name.encode()
            operator.customOptions = None if options is None else np.frombuffer(flexbuffers.Dumps(options), np.uint8)
        operator.opcodeIndex = len(self.model.operatorCodes)
        self.model.operatorCodes.append(code)
        self.graph.operators.append(operator)
        return output

    def input(self, shape, name=None, kind="FLOAT32"):
        self.graph.inputs.append(self.computed(shape, kind, name))
        return self.graph.inputs[-1]

    def grid(self, number, scale, zero):
        """Give a tensor of integers its values: scale * (integer - zero)."""
        quantization = schema.QuantizationParametersT()
        quantization.scale, quantization.zeroPoint = np.array([scale], np.float32), np.array([zero], np.int64)
        self.graph.tensors[number].quantization = quantization

    def signature(self, names):
        """Give the inputs the names that the model has for them."""
        signature = schema.SignatureDefT()
        signature.signatureKey, signature.inputs, signature.outputs = b"serving_default", [], []
        for name, number in zip(names, self.graph.inputs, strict=True):
            entry = schema.TensorMapT()
            entry.name, entry.tensorIndex = name.encode(), number
            signature.inputs.append(entry)
        self.model.signatureDefs = [signature]

    def quantize(self, x):
        *size, channels = self.shape(x)
        return self.operator("LceQuantize", [x], self.computed((*size, words(channels)), "INT32"))

    def binary_convolution(self, bits, channels, filters, kernel=3, groups=1):
        """Add a convolution without padding; returns its output, and the signs, multiplier and bias that it computes with."""
        height, width, _ = self.shape(bits)
        signs = self.random.choice([-1, 1], (filters, kernel, kernel, channels // groups))
        multiplier, bias = self.random.uniform(0.5, 2, (2, filters)).astype(np.float32)
        weights = [self.constant(pack(signs)), self.constant(multiplier), self.constant(bias), -1]
        output = self.computed((height - kernel + 1, width - kernel + 1, filters))
        options = {"channels_in": channels, "padding": 1, "pad_values": 0, "fused_activation_function": 0}
        options |= {"stride_height": 1, "stride_width": 1, "dilation_height_factor": 1, "dilation_width_factor": 1}
        return self.operator("LceBconv2d", [bits, *weights], output, options), (signs, multiplier, bias)

    def convolution(self, x, filters, kernel=3):
        height, width, channels = self.shape(x)
        weights = self.random.normal(size=(filters, kernel, kernel, channels)).astype(np.float32)
        constants = [self.constant(weights), self.constant(self.random.normal(size=filters).astype(np.float32))]
        options = {"padding": schema.Padding.SAME, "strideH": 1, "strideW": 1}
        return self.operator("CONV_2D", [x, *constants], self.computed((height, width, filters)), options)

    def prelu(self, x):
        slopes = self.constant(self.random.uniform(size=(1, 1, self.shape(x)[-1])).astype(np.float32))
        return self.operator("PRELU", [x, slopes], self.computed(self.shape(x)))

    def add(self, x, y):
        return self.operator("ADD", [x, y], self.computed(self.shape(x)))

    def flatten(self, x, kind="FLOAT32"):
        size = int(np.prod(self.shape(x)))
        return self.operator("RESHAPE", [x, self.constant(np.array([-1, size], np.int32))], self.computed((size,), kind))

    def dense(self, x, units):
        weights = self.random.normal(size=(units, int(np.prod(self.shape(x))))).astype(np.float32)
        return self.operator("FULLY_CONNECTED", [x, self.constant(weights)], self.computed((units,)))

    def content(self, *outputs):
        self.graph.outputs = list(outputs)
        return serialize(self.model)


def expected_convolution(x, signs, multiplier, bias):
    """Return multiplier * (sum of products of signs) + bias for floats of shape (n, height, width, channels)."""
    kernel = signs.shape[1]
    windows = np.lib.stride_tricks.sliding_window_view(np.where(x < 0, -1, 1), (kernel, kernel), axis=(1, 2))
    return multiplier * np.einsum("nijchw,ohwc->nijo", windows, signs).astype(np.float32) + bias


def small_file():
    """Return a file of ten operators, four of them binary: pictures of 8x8x3 to three numbers."""
    writer = Writer()
    x = writer.convolution(writer.input((8, 8, 3), "picture"), 40)
    y, _ = writer.binary_convolution(writer.quantize(x), 40, 16)
    y = writer.prelu(writer.convolution(y, 16))
    z, _ = writer.binary_convolution(writer.quantize(y), 16, 16, kernel=1)
    return writer.content(writer.dense(writer.prelu(writer.add(y, z)), 3))


def binary_file(shape=(8, 8, 64), filters=32, units=4):
    """Return a file whose first operators are binary, so that nothing rounds before its sign, and the formula of its output."""
    writer = Writer()
    y, constants = writer.binary_convolution(writer.quantize(writer.input(shape, "picture")), shape[-1], filters)
    dense = writer.dense(y, units)
    weights = writer.model.buffers[writer.graph.tensors[writer.graph.operators[-1].inputs[1]].buffer].data
    matrix = weights.view(np.float32).reshape(units, -1)
    return writer.content(dense), lambda x: expected_convolution(x, *constants).reshape(len(x), -1) @ matrix.T
