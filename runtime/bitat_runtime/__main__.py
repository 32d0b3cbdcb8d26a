"""`python -m bitat_runtime FILE`: how long a file takes, and where."""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Sequence

import numpy as np

import bitat_runtime
from bitat_runtime import Interpreter, TensorDetails
from bitat_runtime._engines import find_engine


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return the exit code: 0, or 1 if the file cannot be run here."""
    options = _parser().parse_args(arguments)
    try:
        engine = find_engine(options.engine).name  # its import is no part of the time from the file to the first result
        start = time.perf_counter()
        interpreter = Interpreter(
            options.file,
            num_threads=options.threads,
            kernel=options.kernel,
            fusion=options.fusion,
            profile=options.profile,
            engine=engine,
            library=options.library,
        )
        samples = {details.name: _random_samples(details) for details in interpreter.input_details}
        interpreter.predict(samples)
        first = time.perf_counter() - start
        interpreter.reset_profile()
        durations = []
        for _ in range(options.runs):
            start = time.perf_counter()
            interpreter.predict(samples)
            durations.append(time.perf_counter() - start)
    except (ImportError, OSError, RuntimeError, TypeError, ValueError) as error:
        print(f"{options.file}: {error}", file=sys.stderr)
        return 1
    _report(interpreter, durations, first)
    if options.profile:
        profile = interpreter.profile()
        rest = statistics.mean(durations) - profile.seconds_per_run
        print(f"\n{profile}\nEverything else, in {interpreter.engine} and Python: {rest * 1e3:.4f} ms (means of all runs)")
    return 0


def _report(interpreter: Interpreter, durations: Sequence[float], first: float) -> None:
    kernels = ", ".join(interpreter.delegate.families)
    print(f"bitat-runtime {bitat_runtime.__version__} in {interpreter.engine} {interpreter.engine_version}")
    print(f"kernels  {interpreter.delegate.kernel} (this processor has {kernels})")
    for title, tensors in (("input", interpreter.input_details), ("output", interpreter.output_details)):
        for details in tensors:
            print(f"{title:<8} {details}")
    print(f"first    {first * 1e3:.1f} ms from the file to the first result")
    median, least = statistics.median(durations) * 1e3, min(durations) * 1e3
    print(f"time     {median:.3f} ms, the median of {len(durations)} runs (least {least:.3f})")


def _random_samples(details: TensorDetails) -> np.ndarray:
    """Return as many samples as the file was written for; what is in them does not matter to the time."""
    shape = tuple(max(1, n) for n in details.shape)
    generator = np.random.default_rng(0)
    if details.dtype.kind == "f":
        return generator.standard_normal(shape).astype(details.dtype)
    if details.dtype.kind == "b":
        return generator.random(shape) < 0.5
    bounds = np.iinfo(details.dtype)
    return generator.integers(bounds.min, bounds.max, shape, details.dtype, endpoint=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bitat_runtime", description="Run a .tflite file on random numbers: how long it takes, and where."
    )
    parser.add_argument("file", help="a .tflite file")
    parser.add_argument("--threads", type=int, help="threads (default: the engine's)")
    parser.add_argument("--runs", type=_positive, default=31, help="runs to measure (default: 31)")
    parser.add_argument("--profile", action="store_true", help="also print what each binary step took")
    parser.add_argument("--kernel", default="auto", help="the binary kernels (default: the fastest that this processor has)")
    parser.add_argument("--fusion", default="on", help="on, off, or some of residual,prelu,quantize,concat (default: on)")
    parser.add_argument("--engine", choices=["litert", "tensorflow"], help="default: litert if it is installed")
    parser.add_argument("--library", help="a libbitat_delegate to use (default: the installed one)")
    parser.add_argument("--version", action="version", version=f"bitat-runtime {bitat_runtime.__version__}")
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a number of runs: expected 1 or more")
    return number


if __name__ == "__main__":
    sys.exit(main())
