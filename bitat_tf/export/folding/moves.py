"""Where a constant per channel can go from a tensor of the network."""

import numpy as np

from bitat_tf._keras import keras
from bitat_tf.export.folding.parts import Convolution, Part
from bitat_tf.model_graph import CallGraph, LayerCall

_LAYERS = keras.layers
# f(x + c) = f(x) + c for a constant c per channel. Averages leave out what they pad, and maxima too.
_UNCHANGING = (
    _LAYERS.AveragePooling2D,
    _LAYERS.GlobalAveragePooling2D,
    _LAYERS.MaxPooling2D,
    _LAYERS.GlobalMaxPooling2D,
    _LAYERS.UpSampling2D,
    _LAYERS.Cropping2D,
    _LAYERS.Dropout,
    _LAYERS.SpatialDropout2D,
    _LAYERS.GaussianNoise,
    _LAYERS.GaussianDropout,
)

Move = tuple[Part, np.ndarray]


class Moves:
    """Finds the layers that take a constant up.

    Args:
        graph: The calls of the network.
        parts: What can be changed, by `id` of the layer.
    """

    def __init__(self, graph: CallGraph, parts: dict[int, Part]):
        self.graph = graph
        self.parts = parts

    def forwards(self, source: LayerCall, shift: np.ndarray) -> list[Move] | None:
        """Return which layers take how much up when the outputs of `source` become lower by `shift`; None if some cannot."""
        lower: dict[int, np.ndarray] = {id(source): shift}
        moves: list[Move] = []
        if self.graph.is_output(source):
            return None
        for call in self.graph.calls:
            shifts = [lower.get(id(input_call)) for input_call in call.inputs]
            if all(one is None for one in shifts):
                continue
            part = self.parts.get(id(call.layer))
            only = shifts[0] if len(shifts) == 1 else None
            if part is not None and only is not None and part.takes_input() and self._may_take(call, part):
                moves.append((part, only))
                continue
            passed = _passed_on(call, shifts)
            if passed is None or self.graph.is_output(call):
                return None
            lower[id(call)] = passed
        return moves

    def backwards(self, call: LayerCall, shift: np.ndarray) -> list[Move] | None:
        """Return which layers make the outputs of `call` higher by `shift`; None if none can, or others read them too."""
        reader = self.graph.only_consumer(call)
        if reader is None or len(call.output_shapes) != 1:
            return None
        if reader.inputs.count(call) != 1 or call.output_shapes[0][-1:] != shift.shape:
            return None
        part = self.parts.get(id(call.layer))
        if part is not None:
            return [(part, shift)] if part.takes_output() else None
        if type(call.layer) is _LAYERS.Add:
            found = (self.backwards(one, shift) for one in call.inputs if one.output_shapes[0] == call.output_shapes[0])
            return next((moves for moves in found if moves is not None), None)
        if _is_concatenation_of_channels(call):
            ends = np.cumsum([shape[-1] for shape in call.input_shapes])[:-1]
            found_all = [self.backwards(one, piece) for one, piece in zip(call.inputs, np.split(shift, ends), strict=True)]
            return None if any(one is None for one in found_all) else [move for moves in found_all for move in moves or ()]
        return self.backwards(call.inputs[0], shift) if _is_unchanging(call) else None

    def _may_take(self, call: LayerCall, part: Part) -> bool:
        """Keep a sign without a threshold after a maximum as it is: the two become one binary operator."""
        threshold_free = isinstance(part, Convolution) and part.is_sign and part.threshold is None
        return not (threshold_free and type(call.inputs[0].layer) is _LAYERS.MaxPooling2D)


def apply(moves: list[Move], at_output: bool) -> None:
    """Change the parts."""
    for part, shift in moves:
        if at_output:
            part.raise_output(shift)
        else:
            part.lower_input(shift)


def _passed_on(call: LayerCall, shifts: list[np.ndarray | None]) -> np.ndarray | None:
    """Return by how much the outputs of a call become lower where its inputs do; None if by no constant per channel."""
    layer, output_shape = call.layer, call.output_shapes[0]
    if len(call.output_shapes) != 1:
        return None
    if type(layer) is _LAYERS.Add:
        channels = int(output_shape[-1] or 0)
        return np.sum([np.broadcast_to(shift, (channels,)) for shift in shifts if shift is not None], axis=0)
    if _is_concatenation_of_channels(call):
        pieces = zip(shifts, call.input_shapes, strict=True)
        return np.concatenate([np.zeros(int(shape[-1] or 0)) if shift is None else shift for shift, shape in pieces])
    (shift,) = shifts if len(shifts) == 1 else (None,)
    if shift is None:
        return None
    if _is_unchanging(call):
        return shift
    if type(layer) in (_LAYERS.Flatten, _LAYERS.Reshape) and getattr(layer, "data_format", None) != "channels_first":
        # Values are kept in order: the channel is the remainder of their number.
        size = output_shape[-1]
        return np.tile(shift, size // len(shift)) if size is not None and size % len(shift) == 0 else None
    return None


def _is_unchanging(call: LayerCall) -> bool:
    layer = call.layer
    if type(layer) is _LAYERS.Activation:
        return layer.activation is keras.activations.linear
    return type(layer) in _UNCHANGING and getattr(layer, "data_format", "channels_last") == "channels_last"


def _is_concatenation_of_channels(call: LayerCall) -> bool:
    return type(call.layer) is _LAYERS.Concatenate and call.layer.axis in (-1, len(call.output_shapes[0]) - 1)
