"""A network as a graph of steps: what the device computes one after the other, with its constants as arrays.

Kinds of steps are few: constants per channel (`Affine`), element-wise functions, linear operators, signs, binary convolutions,
and calls of Keras layers of which nothing else is known. Every step has one output. Constants are float64 until they are
written.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import keras
import numpy as np
import tensorflow as tf

from bitat_tf.model_graph import LayerCall, call_on

Shape = tuple[int | None, ...]


def as_float32(values: np.ndarray) -> np.ndarray:
    """Return constants as they stand in a file."""
    limit = float(np.finfo(np.float32).max) / 4  # what is added to them stays finite
    return np.clip(values, -limit, limit).astype(np.float32)


class BinaryOperators(Protocol):
    """What computes the steps that work on signs: TensorFlow's own operators, or those of the file."""

    def sign(self, step: Any, inputs: Any) -> Any:
        """Return the signs of a float tensor."""

    def convolve(self, step: Any, signs: Any) -> Any:
        """Return a binary convolution of signs."""

    def max_pool(self, step: Any, signs: Any) -> Any:
        """Return the largest of the signs in each window."""


@dataclass(eq=False, kw_only=True)
class Step:
    """One step, with one output.

    Attributes:
        name: After the Keras layer that it comes from; unique in the program.
        inputs: The steps whose outputs it takes.
        shape: Of a sample's output, without the batch.
        grid: Smallest and largest value of the int8 grid of the output, which holds 0; None where it is not int8.
    """

    name: str
    inputs: list["Step"]
    shape: Shape
    grid: tuple[float, float] | None = None

    @property
    def channels(self) -> int:
        """Size of the last axis."""
        return int(self.shape[-1] or 0) if self.shape else 0

    def compute(self, operators: BinaryOperators, *tensors: Any) -> Any:
        """Return the output for the outputs of `inputs`, tensors of shape (batch, ...)."""
        raise NotImplementedError


@dataclass(eq=False, kw_only=True)
class Source(Step):
    """An input of the network."""

    dtype: Any = tf.float32


@dataclass(eq=False, kw_only=True)
class KerasCall(Step):
    """A call of a Keras layer or operator as it is. Of one with several outputs this is one of them.

    Attributes:
        call: The call.
        layer: Its layer or operator, or a copy of it in float32.
        output: Which of its outputs.
        dtype: Of that output.
        same_values: Whether the outputs are values of the input, in another order or place (or zeros around them).
        passes_shift: Whether f(x + c) = f(x) + c for constants c of each channel.
    """

    call: LayerCall
    layer: Any
    output: int = 0
    dtype: Any = tf.float32
    same_values: bool = False
    passes_shift: bool = False

    def compute(self, operators: BinaryOperators, *tensors: Any) -> Any:
        """Return the output of the layer."""
        return keras.tree.flatten(call_on(self.call, tensors, self.layer, at_inference=True))[self.output]

    def traced(self) -> Any:
        """Return what computes the output as a concrete function."""
        specs = [tf.TensorSpec((None, *one.shape), getattr(one, "dtype", tf.float32)) for one in self.inputs]
        function = tf.function(lambda *tensors: self.compute(None, *tensors), autograph=False)  # type: ignore[arg-type]
        return function.get_concrete_function(*specs)


@dataclass(eq=False, kw_only=True)
class Reshape(Step):
    """Values in another shape, `shape`, in the same order."""

    def compute(self, operators: BinaryOperators, *tensors: Any) -> Any:
        """Return the reshaped tensor."""
        return tf.reshape(tensors[0], (-1, *self.shape))


@dataclass(eq=False, kw_only=True)
class Rearranged(Step):
    """Values of the input, in another order or place, and zeros around them.

    Attributes:
        function: What computes it.
        passes_shift: Whether f(x + c) = f(x) + c for constants c of each channel.
    """

    function: Callable
    passes_shift: bool = False

    def compute(self, operators: BinaryOperators, *tensors: Any) -> Any:
        """Return the rearranged tensor."""
        return self.function(tensors[0])


@dataclass(eq=False, kw_only=True)
class Affine(Step):
    """scale * x + shift, a constant of each for every channel, or for every value of a sample; None stands for 1 and 0."""

    scale: np.ndarray | None = None
    shift: np.ndarray | None = None

    def compute(self, operators: BinaryOperators, *tensors: Any) -> Any:
        """Return the scaled and shifted tensor."""
        outputs = tensors[0]
        outputs = outputs if self.scale is None else outputs * as_float32(self.scale)
        return outputs if self.shift is None else outputs + as_float32(self.shift)


@dataclass(eq=False, kw_only=True)
class Clamp(Step):
    """min(max(x, low), high): a ReLU has (0, infinity)."""

    low: float
    high: float

    def compute(self, operators: BinaryOperators, *tensors: Any) -> Any:
        """Return the clamped tensor."""
        if (self.low, self.high) == (0.0, 6.0):
            return tf.nn.relu6(tensors[0])
        outputs = tf.nn.relu(tensors[0]) if self.low == 0 else tf.maximum(tensors[0], self.low)
        return outputs if self.high == np.inf else tf.minimum(outputs, self.high)


@dataclass(eq=False, kw_only=True)
class Slope(Step):
    """PReLU: x for x >= 0, slope * x below, a slope for every channel."""

    slope: np.ndarray

    def compute(self, operators: BinaryOperators, *tensors: Any) -> Any:
        """Return relu(x) - slope * relu(-x), which the converter knows as PRELU."""
        (inputs,) = tensors
        # The slopes need the rank of a sample, or the converter leaves the four operators as they are.
        slope = as_float32(self.slope).reshape((1,) * (len(self.shape) - 1) + (-1,))
        return tf.nn.relu(inputs) + (-slope) * tf.nn.relu(-inputs)


@dataclass(eq=False, kw_only=True)
class Function(Step):
    """An element-wise function of Keras, or a softmax."""

    function: Callable

    def compute(self, operators: BinaryOperators, *tensors: Any) -> Any:
        """Return the function's values."""
        return self.function(tensors[0])


@dataclass(eq=False, kw_only=True)
class Linear(Step):
    """The kernel of a float convolution or dense layer, without bias.

    Attributes:
        kernel: (height, width, channels of a group, filters); depthwise (height, width, channels, multiplier); dense
            (d, units).
        strides, dilation, padding: As in Keras. A dense layer has none.
        depthwise: Whether the convolution is depthwise.
    """

    kernel: np.ndarray
    strides: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    padding: str = "valid"
    depthwise: bool = False

    @property
    def is_dense(self) -> bool:
        """Whether it is a dense layer."""
        return self.kernel.ndim == 2

    def compute(self, operators: BinaryOperators, *tensors: Any) -> Any:
        """Return the convolution or the product."""
        (inputs,) = tensors
        kernel = as_float32(self.kernel)
        if self.is_dense:
            # As one operator also of several rows: of a product along the last axis the converter makes nine.
            if None in self.shape:
                return tf.tensordot(inputs, kernel, [[-1], [0]])
            if len(self.shape) == 3 and self.shape[:2] == (1, 1):
                return tf.matmul(inputs, kernel)
            if len(self.shape) == 3:
                return tf.nn.conv2d(inputs, kernel[None, None], 1, "VALID")
            rows = inputs if len(self.shape) == 1 else tf.reshape(inputs, (-1, len(self.kernel)))
            return tf.reshape(tf.matmul(rows, kernel), (-1, *self.shape)) if len(self.shape) > 1 else tf.matmul(rows, kernel)
        if self.depthwise:
            strides = (1, *self.strides, 1)
            return tf.nn.depthwise_conv2d(inputs, kernel, strides, self.padding.upper(), dilations=self.dilation)
        return tf.nn.conv2d(inputs, kernel, self.strides, self.padding.upper(), dilations=self.dilation)


@dataclass(eq=False, kw_only=True)
class Sum(Step):
    """The sum of its inputs, which have one shape."""

    def compute(self, operators: BinaryOperators, *tensors: Any) -> Any:
        """Return the sum, from first to last as Keras adds."""
        total = tensors[0]
        for tensor in tensors[1:]:
            total = total + tensor
        return total


@dataclass(eq=False, kw_only=True)
class Concatenation(Step):
    """The channels of its inputs one after the other."""

    def compute(self, operators: BinaryOperators, *tensors: Any) -> Any:
        """Return the concatenation along the last axis."""
        return tf.concat(tensors, -1)
