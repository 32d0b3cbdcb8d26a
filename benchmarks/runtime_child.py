"""One engine and one file in a process of its own: `python -m benchmarks.runtime_child ENGINE FILE`; prints JSON.

Seconds from the file to the first result, and the memory that it takes at its peak above what the engine's package takes.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

_STATUS = Path("/proc/self/status")


def loaders() -> dict[str, Callable[[], Callable[[str], Callable[[], object]]]]:
    """Return what imports an engine; that gives what loads a file; that gives what runs it once."""
    return {"bitat-runtime": _runtime, "larq-compute-engine": _lce, "TensorFlow Lite": _tf_lite}


def _runtime() -> Callable[[str], Callable[[], object]]:
    import bitat_runtime
    from ai_edge_litert.interpreter import Interpreter

    def load(path: str) -> Callable[[], object]:
        return _set_up(Interpreter(path, num_threads=1, experimental_delegates=[bitat_runtime.delegate(num_threads=1)]))

    return load


def _tf_lite() -> Callable[[str], Callable[[], object]]:
    from ai_edge_litert.interpreter import Interpreter

    return lambda path: _set_up(Interpreter(path, num_threads=1))


def _lce() -> Callable[[str], Callable[[], object]]:
    from larq_compute_engine.tflite.python.interpreter import Interpreter

    def load(path: str) -> Callable[[], object]:
        interpreter = Interpreter(Path(path).read_bytes(), num_threads=1, use_indirect_bgemm=True, use_xnnpack=True)
        pixels = np.zeros(interpreter.input_shapes[0], np.float32)
        return lambda: interpreter.predict(pixels)

    return load


def _mebibytes(field: str) -> float:
    """Return a field of Linux' account of this process: resident memory (VmRSS), or its peak (VmHWM)."""
    lines = (line.split() for line in _STATUS.read_text().splitlines())
    return next(int(line[1]) for line in lines if line[0] == f"{field}:") / 1024


def _set_up(interpreter) -> Callable[[], object]:
    interpreter.allocate_tensors()
    return interpreter.invoke


def main() -> None:
    """Load and run, and print what it took."""
    engine, path = sys.argv[1:]
    load = loaders()[engine]()
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    before = _mebibytes("VmRSS")
    start = time.perf_counter()
    run = load(path)
    run()
    first = time.perf_counter() - start
    for _ in range(3):
        run()
    sys.stdout.write(json.dumps({"first_seconds": first, "peak_mib": _mebibytes("VmHWM") - before}) + "\n")


if __name__ == "__main__":
    main()
