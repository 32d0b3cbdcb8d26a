"""What runs in a process of its own: native code that reads a file of unknown origin may end the process that it runs in.

`running` starts it as `python -m bitat_tf.tflite_file.child`. It loads no TensorFlow, unless bitat-runtime finds no other
interpreter: that takes seconds, and this half of one.
"""

import importlib.util
import json
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from bitat_tf.tflite_file.content import parse


def do(request: dict[str, Any]) -> dict[str, Any]:
    """Do the task of a request with the file that it names."""
    content = Path(request["model"]).read_bytes()
    return {"probe": probe, "run": run}[request["task"]](request, content)


def probe(request: dict[str, Any], content: bytes) -> dict[str, Any]:
    """Read the whole file, and let the engine of the request, if it has one, prepare it."""
    parse(content)
    sys.stdout.write("parsed\n")
    sys.stdout.flush()
    if request["engine"] is not None:
        _PREPARE[request["engine"]](content)
    return {}


def run(request: dict[str, Any], content: bytes) -> dict[str, Any]:
    """Run the file on samples; outputs go into a file of arrays. Returns what ran it."""
    predict, description = _PREPARE[request["engine"]](content)
    with np.load(request["samples"]) as samples:
        outputs = predict([samples[name] for name in samples.files])
    np.savez(request["outputs"], *outputs)
    return {"engine": description}


Predict = Callable[[list[np.ndarray]], list[np.ndarray]]


def _with_larq_compute_engine(content: bytes) -> tuple[Predict, str]:
    # On x86 the indirect kernel is several times faster than the default one; all kernels give the same bits.
    interpreter = larq_interpreter().LiteInterpreter(content, 1, False, True, False)

    def predict(samples: list[np.ndarray]) -> list[np.ndarray]:
        size = max(1, interpreter.input_shapes[0][0])  # it runs batches of the file's own size, mostly 1
        parts = [interpreter.predict(batch) for batch in _batches(samples, size)]
        return [np.concatenate([np.array(part) for part in column])[: len(samples[0])] for column in zip(*parts, strict=True)]

    return predict, f"larq-compute-engine {version('larq-compute-engine')}"


def _batches(samples: Sequence[np.ndarray], size: int) -> Iterator[list[np.ndarray]]:
    """Yield batches of one size; the last sample fills up the last one."""
    for start in range(0, len(samples[0]), size):
        batch = [array[start : start + size] for array in samples]
        yield [np.concatenate([array, array[-1:].repeat(size - len(array), axis=0)]) for array in batch]


def larq_interpreter() -> ModuleType:
    """Return larq-compute-engine's interpreter, a single native file: the package around it would load TensorFlow."""
    root = Path(str(importlib.util.find_spec("larq_compute_engine").origin)).parent  # type: ignore[union-attr]
    path = next((root / "tflite" / "python").glob("interpreter_wrapper_lite*"))
    spec = importlib.util.spec_from_file_location("interpreter_wrapper_lite", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"no module in {path}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _with_bitat_runtime(content: bytes) -> tuple[Predict, str]:
    import bitat_runtime

    try:
        interpreter = bitat_runtime.Interpreter(content)
    except (RuntimeError, ValueError) as error:
        raise _without_details(error) from error

    def predict(samples: list[np.ndarray]) -> list[np.ndarray]:
        try:
            outputs = interpreter.predict(samples)
        except (RuntimeError, ValueError) as error:
            raise _without_details(error) from error
        return outputs if isinstance(outputs, list) else [outputs]

    kernel, engine = interpreter.delegate.kernel, f"{interpreter.engine} {interpreter.engine_version}"
    return predict, f"bitat-runtime {bitat_runtime.__version__} ({kernel}) in {engine}"


def _without_details(error: Exception) -> RuntimeError:
    """Return an error with the reason alone: what follows in the next lines is the stock interpreter's."""
    return RuntimeError(str(error).partition("\n")[0])


_PREPARE: dict[str, Callable[[bytes], tuple[Predict, str]]] = {
    "bitat-runtime": _with_bitat_runtime,
    "larq-compute-engine": _with_larq_compute_engine,
}


def serve(task: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Do what the request, a file of JSON, says, and end the process: with 1 and the reason as the last line of stderr."""
    code = 1
    with open(sys.argv[1]) as file:
        request = json.load(file)
    try:
        result = task(request)
        with open(request["result"], "w") as file:
            json.dump(result, file)
        code = 0
    except (
        MemoryError,
        ArithmeticError,
        LookupError,
        TypeError,
        ValueError,
        AttributeError,
        RuntimeError,
        OSError,
        ImportError,
    ):
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # native code may crash when it is taken down


if __name__ == "__main__":
    serve(do)
