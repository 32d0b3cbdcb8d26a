"""The signs inside of a file beside those of the model, on the samples whose outputs differ most.

What goes into every binary convolution are signs, and they are the same in the model and in the file however the rest is
folded. So a file is compared at these: where outputs differ, a value must have fallen on the other side of a threshold by
rounding, or the file does something else.
"""

import contextlib
import functools
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from bitat_tf._tables import ShownAsTable
from bitat_tf.export.ends import as_model_takes
from bitat_tf.export.lowering.binary_kernel import binary_kernel
from bitat_tf.export.lowering.operators import unpack, words
from bitat_tf.layers import binary_layers
from bitat_tf.quantizers import RSign
from bitat_tf.tflite_file.content import constant, parse, serialize
from bitat_tf.tflite_file.operators import custom_options
from bitat_tf.tflite_file.reading import TfliteFile

_BATCH = 2**25  # values inside of the file that are held at a time
_BEYOND_ROUNDING = 1e-3  # of the largest output
_NEAR = 1e-5  # of the largest value before a sign: what rounding may move
_NEAR_INT8 = 0.05  # the same with an int8 rest, whose weights and constants are rounded as well
_OUTPUTS = "outputs"

Run = Callable[[bytes, Sequence[np.ndarray]], list[np.ndarray]]
"""Runs the content of a file on what it takes; all its outputs, shape (n, ...) each."""


@dataclass(frozen=True)
class Divergence:
    """The first binary layer at which the signs of a sample differ between model and file.

    Attributes:
        layer: Its name; "outputs" where all signs are the same and the outputs differ.
        signs: Number of signs that the layer takes.
        different: How many of them differ.
        on_threshold: How many of these are of values so near their threshold that rounding explains it.
    """

    layer: str
    signs: int
    different: int
    on_threshold: int

    @property
    def explained(self) -> bool:
        """Whether values on a threshold explain all of it."""
        return self.different > 0 and self.different == self.on_threshold

    def __str__(self) -> str:
        if not self.different:
            return "the outputs differ, and no sign before them"
        return (
            f"first at {self.layer}: {self.different:,} of {self.signs:,} signs differ, {self.on_threshold:,} of them of "
            "values on their threshold"
        )


@dataclass(frozen=True)
class InsideComparison(ShownAsTable):
    """How the signs inside of a file compare with those of the model.

    Attributes:
        traced: Number of samples on which they were compared, those with the largest differences first.
        compared_layers: Number of calls of binary layers that were found in the file.
        divergences: Where file and model differ, of the samples on which they do.
        unlike_outputs: Number of the samples whose outputs were others, beyond rounding, when the tensors inside were read:
            operators that otherwise run as one are apart then.
    """

    traced: int
    compared_layers: int
    divergences: tuple[Divergence, ...]
    unlike_outputs: int = 0

    @property
    def unexplained(self) -> tuple[Divergence, ...]:
        """Those that no value on a threshold explains: of these the file is to blame."""
        return tuple(found for found in self.divergences if not found.explained)

    @property
    def ok(self) -> bool:
        """Whether all samples have the same signs, or others by values on a threshold."""
        return not self.unexplained and not self.unlike_outputs

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values for JSON."""
        found = [{**asdict(one), "explained": one.explained} for one in self.divergences]
        return {**asdict(self), "divergences": found, "ok": self.ok}

    def __str__(self) -> str:
        same, blamed = self.traced - len(self.divergences), len(self.unexplained)
        lines = [
            f"inside          signs before {self.compared_layers} binary layers compared on the {self.traced} samples of the "
            f"largest differences: {same} have the same, {len(self.divergences) - blamed} others by values on a threshold, "
            f"{blamed} without"
        ]
        lines += [f"  {found}" for found in self.divergences]
        if self.unlike_outputs:
            lines.append(
                f"The outputs of {self.unlike_outputs} of these samples were others when the tensors inside were read."
            )
        return "\n".join(lines)


@dataclass(frozen=True, eq=False)
class Call:
    """A call of a binary layer on some samples.

    Attributes:
        layer: Its name.
        kernel: The bits of its kernel, as `_kernel_key`.
        sums: What the signs are taken of, thresholds included, shape (n, pixels, channels).
    """

    layer: str
    kernel: bytes
    sums: np.ndarray


def compare_inside(
    model: keras.Model,
    file: TfliteFile,
    inputs: Sequence[np.ndarray],
    stored: Sequence[np.ndarray],
    outputs: Sequence[np.ndarray],
    run: Run,
) -> InsideComparison | None:
    """Compare the signs inside of a file with those of the model on some samples.

    Args:
        model: The model that the file was written from.
        file: The file, of any converter.
        inputs: The samples as the model takes them, shape (n, ...) for each input, n >= 1.
        stored: The same as the file takes them, in its order.
        outputs: What the file gave for them when it ran as it is, in its order.
        run: What runs the file.

    Returns:
        An `InsideComparison`; None where no binary layer is found in the file.
    """
    int8 = bool(file.facts.get("int8"))
    readers = _binary_convolutions(file.content)
    content = _with_outputs(file.content, [tensor for tensor, _, _ in readers])
    size = max(1, _BATCH // max(sum(_size(file.content, tensor) for tensor, _, _ in readers), 1))
    divergences: list[Divergence] = []
    compared, unlike = 0, 0
    for start in range(0, len(inputs[0]), size):
        chosen = slice(start, start + size)
        calls, keras_outputs = model_calls(model, [array[chosen] for array in inputs])
        arrays = run(content, [array[chosen] for array in stored])
        again, inside = arrays[: len(outputs)], arrays[len(outputs) :]
        found = _matched(calls, [(key, channels, array) for (_, key, channels), array in zip(readers, inside, strict=True)])
        compared = len(found)
        first = [array[chosen] for array in outputs]
        unlike += int(_beyond(first, again).sum())
        parted = np.zeros(len(first[0]), bool) if int8 else _beyond(keras_outputs, _as_model(first, keras_outputs))
        divergences += _divergences(found, parted, _NEAR_INT8 if int8 else _NEAR)
    return InsideComparison(len(inputs[0]), compared, tuple(divergences), unlike) if compared else None


def model_calls(model: keras.Model, inputs: Sequence[np.ndarray]) -> tuple[list[Call], list[np.ndarray]]:
    """Return what the binary layers of a model take on some samples, in the order of their calls; and the model's outputs."""
    seen: list[tuple[Any, np.ndarray]] = []

    def record(layer, tensor):
        seen.append((layer, ops.convert_to_numpy(ops.cast(tensor, "float32"))))

    with contextlib.ExitStack() as stack:
        for layer in binary_layers(model):
            if layer.state == "binary":
                stack.enter_context(layer.listening(functools.partial(record, layer)))
        tensors = [ops.convert_to_tensor(array) for array in inputs]
        outputs = keras.tree.flatten(model(as_model_takes(model, tensors), training=False))
    calls = []
    for layer, array in seen:
        quantizer = layer.input_quantizer
        sums = array + ops.convert_to_numpy(quantizer.threshold).astype(np.float32) if type(quantizer) is RSign else array
        signs, _ = binary_kernel(layer, layer.name)
        signs = signs[None, None] if signs.ndim == 2 else signs
        calls.append(Call(layer.name, _kernel_key(np.moveaxis(signs, -1, 0)), sums.reshape(len(sums), -1, sums.shape[-1])))
    return calls, [ops.convert_to_numpy(ops.cast(output, "float32")) for output in outputs]


def _kernel_key(signs: np.ndarray) -> bytes:
    """Return what is the same of a kernel, filters first, whether or not all signs of some filters are turned."""
    rows = signs.reshape(len(signs), -1)
    return np.packbits(rows * rows[:, :1] < 0).tobytes() + bytes(str(signs.shape), "ascii")


def _binary_convolutions(content: bytes) -> list[tuple[int, bytes, int]]:
    """Return for each LceBconv2d the tensor of signs that it takes, the bits of its kernel, and its input channels."""
    model = parse(content)
    graph = model.subgraphs[0]
    found = []
    for operator in graph.operators:
        if model.operatorCodes[operator.opcodeIndex].customCode == b"LceBconv2d":
            packed = constant(model, graph.tensors[operator.inputs[1]])
            channels = int(custom_options(operator)["channels_in"])
            if packed is not None:
                of_group = min(channels, 32 * packed.shape[-1])
                found.append((int(operator.inputs[0]), _kernel_key(unpack(packed, of_group)), channels))
    return found


def _matched(calls: Sequence[Call], inside: Sequence[tuple[bytes, int, np.ndarray]]) -> list[tuple[Call, np.ndarray]]:
    """Return the calls with the signs that their convolution in the file takes, shape (n, pixels, channels).

    Of several calls of one kernel, each gets the signs that are most like its own. Calls on what is the same may be one.
    """
    by_kernel: dict[bytes, list[tuple[int, np.ndarray]]] = defaultdict(list)
    for key, channels, array in inside:
        by_kernel[key].append((channels, array))
    found: list[tuple[Call, np.ndarray]] = []
    for call in calls:
        candidates = []
        free = by_kernel[call.kernel]
        for position, (channels, packed) in enumerate(free):
            if packed.shape[-1] == words(channels) and channels == call.sums.shape[-1]:
                signs = unpack(packed, channels).reshape(len(call.sums), -1, channels)
                if signs.shape == call.sums.shape:
                    candidates.append((_unlike(call, signs), position, signs))
        same = (signs for one, signs in found if one.kernel == call.kernel and np.array_equal(one.sums, call.sums))
        candidates += [(_unlike(call, signs), len(free), signs) for signs in same]
        if candidates:
            _, position, signs = min(candidates, key=lambda one: one[:2])
            del free[position : position + 1]
            found.append((call, signs))
    return found


def _unlike(call: Call, signs: np.ndarray) -> int:
    return int((signs != np.where(call.sums >= 0, 1, -1)).sum())


def _divergences(found: Sequence[tuple[Call, np.ndarray]], parted: np.ndarray, near: float) -> list[Divergence]:
    """Return where each sample differs first, of the samples with other signs or `parted` outputs."""
    divergences = []
    for sample, outputs_differ in enumerate(parted):
        for call, signs in found:
            sums = call.sums[sample]
            different = signs[sample] != np.where(sums >= 0, 1, -1)
            if different.any():
                close = np.abs(sums) <= near * max(float(np.abs(sums).max()), 1e-6)
                divergences.append(Divergence(call.layer, sums.size, int(different.sum()), int((different & close).sum())))
                break
        else:
            if outputs_differ:
                divergences.append(Divergence(_OUTPUTS, 0, 0, 0))
    return divergences


def _beyond(expected: Sequence[np.ndarray], found: Sequence[np.ndarray]) -> np.ndarray:
    """Return which samples' outputs differ by more than rounding."""
    samples = np.zeros(len(expected[0]), bool)
    for ours, theirs in zip(expected, found, strict=True):
        ours, theirs = np.asarray(ours, np.float32), np.asarray(theirs, np.float32).reshape(np.shape(ours))
        difference = np.abs(ours - theirs).reshape(len(ours), -1).max(axis=1)
        samples |= difference > _BEYOND_ROUNDING * max(float(np.abs(ours).max()), 1e-12)
    return samples


def _as_model(outputs: Sequence[np.ndarray], like: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return a file's outputs in the order of the model's, which is told by their sizes where the file has another one."""
    left = list(outputs)
    ordered = []
    for one in like:
        position = next((number for number, array in enumerate(left) if array.size == one.size), 0)
        ordered.append(left.pop(position))
    return ordered


def _size(content: bytes, tensor: int) -> int:
    return int(np.prod(parse(content).subgraphs[0].tensors[tensor].shape))


def _with_outputs(content: bytes, tensors: Sequence[int]) -> bytes:
    """Return a file that returns its outputs and the given tensors."""
    model = parse(content)
    graph = model.subgraphs[0]
    graph.outputs = np.array([*graph.outputs, *tensors], np.int32)
    model.signatureDefs = None  # it names the outputs that were
    return serialize(model)
