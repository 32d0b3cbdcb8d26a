"""Why a float operator is left between binary ones: the rules of larq-compute-engine's converter, told from the neighbours."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bitat_tf.tflite_file.neighbours import between_binary, consumers
from bitat_tf.tflite_file.operators import Operator

_SUMS = ("ADD", "SUB")
_CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV", "LceBconv2d")
_RELUS = ("RELU", "RELU6", "RELU_N1_TO_1", "RELU_0_TO_1")
_MOVES = tuple(
    """RESHAPE TRANSPOSE SQUEEZE EXPAND_DIMS STRIDED_SLICE SLICE SPLIT SPLIT_V PACK UNPACK GATHER TILE BROADCAST_TO
    RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR SPACE_TO_DEPTH DEPTH_TO_SPACE SPACE_TO_BATCH_ND BATCH_TO_SPACE_ND""".split()
)


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
    return next(reason for applies, reason in _RULES if applies(place))


def _is(*names: str) -> Callable[[_Place], bool]:
    return lambda place: place.operator.name in names


def _by_constant(*names: str) -> Callable[[_Place], bool]:
    return lambda place: place.operator.name in names and place.by_constant()


def _is_normalization_shift(place: _Place) -> bool:
    scales = [source for source in place.sources if source.name == "MUL" and source.constants]
    return place.operator.name in _SUMS and place.by_constant() and bool(scales)


# The first rule that applies gives the reason.
_RULES: tuple[tuple[Callable[[_Place], bool], str], ...] = (
    (
        lambda place: place.operator.binary_kernel,
        "its kernel is binary, so it should be LceBconv2d: something stands between the sign and the convolution, or its "
        "groups have no multiple of 32 channels, or it is a dense layer that is not computed as a 1x1 convolution",
    ),
    (_is("LceDequantize"), "binary values go into a float operator, which computes with +1 and -1 in float"),
    (
        lambda place: place.operator.name in _SUMS and len(place.operator.inputs) == 2,
        "shortcut: it joins two computed tensors, which no kernel does on its way out",
    ),
    (
        lambda place: _by_constant(*_SUMS)(place) and place.leads_to("LceQuantize"),
        "threshold of the sign: a convolution directly before it would take it, but a shortcut, a PReLU or another reader of "
        "the convolution comes between",
    ),
    (_is_normalization_shift, "batch normalization: the shift to the MUL before it"),
    (
        lambda place: _by_constant(*_SUMS)(place) and place.follows("PRELU"),
        "shift after a PReLU, which does not take it",
    ),
    (
        lambda place: _by_constant(*_SUMS)(place) and place.leads_to("PRELU"),
        "shift before a PReLU: no convolution alone computes what is shifted",
    ),
    (
        lambda place: _by_constant("MUL", "DIV", *_SUMS)(place) and place.follows(*_CONVOLUTIONS) and place.source_is_shared(),
        "batch normalization or scale: its convolution has several readers, so it keeps its own output",
    ),
    (
        lambda place: _by_constant("MUL", "DIV", *_SUMS)(place) and not place.follows(*_CONVOLUTIONS),
        "batch normalization or scale: it follows no convolution that could take it",
    ),
    (_by_constant("MUL", "DIV", *_SUMS), "scale or shift that the converter did not put into its convolution"),
    (_is("MUL", "DIV"), "product of two computed tensors: no kernel does it on its way out"),
    (_is("PRELU"), "PReLU: no convolution takes it"),
    (
        lambda place: place.operator.name in _RELUS and place.follows("LceBconv2d"),
        "ReLU after a binary convolution with scales: only one without scales, bias and normalization before it takes a ReLU",
    ),
    (_is(*_RELUS), "ReLU: it follows no convolution that could take it"),
    (_is("MAX_POOL_2D"), "maxima of float values: binary only directly before the sign"),
    (_is("AVERAGE_POOL_2D", "MEAN", "SUM"), "averages and sums of values are no binary ones"),
    (_is("CONCATENATION"), "it copies float tensors into one"),
    (_is("PAD", "PADV2", "MIRROR_PAD"), 'padding by itself: padding="same" with pad_values=1 would be part of the convolution'),
    (_is("DEPTHWISE_CONV_2D"), "depthwise convolution: there is no binary kernel for it"),
    (_is("TRANSPOSE_CONV"), "transposed convolution: there is no binary kernel for it"),
    (_is("CONV_2D", "FULLY_CONNECTED"), "float layer: its weights are not binary"),
    (_is(*_MOVES), "it moves or resizes float values"),
    (_is("LOGISTIC", "TANH", "HARD_SWISH", "ELU", "GELU", "LEAKY_RELU"), "activation function: no convolution takes it"),
    (lambda place: True, "there is no binary form of it"),
)
