"""Random files of one operator: all that larq-compute-engine's converter can write, and corners that it can reach.

The same seed gives the same file and the same inputs.
"""

import dataclasses

import numpy as np
from lce_files import BITS, Graph, output_size, pack, words

CHANNELS = (
    1,
    2,
    3,
    7,
    8,
    15,
    16,
    31,
    32,
    33,
    40,
    63,
    64,
    65,
    72,
    96,
    100,
    127,
    128,
    129,
    160,
    192,
    224,
    255,
    256,
    257,
    288,
    300,
)
KINDS = ("LceBconv2d", "LceQuantize", "LceDequantize", "LceBMaxPool2d")
_SHARES = (0.7, 0.12, 0.09, 0.09)
_GREATEST_WORK = 400_000  # words that meet words: larq-compute-engine's reference kernel takes milliseconds for that


@dataclasses.dataclass
class Case:
    """A file of one operator and what goes into it.

    Attributes:
        seed: What it was made from.
        kind: The name of its operator.
        graph: The file; `with_batch` gives one for another batch.
        inputs: The inputs, of the batch that is run.
        batch: The batch that is run; the file has 1 where it is to be resized.
        text: What distinguishes it, for messages.
    """

    seed: int
    kind: str
    graph: Graph
    inputs: list[np.ndarray]
    batch: int
    text: str

    @property
    def is_resized(self) -> bool:
        """Whether the batch of the file is another than the one that is run."""
        return self.graph.tensors[self.graph.inputs[0]].shape[0] != self.batch

    def with_batch(self) -> Graph:
        """Return the graph with the batch that is run in the shapes of the file."""
        tensors = [
            tensor
            if tensor.data is not None
            else dataclasses.replace(tensor, shape=(self.batch, *tensor.shape[1:]), shape_signature=None)
            for tensor in self.graph.tensors
        ]
        return dataclasses.replace(self.graph, tensors=tensors)


def random_case(seed: int, kind: str | None = None) -> Case:
    """Return the case of a seed; of one kind if that is given."""
    return _Maker(seed).make(kind)


def random_floats(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Return floats with zeros of both signs, NaN, infinities and the smallest numbers among them."""
    x = generator.normal(size=shape).astype(np.float32)
    odd = np.array([0.0, -0.0, np.nan, -np.nan, np.inf, -np.inf, 1e-45, -1e-45, 1e-38, -1e-38, 2e-38, -2e-38], np.float32)
    return np.where(generator.random(shape) < 0.2, generator.choice(odd, shape), x)


def random_bits(generator: np.random.Generator, shape: tuple[int, ...], channels: int) -> np.ndarray:
    """Return the words of random bits for a shape without channels; now and then of one sign alone."""
    share = generator.choice([0.5, 0.5, 0.5, 0.1, 0.0, 1.0])
    return pack(generator.random((*shape, channels)) < share)


class _Maker:
    def __init__(self, seed: int):
        self.seed = seed
        self.random = np.random.default_rng(seed)

    def make(self, kind: str | None) -> Case:
        kind = kind or str(self.random.choice(KINDS, p=_SHARES))
        self.batch = int(self.random.choice([1, 1, 2, 3]))
        self.file_batch = 1 if self.random.random() < 0.3 else self.batch
        graph = Graph()
        text, inputs = {
            "LceBconv2d": self.convolution,
            "LceQuantize": self.quantize,
            "LceDequantize": self.dequantize,
            "LceBMaxPool2d": self.max_pool,
        }[kind](graph)
        return Case(self.seed, kind, graph, inputs, self.batch, f"seed {self.seed}, {kind}: batch {self.batch}, {text}")

    def choose(self, *options):
        return options[self.random.integers(len(options))]

    def pair(self, *options: int) -> tuple[int, int]:
        """Return two numbers, mostly the same."""
        first = self.choose(*options)
        return first, first if self.random.random() < 0.7 else self.choose(*options)

    def channels(self) -> int:
        return int(self.choose(*CHANNELS)) if self.random.random() < 0.8 else int(self.random.integers(1, 301))

    def image(self) -> tuple[int, int]:
        size = int(self.random.integers(1, 13))
        return size, size if self.random.random() < 0.5 else int(self.random.integers(1, 13))

    def shape(self) -> tuple[int, ...]:
        """Return a shape of rank 2 to 4 without batch and channels."""
        return tuple(int(size) for size in self.random.integers(1, 9, self.random.integers(0, 3)))

    def quantize(self, graph: Graph) -> tuple[str, list[np.ndarray]]:
        shape, kind = (*self.shape(), self.channels()), self.choose("float32", "float32", "int8", "bool")
        zero_point = int(self.choose(0, -128, 127, -127, 3, self.random.integers(-128, 128)))
        quantization = {"scale": 0.1, "zero_point": zero_point} if kind == "int8" else {}
        graph.outputs = [graph.quantize(graph.input((self.file_batch, *shape), kind, **quantization))]
        full = (self.batch, *shape)
        x = {
            "float32": lambda: random_floats(self.random, full),
            "int8": lambda: self.random.integers(-128, 128, full).astype(np.int8),
            "bool": lambda: self.random.random(full) < 0.5,
        }[kind]()
        return f"{kind} {shape}, zero point {zero_point}", [x]

    def dequantize(self, graph: Graph) -> tuple[str, list[np.ndarray]]:
        shape, channels, kind = self.shape(), self.channels(), self.choose("float32", "float32", "int8", "bool")
        # The output's batch stands in the file: it cannot be resized.
        self.file_batch = self.batch
        scale = float(self.choose(1.0, 0.5, 0.25, 0.1, 2.0, 0.4, 2.5, 0.003, 1 / 127))
        zero_point = int(self.choose(0, -128, 127, 3, self.random.integers(-128, 128)))
        quantization = {"scale": scale, "zero_point": zero_point} if kind == "int8" else {}
        x = graph.input((self.file_batch, *shape, words(channels)), "int32")
        graph.outputs = [graph.dequantize(x, channels, kind, **quantization)]
        text = f"{kind} {(*shape, channels)}, scale {scale}, zero point {zero_point}"
        return text, [random_bits(self.random, (self.batch, *shape), channels)]

    def max_pool(self, graph: Graph) -> tuple[str, list[np.ndarray]]:
        image, channels, padding = self.image(), self.channels(), self.choose("SAME", "SAME", "VALID")
        window, strides = self.pair(1, 2, 2, 3, 3, 5), self.pair(1, 2, 2, 3)
        if padding == "VALID":
            window = min(window[0], image[0]), min(window[1], image[1])
        x = graph.input((self.file_batch, *image, words(channels)), "int32")
        graph.outputs = [graph.max_pool(x, window, strides, padding)]
        text = f"image {image}, {channels} channels, window {window}, strides {strides}, {padding}"
        return text, [random_bits(self.random, (self.batch, *image), channels)]

    def convolution(self, graph: Graph) -> tuple[str, list[np.ndarray]]:
        kind = self.choose("float32", "float32", "int8", "int32")
        padding, pad_values = self.choose(("SAME", 1), ("SAME", 1), ("SAME", 0), ("VALID", 1), ("VALID", 0))
        image, kernel = self.image(), self.pair(1, 3, 3, 2, 5, 4, 7)
        strides, dilations = self.pair(1, 1, 2, 3), self.pair(1, 1, 1, 2, 3)
        if padding == "VALID":
            image = tuple(max(size, (length - 1) * d + 1) for size, length, d in zip(image, kernel, dilations, strict=True))
        groups = int(self.choose(2, 3, 4)) if self.random.random() < 0.2 else 1
        channels = groups * BITS * int(self.choose(1, 1, 2)) if groups > 1 else self.channels()
        rows, columns = (output_size(*axis, padding) for axis in zip(image, kernel, strides, dilations, strict=True))
        work = self.batch * rows * columns * kernel[0] * kernel[1] * words(channels) // groups
        outputs = max(min(self.channels(), _GREATEST_WORK // work) // groups, 1) * groups
        greatest = channels // groups * kernel[0] * kernel[1]
        arguments = self.transform(kind, outputs, greatest)
        arguments["activation"] = self.choose("NONE", "NONE", "RELU", "RELU_N1_TO_1", "RELU6")
        if kind == "int32":
            arguments["activation"] = "NONE"  # it is in the thresholds
        x = graph.input((self.file_batch, *image, words(channels)), "int32")
        weights = random_bits(self.random, (outputs, *kernel), channels // groups)
        geometry = {"strides": strides, "dilations": dilations, "padding": padding, "pad_values": pad_values}
        graph.outputs = [graph.bconv(x, weights, channels_in=channels, kind=kind, **geometry, **arguments)]
        text = (
            f"{kind}, image {image}, kernel {kernel}, strides {strides}, dilations {dilations}, {padding} {pad_values}, "
            f"{channels} to {outputs} channels in {groups} groups, {arguments['activation']}"
        )
        return text, [random_bits(self.random, (self.batch, *image), channels)]

    def transform(self, kind: str, outputs: int, greatest: int) -> dict:
        """Return what makes an output from the sum; the sum lies between -greatest and greatest."""
        if kind == "int32":
            thresholds = self.random.normal(greatest / 2, np.sqrt(greatest) / 2 + 1, outputs).astype(np.int32)
            odd = self.random.choice([-(2**31), 2**31 - 1, -1, 0, greatest - 1, greatest], outputs)
            return {"thresholds": np.where(self.random.random(outputs) < 0.2, odd, thresholds).astype(np.int32)}
        multiplier = self.random.normal(0, self.choose(1.0, 0.01, 30.0), outputs).astype(np.float32)
        multiplier[self.random.random(outputs) < 0.1] = 0
        bias = (self.random.normal(size=outputs) * self.choose(0, 1, 100)).astype(np.float32)
        arguments = {"multiplier": multiplier, "bias": bias}
        if self.random.random() < 0.2:  # of integers, with halves: int8 values between two
            arguments["multiplier"] = np.round(multiplier).astype(np.float32)
            arguments["bias"] = (np.round(bias * 2) / 2).astype(np.float32)
        if kind == "int8":
            spread = float(np.abs(arguments["multiplier"]).max() * np.sqrt(greatest) + np.abs(arguments["bias"]).max()) or 1.0
            arguments["scale"] = float(self.choose(spread / 100, spread / 30, 1.0, 0.5))
            arguments["zero_point"] = int(self.choose(0, 0, -128, 127, self.random.integers(-128, 128)))
        return arguments
