"""The interpreters that the tests compare: larq-compute-engine's, and TensorFlow's with the delegate."""

import importlib.util
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import bitat_runtime

HAS_LARQ = importlib.util.find_spec("larq_compute_engine") is not None


def larq_outputs(
    content: bytes, inputs: Sequence[np.ndarray], kernel: str = "reference", num_threads: int = 1
) -> list[np.ndarray]:
    """Return the outputs of larq-compute-engine's interpreter; a test that needs them is left out where it is not installed.

    Args:
        content: The file; it must have the shapes of the inputs.
        inputs: One array for each input of the file.
        kernel: "reference", "indirect" or "default".
        num_threads: Threads.
    """
    wrapper = pytest.importorskip("larq_compute_engine.tflite.python.interpreter_wrapper_lite")
    interpreter = wrapper.LiteInterpreter(content, num_threads, kernel == "reference", kernel == "indirect", False)
    return [np.array(output) for output in interpreter.predict(list(inputs))]


def delegated(
    content: bytes, *, kernel: str = "auto", num_threads: int = 1, fusion: str | Sequence[str] = "on", **arguments: Any
) -> tuple[tf.lite.Interpreter, bitat_runtime.Delegate]:
    """Return a stock interpreter with the delegate applied, tensors not yet allocated, and the delegate."""
    delegate = bitat_runtime.delegate(num_threads=num_threads, kernel=kernel, fusion=fusion, **arguments)
    interpreter = tf.lite.Interpreter(model_content=content, num_threads=num_threads, experimental_delegates=[delegate])
    return interpreter, delegate


def stock(content: bytes, num_threads: int = 1) -> tf.lite.Interpreter:
    """Return a stock interpreter without the delegate: it runs files without operators of larq-compute-engine."""
    return tf.lite.Interpreter(model_content=content, num_threads=num_threads)


def run(interpreter: tf.lite.Interpreter, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return the outputs of an interpreter; its inputs are resized where the arrays have another shape."""
    details = interpreter.get_input_details()
    for detail, value in zip(details, inputs, strict=True):
        if tuple(detail["shape"]) != value.shape:
            interpreter.resize_tensor_input(detail["index"], value.shape)
    interpreter.allocate_tensors()
    for detail, value in zip(details, inputs, strict=True):
        interpreter.set_tensor(detail["index"], value)
    interpreter.invoke()
    return [interpreter.get_tensor(detail["index"]) for detail in interpreter.get_output_details()]


def delegate_outputs(content: bytes, inputs: Sequence[np.ndarray], **arguments: Any) -> list[np.ndarray]:
    """Return the outputs of a stock interpreter with the delegate; the arguments are those of `delegated`."""
    interpreter, _ = delegated(content, **arguments)
    return run(interpreter, inputs)


def assert_same(found: Sequence[np.ndarray], expected: Sequence[np.ndarray], text: str) -> None:
    """Assert that arrays are equal bit by bit, up to the sign of zeros and the bits of NaN."""
    assert len(found) == len(expected), text
    for number, (a, b) in enumerate(zip(found, expected, strict=True)):
        assert (a.dtype, a.shape) == (b.dtype, b.shape), f"output {number} of {text}"
        if not np.array_equal(a, b, equal_nan=a.dtype == np.float32):
            different = np.flatnonzero((a != b).reshape(-1))
            examples = [(int(place), a.reshape(-1)[place].item(), b.reshape(-1)[place].item()) for place in different[:4]]
            raise AssertionError(f"output {number} of {text}: {len(different)} of {a.size} values differ: {examples}")


def assert_larq_same(
    content: bytes, inputs: Sequence[np.ndarray], expected: Sequence[np.ndarray], text: str, kernel: str = "reference"
) -> None:
    """Assert the same of larq-compute-engine's interpreter, where it is installed: a second judge of what numpy expects."""
    if HAS_LARQ:
        assert_same(larq_outputs(content, inputs, kernel), expected, text)


def assert_close(found: np.ndarray, expected: np.ndarray, tolerance: float | np.ndarray, text: str) -> None:
    """Assert that floats are equal up to an absolute tolerance."""
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape), text
    error = np.abs(found.astype(np.float64) - expected)
    assert (error <= tolerance).all(), (
        f"{text}: an error of {error.max():.3g}, {np.max(error / tolerance):.3g} of the allowed one"
    )
