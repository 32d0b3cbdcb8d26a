"""A network recomputed in numpy from nothing but the `.npz` of `bitat_tf.tflite_file.dump`, as a reader of its table would.

Binary convolutions are counted with xor and popcount on the packed words. It knows neither TensorFlow nor this package.
"""

import json

import numpy as np

F = np.float32


class BitNetwork:
    def __init__(self, path):
        with np.load(path) as arrays:
            self.arrays = {key: arrays[key] for key in arrays}
        self.graph = json.loads(str(self.arrays.pop("graph")))
        self.tensors = self.graph["tensors"]

    def run(self, samples):
        """Return a list of outputs for samples of shape (n, ...), computed one after the other as on the device."""
        return [np.concatenate(column) for column in zip(*(self.values(sample[None]) for sample in samples), strict=True)]

    def values(self, sample):
        computed = {self.graph["inputs"][0]: sample}
        for operator in self.graph["operators"]:
            inputs = [
                computed.get(number) if key is None else self.arrays[key]
                for number, key in zip(operator["inputs"], operator["constants"], strict=True)
            ]
            output = OPERATORS[operator["name"]](self, operator, *inputs)
            tensor = self.tensors[operator["outputs"][0]]
            expected = tuple(tensor["shape"])
            assert output.shape == expected, (operator["key"], output.shape, expected)
            assert str(output.dtype) == ("uint32" if tensor.get("bit_packed") else tensor["type"]), operator["key"]
            computed[operator["outputs"][0]] = output
        return [computed[number] for number in self.graph["outputs"]]

    def output(self, operator):
        return self.tensors[operator["outputs"][0]]

    def input(self, operator):
        return self.tensors[operator["inputs"][0]]


def pack(bits):
    """Return bits (..., channels) as words (..., ceil(channels / 32))."""
    words = -(-bits.shape[-1] // 32)
    padded = np.zeros((*bits.shape[:-1], words * 32), np.uint32)
    padded[..., : bits.shape[-1]] = bits
    return (padded.reshape(*bits.shape[:-1], words, 32) << np.arange(32, dtype=np.uint32)).sum(axis=-1, dtype=np.uint32)


def unpack(words, channels):
    bits = (words[..., None] >> np.arange(32, dtype=np.uint32)) & 1
    return bits.reshape(*words.shape[:-1], -1)[..., :channels]


def popcount(words):
    return np.unpackbits(np.ascontiguousarray(words)[..., None].view(np.uint8), axis=-1).sum(axis=-1, dtype=np.int64)


def windows(image, options, fill):
    """Yield (row and column in the kernel, the pixels that it meets (1, rows, columns, channels))."""
    padded = np.pad(image, ((0, 0), *options["pads"], (0, 0)), constant_values=fill)
    sizes = [
        (size - (kernel - 1) * dilation - 1) // stride + 1
        for size, kernel, dilation, stride in zip(
            padded.shape[1:3], options["kernel"], options.get("dilation", (1, 1)), options["strides"], strict=True
        )
    ]
    for row, column in np.ndindex(*options["kernel"]):
        top, left = (np.array((row, column)) * options.get("dilation", (1, 1))).tolist()
        (down, right), (rows, columns) = options["strides"], sizes
        yield (row, column), padded[:, top : top + rows * down : down, left : left + columns * right : right]


def binary_convolution(network, operator, image, weights, multiplier=None, bias=None, thresholds=None):
    options = operator["options"]
    words, groups, outputs = weights.shape[3], options["groups"], len(weights)
    channels = options["channels_in"] // groups
    inside = np.ones(image.shape[:3], bool)[..., None]
    count = places = 0
    zero_padding = options["pad_value"] == 0
    for ((row, column), pixels), (_, there) in zip(windows(image, options, 0), windows(inside, options, False), strict=True):
        here = []
        for output in range(outputs):
            first = output // (outputs // groups) * words
            found = popcount(pixels[..., first : first + words] ^ weights[output, row, column]).sum(axis=-1)
            here.append(found * there[..., 0] if zero_padding else found)
        count = count + np.stack(here, axis=-1)
        places = places + (there if zero_padding else np.ones_like(there)).astype(np.int64)
    if thresholds is not None:
        return pack(count > thresholds)
    low, high = {"NONE": (None, None), "RELU": (0, None), "RELU_N1_TO_1": (-1, 1), "RELU6": (0, 6)}[options["activation"]]
    accumulator = channels * places - 2 * count
    accumulator = accumulator if low is None else np.clip(accumulator, low, high)
    output = accumulator.astype(F) * multiplier + bias
    return quantize(network, operator, output) if network.output(operator)["type"] == "int8" else output


def quantize_bits(network, operator, x):
    zero = network.input(operator).get("quantization", {"zero_point": [0]})["zero_point"][0]
    return pack(x < zero)


def dequantize_bits(network, operator, words):
    return F(1) - F(2) * unpack(words, network.input(operator)["channels"]).astype(F)


def max_pool_bits(network, operator, words):
    result = np.uint32(0xFFFFFFFF)
    for _, pixels in windows(words, operator["options"], np.uint32(0xFFFFFFFF)):
        result = result & pixels
    return result


def activated(operator, x):
    kind = operator["options"].get("activation", "NONE")
    limits = {"NONE": (None, None), "RELU": (0, None), "RELU_N1_TO_1": (-1, 1), "RELU6": (0, 6)}[kind]
    return x if kind == "NONE" else np.clip(x, *limits).astype(F)


def convolution(network, operator, image, weights, bias=0):
    options, result = operator["options"], 0
    each = len(weights) // options["groups"]
    for (row, column), pixels in windows(image, options, 0):
        groups = np.split(pixels, options["groups"], axis=-1)
        kernels = [weights[group * each : (group + 1) * each, row, column] for group in range(len(groups))]
        result = result + np.concatenate([x @ kernel.T for x, kernel in zip(groups, kernels, strict=True)], axis=-1)
    return activated(operator, result + bias)


def depthwise_convolution(network, operator, image, weights, bias=0):
    result, times = 0, weights.shape[3] // image.shape[3]
    for (row, column), pixels in windows(image, operator["options"], 0):
        result = result + np.repeat(pixels, times, axis=-1) * weights[0, row, column]
    return activated(operator, result + bias)


def average_pool(network, operator, image):
    total = sum(pixels for _, pixels in windows(image, operator["options"], 0))
    inside = sum(there for _, there in windows(np.ones_like(image), operator["options"], 0))
    return activated(operator, total / inside)


def max_pool(network, operator, image):
    return activated(operator, np.max([pixels for _, pixels in windows(image, operator["options"], -np.inf)], axis=0))


def fully_connected(network, operator, x, weights, bias=0):
    result = x.reshape(-1, weights.shape[1]) @ weights.T + (0 if bias is None else bias)
    return activated(operator, result).reshape(network.output(operator)["shape"])


def softmax(network, operator, x):
    powers = np.exp(F(operator["options"]["beta"]) * (x - x.max(axis=-1, keepdims=True)))
    return powers / powers.sum(axis=-1, keepdims=True)


def quantize(network, operator, x):
    quantization = network.output(operator)["quantization"]
    values = np.rint(x / F(quantization["scale"][0])) + quantization["zero_point"][0]
    return np.clip(values, -128, 127).astype(np.int8)


def dequantize(network, operator, x):
    quantization = network.input(operator)["quantization"]
    return F(quantization["scale"][0]) * (x.astype(F) - F(quantization["zero_point"][0]))


OPERATORS = {
    "LceBconv2d": binary_convolution,
    "LceQuantize": quantize_bits,
    "LceDequantize": dequantize_bits,
    "LceBMaxPool2d": max_pool_bits,
    "CONV_2D": convolution,
    "DEPTHWISE_CONV_2D": depthwise_convolution,
    "AVERAGE_POOL_2D": average_pool,
    "MAX_POOL_2D": max_pool,
    "FULLY_CONNECTED": fully_connected,
    "SOFTMAX": softmax,
    "QUANTIZE": quantize,
    "DEQUANTIZE": dequantize,
    "ADD": lambda network, operator, a, b: activated(operator, a + b),
    "SUB": lambda network, operator, a, b: activated(operator, a - b),
    "MUL": lambda network, operator, a, b: activated(operator, a * b),
    "PRELU": lambda network, operator, x, alpha: np.where(x >= 0, x, x * alpha),
    "RELU": lambda network, operator, x: np.maximum(x, F(0)),
    "RELU6": lambda network, operator, x: np.clip(x, F(0), F(6)),
    "PAD": lambda network, operator, x, paddings: np.pad(x, paddings),
    "MEAN": lambda network, operator, x, axes: x.mean(axis=tuple(axes), keepdims=operator["options"]["keep_dims"]),
    "CONCATENATION": lambda network, operator, *parts: activated(operator, np.concatenate(parts, operator["options"]["axis"])),
    "RESHAPE": lambda network, operator, x, shape=None: x.reshape(network.output(operator)["shape"]),
}
