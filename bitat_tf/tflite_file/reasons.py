"""Why a float operator is left between binary ones: what no binary kernel does, told from the neighbours."""

from collections.abc import Sequence
from dataclasses import dataclass

from bitat_tf.tflite_file.neighbours import between_binary, consumers
from bitat_tf.tflite_file.operators import Operator

_SUMS, _PRODUCTS = ("ADD", "SUB"), ("MUL", "DIV")
_CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV", "LceBconv2d")
_RELUS = ("RELU", "RELU6", "RELU_N1_TO_1", "RELU_0_TO_1")

_UNKNOWN = "there is no binary form of it"


@dataclass(frozen=True)
class LeftOperator:
    """An operator that costs float arithmetic among binary ones.

    Attributes:
        index: Its place in the order of execution.
        name: Its kind.
        output: Name of its output.
        reason: Why it is there.
    """

    index: int
    name: str
    output: str
    reason: str


@dataclass(frozen=True)
class _Place:
    """An operator with its neighbours."""

    operator: Operator
    sources: tuple[Operator, ...]
    consumers: tuple[Operator, ...]
    readers: dict[int, int]

    def follows(self, *names: str) -> bool:
        return any(source.name in names for source in self.sources)

    def leads_to(self, *names: str) -> bool:
        return any(consumer.name in names for consumer in self.consumers)

    def by_constant(self) -> bool:
        """Whether it computes one tensor with a constant."""
        return len(self.operator.inputs) == 1 and self.operator.constants > 0

    def source_is_shared(self) -> bool:
        return any(self.readers[source.index] > 1 for source in self.sources)


def left_operators(operators: Sequence[Operator]) -> tuple[LeftOperator, ...]:
    """Return what costs float arithmetic among binary operators, with the reason of each, in order of execution.

    Float operators between binary ones; wherever they stand, float convolutions with a binary kernel and `LceDequantize`.
    """
    found = consumers(operators)
    readers = {index: len(numbers) for index, numbers in enumerate(found)}
    between = {*between_binary(operators)}
    left = []
    for operator in operators:
        if operator.index in between or operator.binary_kernel or operator.name == "LceDequantize":
            place = _Place(
                operator,
                tuple(operators[source] for source in operator.sources if source >= 0),
                tuple(operators[index] for index in found[operator.index]),
                readers,
            )
            left.append(LeftOperator(operator.index, operator.name, operator.output, _reason(place)))
    return tuple(left)


def _reason(place: _Place) -> str:
    name = place.operator.name
    if place.operator.binary_kernel:
        return (
            "its kernel is binary, so it should be LceBconv2d: its input is not binary, or a group has no multiple of 32 "
            "channels, or the file was not written by bitat_tf"
        )
    if name in _SUMS:
        return _reason_of_sum(place)
    if name in _PRODUCTS:
        return _reason_of_product(place)
    if name in _RELUS:
        return _reason_of_relu(place)
    return _REASONS.get(name, _UNKNOWN)


def _reason_of_sum(place: _Place) -> str:
    if len(place.operator.inputs) == 2:
        return "shortcut: it joins two computed tensors, which no kernel does on its way out"
    if not place.by_constant():
        return _UNKNOWN
    if place.leads_to("LceQuantize"):
        if place.follows(*_CONVOLUTIONS) and not place.source_is_shared():
            return "threshold of the sign: the convolution before it has a ReLU inside, or bitat_tf.export puts it there"
        return f"threshold of the sign: a convolution directly before it would take it, but {_between(place)} comes between"
    if any(source.name == "MUL" and source.constants for source in place.sources):
        return "batch normalization: the shift to the MUL before it"
    if place.follows("PRELU"):
        return "shift after a PReLU, which does not take it"
    if place.leads_to("PRELU"):
        return "shift before a PReLU: no convolution alone computes what is shifted"
    return _reason_of_constant(place)


def _reason_of_relu(place: _Place) -> str:
    if place.follows("LceBconv2d"):
        return "ReLU after a binary convolution with bias or normalization: the kernel takes one only before these"
    if place.follows(*_CONVOLUTIONS):
        readers = "has several readers" if place.source_is_shared() else "could take it: bitat_tf.export puts it there"
        return f"ReLU: its convolution {readers}"
    return f"ReLU: it follows {_between(place)}, and no convolution that could take it"


def _between(place: _Place) -> str:
    """Return what is read in place of a convolution that only this operator reads."""
    if not place.sources:
        return "an input of the network"
    source = place.sources[0]
    if source.name in _RELUS:
        return "a ReLU"
    if source.name == "PRELU":
        return "a PReLU"
    if source.name in _SUMS and len(source.inputs) == 2:
        return "a shortcut"
    if source.name in _CONVOLUTIONS:
        return "another reader of the convolution"
    return source.name


def _reason_of_product(place: _Place) -> str:
    if not place.by_constant():
        return "product of two computed tensors: no kernel does it on its way out"
    return _reason_of_constant(place)


def _reason_of_constant(place: _Place) -> str:
    if not place.follows(*_CONVOLUTIONS):
        return f"batch normalization or scale: it follows {_between(place)}, and no convolution that could take it"
    if place.source_is_shared():
        return "batch normalization or scale: its convolution has several readers, so it keeps its own output"
    return "scale or shift that could be in its convolution: bitat_tf.export puts it there"


def _for_each(names: str, reason: str) -> dict[str, str]:
    return dict.fromkeys(names.split(), reason)


_REASONS: dict[str, str] = {
    "LceDequantize": "binary values go into a float operator, which computes with +1 and -1 in float",
    "PRELU": "PReLU: no convolution takes it, unless nothing but a sign reads it",
    "MAX_POOL_2D": "maxima of float values: on bits only where nothing but signs reads them",
    "CONCATENATION": "it copies float tensors into one",
    "DEPTHWISE_CONV_2D": "depthwise convolution: there is no binary kernel for it",
    "TRANSPOSE_CONV": "transposed convolution: there is no binary kernel for it",
    **_for_each("AVERAGE_POOL_2D MEAN SUM", "averages and sums of values are no binary ones"),
    **_for_each("PAD PADV2 MIRROR_PAD", 'padding by itself: padding="same" with pad_values=1 would be part of the convolution'),
    **_for_each("CONV_2D FULLY_CONNECTED", "float layer: its weights are not binary"),
    **_for_each(
        """RESHAPE TRANSPOSE SQUEEZE EXPAND_DIMS STRIDED_SLICE SLICE SPLIT SPLIT_V PACK UNPACK GATHER TILE BROADCAST_TO
        RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR SPACE_TO_DEPTH DEPTH_TO_SPACE SPACE_TO_BATCH_ND BATCH_TO_SPACE_ND""",
        "it moves or resizes float values",
    ),
    **_for_each("LOGISTIC TANH HARD_SWISH ELU GELU LEAKY_RELU", "activation function: no convolution takes it"),
}
