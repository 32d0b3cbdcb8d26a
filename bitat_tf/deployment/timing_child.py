"""What times files in a process of its own: all of them in turns, so that what disturbs the machine disturbs all alike.

`benchmarking` starts it as `python -m bitat_tf.deployment.timing_child`. TensorFlow is loaded only if its interpreter runs
something.
"""

import contextlib
import gc
import importlib
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bitat_tf.tflite_file.child import larq_interpreter, serve
from bitat_tf.tflite_file.engines import LCE, RUNTIME
from bitat_tf.tflite_file.schema import schema

_WARM_UP = 2
LCE_VARIANTS = (("indirect", False), ("indirect", True), ("default", False), ("default", True), ("reference", False))
TF_LITE = "TensorFlow Lite"


@dataclass
class Candidate:
    """A file in one interpreter, with one kernel and one number of threads.

    Attributes:
        file: Index of the file; 0 is the one under test.
        engine: `RUNTIME`, which runs the binary operators in the interpreter of TensorFlow Lite, `LCE`, or `TF_LITE`.
        kernel: Kernel of LceBconv2d; None for `TF_LITE`, and for `RUNTIME` until it is prepared and has chosen one.
        run: Runs it once, and returns its outputs; None if it cannot be run.
        planned: Number of runs that the time is enough for.
    """

    file: int
    engine: str
    kernel: str | None
    xnnpack: bool
    threads: int
    run: Callable[[], list[np.ndarray]] | None = None
    input_shape: tuple[int, ...] = ()
    planned: int = 0
    error: str = ""
    difference: float | None = None
    seconds: list[float] = field(default_factory=list)

    def result(self) -> dict[str, Any]:
        """Return what the parent must know, as plain values."""
        names = ("file", "engine", "kernel", "xnnpack", "threads", "input_shape", "error", "difference", "seconds")
        return {name: getattr(self, name) for name in names}


def time_files(request: dict[str, Any]) -> dict[str, Any]:
    """Time all candidates: prepare and warm up one after the other, then run them in turns."""
    paths = [request["model"], *request["others"]]
    candidates = list(_candidates([_has_binary_operators(path) for path in paths], request["threads"], request["engines"]))
    used = {candidate.engine for candidate in candidates}
    native = larq_interpreter() if LCE in used else None
    tensorflow = importlib.import_module("tensorflow") if used != {LCE} else None
    shape: tuple[int, ...] = ()
    expected: list[np.ndarray] | None = None
    for candidate in candidates:
        path = paths[candidate.file]
        sys.stdout.write(f"{candidate.file} {candidate.engine}\n")
        sys.stdout.flush()
        with written_to_stderr() as written:
            try:
                if candidate.engine == LCE:
                    prepare_lce(candidate, native, path)
                elif candidate.engine == RUNTIME:
                    prepare_runtime(candidate, tensorflow, path)
                else:
                    _prepare_tf_lite(candidate, tensorflow, path, shape)
                outputs = warm_up(candidate, request["runs"], request["seconds"])
            except (RuntimeError, ValueError, ImportError, OSError) as error:
                candidate.run, candidate.error = None, _reason(written(), error)
                continue
        if candidate.file == 0:
            shape = shape or candidate.input_shape
            expected = outputs if expected is None else expected
            candidate.difference = max(_difference(*pair) for pair in zip(expected, outputs, strict=True))
    able = [number for number, candidate in enumerate(candidates) if candidate.run is not None]
    if not shape or list(shape[1:]) != (request["input_shape"] or list(shape[1:])):
        able = []  # no kernel runs the file under test, or it is not the file of the model
    order = [able[turn] for turn in turns([candidates[number].planned for number in able])]
    sys.stdout.write("timing\n")
    sys.stdout.flush()
    gc.disable()
    start, others = time.perf_counter(), _seconds_of_others()
    for number in order:
        time_once(candidates[number])
    end, others_end = time.perf_counter(), _seconds_of_others()
    foreign = None if others is None or others_end is None else max(0.0, others_end - others) / max(end - start, 1e-9)
    return {"candidates": [candidate.result() for candidate in candidates], "order": order, "foreign": foreign}


def turns(planned: Sequence[int]) -> list[int]:
    """Return the order of the runs: rounds in which everyone has one turn, or none if it has fewer turns than rounds.

    The order within a round is drawn anew for each (with a fixed seed), so that nobody always comes after the same other one,
    and those with few turns have them spread over the rounds.
    """
    rounds = max(planned, default=0)
    generator = random.Random(0)
    order: list[int] = []
    for number in range(rounds):
        present = [one for one, count in enumerate(planned) if (number + 1) * count // rounds > number * count // rounds]
        generator.shuffle(present)
        order += present
    return order


def _candidates(binary: Sequence[bool], threads: Sequence[int], engines: Sequence[str]) -> Iterator[Candidate]:
    """Yield what is timed: the file under test with all engines and kernels, other files as they are run at their best."""
    for count in threads:
        for file, has_binary_operators in enumerate(binary):
            if not has_binary_operators:
                yield Candidate(file, TF_LITE, None, True, count)
                continue
            for engine in engines if file == 0 else engines[:1]:
                if engine == RUNTIME:
                    yield Candidate(file, RUNTIME, None, True, count)
                else:
                    for kernel, xnnpack in LCE_VARIANTS if file == 0 else LCE_VARIANTS[:1]:
                        yield Candidate(file, LCE, kernel, xnnpack, count)


def _has_binary_operators(path: str) -> bool:
    model = schema.Model.GetRootAsModel(Path(path).read_bytes(), 0)
    codes = (model.OperatorCodes(number).CustomCode() for number in range(model.OperatorCodesLength()))
    return any(code is not None and code.startswith(b"Lce") for code in codes)


def prepare_lce(candidate: Candidate, native: Any, path: str) -> None:
    """Let larq-compute-engine's interpreter (the module `native`) prepare a candidate."""
    kernel = candidate.kernel
    flags = (kernel == "reference", kernel == "indirect", candidate.xnnpack)
    interpreter = native.LiteInterpreter(Path(path).read_bytes(), candidate.threads, *flags)
    properties = (interpreter.input_shapes, interpreter.input_types, interpreter.input_scales, interpreter.input_zero_points)
    samples = [_pixels(*values) for values in zip(*properties, strict=True)]
    candidate.run = lambda: interpreter.predict(samples)
    candidate.input_shape = samples[0].shape


def prepare_runtime(candidate: Candidate, tensorflow: Any, path: str) -> None:
    """Let TensorFlow Lite's interpreter prepare a candidate with the delegate of bitat-runtime."""
    import bitat_runtime

    delegate = bitat_runtime.delegate(candidate.threads)
    candidate.kernel = delegate.kernel
    try:
        _prepare_tf_lite(candidate, tensorflow, path, (), delegate)
    except (RuntimeError, ValueError) as error:
        raise RuntimeError(delegate.last_error or str(error)) from error


def _prepare_tf_lite(candidate: Candidate, tensorflow: Any, path: str, shape: tuple[int, ...], *delegates: Any) -> None:
    threads = candidate.threads
    content = Path(path).read_bytes()  # the interpreter would take no path that is no UTF-8
    interpreter = tensorflow.lite.Interpreter(model_content=content, num_threads=threads, experimental_delegates=[*delegates])
    for details in interpreter.get_input_details():
        fixed = _fixed_shape(tuple(int(size) for size in details["shape_signature"]), shape)
        if fixed != tuple(details["shape"]):
            interpreter.resize_tensor_input(details["index"], fixed)
    interpreter.allocate_tensors()
    inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
    samples = [_pixels(tuple(one["shape"]), one["dtype"], *one["quantization"]) for one in inputs]

    def run() -> list[np.ndarray]:
        for details, sample in zip(inputs, samples, strict=True):
            interpreter.set_tensor(details["index"], sample)
        interpreter.invoke()
        return [interpreter.get_tensor(details["index"]) for details in outputs]

    candidate.run = run
    candidate.input_shape = samples[0].shape


def _fixed_shape(signature: tuple[int, ...], shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return an input shape with the sizes of the file under test where it has none of its own; a batch is one sample."""
    known = shape if len(shape) == len(signature) else (1,) + (-1,) * (len(signature) - 1)
    fixed = tuple(other if size < 0 else size for size, other in zip(signature, known, strict=True))
    if any(size < 0 for size in fixed):
        raise ValueError(f"the size of its input is not fixed: {signature}")
    return fixed


def _pixels(shape: tuple[int, ...], dtype: Any, scale: Any, zero_point: Any) -> np.ndarray:
    """Return random pixels 0..255, quantized as an input of integers has them."""
    pixels = np.random.default_rng(0).uniform(0, 255, shape)
    if np.issubdtype(dtype, np.integer):
        scale = float(np.ravel(scale)[0]) if scale is not None and np.size(scale) else 0.0
        offset = float(np.ravel(zero_point)[0]) if scale else 0.0
        limits = np.iinfo(dtype)
        pixels = np.clip(np.rint(pixels / (scale or 1.0) + offset), limits.min, limits.max)
    return pixels.astype(dtype)


def warm_up(candidate: Candidate, runs: int, seconds: float) -> list[np.ndarray]:
    """Run a candidate until its memory is in place, and plan as many turns, of two runs, as fit into the time, at least 3."""
    run = candidate.run
    if run is None:
        raise ValueError("it was not prepared")
    durations: list[float] = []
    while len(durations) < _WARM_UP and sum(durations) <= seconds:
        start = time.perf_counter()
        outputs = [np.array(output) for output in run()]
        durations.append(time.perf_counter() - start)
    candidate.planned = max(3, min(runs, int(seconds / max(2 * min(durations), 1e-9))))
    return outputs


def time_once(candidate: Candidate) -> None:
    """Give a candidate a turn: two runs, of which the second is timed."""
    run = candidate.run
    if run is not None:
        # Untimed at first: the one before has left its data in the caches, and threads that wait for work without sleeping,
        # which makes a small network with several threads a hundred times slower for one run.
        run()
        start = time.perf_counter()
        run()
        candidate.seconds.append(time.perf_counter() - start)


def _seconds_of_others() -> float | None:
    """Return the seconds of all cores that went to other programs or machines since the system started; None if not known."""
    try:
        with open("/proc/stat") as file:
            fields = [int(field) for field in file.readline().split()[1:9]]
    except (OSError, ValueError):
        return None
    if len(fields) < 8:
        return None
    user, nice, system, _idle, _waiting, interrupts, soft_interrupts, stolen = fields
    busy = user + nice + system + interrupts + soft_interrupts + stolen
    return busy / os.sysconf("SC_CLK_TCK") - time.process_time()


def _difference(expected: np.ndarray, found: np.ndarray) -> float:
    return float(np.max(np.abs(expected.astype(np.float64) - found.astype(np.float64)), initial=0.0))


@contextlib.contextmanager
def written_to_stderr() -> Iterator[Callable[[], str]]:
    """Yield a function that returns what native code has written to stderr meanwhile: only there it says what it lacks."""
    sys.stderr.flush()
    own = os.dup(2)
    with tempfile.TemporaryFile() as file:

        def written() -> str:
            file.seek(0)
            return file.read().decode(errors="replace")

        os.dup2(file.fileno(), 2)
        try:
            yield written
        finally:
            os.dup2(own, 2)
            os.close(own)


def _reason(written: str, error: Exception) -> str:
    named = [line.removeprefix("ERROR: ") for line in written.splitlines() if line.startswith("ERROR: ")]
    return (named or str(error).strip().splitlines() or [type(error).__name__])[0]


if __name__ == "__main__":
    serve(time_files)
