"""Random small files of binary operators with float ones between them: what a delegate may fuse, and what it must not.

The same seed gives the same file and the same inputs.
"""

import numpy as np
from lce_files import Graph, pack

ACTIVATIONS = ("NONE", "NONE", "NONE", "RELU", "RELU6", "RELU_N1_TO_1")
_ELEMENTWISE = ("residual", "residual", "prelu", "prelu", "constant", "constant", "twice", "other")


class RandomGraph:
    """Builds a file of some blocks as in ReActNet: half of the files with their parts as they stand there, half in any order.

    Attributes:
        graph: The file.
        inputs: Arrays for its inputs.
        text: What it holds, for messages.
    """

    def __init__(self, seed: int):
        self.random = np.random.default_rng(seed)
        self.graph = Graph()
        self.batch = int(self.choose(1, 1, 2))
        # Some large ones, of which threads share the pixels.
        self.size = tuple(int(size) for size in self.random.integers(*((20, 60) if self.happens(0.1) else (3, 10)), 2))
        self.regular = self.happens(0.5)
        self.channels = int(self.choose(32, 64) if self.regular else self.choose(1, 8, 24, 32, 33, 64))
        self.live = [self.new_input((self.batch, *self.size, self.channels))]
        for _ in range(self.random.integers(1, 5)):
            self.block()
        # What is computed last, and some of what others read: that must be written although it could be fused.
        computed = [operator.outputs[0] for operator in self.graph.operators]
        extra = [number for number in computed[:-1] if self.happens(0.03 if self.regular else 0.15)]
        self.graph.outputs = [*extra, computed[-1]]
        self.inputs = [self.values(self.graph.tensors[number].shape) for number in self.graph.inputs]
        self.text = f"seed {seed}: " + " ".join(operator.name for operator in self.graph.operators)

    def choose(self, *options):
        return options[self.random.integers(len(options))]

    def happens(self, probability: float) -> bool:
        return bool(self.random.random() < probability)

    def values(self, shape: tuple[int, ...]) -> np.ndarray:
        return self.random.normal(size=shape).astype(np.float32)

    def shape(self, x: int) -> tuple[int, ...]:
        return self.graph.tensors[x].shape

    def new_input(self, shape: tuple[int, ...]) -> int:
        return self.graph.input(shape)

    def block(self) -> None:
        """Append some float operators, a quantization, some binary operators, and float ones behind them."""
        x = int(self.choose(*self.live, self.live[-1], self.live[-1]))
        while self.happens(0.4):
            x = self.constant(x) if self.regular or self.happens(0.6) else self.elementwise(x)
        bits, channels = self.graph.quantize(x), self.shape(x)[-1]
        if self.happens(0.15):
            bits = self.graph.max_pool(bits, (3, 2), (1, 1), "SAME")
        if self.happens(0.2):
            bits, channels = self.convolution(bits, channels, "int32")
        parts = [self.convolution(bits, channels, "float32")[0]]
        if self.happens(0.3):  # several consumers of the same bits
            parts.append(self.convolution(bits, channels, "float32")[0])
        if self.regular and len(parts) > 1:
            parts = [self.shortcut(part) for part in parts]
            parts = [self.usual_chain(self.graph.concatenate(parts))]
        else:
            parts = [self.usual_chain(self.shortcut(part)) if self.regular else self.chain(part) for part in parts]
        if len(parts) > 1 and self.happens(0.7):
            parts = [self.concatenation(parts)]
        self.live = [y for y in self.live if self.shape(y)[:3] == self.shape(parts[0])[:3]] + parts

    def chain(self, x: int) -> int:
        for _ in range(self.random.integers(0, 5)):
            x = self.elementwise(x)
        return x

    def shortcut(self, x: int) -> int:
        same = [y for y in self.live if self.shape(y) == self.shape(x)]
        return self.sum(x, int(self.choose(*same))) if same and self.happens(0.7) else x

    def usual_chain(self, x: int) -> int:
        if self.happens(0.7):
            x = self.graph.prelu(x, self.values(self.constant_shape(x, prelu=True)))
        return self.constant(x) if self.happens(0.5) else x

    def convolution(self, bits: int, channels: int, kind: str) -> tuple[int, int]:
        odd = (32, 64) if self.regular else (8, 24, 31, 32, 64)
        outputs = int(self.choose(*odd, channels, channels, channels))
        kernel = self.choose((1, 1), (3, 3), (3, 3), (2, 3))
        weights = pack(self.random.random((outputs, *kernel, channels)) < 0.5)
        scale = 1 / np.sqrt(channels * kernel[0] * kernel[1])
        arguments = {"multiplier": (self.values((outputs,)) * scale).astype(np.float32), "bias": self.values((outputs,))}
        if kind == "int32":
            greatest = channels * kernel[0] * kernel[1]
            arguments = {"thresholds": self.random.integers(0, greatest + 1, outputs).astype(np.int32)}
        elif self.happens(0.2):
            arguments["activation"] = str(self.choose(*ACTIVATIONS))
        if self.happens(0.1):
            arguments["dilations"] = (2, 1)
        return self.graph.bconv(bits, weights, channels_in=channels, kind=kind, **arguments), outputs

    def elementwise(self, x: int) -> int:
        """Append one operator that reads x; not always one that can be fused."""
        kind = str(self.choose(*_ELEMENTWISE))
        if kind == "residual":
            same = [y for y in self.live if self.shape(y) == self.shape(x)]
            return self.sum(x, int(self.choose(*same))) if same else x
        if kind == "prelu":
            return self.graph.prelu(x, self.values(self.constant_shape(x, prelu=True)))
        if kind == "constant":
            return self.constant(x)
        if kind == "twice" and self.happens(0.3):
            return self.sum(x, x)
        if kind == "other" and self.happens(0.5):  # a tensor of a smaller shape that is no constant
            batch, _, _, channels = self.shape(x)
            return self.sum(x, self.new_input((batch, 1, 1, channels)))
        if kind == "other" and self.happens(0.5):
            return self.graph.binary(str(self.choose("SUB", "MUL")), x, self.graph.constant(self.values(self.shape(x)[-1:])))
        return x

    def sum(self, a: int, b: int) -> int:
        if self.happens(0.5):
            a, b = b, a
        return self.graph.binary("ADD", a, b, "NONE" if self.regular else str(self.choose(*ACTIVATIONS)))

    def constant(self, x: int) -> int:
        return self.sum(x, self.graph.constant(self.values(self.constant_shape(x))))

    def constant_shape(self, x: int, prelu: bool = False) -> tuple[int, ...]:
        _, rows, columns, channels = self.shape(x)
        usual = ((1, 1, channels),) * 3 if prelu else ((channels,), (1, 1, channels), (1, 1, 1, channels), (channels,))
        odd = ((1, 1, 1), (1, columns, 1), (rows, columns, channels), (1, 1, channels))
        odd = odd if prelu else (*odd, (), (1,), (1, rows, columns, channels), (1, rows, 1, channels))
        return self.choose(*usual) if self.happens(0.8) else self.choose(*odd)

    def concatenation(self, parts: list[int]) -> int:
        """Append a concatenation, mostly of channels; of a part with itself as well."""
        if self.happens(0.3):
            parts = [parts[0], parts[0]]
        elif self.happens(0.3):
            parts = [*parts, *[y for y in self.live if self.shape(y)[:3] == self.shape(parts[0])[:3]][:1]]
        same = all(self.shape(part) == self.shape(parts[0]) for part in parts)
        axis = int(self.choose(3, 3, -1, 1, 2)) if same else int(self.choose(3, -1))
        return self.graph.concatenate(parts, axis)
