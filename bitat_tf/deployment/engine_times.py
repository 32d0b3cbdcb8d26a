"""How long a file takes for a picture on this machine, with larq-compute-engine and with bitat-runtime: found in a moment."""

import os
import statistics
import warnings
from dataclasses import asdict, dataclass
from typing import Any

from larq_compute_engine.tflite.python import interpreter_wrapper_lite

from bitat_tf._keras import tf
from bitat_tf.deployment._timing_child import (
    LCE,
    LCE_VARIANTS,
    RUNTIME,
    Candidate,
    prepare_lce,
    prepare_runtime,
    time_once,
    turns,
    warm_up,
    written_to_stderr,
)
from bitat_tf.deployment.machine import this_machine
from bitat_tf.tflite_file.runtime import runtime_obstacle

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
class EngineTimes:
    """Result of `engine_times`. Prints as a sentence.

    Attributes:
        larq: With larq-compute-engine, its fastest kernel.
        runtime: With bitat-runtime in TensorFlow Lite's interpreter; None if it was not measured.
        obstacle: Why it was not, as what follows on its name; None if it was.
        threads: Number of threads.
        machine: Processor and architecture.
    """

    larq: EngineTime
    runtime: EngineTime | None
    obstacle: str | None
    threads: int
    machine: str

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values for JSON, with the sentence as "text"."""
        return {**asdict(self), "text": str(self)}

    def __str__(self) -> str:
        times = {LCE: self.larq, **({} if self.runtime is None else {RUNTIME: self.runtime})}
        listed = ", ".join(f"{_milliseconds(one.seconds)} ms with {name} ({one.kernel})" for name, one in times.items())
        runs = min(one.runs for one in times.values())
        threads = "1 thread" if self.threads == 1 else f"{self.threads} threads"
        text = f"Time per picture: {listed}; {threads}, medians of {runs} runs in turns, {self.machine}."
        return text if self.obstacle is None else f"{text} {RUNTIME} {self.obstacle}."


def engine_times(path: str | os.PathLike) -> EngineTimes:
    """Time a file that this library has just written and run, in this process, in turns, with one thread, on random pixels.

    `benchmark` does the same in a process of its own, with twins of the network, all kernels and more threads.

    Args:
        path: The file, with binary operators. No care is taken of damaged ones.

    Raises:
        ValueError: If larq-compute-engine cannot run the file.
        OSError: If it cannot be read.
    """
    obstacle, machine = runtime_obstacle(), this_machine()
    # The default kernel is made for ARM; elsewhere the indirect one is several times faster.
    kernels = ("indirect", "default") if machine.arm64 else ("indirect",)
    larq = [Candidate(0, LCE, kernel, xnnpack, _THREADS) for kernel, xnnpack in LCE_VARIANTS if kernel in kernels]
    runtime = Candidate(0, RUNTIME, None, True, _THREADS)
    candidates = larq if obstacle is not None else [*larq, runtime]
    with written_to_stderr(), warnings.catch_warnings():  # interpreters note what they do, and that they are outdated
        warnings.simplefilter("ignore", UserWarning)
        for candidate in candidates:
            _prepare(candidate, str(path))
    able = [candidate for candidate in candidates if not candidate.error]
    for number in turns([candidate.planned for candidate in able]):
        time_once(able[number])
    timed = [_time(candidate) for candidate in larq if candidate in able]
    if not timed:
        raise ValueError(f"engine_times: larq-compute-engine cannot run {path}: {larq[0].error}.")
    return EngineTimes(
        larq=min(timed, key=lambda one: one.seconds),
        runtime=_time(runtime) if runtime in able else None,
        obstacle=f"cannot run the file: {runtime.error}" if runtime.error else obstacle,
        threads=_THREADS,
        machine=f"{machine.cpu}, {machine.architecture}",
    )


def _milliseconds(seconds: float) -> str:
    return f"{1000 * seconds:.3g}" if seconds < 0.1 else f"{1000 * seconds:,.0f}"


def _prepare(candidate: Candidate, path: str) -> None:
    try:
        if candidate.runtime == LCE:
            prepare_lce(candidate, interpreter_wrapper_lite, path)
        else:
            prepare_runtime(candidate, tf, path)
        warm_up(candidate, _RUNS, _SECONDS)
    except (RuntimeError, ValueError, ImportError, OSError) as error:
        candidate.error = str(error).strip() or type(error).__name__


def _time(candidate: Candidate) -> EngineTime:
    kernel = str(candidate.kernel) + (", XNNPACK" if candidate.runtime == LCE and candidate.xnnpack else "")
    return EngineTime(kernel, statistics.median(candidate.seconds), len(candidate.seconds))
