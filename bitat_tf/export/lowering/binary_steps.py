"""The steps on signs: the sign itself, binary convolutions, and maxima, which may be taken of floats too."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tensorflow as tf

from bitat_tf.export.lowering.steps import BinaryOperators, Step, as_float32


@dataclass(eq=False, kw_only=True)
class MaxPool(Step):
    """Max pooling of pictures, of floats or of signs.

    Attributes:
        window, strides: Height and width.
        padding: "same" or "valid".
        of_signs: Whether the input holds signs.
    """

    window: tuple[int, int]
    strides: tuple[int, int]
    padding: str
    of_signs: bool = False

    def compute(self, operators: BinaryOperators, *tensors: Any) -> Any:
        """Return the largest values."""
        return operators.max_pool(self, tensors[0]) if self.of_signs else self.largest(tensors[0])

    def largest(self, inputs: Any) -> Any:
        """Return the largest values of a float tensor."""
        return tf.nn.max_pool2d(inputs, self.window, self.strides, self.padding.upper())


@dataclass(eq=False, kw_only=True)
class Sign(Step):
    """sign(x + threshold), with sign(0) = +1; a threshold for every channel, None for 0.

    Attributes:
        step: Distance of two values of the int8 grid of the sum, in a file with an int8 rest.
    """

    threshold: np.ndarray | None = None
    step: float | None = None

    def compute(self, operators: BinaryOperators, *tensors: Any) -> Any:
        """Return the signs."""
        return operators.sign(self, self.sums(tensors[0]))

    def sums(self, inputs: Any) -> Any:
        """Return x + threshold, on the int8 grid if there is one; values beyond the grid keep their sign."""
        if self.threshold is None:
            return inputs
        sums = inputs + as_float32(self.threshold)
        if self.step is None:
            return sums
        return tf.quantization.fake_quant_with_min_max_args(sums, -128 * self.step, 127 * self.step)


@dataclass(eq=False, kw_only=True)
class BinaryConvolution(Step):
    """multiplier * a(c) + bias, c the convolution of signs with a kernel of signs, an integer; or the sign of that.

    Attributes:
        path: Of the Keras layer's call.
        kernel: Signs, int8, (height, width, channels of a group, filters).
        strides, dilation, padding: As in Keras.
        pad_value: 1 or 0, what stands around the picture for padding "same".
        multiplier, bias: (filters,).
        relu: Whether a is max(c, 0), else c.
        thresholds: Numbers of unlike signs, (filters,), int32: the output is the sign, -1 where more signs than that are
            unlike. None for a float output.
    """

    path: str
    kernel: np.ndarray
    strides: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    padding: str = "valid"
    pad_value: int = 1
    multiplier: np.ndarray = field(default_factory=lambda: np.ones(0))
    bias: np.ndarray = field(default_factory=lambda: np.zeros(0))
    relu: bool = False
    thresholds: np.ndarray | None = None

    @property
    def bits(self) -> int:
        """Number of signs that a filter sees."""
        return int(np.prod(self.kernel.shape[:3]))

    def pads(self, size: Sequence[int]) -> tuple[tuple[int, int], tuple[int, int]]:
        """Return the pixels before and after each axis of a picture of height and width `size`."""
        if self.padding == "valid":
            return (0, 0), (0, 0)
        found = []
        for length, kernel, stride, dilation in zip(size, self.kernel.shape[:2], self.strides, self.dilation, strict=True):
            total = max((-(-length // stride) - 1) * stride + (kernel - 1) * dilation + 1 - length, 0)
            found.append((total // 2, total - total // 2))
        return found[0], found[1]

    @property
    def pads_zeros(self) -> bool:
        """Whether zeros stand around the picture: larq-compute-engine then computes floats, and no activation."""
        size = self.inputs[0].shape[:2]
        return self.pad_value == 0 and any(any(pad) for pad in self.pads([one or 1 for one in size]))

    def compute(self, operators: BinaryOperators, *tensors: Any) -> Any:
        """Return the output."""
        return operators.convolve(self, tensors[0])

    def scaled(self, sums: np.ndarray) -> np.ndarray:
        """Return what the filters make of integers c, shape (..., filters)."""
        return self.multiplier * (np.maximum(sums, 0) if self.relu else sums) + self.bias
