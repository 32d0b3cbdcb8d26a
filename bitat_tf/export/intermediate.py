"""The tensors inside of a file beside those of the Keras model: where the two part."""

import math
from collections import Counter
from dataclasses import dataclass

import numpy as np

from bitat_tf._keras import keras, tf
from bitat_tf.export.int8.layers import FakeQuantization
from bitat_tf.export.int8.placement import is_binary
from bitat_tf.model_graph import CallGraph, LayerCall, call_again, call_all, make_names_unique
from bitat_tf.tflite_file.content import parse, serialize
from bitat_tf.tflite_file.schema import schema

_ROUNDING = 1e-4  # of the largest value of a layer: float operators in another order
_NEAR = 1e-5  # the same, of a value before a sign whose sums the file does not hold
_FEW = 0.01  # share of a layer's values that may round otherwise there
_CONSTANTS = 0.05  # of the largest value of an int8 layer: its weights, slopes and thresholds are rounded to int8 as well
_STEPS = 4.0  # of int8 tensors: each operator may round to the other side
_TYPES = {schema.TensorType.FLOAT32: np.dtype("float32"), schema.TensorType.INT8: np.dtype("int8")}


@dataclass(frozen=True, eq=False)
class Counterpart:
    """A layer call of the plain network and the tensor of the file that holds its outputs.

    Attributes:
        call: The call.
        tensor: Number of the tensor.
        shape: Of a sample's values.
        scale, zero: Of its grid where it is int8, else 1 and 0.
        integer: Whether it is int8.
    """

    call: LayerCall
    tensor: int
    shape: tuple[int | None, ...]
    scale: float
    zero: int
    integer: bool

    def values(self, stored: np.ndarray) -> np.ndarray:
        """Return what the file computed, as float values in the shape of the layer's outputs."""
        values = self.scale * (stored.astype(np.float32) - self.zero)
        return values.reshape(-1, *self.shape)  # a dense layer's pixels are samples in the file

    def tolerance(self, expected: np.ndarray, step: float) -> float:
        """Return the largest difference that is rounding; `step`: of the grids of the tensor and of what it is made of."""
        rounding = _CONSTANTS if self.integer else _ROUNDING
        return max(rounding * float(np.abs(expected).max()), _STEPS * step, 1e-6)


@dataclass(frozen=True)
class Parting:
    """The first layer at which a sample's values in the file and in the Keras model differ by more than rounding.

    Attributes:
        layer: Its name.
        share: Share of the layer's values that differ.
        largest_difference: The largest difference, of a largest value `largest_value`.
        on_threshold: Number of values at all signs before the layer that have fallen on the other side of the threshold, by
            rounding: they explain the difference. None if no sign stands before it.
    """

    layer: str
    share: float
    largest_difference: float
    largest_value: float
    on_threshold: int | None

    @property
    def explained(self) -> bool:
        """Whether values on a threshold explain it."""
        return bool(self.on_threshold)


def counterparts(plain: keras.Model, graph: CallGraph, content: bytes) -> tuple[list[Counterpart], dict[str, Counterpart]]:
    """Return the layer calls of a plain network whose outputs stand in the file, in the order of the file.

    The names of tensors tell the layers: "model/block/add/add", or several such, joined, where operators were fused; of these
    the first is the last layer. Bits, names that the converter cut too short (at 50 characters) and tensors of another size
    are left out.

    Returns:
        The counterparts of the calls' outputs; and, by the path of a layer, of the sums before the signs inside of it.
    """
    subgraph = parse(content).subgraphs[0]
    times = Counter(call.path for call in graph.calls)
    # Of a layer that is called twice the names do not tell which call it is.
    calls = {call.path: call for call in graph.calls if len(call.output_shapes) == 1 and times[call.path] == 1}
    outputs: dict[str, Counterpart] = {}
    sums: dict[str, Counterpart] = {}
    for operator in subgraph.operators:
        number = int(operator.outputs[0])
        tensor = subgraph.tensors[number]
        path, inside = _layer(plain.name, tensor.name.decode(errors="replace"), calls)
        call, in_sign = calls.get(path), len(inside) > 1 and "sign" in inside[0]
        if number in subgraph.outputs:
            call, in_sign = graph.outputs[0], False
        elif call is None or _lacks_shift(call, inside):
            continue
        if tensor.type not in _TYPES:
            continue
        found, shape = (sums, call.input_shapes[0]) if in_sign else (outputs, call.output_shapes[0])
        if math.prod(tensor.shape) == math.prod(size or 0 for size in shape[1:]):
            found.pop(call.path, None)  # of several tensors of a layer the last is its output
            found[call.path] = Counterpart(call, number, shape[1:], *_grid(tensor))
    return list(outputs.values()), sums


def _layer(model: str, name: str, calls: dict[str, LayerCall]) -> tuple[str, list[str]]:
    """Return the layer that a tensor is named after, "" if it is none, and the rest of the name: what inside of the layer."""
    pieces = name.split(";")[0].removeprefix(f"{model}/").split("/")
    for length in range(len(pieces) - 1, 0, -1):
        path = "/".join(pieces[:length])
        if path in calls:
            return path, pieces[length:]
    return "", []


def _lacks_shift(call: LayerCall, inside: list[str]) -> bool:
    """Return whether a tensor is what an RPReLU adds its last shift to: the converter may add it in a later operator."""
    shift = getattr(call.layer, "shift_after", None)
    return inside[:1] == ["prelu"] and shift is not None and bool(np.any(shift.numpy()))


def _grid(tensor: schema.TensorT) -> tuple[float, int, bool]:
    if tensor.type == schema.TensorType.FLOAT32:
        return 1.0, 0, False
    return float(tensor.quantization.scale[0]), int(tensor.quantization.zeroPoint[0]), True


class Comparison:
    """Compares the tensors of a file with those of the network that it was converted from.

    Args:
        plain: The plain network.
        content: The file.

    Attributes:
        tensors: Numbers of the tensors that are compared.
        content: The file, with these as its outputs.
        size: Number of values in all of them.
    """

    def __init__(self, plain: keras.Model, content: bytes):
        self.graph = CallGraph(plain)
        self.found, self._sums = counterparts(plain, self.graph, content)
        self._in_file = [*self.found, *self._sums.values()]
        self.tensors = [one.tensor for one in self._in_file]
        self.content = _with_outputs(content, self.tensors)
        self.size = sum(math.prod(size or 1 for size in one.shape) for one in self._in_file)
        self._by_call = {id(one.call): one for one in self.found}
        signs = [call for call in self.graph.calls if is_binary(call.layer)]
        read = [*(one.call for one in self.found), *(call.inputs[0] for call in signs)]
        self._read = [call for call in dict.fromkeys(read) if call not in self.graph.sources]
        make_names_unique(self.graph)  # after the names have told what is what in the file
        inputs = keras.Input(plain.input_shape[1:])
        tensors = call_all(self.graph, {id(self.graph.sources[0]): inputs})
        self._network = keras.Model(inputs, [tensors[id(call)] for call in self._read])

    def parting(self, sample: np.ndarray, stored_values: list[np.ndarray]) -> Parting | None:
        """Return the first layer at which file and network part on a sample; None if they never do.

        Args:
            sample: Input of the network, shape (...).
            stored_values: The outputs of `content` for it.
        """
        outputs = tf.nest.flatten(self._network(sample[None], training=False))
        expected = {id(call): output.numpy() for call, output in zip(self._read, outputs, strict=True)}
        values = [one.values(array) for one, array in zip(self._in_file, stored_values, strict=True)]
        found = {id(one.call): array for one, array in zip(self.found, values, strict=False)}
        sums = dict(zip(self._sums, values[len(self.found) :], strict=True))

        differences = {key: np.abs(expected[key] - found[key]) for key in found}
        beyond = {id(one.call): differences[id(one.call)] > self._tolerance(one, expected[id(one.call)]) for one in self.found}
        parted = {key for key, where in beyond.items() if where.any()}
        for number, one in enumerate(self.found):
            key = id(one.call)
            if key in parted and not self._recovers(one.call, parted):
                signs = self._signs_before(one.call)
                fallen = [self._fallen(call, expected, found, sums) for call in signs]
                explained = None if not signs else 0 if None in fallen else sum(number or 0 for number in fallen)
                first = _parting(one, beyond[key], differences[key], expected[key], explained)
                return (self._later_fault(number, sample, found, sums) or first) if explained else first
        return None

    def _later_fault(self, first: int, sample: np.ndarray, found: dict, sums: dict) -> Parting | None:
        """Return the first layer with weights after another one that makes something else of the file's own inputs to it.

        Only of int8 tensors: there each sample parts early, by values on a threshold, and each tensor is a layer's own.
        """
        for one in self.found[first + 1 :]:
            if not one.integer or not one.call.layer.weights:
                continue
            computed = self._computed(one.call, sample, found, sums)
            if computed is None:
                continue
            after = self.graph.consumers(one.call)
            if len(after) == 1 and isinstance(after[0].layer, FakeQuantization):  # in the file the two are one tensor
                computed = after[0].layer(computed).numpy()
            values = found[id(one.call)]
            difference = np.abs(computed - values)
            beyond = difference > self._tolerance(one, computed)
            if beyond.mean() > _FEW:
                return _parting(one, beyond, difference, computed, 0)
        return None

    def _computed(self, call: LayerCall, sample: np.ndarray, found: dict, sums: dict) -> np.ndarray | None:
        """Return what a layer makes of the file's inputs to it; None where it cannot be told, for its signs."""
        values = {}
        for below in call.inputs:
            if id(below) in found:
                values[id(below)] = found[id(below)]
            elif below in self.graph.sources:
                values[id(below)] = sample[None]
            else:
                inner = self._computed(below, sample, found, sums)
                if inner is None:
                    return None
                values[id(below)] = inner
        if is_binary(call.layer):
            if id(call.inputs[0]) not in found:
                return None
            signs = call.layer.input_quantizer(values[id(call.inputs[0])]).numpy()
            if call.path in sums and (signs != np.where(sums[call.path] >= 0, 1.0, -1.0)).any():
                return None
        tensors = {key: tf.constant(value, tf.float32) for key, value in values.items()}
        return np.asarray(call_again(call, tensors))

    def _tolerance(self, one: Counterpart, expected: np.ndarray) -> float:
        """Return what counts as rounding: int8 differences of a step below are several steps where the grid is finer."""
        around = [one, *(self._by_call[id(call)] for call in one.call.inputs if id(call) in self._by_call)]
        return one.tolerance(expected, max((other.scale for other in around if other.integer), default=0.0))

    def _recovers(self, call: LayerCall, parted: set[int]) -> bool:
        """Return whether all that follows agrees: the converter has moved a part of the layer into the next ones."""
        following, agree, waiting = set(), True, list(self.graph.consumers(call))
        while waiting and agree:
            after = waiting.pop()
            if id(after) in following:
                continue
            following.add(id(after))
            if id(after) in self._by_call:
                agree = id(after) not in parted
            else:
                waiting += self.graph.consumers(after)
        return bool(following) and agree

    def _signs_before(self, call: LayerCall) -> list[LayerCall]:
        """Return the binary calls that a call's outputs follow from: a fallen value may stay below rounding for some layers."""
        above, waiting = {}, [call]
        while waiting:
            one = waiting.pop()
            if id(one) not in above:
                above[id(one)] = one
                waiting += one.inputs
        return [one for one in self.graph.calls if id(one) in above and is_binary(one.layer)]

    def _fallen(self, call: LayerCall, expected: dict, found: dict, sums: dict[str, np.ndarray]) -> int | None:
        """Return how many values before a sign fell on the other side of its threshold by rounding; None if others did too.

        Where the file holds only bits, the values that may have.
        """
        quantizer, below = call.layer.input_quantizer, call.inputs[0]
        if id(below) not in expected:  # the input of the model
            return 0
        values = expected[id(below)]
        if isinstance(below.layer, FakeQuantization) and id(below) not in self._by_call:
            below = below.inputs[0]  # in the file the two are one tensor
        counterpart = self._by_call.get(id(below))
        slack = _NEAR * max(float(np.abs(values).max()), 1e-6) if counterpart is None else self._tolerance(counterpart, values)
        near = quantizer(values + slack).numpy() != quantizer(values - slack).numpy()
        if call.path in sums:
            signs = np.where(sums[call.path] >= 0, 1.0, -1.0)
        elif id(below) in found:
            signs = quantizer(found[id(below)]).numpy()
        else:
            return int(near.sum())
        fallen = quantizer(values).numpy() != signs
        return None if (fallen & ~near).any() else int(fallen.sum())


def _parting(
    one: Counterpart, beyond: np.ndarray, difference: np.ndarray, expected: np.ndarray, on_threshold: int | None
) -> Parting:
    largest = float(np.abs(expected).max())
    return Parting(one.call.path, float(beyond.mean()), float(difference.max()), largest, on_threshold)


def _with_outputs(content: bytes, tensors: list[int]) -> bytes:
    """Return a file that returns the given tensors."""
    model = parse(content)
    model.subgraphs[0].outputs = np.array(tensors, np.int32)
    model.signatureDefs = None  # it names the outputs that were
    return serialize(model)
