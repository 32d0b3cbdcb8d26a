"""Operators that one layer call becomes, one after the other."""

from typing import Any

from bitat_tf.inspection.file_size.operators import Constant, Operator, Size, join_names
from bitat_tf.model_graph import LayerCall, Shape

_SUFFIX = 8  # "/Conv2D", "/BiasAdd", "/add" after a layer's path


class Chain:
    """Collects the operators of a layer call; each takes what the one before it gives.

    Args:
        call: The call.
        sources: The operators whose outputs it takes.
        name: Length of the names of its tensors, without the operator's own part.

    Attributes:
        operators: What was added so far.
        last: The last one of these, or the first source.
    """

    def __init__(self, call: LayerCall, sources: list[Operator], name: int):
        self.call = call
        self.sources = sources
        self.operators: list[Operator] = []
        self.last = sources[0]
        self._name = join_names(0, name + _SUFFIX - 1)

    @property
    def input_shape(self) -> Size:
        """Shape of the call's first input, with the batch of one that the file has."""
        return one_sample(self.call.input_shapes[0])

    @property
    def output_shape(self) -> Size:
        """Shape of the call's first output, with the batch of one that the file has."""
        return one_sample(self.call.output_shapes[0])

    def add(
        self,
        kind: str,
        constants: list[Constant] | None = None,
        shape: Size | None = None,
        inputs: list[Operator] | None = None,
        **options: Any,
    ) -> Operator:
        """Add an operator after the last one, or after `inputs`; the shape stays as it is unless another one is given."""
        sources = [self.last] if inputs is None else inputs
        shape = sources[0].shape if shape is None else shape
        self.last = Operator(kind, list(sources), list(constants or []), shape, self.call, self._name, **options)
        self.operators.append(self.last)
        return self.last


def one_sample(shape: Shape) -> Size:
    """Return a shape with a batch of one, which the converter makes of an unknown one."""
    return tuple(1 if size is None else size for size in shape)


def scalar(value: Any = None) -> Constant:
    """Return a constant of one number, which is `value` where this is known."""
    return Constant(1, rank=0, value=value)
