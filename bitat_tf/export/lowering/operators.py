"""The operators on signs: as TensorFlow computes them, and as custom operators that its converter writes into a file.

TensorFlow's converter turns a function whose `experimental_implements` is a NodeDef with the attribute `tfl_fusable_op` into a
custom operator of that name: the tensors that it takes become inputs, its integers options. The body is never run by the
converter; it gives shape and type.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from bitat_tf.export.lowering.binary_steps import BinaryConvolution, MaxPool, Sign
from bitat_tf.export.lowering.steps import Step, as_float32

STEP = "step"  # an option that tells which step an operator is of, and is taken out of the file afterwards
_BITS = 32  # of a word; a bit that is 1 stands for -1
_PADDINGS = {"same": 0, "valid": 1}
_NO_ACTIVATION, _RELU = 0, 1


def words(channels: int) -> int:
    """Return how many words of 32 bits hold the signs of a number of channels."""
    return -(-channels // _BITS)


def pack(signs: np.ndarray) -> np.ndarray:
    """Return signs of shape (..., channels) as int32 words of shape (..., words); a set bit is -1, the lowest is the first.

    Examples:
        >>> pack(np.array([[1, -1, -1, 1]]))
        array([[6]], dtype=int32)
    """
    missing = words(signs.shape[-1]) * _BITS - signs.shape[-1]
    bits = np.pad(signs < 0, [(0, 0)] * (signs.ndim - 1) + [(0, missing)])
    return np.ascontiguousarray(np.packbits(bits, axis=-1, bitorder="little")).view("<i4")


def unpack(packed: np.ndarray, channels: int) -> np.ndarray:
    """Return int32 words of shape (..., words) as signs of shape (..., channels), float32: the inverse of `pack`."""
    flat = np.ascontiguousarray(packed, "<i4").view(np.uint8)
    bits = np.unpackbits(flat, axis=-1, count=channels, bitorder="little")
    return np.where(bits, np.float32(-1), np.float32(1))


class TensorFlowOperators:
    """Computes with signs as floats, with TensorFlow's own operators: what the operators of the file are to give."""

    def sign(self, step: Sign, inputs: Any) -> Any:
        """Return -1 for negative inputs, else +1."""
        return tf.where(inputs >= 0, tf.ones_like(inputs), -tf.ones_like(inputs))

    def convolve(self, step: BinaryConvolution, signs: Any) -> Any:
        """Return multiplier * a(c) + bias, or the signs by thresholds; c is an integer, exact in float32."""
        pads = [(0, 0), *step.pads(signs.shape[1:3]), (0, 0)]
        padded = tf.pad(signs, pads, constant_values=float(step.pad_value))
        kernel = step.kernel.astype(np.float32)
        sums = tf.nn.conv2d(padded, kernel, step.strides, "VALID", dilations=step.dilation)
        if step.thresholds is not None:
            unlike = (step.bits - tf.cast(sums, tf.int32)) // 2
            return tf.where(unlike > step.thresholds, -tf.ones_like(sums), tf.ones_like(sums))
        sums = tf.nn.relu(sums) if step.relu else sums
        return sums * as_float32(step.multiplier) + as_float32(step.bias)

    def max_pool(self, step: MaxPool, signs: Any) -> Any:
        """Return the largest signs."""
        return step.largest(signs)


class FileOperators:
    """Writes `LceQuantize`, `LceBconv2d` and `LceBMaxPool2d`; signs are int32 words.

    Attributes:
        steps: What was written, by the number in the option `STEP`.
    """

    def __init__(self) -> None:
        self.steps: list[Step] = []

    def sign(self, step: Sign, inputs: Any) -> Any:
        """Write an LceQuantize."""
        return self._write("LceQuantize", step, {}, [inputs], (*inputs.shape[1:-1], words(inputs.shape[-1])), tf.int32)

    def convolve(self, step: BinaryConvolution, signs: Any) -> Any:
        """Write an LceBconv2d. The filter stands in the place of inputs that it has not: they are taken out afterwards."""
        height, width = known_size(step.path, signs)
        kernel = tf.constant(pack(np.moveaxis(step.kernel, -1, 0)))
        rest = [tf.constant(as_float32(step.multiplier)), tf.constant(as_float32(step.bias)), kernel]
        if step.thresholds is not None:
            rest = [kernel, kernel, tf.constant(step.thresholds)]
        sizes = [
            -(-size // stride) if step.padding == "same" else (size - (length - 1) * dilation - 1) // stride + 1
            for size, length, stride, dilation in zip(
                (height, width), step.kernel.shape[:2], step.strides, step.dilation, strict=True
            )
        ]
        options = {
            "channels_in": step.inputs[0].channels,
            "stride_height": step.strides[0],
            "stride_width": step.strides[1],
            "dilation_height_factor": step.dilation[0],
            "dilation_width_factor": step.dilation[1],
            "padding": _PADDINGS[step.padding],
            # Where nothing is padded either would do; larq-compute-engine computes ones faster.
            "pad_values": step.pad_value if any(any(pad) for pad in step.pads((height, width))) else 1,
            "fused_activation_function": _RELU if step.relu and step.thresholds is None else _NO_ACTIVATION,
        }
        channels, kind = (step.channels, tf.float32) if step.thresholds is None else (words(step.channels), tf.int32)
        return self._write("LceBconv2d", step, options, [signs, kernel, *rest], (*sizes, channels), kind)

    def max_pool(self, step: MaxPool, signs: Any) -> Any:
        """Write an LceBMaxPool2d."""
        shape = step.largest(tf.zeros((1, *known_size(step.name, signs), 1))).shape[1:3]
        options = {
            "filter_height": step.window[0],
            "filter_width": step.window[1],
            "stride_height": step.strides[0],
            "stride_width": step.strides[1],
            "padding": _PADDINGS[step.padding],
        }
        return self._write("LceBMaxPool2d", step, options, [signs], (*shape, signs.shape[-1]), tf.int32)

    def _write(self, name: str, step: Step, options: Mapping[str, int], tensors: list, shape: tuple, kind: Any) -> Any:
        attributes = {**options, STEP: len(self.steps)}
        self.steps.append(step)

        @tf.function(experimental_implements=_node(name, attributes), autograph=False)
        def operator(*inputs):
            # All inputs are used, or they would not be inputs of the operator.
            used = tf.add_n([tf.cast(tf.reduce_sum(one), tf.float32) for one in inputs])
            return tf.cast(tf.zeros((tf.shape(inputs[0])[0], *shape)) + used, kind)

        outputs = operator(*tensors)
        outputs.set_shape((None, *shape))
        return outputs


def known_size(path: str, tensor: Any) -> tuple[int, int]:
    """Return height and width of a tensor of pictures; raise ValueError where they are not known."""
    height, width = tensor.shape[1:3]
    if height is None or width is None:
        raise ValueError(
            f"to_tflite: the size of what a binary layer takes must be known. Received: {tuple(tensor.shape)} at {path!r}. "
            "Build the model with a fixed input size and load the weights into it."
        )
    return int(height), int(width)


def _node(name: str, attributes: Mapping[str, int]) -> str:
    integers = " ".join(f"attr {{ key: '{key}' value {{ i: {value} }} }}" for key, value in attributes.items())
    return f"name: '{name}' attr {{ key: 'tfl_fusable_op' value {{ b: true }} }} {integers}"
