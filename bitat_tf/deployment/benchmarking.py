"""`benchmark`: how fast a file is on this machine, against its twins and other files."""

import os
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from bitat_tf._printable import printable
from bitat_tf._validation import check_number
from bitat_tf.deployment.benchmark_report import BenchmarkReport, Timing
from bitat_tf.deployment.machine import this_machine
from bitat_tf.deployment.twins import float_twin, int8_twin
from bitat_tf.tflite_file.content import check_identifier, check_seal
from bitat_tf.tflite_file.engines import RUNTIME, available_engines, default_engine, engine_obstacle
from bitat_tf.tflite_file.running import ChildFailure, in_child

_NAME = "benchmark"
_CHILD = "bitat_tf.deployment.timing_child"
_LEAST_RUNS = 3


def benchmark(
    content: bytes | str | os.PathLike,
    against: Sequence[bytes | str | os.PathLike] = (),
    model: keras.Model | None = None,
    data: np.ndarray | None = None,
    threads: Sequence[int] = (1, 2),
    runs: int = 31,
    seconds: float = 10.0,
    timeout: float | None = None,
) -> BenchmarkReport:
    """Time a `.tflite` file with bitat-runtime and larq-compute-engine, against twins of the network and other files.

    Everything is run in one process of its own, in turns: each once in a round, in an order drawn anew for every round, after
    a warm-up. What disturbs the machine meanwhile disturbs all alike. A turn is two runs, of which the second is timed: the
    first pays for what the one before has left in caches and threads. A run takes one batch from its input to its output;
    the input is random pixels 0..255.

    A file with binary operators is run by bitat-runtime, in TensorFlow Lite's interpreter; where larq-compute-engine is
    installed, the file under test is run by its interpreter too, with each kernel, with and without XNNPACK. Without
    bitat-runtime other files with binary operators are run by larq-compute-engine's indirect kernel. Any other file is run by
    TensorFlow Lite with XNNPACK. larq-compute-engine 0.16 brings a version of TensorFlow Lite of its own, 2.16.

    Args:
        content: The file under test: its path or its content.
        against: Other files, for instance of a network that it shall replace.
        model: The Keras model of the file under test. Its `float_twin` and `int8_twin` are measured too.
        data: Inputs for the ranges of the int8 twin, shape (n, ...). Default: random pixels.
        threads: Numbers of threads, each >= 1; all are measured in the same rounds.
        runs: Number of timed runs of each, >= 3.
        seconds: Time for the runs of each, the untimed ones among them. What is too slow for all runs in that time has fewer,
            at least 3.
        timeout: Seconds after which the process is ended. Default: never.

    Returns:
        A `BenchmarkReport`: prints as a table; `timings`, `ratio` and `to_dict()` for programs.

    Raises:
        ValueError: If a file is none or damaged, the file under test cannot be run with any kernel, the process that runs the
            files crashes, the model is not of the file's input, or an argument is out of its range.
        ImportError: If the file under test has binary operators, and neither of the two is installed.
        TypeError: If `model` is no Keras 3 model, or `against` no list.
        OSError: If a file cannot be read.

    Examples:
        >>> model = bitat_tf.applications.ReActNet((8, 8, 1), 10, width=0.5, blocks=((64, 1),))
        >>> for layer in bitat_tf.layers.binary_layers(model):
        ...     layer.set_binary()
        >>> path = os.path.join(folder, "model.tflite")
        >>> _ = bitat_tf.export.to_tflite(model, path)
        >>> report = benchmark(path, threads=[1], runs=3)
        >>> {timing.engine for timing in report.timings} <= {"bitat-runtime", "larq-compute-engine"}
        True
        >>> min(report.ratio(timing) for timing in report.timings)
        1.0
    """
    _check_numbers(threads, runs, seconds)
    if isinstance(against, (bytes, str, os.PathLike)):
        raise TypeError(f"{_NAME}: `against` must be a list of files. Received: a single {type(against).__name__}.")
    machine = this_machine()  # before the twins are made, which is work too
    files = [content, *against]
    contents = [_read(file) for file in files]
    names = _names(files)
    if model is not None:
        contents[1:1] = [float_twin(model), int8_twin(model, data)]
        names[1:1] = _unlike(names, ["float twin", "int8 twin"])
    shape = None if model is None else [*model.input_shape[1:]]
    request = {"threads": [*map(int, threads)], "runs": int(runs), "seconds": float(seconds), "input_shape": shape}
    engines = available_engines()
    request["engines"] = engines or (RUNTIME,)  # which then says what it lacks
    found = _run(contents, names, timeout, request)
    timings = tuple(
        Timing(
            file=names[one["file"]],
            size=len(contents[one["file"]]),
            engine=one["engine"],
            kernel=one["kernel"],
            xnnpack=one["xnnpack"],
            threads=one["threads"],
            input_shape=tuple(one["input_shape"]),
            seconds=tuple(one["seconds"]),
            difference=one["difference"],
            error=printable(one["error"]),
        )
        for one in found["candidates"]
    )
    _check_own([timing for timing in timings if timing.file == names[0]], shape)
    return BenchmarkReport(
        names[0],
        timings,
        tuple(found["order"]),
        int(runs),
        machine,
        twins=model is not None,
        foreign=found["foreign"],
        runtime_obstacle=None if RUNTIME in engines else engine_obstacle(RUNTIME),
    )


def _check_own(timings: Sequence[Timing], shape: list[int] | None) -> None:
    """Raise ValueError if the file under test was not timed."""
    able = next((timing for timing in timings if not timing.error), None)
    if able is None and timings[0].engine == RUNTIME:
        default_engine(_NAME)  # raises an error if there is none, and says how one is installed
    if able is None:
        raise ValueError(
            f"{_NAME}: no interpreter can run {timings[0].file} ({timings[0].error}). Expected a file of operators that "
            "TensorFlow Lite knows, or of larq-compute-engine's, with an input of fixed size."
        )
    if shape is not None and [*able.input_shape[1:]] != shape:
        raise ValueError(
            f"{_NAME}: `model` must be the model of the file. Received: a model of inputs {tuple(shape)}, and a file of inputs "
            f"{able.input_shape[1:]}."
        )


def _run(contents: Sequence[bytes], names: Sequence[str], timeout: float | None, request: dict[str, Any]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        others = [Path(folder, f"{number}.tflite") for number in range(1, len(contents))]
        for path, content in zip(others, contents[1:], strict=True):
            path.write_bytes(content)
        try:
            return in_child(_CHILD, {**request, "others": [*map(str, others)]}, contents[0], timeout)
        except ChildFailure as failure:
            what = printable(failure.reason) + _where(failure.progress, names)
            raise ValueError(
                f"{_NAME}: the files could not be timed: {what}. Received: {', '.join(names)}. A file that is damaged or of "
                "unknown origin may bring an interpreter down."
            ) from failure


def _where(progress: str, names: Sequence[str]) -> str:
    """Return at which file the process was, from the lines that it writes before each: index of the file, interpreter."""
    lines = progress.splitlines()
    if not lines or lines[-1] == "timing":
        return ", while they were timed" if lines else ""
    number, _, engine = lines[-1].partition(" ")
    return f", while {engine} prepared {names[int(number)]}"


def _read(file: bytes | str | os.PathLike) -> bytes:
    content = file if isinstance(file, bytes) else Path(file).read_bytes()
    try:
        check_identifier(content)
        check_seal(content)
    except ValueError as error:
        name = "bytes" if isinstance(file, bytes) else str(file)
        raise ValueError(f"{_NAME}: {name}: {error}") from error
    return content


def _names(files: Sequence[bytes | str | os.PathLike]) -> list[str]:
    """Return a name for each file that no other one has: that of the file, or its whole path."""
    short = [f"file {number}" if isinstance(file, bytes) else Path(file).name for number, file in enumerate(files, 1)]
    counts = Counter(short)
    whole = [
        name if counts[name] == 1 or isinstance(file, bytes) else str(file) for name, file in zip(short, files, strict=True)
    ]
    return [f"{name} ({number})" if whole.index(name) != number - 1 else name for number, name in enumerate(whole, 1)]


def _unlike(taken: Sequence[str], names: Sequence[str]) -> list[str]:
    """Return names, with something added where they are taken."""
    return [f"{name} of the model" if name in taken else name for name in names]


def _check_numbers(threads: Sequence[int], runs: int, seconds: float) -> None:
    if not isinstance(runs, (int, np.integer)) or isinstance(runs, bool) or runs < _LEAST_RUNS:
        raise ValueError(f"{_NAME}: `runs` must be a whole number >= {_LEAST_RUNS}. Received: runs={runs!r}.")
    check_number(_NAME, "seconds", seconds, exclusive=True)
    numbers = list(threads) if isinstance(threads, Sequence) and not isinstance(threads, str) else []
    whole = all(isinstance(count, (int, np.integer)) and not isinstance(count, bool) and count >= 1 for count in numbers)
    if not numbers or not whole or len(set(numbers)) < len(numbers):
        raise ValueError(
            f"{_NAME}: `threads` must be a list of different whole numbers >= 1. Received: threads={threads!r}. Pass "
            "threads=[1] for one thread."
        )
