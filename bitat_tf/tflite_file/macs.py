"""Multiply-accumulates and weights of the operators that have a kernel."""

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

Shape = tuple[int, ...]

KERNEL_RANKS: Mapping[str, int] = {
    "CONV_2D": 4,
    "DEPTHWISE_CONV_2D": 4,
    "FULLY_CONNECTED": 2,
    "TRANSPOSE_CONV": 4,
    "LceBconv2d": 4,
}
"""Dimensions of the kernel of each operator that has one; it is the operator's second input."""

WORD = 32
"""Binary values in a word of larq-compute-engine."""


def count_macs(name: str, inputs: Sequence[Shape | None], output: Shape, options: Mapping[str, Any]) -> int:
    """Return the multiply-accumulates of an operator, its padding counted as if it were pixels.

    Convolutions, depthwise and transposed ones, matrix products and `LceBconv2d` have them; for every other operator it is 0.

    Args:
        name: Name of the operator.
        inputs: Shapes of all its inputs, constants among them; None where an input is left out.
        output: Shape of its first output.
        options: Those of `LceBconv2d`: "channels_in"; "adj_x" of BATCH_MATMUL.

    Examples:
        >>> count_macs("CONV_2D", [(1, 8, 8, 3), (16, 3, 3, 3), (16,)], (1, 4, 4, 16), {})
        6912
        >>> count_macs("LceBconv2d", [(1, 8, 8, 2), (16, 3, 3, 1)], (1, 8, 8, 16), {"channels_in": 64})  # two groups
        294912
    """
    if name == "BATCH_MATMUL":
        left = inputs[0] or (0, 0)
        return prod(output) * left[-2 if options.get("adj_x") else -1]
    kernel = inputs[1] if name in KERNEL_RANKS else None
    if kernel is None:
        return 0
    if name == "DEPTHWISE_CONV_2D":  # (1, height, width, channels)
        return prod(output) * kernel[1] * kernel[2]
    if name == "TRANSPOSE_CONV":  # every input value meets the whole kernel: (channels out, height, width, channels in)
        return prod(inputs[2] or (0,)) * prod(kernel[:3])
    if name == "LceBconv2d":  # its output may be packed: the channels are those of the kernel
        return prod(output[:-1]) * prod(kernel[:3]) * channels_of_group(kernel, options["channels_in"])
    return prod(output) * prod(kernel[1:])  # of a convolution and a matrix: channels out first


def channels_of_group(kernel: Shape, channels: int) -> int:
    """Return the input channels that each output channel of an `LceBconv2d` sees.

    Args:
        kernel: Shape (channels out, height, width, words): a group has whole words, unless it is the only one.
        channels: Input channels of all groups.
    """
    return min(channels, kernel[-1] * WORD)


def binary_weights(kernel: Shape, channels: int) -> int:
    """Return how many binary weights the kernel of an `LceBconv2d` holds, without the bits that fill up its words."""
    return prod(kernel[:3]) * channels_of_group(kernel, channels)
