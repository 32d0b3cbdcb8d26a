"""A file with its engine and delegate: samples in, predictions out."""

from __future__ import annotations

import operator
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

import numpy as np

from bitat_runtime._batches import Samples, batches, padded
from bitat_runtime._delegate import Delegate, delegate
from bitat_runtime._details import TensorDetails
from bitat_runtime._engines import find_engine
from bitat_runtime._profile import Profile
from bitat_runtime._resizing import free_size, grows_with_samples, same_results, unlike_samples


class Interpreter:
    """Runs a `.tflite` file, with or without binary operators, in LiteRT or TensorFlow Lite.

    Takes the place of `larq_compute_engine.testing.Interpreter`. One thread at a time may use it.

    Args:
        model: Path of the file, or its bytes.
        num_threads: Threads of the engine and of the binary operators; None: the engine's default.
        kernel: "auto", the fastest that this processor can run, or one of `kernel_families()`.
        fusion: Which float operators run as a part of binary ones, see `delegate()`.
        profile: Measure each binary step, for `profile()`. Costs some time.
        engine: "litert" (the package ai-edge-litert), "tensorflow", or None: LiteRT if it is installed, else TensorFlow.
        library: A `libbitat_delegate` to use; None: the one that is installed with this package.

    Raises:
        ImportError: No engine is installed, or the package has no library.
        ValueError: The file is no `.tflite` file, or an argument has a value that it cannot have.
        RuntimeError: The file has an operator that cannot be run; the message names it and the reason.
        OSError: The file or the library cannot be read.

    Examples:
        ```python
        interpreter = bitat_runtime.Interpreter("model.tflite", num_threads=2)
        labels = interpreter.predict(images).argmax(-1)
        ```
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | bytes | bytearray | memoryview,
        num_threads: int | None = None,
        kernel: str = "auto",
        fusion: str | Sequence[str] = "on",
        profile: bool = False,
        engine: str | None = None,
        library: str | os.PathLike[str] | None = None,
    ):
        num_threads = None if num_threads is None else operator.index(num_threads)  # engines take no numpy.int64
        if num_threads is not None and num_threads < 1:
            raise ValueError(f"num_threads={num_threads} is not a number of threads. Expected 1 or more, or None.")
        self._source = _source_of(model)
        self._num_threads = num_threads
        self._engine = find_engine(engine)
        self._delegate = delegate(num_threads or 0, kernel=kernel, fusion=fusion, profile=profile, library=library)
        # Whether the file works at other batch sizes than its own: known once that was tried.
        self._takes_batches: bool | None = None
        self._open()

    def _open(self) -> None:
        """Make the engine's interpreter, with the shapes that the file has."""
        self._native: Any = None  # the old one first: two would need twice the memory
        with self._explained():
            self._native = self._engine.interpreter(
                **self._source, num_threads=self._num_threads, experimental_delegates=[self._delegate]
            )
            self._native.allocate_tensors()
        inputs, outputs = self._native.get_input_details(), self._native.get_output_details()
        self._inputs = tuple(map(TensorDetails.from_engine, inputs))
        self._outputs = tuple(map(TensorDetails.from_engine, outputs))
        shapes = [tuple(map(int, details["shape"])) for details in inputs]
        self._shapes: list[tuple[int, ...]] | None = shapes
        # A file without an axis for the batch has one sample.
        self._own_batch = (shapes[0][0] if shapes and shapes[0] else 1) or 1
        self._own_output_shapes = [tuple(map(int, details["shape"])) for details in outputs]

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Put what the delegate says first into an error of the engine: its own text is a list of node numbers."""
        before = self._delegate.last_error
        try:
            yield
        except (RuntimeError, ValueError) as error:
            reason, text = self._delegate.last_error, str(error)
            if not reason or (reason == before and reason not in text):
                raise  # the delegate has nothing to do with it
            kind = ValueError if isinstance(error, ValueError) else RuntimeError
            raise kind(f"{reason}\n{self._engine.name}: {text.replace(reason, '').strip()}") from error

    @property
    def engine(self) -> str:
        """The engine that runs the file: "litert" or "tensorflow"."""
        return self._engine.name

    @property
    def engine_version(self) -> str:
        """The version of the engine's package."""
        return self._engine.version

    @property
    def delegate(self) -> Delegate:
        """The delegate that runs the binary operators."""
        return self._delegate

    @property
    def input_details(self) -> tuple[TensorDetails, ...]:
        """The inputs of the file, in the order in which `predict` takes them."""
        return self._inputs

    @property
    def output_details(self) -> tuple[TensorDetails, ...]:
        """The outputs of the file, in the order in which `predict` returns them."""
        return self._outputs

    def profile(self) -> Profile:
        """Return what each binary step took since the last reset; the times need `profile=True` from the constructor."""
        return self._delegate.profile()

    def reset_profile(self) -> None:
        """Forget the times measured until now."""
        self._delegate.reset_profile()

    def predict(self, samples: Samples, batch_size: int | None = None, verbose: int = 0) -> np.ndarray | list[np.ndarray]:
        """Run the file over samples.

        Args:
            samples: An array with the samples along its first axis. For several inputs a list of arrays in the order of
                `input_details`, or a mapping of their names to arrays. Or an iterator over single samples, each of them
                without the axis of the samples: an array, a list or a mapping.
            batch_size: How many samples run at once; None: as many as the file was written for, mostly 1. The input is
                resized where the file allows it, and where a few samples at once, which are tried first, give what each gives
                alone. Otherwise the samples run as the file was written. A profile counts what was tried.
            verbose: 1 writes the number of samples that are done to the standard error output.

        Returns:
            The predictions, samples along the first axis: an array, or a list of them if the file has several outputs.

        Raises:
            TypeError: An array has another dtype than its input, or the samples are of another kind.
            ValueError: An array has another shape than its input, or arrays are missing or too many.
            RuntimeError: The engine or the delegate failed.
        """
        if batch_size is not None and batch_size < 1:
            raise ValueError(f"batch_size={batch_size} is not a number of samples. Expected 1 or more, or None.")
        size = self._own_batch if batch_size is None or self._takes_batches is False else batch_size
        parts: list[list[np.ndarray]] = []
        done = 0
        for batch in batches(samples, self._inputs, size):
            parts.extend(self._predict_batch(batch, size))
            done += len(batch[0])
            if verbose:
                print(f"\r{done} samples", end="", file=sys.stderr, flush=True)
        if verbose:
            print(file=sys.stderr)
        if not parts:
            empty = [np.empty((0, *s[1:]), d.dtype) for s, d in zip(self._own_output_shapes, self._outputs, strict=True)]
            return empty[0] if len(empty) == 1 else empty
        predictions = [np.concatenate(arrays) for arrays in zip(*parts, strict=True)]
        return predictions[0] if len(predictions) == 1 else predictions

    def _predict_batch(self, batch: list[np.ndarray], size: int) -> Iterator[list[np.ndarray]]:
        """Yield the outputs of a batch: at once, or in pieces of the file's own batch size if it allows no other."""
        if size != self._own_batch:
            if self._takes_batches is None:
                self._takes_batches = self._gives_each_its_own(batch)
            outputs = self._run_resized(padded(batch, size)) if self._takes_batches else None
            if outputs is not None:
                yield _cut(outputs, len(batch[0]), size)
                return
        yield from self._in_pieces(batch)
        self._takes_batches = self._takes_batches and size == self._own_batch

    def _in_pieces(self, batch: list[np.ndarray]) -> Iterator[list[np.ndarray]]:
        for start in range(0, len(batch[0]), self._own_batch):
            piece = [array[start : start + self._own_batch] for array in batch]
            self._resize(whole := padded(piece, self._own_batch))
            yield _cut(self._run(whole), len(piece[0]), self._own_batch)

    def _gives_each_its_own(self, batch: list[np.ndarray]) -> bool:
        """Return whether several samples at once give what they give alone, as far as can be told."""
        probe = unlike_samples(batch, count := free_size(self._tensor_shapes()))
        alone = [np.concatenate(arrays) for arrays in zip(*self._in_pieces(probe), strict=True)]
        shapes = self._tensor_shapes()
        together = self._run_resized(probe)
        if together is None:
            return False
        return grows_with_samples(shapes, self._tensor_shapes(), self._own_batch, count) and same_results(alone, together)

    def _tensor_shapes(self) -> dict[int, tuple[int, ...]]:
        return {int(one["index"]): tuple(map(int, one["shape"])) for one in self._native.get_tensor_details()}

    def _run_resized(self, arrays: list[np.ndarray]) -> list[np.ndarray] | None:
        """Return the outputs at another batch size than the file's own, None if the file does not allow it.

        A file can forbid it by an operator that wants fixed sizes, mostly RESHAPE: allocating or running then fails, or
        an output does not grow with the batch.
        """
        size = len(arrays[0])
        try:
            self._resize(arrays)
            outputs = self._run(arrays)
        except (RuntimeError, ValueError):
            self._open()
            return None
        for output, own in zip(outputs, self._own_output_shapes, strict=True):
            if not own or output.shape[0] * self._own_batch != own[0] * size:
                return None
        return outputs

    def _resize(self, arrays: list[np.ndarray]) -> None:
        shapes = [array.shape for array in arrays]
        if shapes == self._shapes:
            return
        self._shapes = None  # until it has succeeded
        with self._explained():
            for details, shape in zip(self._inputs, shapes, strict=True):
                self._native.resize_tensor_input(details._index, shape)
            self._native.allocate_tensors()
        self._shapes = shapes

    def _run(self, arrays: list[np.ndarray]) -> list[np.ndarray]:
        with self._explained():
            for details, array in zip(self._inputs, arrays, strict=True):
                self._native.set_tensor(details._index, array)
            self._native.invoke()
            return [self._native.get_tensor(details._index) for details in self._outputs]

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "A bitat_runtime.Interpreter cannot be copied or pickled: it holds native memory. "
            "Make another one of the same file."
        )

    def __repr__(self) -> str:
        model = self._source.get("model_path", "bytes")
        return f"<bitat_runtime.Interpreter of {model}: {self._engine.name}, {self._delegate.kernel} kernels>"


def _source_of(model: Any) -> dict[str, Any]:
    """Return how the engines' interpreters take the file."""
    if isinstance(model, bytes | bytearray | memoryview):
        if not len(model):
            raise ValueError("The model has no bytes. Expected the content of a .tflite file.")
        return {"model_content": bytes(model)}
    if not isinstance(model, str | os.PathLike):
        raise TypeError(f"The model is of the type {type(model).__name__}. Expected the path of a .tflite file or its bytes.")
    path = os.fsdecode(model)
    if not os.path.isfile(path):
        raise FileNotFoundError(f"{path} is not a file. Expected the path of a .tflite file.")
    try:
        path.encode()
    except UnicodeEncodeError:  # engines take paths in UTF-8 only
        with open(path, "rb") as file:
            return {"model_content": file.read()}
    return {"model_path": path}


def _cut(outputs: list[np.ndarray], samples: int, size: int) -> list[np.ndarray]:
    """Return what of a batch's outputs belongs to its first samples: the rest was padding."""
    cut = []
    for output in outputs:
        rows = np.atleast_1d(output)
        cut.append(rows if samples == size else rows[: len(rows) * samples // size])
    return cut
