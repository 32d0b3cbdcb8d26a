"""One engine and one file in a process of its own: `python -m benchmarks.runtime_child ENGINE FILE`; prints JSON.

Seconds from the file to the first result, and the memory that it takes at its peak above what the engine's package takes.
"""

import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

MIB = 1024.0  # ru_maxrss is in KiB


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


def _set_up(interpreter) -> Callable[[], object]:
    interpreter.allocate_tensors()
    return interpreter.invoke


def main() -> None:
    """Load and run, and print what it took."""
    engine, path = sys.argv[1:]
    load = loaders()[engine]()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    run = load(path)
    run()
    first = time.perf_counter() - start
    for _ in range(3):
        run()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    sys.stdout.write(json.dumps({"first_seconds": first, "peak_mib": (peak - before) / MIB}) + "\n")


if __name__ == "__main__":
    main()
