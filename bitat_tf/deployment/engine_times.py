"""How long a file takes for a picture on this machine, with each engine that is installed: found in a moment."""

import os
import statistics
import warnings
from dataclasses import asdict, dataclass
from typing import Any

import tensorflow as tf

from bitat_tf._tables import ShownAsTable
from bitat_tf.deployment.machine import Machine, this_machine
from bitat_tf.deployment.timing_child import (
    LCE_VARIANTS,
    Candidate,
    prepare_lce,
    prepare_runtime,
    time_once,
    turns,
    warm_up,
    written_to_stderr,
)
from bitat_tf.tflite_file.engines import LCE, RUNTIME, available_engines, default_engine, engine_obstacle

_RUNS = 31
_SECONDS = 0.2  # for the runs of a kernel; what is slower has 3
_THREADS = 1


@dataclass(frozen=True)
class EngineTime:
    """What a picture takes.

    Attributes:
        kernel: The kernels of the binary operators, and XNNPACK if larq-compute-engine lets it run the float ones.
        seconds: Median of the runs.
        runs: Their number.
    """

    kernel: str
    seconds: float
    runs: int


@dataclass(frozen=True)
class EngineTimes(ShownAsTable):
    """Result of `engine_times`. Prints as a sentence.

    Attributes:
        engines: The time with each engine that runs the file, by its name: "bitat-runtime", and "larq-compute-engine" with its
            fastest kernel.
        obstacle: Why bitat-runtime was not measured, as what follows on its name; None if it was.
        threads: Number of threads.
        machine: Processor and architecture.
    """

    engines: dict[str, EngineTime]
    obstacle: str | None
    threads: int
    machine: str

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values for JSON, with the sentence as "text"."""
        return {**asdict(self), "text": str(self)}

    def __str__(self) -> str:
        listed = ", ".join(
            f"{_milliseconds(one.seconds)} ms with {engine} ({one.kernel})" for engine, one in self.engines.items()
        )
        runs = min(one.runs for one in self.engines.values())
        threads = "1 thread" if self.threads == 1 else f"{self.threads} threads"
        text = f"Time per picture: {listed}; {threads}, medians of {runs} runs in turns, {self.machine}."
        return text if self.obstacle is None else f"{text} {RUNTIME} {self.obstacle}."


def engine_times(path: str | os.PathLike) -> EngineTimes:
    """Time a file that this library has just written and run, in this process, in turns, with one thread, on random pixels.

    `benchmark` does the same in a process of its own, with twins of the network, all kernels and more threads.

    Args:
        path: The file, with binary operators. No care is taken of damaged ones.

    Raises:
        ValueError: If no engine can run the file.
        ImportError: If none is installed.
        OSError: If the file cannot be read.
    """
    default_engine("engine_times")  # there must be one
    machine, available = this_machine(), available_engines()
    candidates = [candidate for engine in available for candidate in _candidates(engine, machine)]
    with written_to_stderr(), warnings.catch_warnings():  # interpreters note what they do, and that they are outdated
        warnings.simplefilter("ignore", UserWarning)
        for candidate in candidates:
            _prepare(candidate, str(path))
    able = [candidate for candidate in candidates if not candidate.error]
    if not able:
        raise ValueError(f"engine_times: {candidates[0].engine} cannot run {path}: {candidates[0].error}.")
    for number in turns([candidate.planned for candidate in able]):
        time_once(able[number])
    times = {engine: [_time(one) for one in able if one.engine == engine] for engine in available}
    refused = next((candidate.error for candidate in candidates if candidate.engine == RUNTIME and candidate.error), None)
    return EngineTimes(
        engines={engine: min(found, key=lambda one: one.seconds) for engine, found in times.items() if found},
        obstacle=engine_obstacle(RUNTIME) if refused is None else f"cannot run the file: {refused}",
        threads=_THREADS,
        machine=f"{machine.cpu}, {machine.architecture}",
    )


def _candidates(engine: str, machine: Machine) -> list[Candidate]:
    if engine == RUNTIME:
        return [Candidate(0, RUNTIME, None, True, _THREADS)]
    # The default kernel is made for ARM; elsewhere the indirect one is several times faster.
    kernels = ("indirect", "default") if machine.arm64 else ("indirect",)
    return [Candidate(0, LCE, kernel, xnnpack, _THREADS) for kernel, xnnpack in LCE_VARIANTS if kernel in kernels]


def _milliseconds(seconds: float) -> str:
    return f"{1000 * seconds:.3g}" if seconds < 0.1 else f"{1000 * seconds:,.0f}"


def _prepare(candidate: Candidate, path: str) -> None:
    try:
        if candidate.engine == LCE:
            from larq_compute_engine.tflite.python import interpreter_wrapper_lite  # only here: it need not be installed

            prepare_lce(candidate, interpreter_wrapper_lite, path)
        else:
            prepare_runtime(candidate, tf, path)
        warm_up(candidate, _RUNS, _SECONDS)
    except (RuntimeError, ValueError, ImportError, OSError) as error:
        candidate.error = str(error).strip() or type(error).__name__


def _time(candidate: Candidate) -> EngineTime:
    kernel = str(candidate.kernel) + (", XNNPACK" if candidate.engine == LCE and candidate.xnnpack else "")
    return EngineTime(kernel, statistics.median(candidate.seconds), len(candidate.seconds))
