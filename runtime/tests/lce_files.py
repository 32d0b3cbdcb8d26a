"""Small `.tflite` files with larq-compute-engine's operators, written without its converter: a millisecond each.

A `Graph` holds tensors and operators; `content()` gives the bytes of the file. `numpy_model` runs the same graph in numpy.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from flatbuffers import flexbuffers
from tflite_writer import BUILTINS, serialize, to_model

BITS = 32  # of a word of bits; a one means that the value is negative
ACTIVATIONS = {
    name: getattr(schema.ActivationFunctionType, name) for name in ("NONE", "RELU", "RELU_N1_TO_1", "RELU6", "TANH", "SIGN_BIT")
}
PADDINGS = {"SAME": schema.Padding.SAME, "VALID": schema.Padding.VALID}


def words(channels: int) -> int:
    """Return how many words hold the bits of a number of channels."""
    return -(-channels // BITS)


def pack(bits: np.ndarray) -> np.ndarray:
    """Return bits of shape (..., channels) as int32 words of shape (..., words); bits after the last channel are 0."""
    width = words(bits.shape[-1]) * 4
    packed = np.zeros((*bits.shape[:-1], width), np.uint8)
    used = np.packbits(bits.astype(np.uint8), axis=-1, bitorder="little")
    packed[..., : used.shape[-1]] = used
    return packed.view("<i4")


def unpack(packed: np.ndarray, channels: int) -> np.ndarray:
    """Return int32 words of shape (..., words) as bits of shape (..., channels), uint8."""
    flat = np.ascontiguousarray(packed.astype("<i4")).view(np.uint8)
    return np.unpackbits(flat, axis=-1, bitorder="little")[..., :channels]


def output_size(size: int, kernel: int, stride: int, dilation: int, padding: str) -> int:
    """Return the length of an axis after a convolution or pooling; TFLite's formula, also where it gives 0 or less."""
    reach = (kernel - 1) * dilation + 1
    return -(-size // stride) if padding == "SAME" else (size + stride - reach) // stride


@dataclasses.dataclass
class Tensor:
    """A tensor of a graph.

    Attributes:
        shape: Its shape, as it stands in the file.
        type: "float32", "int8", "int32", "bool", ...
        data: The values of a constant; None for what is computed or an input.
        scale: Of a quantized tensor: value = scale * (integer - zero_point); None without quantization.
        zero_point: Of a quantized tensor.
        name: Its name.
        shape_signature: With -1 for axes that change; None if there are none.
    """

    shape: tuple[int, ...]
    type: str = "float32"
    data: np.ndarray | None = None
    scale: float | None = None
    zero_point: int = 0
    name: str = ""
    shape_signature: tuple[int, ...] | None = None


@dataclasses.dataclass
class Operator:
    """An operator of a graph; its options are those of the file, `custom` replaces the bytes of custom options."""

    name: str
    inputs: list[int]
    outputs: list[int]
    options: dict[str, int] = dataclasses.field(default_factory=dict)
    custom: bytes | None = None

    @property
    def is_custom(self) -> bool:
        """Whether TFLite does not know the operator."""
        return self.name not in BUILTINS

    def custom_options(self) -> bytes:
        """Return the bytes of the custom options: a flexbuffers map of integers, as the converter writes it."""
        return flexbuffer(self.options) if self.custom is None else self.custom


def flexbuffer(values: Mapping[str, Any]) -> bytes:
    """Return a map as flexbuffers."""
    return b"" if not values else bytes(flexbuffers.Dumps(dict(values)))


@dataclasses.dataclass
class Graph:
    """Tensors, operators, and which tensors are inputs and outputs of the file."""

    tensors: list[Tensor] = dataclasses.field(default_factory=list)
    operators: list[Operator] = dataclasses.field(default_factory=list)
    inputs: list[int] = dataclasses.field(default_factory=list)
    outputs: list[int] = dataclasses.field(default_factory=list)

    def add(self, shape: Sequence[int], kind: str = "float32", **arguments: Any) -> int:
        """Add a tensor and return its number."""
        arguments.setdefault("name", f"tensor_{len(self.tensors)}")
        self.tensors.append(Tensor(tuple(int(size) for size in shape), kind, **arguments))
        return len(self.tensors) - 1

    def input(self, shape: Sequence[int], kind: str = "float32", **arguments: Any) -> int:
        """Add a tensor that is an input of the file."""
        number = self.add(shape, kind, name=f"input_{len(self.inputs)}", **arguments)
        self.inputs.append(number)
        return number

    def constant(self, values: np.ndarray) -> int:
        """Add a constant."""
        return self.add(values.shape, values.dtype.name, data=values)

    def operator(self, name: str, inputs: Sequence[int], output: int, options: Mapping[str, int] | None = None) -> int:
        """Add an operator with one output and return that."""
        self.operators.append(Operator(name, list(inputs), [output], dict(options or {})))
        return output

    def quantize(self, x: int) -> int:
        """Add an LceQuantize."""
        shape = self.tensors[x].shape
        return self.operator("LceQuantize", [x], self.add((*shape[:-1], words(shape[-1])), "int32"))

    def dequantize(self, x: int, channels: int, kind: str = "float32", **quantization: Any) -> int:
        """Add an LceDequantize to a number of channels."""
        output = self.add((*self.tensors[x].shape[:-1], channels), kind, **quantization)
        return self.operator("LceDequantize", [x], output)

    def bconv(
        self,
        x: int,
        kernel: np.ndarray,
        *,
        channels_in: int,
        kind: str = "float32",
        multiplier: np.ndarray | None = None,
        bias: np.ndarray | None = None,
        thresholds: np.ndarray | None = None,
        strides: tuple[int, int] = (1, 1),
        dilations: tuple[int, int] = (1, 1),
        padding: str = "SAME",
        pad_values: int = 1,
        activation: str = "NONE",
        **quantization: Any,
    ) -> int:
        """Add an LceBconv2d.

        Args:
            x: The bits, (batch, height, width, words).
            kernel: The words of the kernel, (channels_out, height, width, words of a group), int32.
            channels_in: The channels of all groups together.
            kind: The type of the output: "float32", "int8", or "int32" for bits.
            multiplier: (channels_out,), float32; for "float32" and "int8".
            bias: (channels_out,), float32; for "float32" and "int8".
            thresholds: (channels_out,), int32; for bits.
            strides: Of height and width.
            dilations: Of height and width.
            padding: "SAME" or "VALID".
            pad_values: 1 or 0, what stands around the image.
            activation: The name of a fused activation.
            **quantization: `scale` and `zero_point` of an int8 output.
        """
        batch, height, width, _ = self.tensors[x].shape
        channels = kernel.shape[0]
        rows = output_size(height, kernel.shape[1], strides[0], dilations[0], padding)
        columns = output_size(width, kernel.shape[2], strides[1], dilations[1], padding)
        inputs = [x, self.constant(kernel)]
        inputs += [-1 if values is None else self.constant(values) for values in (multiplier, bias, thresholds)]
        output = self.add((batch, rows, columns, words(channels) if kind == "int32" else channels), kind, **quantization)
        options = {
            "channels_in": channels_in,
            "dilation_height_factor": dilations[0],
            "dilation_width_factor": dilations[1],
            "fused_activation_function": ACTIVATIONS[activation],
            "pad_values": pad_values,
            "padding": PADDINGS[padding],
            "stride_height": strides[0],
            "stride_width": strides[1],
        }
        return self.operator("LceBconv2d", inputs, output, options)

    def max_pool(self, x: int, window: tuple[int, int], strides: tuple[int, int], padding: str) -> int:
        """Add an LceBMaxPool2d."""
        batch, height, width, channels = self.tensors[x].shape
        rows = output_size(height, window[0], strides[0], 1, padding)
        columns = output_size(width, window[1], strides[1], 1, padding)
        options = {
            "filter_height": window[0],
            "filter_width": window[1],
            "padding": PADDINGS[padding],
            "stride_height": strides[0],
            "stride_width": strides[1],
        }
        return self.operator("LceBMaxPool2d", [x], self.add((batch, rows, columns, channels), "int32"), options)

    def average_pool(self, x: int, window: tuple[int, int], strides: tuple[int, int], padding: str) -> int:
        """Add an AVERAGE_POOL_2D of floats."""
        batch, height, width, channels = self.tensors[x].shape
        rows = output_size(height, window[0], strides[0], 1, padding)
        columns = output_size(width, window[1], strides[1], 1, padding)
        options = {"filterHeight": window[0], "filterWidth": window[1], "strideH": strides[0], "strideW": strides[1]}
        options |= {"padding": PADDINGS[padding], "fusedActivationFunction": ACTIVATIONS["NONE"]}
        return self.operator("AVERAGE_POOL_2D", [x], self.add((batch, rows, columns, channels)), options)

    def binary(self, name: str, a: int, b: int, activation: str = "NONE") -> int:
        """Add an ADD, SUB or MUL with broadcasting."""
        shape = np.broadcast_shapes(self.tensors[a].shape, self.tensors[b].shape)
        return self.operator(name, [a, b], self.add(shape), {"fusedActivationFunction": ACTIVATIONS[activation]})

    def prelu(self, x: int, alpha: np.ndarray) -> int:
        """Add a PRELU."""
        return self.operator("PRELU", [x, self.constant(alpha)], self.add(self.tensors[x].shape))

    def concatenate(self, parts: Sequence[int], axis: int = 3) -> int:
        """Add a CONCATENATION; TFLite knows none with an activation."""
        shape = list(self.tensors[parts[0]].shape)
        shape[axis] = sum(self.tensors[part].shape[axis] for part in parts)
        options = {"axis": axis, "fusedActivationFunction": ACTIVATIONS["NONE"]}
        return self.operator("CONCATENATION", parts, self.add(shape), options)

    def content(self) -> bytes:
        """Return the bytes of the file."""
        return serialize(self.model())

    def model(self) -> schema.ModelT:
        """Return the graph as objects of the schema."""
        return to_model(self)
