"""Does the file do what the model does?"""

from dataclasses import dataclass

import numpy as np
from larq_compute_engine.tflite.python.interpreter import Interpreter

from bitat_tf._pixels import BYTES
from bitat_tf.tflite_file.content import facts, parse


def run_tflite(content: bytes, inputs: np.ndarray) -> np.ndarray:
    """Run a file of our own in larq-compute-engine's interpreter, one sample after the other.

    Args:
        content: Content of a `.tflite` file with one input and one output.
        inputs: Shape (n, ...), n >= 1, as the model takes them: for a file that takes integers they are put on its grid.

    Returns:
        The outputs, shape (n, ...), float32.
    """
    # On x86 the indirect kernel is several times faster than the default one; all kernels give the same bits.
    interpreter = Interpreter(content, use_indirect_bgemm=True)
    takes_bytes = facts(parse(content)).get("pixels") == BYTES
    (kind,), scale, zero = interpreter.input_types, interpreter.input_scales[0], interpreter.input_zero_points[0]
    return np.asarray(interpreter.predict(on_grid(inputs, np.dtype(kind), scale, zero, takes_bytes)))


def on_grid(inputs: np.ndarray, kind: np.dtype, scale: float | None, zero: int | None, takes_bytes: bool) -> np.ndarray:
    """Return inputs of a model as the file takes them.

    Args:
        inputs: Values as the Keras model takes them.
        kind: Type of the file's input: float32, int8 or uint8.
        scale: Of its grid, for integers: value = scale * (integer - zero). None for integers that mean themselves.
        zero: The zero point of the grid.
        takes_bytes: Whether the integers are the bytes of pictures, less 128 for int8, whatever the grid is.
    """
    if kind == np.float32:
        return np.ascontiguousarray(inputs, np.float32)
    limits = np.iinfo(kind)
    if takes_bytes or scale is None or zero is None:
        integers = np.rint(inputs) + (limits.min if takes_bytes else 0)
    else:
        integers = np.rint(np.asarray(inputs) / scale) + zero
    return np.ascontiguousarray(np.clip(integers, limits.min, limits.max).astype(kind))


@dataclass(frozen=True)
class Agreement:
    """How two sets of outputs compare.

    Attributes:
        samples: Number of samples compared.
        top1: Share of samples with the same largest output.
        largest_difference: Largest absolute difference of any output.
        share_different: Share of samples with a difference beyond rounding, 1e-3 of the largest output: a value on a threshold
            has fallen on the other side.
    """

    samples: int
    top1: float
    largest_difference: float
    share_different: float


def accuracy(outputs: np.ndarray, labels: np.ndarray | None) -> float | None:
    """Return the top-1 accuracy of outputs of shape (n, ..., classes); None without labels."""
    return None if labels is None else float(np.mean(outputs.argmax(axis=-1) == np.asarray(labels)))


def sample_differences(expected: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Return the largest absolute difference of each sample, shape (n,)."""
    return np.abs(expected - found).reshape(len(expected), -1).max(axis=1)


def agreement(expected: np.ndarray, found: np.ndarray) -> Agreement:
    """Compare outputs of shape (n, ..., classes).

    Raises:
        ValueError: If the shapes differ or there are no samples.
    """
    expected, found = np.asarray(expected), np.asarray(found)
    if expected.shape != found.shape or not len(expected):
        raise ValueError(
            f"agreement: needs outputs of one shape, of at least one sample. Received: {expected.shape}, {found.shape}."
        )
    difference = sample_differences(expected, found)
    return Agreement(
        samples=len(expected),
        top1=float(np.mean(expected.argmax(axis=-1) == found.argmax(axis=-1))),
        largest_difference=float(difference.max()),
        share_different=float(np.mean(difference > 1e-3 * max(float(np.abs(expected).max()), 1e-12))),
    )
