"""What runs in a process of its own: native code that reads a file of unknown origin may end the process that it runs in.

It is started by path, with the paths of the files that it needs, and imports neither TensorFlow nor this package: that takes
seconds, and this a fifth of one.
"""

import importlib.util
import json
import os
import sys
import traceback
from collections.abc import Callable
from types import ModuleType
from typing import Any

if __name__ == "__main__":
    # What the process that starts it can import: packages need not lie in the interpreter's own folder.
    sys.path += [entry for entry in sys.argv[2:] if entry not in sys.path]

import numpy as np  # noqa: E402 (found through these)


def load_module(name: str, path: str) -> ModuleType:
    """Return the module in a file, without its package."""
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"no module in {path}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def probe(request: dict[str, Any], content: bytes) -> dict[str, Any]:
    """Read the whole file, and let the interpreter prepare it."""
    schema = load_module("tflite_schema", request["schema"])
    schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(content, 0))
    sys.stdout.write("parsed\n")
    sys.stdout.flush()
    if request["prepare"]:
        _interpreter(request, content)
    return {}


def run(request: dict[str, Any], content: bytes) -> dict[str, Any]:
    """Run the file on samples, one after the other; outputs go into a file of arrays."""
    interpreter = _interpreter(request, content)
    samples = np.load(request["samples"])
    outputs: list[list[np.ndarray]] = []
    for sample in samples:
        interpreter_outputs = interpreter.predict([sample[None]])
        outputs.append([np.array(output) for output in interpreter_outputs])
    _save(request, [np.concatenate(column) for column in zip(*outputs, strict=True)])
    return {}


def run_in_runtime(request: dict[str, Any], content: bytes) -> dict[str, Any]:
    """Do the same with bitat-runtime, in the stock interpreter that it finds; returns which one, and with which kernels."""
    import bitat_runtime

    try:
        interpreter = bitat_runtime.Interpreter(content)
        outputs = interpreter.predict(np.load(request["samples"]))
    except (RuntimeError, ValueError) as error:
        raise RuntimeError(str(error).partition("\n")[0]) from error  # the reason; the rest is the stock interpreter's
    _save(request, outputs if isinstance(outputs, list) else [outputs])
    kernel, engine = interpreter.delegate.kernel, f"{interpreter.engine} {interpreter.engine_version}"
    return {"engine": f"bitat-runtime {bitat_runtime.__version__} ({kernel}) in {engine}"}


def _save(request: dict[str, Any], outputs: list[np.ndarray]) -> None:
    np.savez(request["outputs"], **{str(number): output for number, output in enumerate(outputs)})


def _interpreter(request: dict[str, Any], content: bytes):
    native = load_module("interpreter_wrapper_lite", request["interpreter"])
    kernel = request.get("kernel", "indirect")
    return native.LiteInterpreter(
        content, request.get("threads", 1), kernel == "reference", kernel == "indirect", request.get("xnnpack", False)
    )


def do(request: dict[str, Any]) -> dict[str, Any]:
    """Do the task of a request with the file that it names."""
    with open(request["model"], "rb") as file:
        content = file.read()
    return {"probe": probe, "run": run, "run_in_runtime": run_in_runtime}[request["task"]](request, content)


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
