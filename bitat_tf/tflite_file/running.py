"""Running a file in a process of its own, so that a damaged one cannot take this process with it."""

import importlib.util
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

_CHILD = Path(__file__).with_name("_child.py")
_PROBE_SECONDS = 120.0


class ChildFailure(ValueError):
    """The process in which a file was read or run came to no result.

    Attributes:
        reason: Why, in a line.
        progress: What the process had written before.
        crashed: Whether native code ended the process, as it does with a damaged file.
    """

    def __init__(self, reason: str, progress: str = "", crashed: bool = False):
        super().__init__(reason)
        self.reason = reason
        self.progress = progress
        self.crashed = crashed


def probe(content: bytes, prepare: bool = True) -> str | None:
    """Read all of a file in a process of its own, and let larq-compute-engine's interpreter prepare it.

    Args:
        content: What the file holds.
        prepare: Whether the interpreter prepares it too.

    Returns:
        Why the interpreter does not take the file (an operator that it does not know, ...); None if it does.

    Raises:
        ChildFailure: If the file cannot even be read, or takes the process down.
    """
    try:
        in_child("probe", content, _PROBE_SECONDS, prepare=prepare)
    except ChildFailure as failure:
        if failure.crashed or "parsed" not in failure.progress:
            raise
        return failure.reason
    return None


def run(content: bytes, samples: np.ndarray, kernel: str = "indirect", timeout: float | None = None) -> list[np.ndarray]:
    """Run a file on samples in larq-compute-engine's interpreter, in a process of its own.

    Args:
        content: What the file holds; it has one input.
        samples: Shape (n, ...), n >= 1, of the type of the file's input.
        kernel: Of larq-compute-engine for `LceBconv2d`: "indirect", the fastest on x86, "default" or "reference".
        timeout: Seconds after which the process is ended. Default: none.

    Returns:
        For each output of the file an array of shape (n, ...).

    Raises:
        ChildFailure: If the process fails, crashes, or takes too long.
    """
    return _run("run", content, samples, timeout, kernel=kernel)[0]


def run_in_runtime(content: bytes, samples: np.ndarray, timeout: float | None = None) -> tuple[list[np.ndarray], str]:
    """Run a file on samples with bitat-runtime in a stock interpreter, in a process of its own.

    Args:
        content: What the file holds; it has one input.
        samples: Shape (n, ...), n >= 1, of the type of the file's input.
        timeout: Seconds after which the process is ended. Default: none.

    Returns:
        For each output of the file an array of shape (n, ...); and what ran it: versions of bitat-runtime and the interpreter,
        and the kernels.

    Raises:
        ChildFailure: If the process fails, crashes, or takes too long.
    """
    outputs, used = _run("run_in_runtime", content, samples, timeout)
    return outputs, used["engine"]


def _run(
    task: str, content: bytes, samples: np.ndarray, timeout: float | None, **request: Any
) -> tuple[list[np.ndarray], dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        paths: dict[str, Any] = {"samples": str(Path(folder, "samples.npy")), "outputs": str(Path(folder, "outputs.npz"))}
        np.save(paths["samples"], samples)
        used = in_child(task, content, timeout, **paths, **request)
        with np.load(paths["outputs"]) as outputs:
            return [outputs[str(number)] for number in range(len(outputs.files))], used


def in_child(task: str, content: bytes, timeout: float | None, script: Path = _CHILD, **request: Any) -> dict[str, Any]:
    """Let a script do a task with a file, in a process of its own.

    Args:
        task: Its name; the script finds it in the request, beside "model", the path of the file, "result", the path at which
            it writes its result as JSON, and "interpreter" and "schema", the parts of larq-compute-engine that it may load.
        content: What the file holds.
        timeout: Seconds after which the process is ended; None for never.
        script: Its path. Default: what reads and runs files.
        request: What else the script must know, plain values.

    Returns:
        What the script wrote as its result.

    Raises:
        ChildFailure: If the process fails, crashes, or takes too long.
    """
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder, "result.json")
        Path(folder, "model.tflite").write_bytes(content)
        request |= {"task": task, "model": str(Path(folder, "model.tflite")), "result": str(result), **_native_parts()}
        Path(folder, "request.json").write_text(json.dumps(request))
        # -I: nothing of the folder or the environment of the user gets between the child and its own modules.
        importable = [entry for entry in sys.path if entry]
        command = [sys.executable, "-I", str(script), str(Path(folder, "request.json")), *importable]
        try:
            done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=timeout, check=False)
        except subprocess.TimeoutExpired as error:
            raise ChildFailure(f"it came to no end within {timeout:.0f} s") from error
        if done.returncode not in (0, 1):  # the child itself ends with one of these
            how = f"by signal {-done.returncode}" if done.returncode < 0 else f"with {done.returncode}"
            raise ChildFailure(f"the process that read it ended {how}", done.stdout, crashed=True)
        if done.returncode or not result.exists():
            lines = [line for line in done.stderr.strip().splitlines() if line.strip()]
            raise ChildFailure(_reason(lines, done.returncode), done.stdout)
        return json.loads(result.read_text())


def _reason(lines: list[str], code: int) -> str:
    """Return the error that the interpreter named, else that of Python."""
    named = [line.split("ERROR: ")[-1] for line in lines if line.startswith("ERROR: ")]
    return (named or lines[-1:] or [f"the process ended with {code}"])[0]


def _native_parts() -> dict[str, str]:
    """Return the paths of what the child needs of larq-compute-engine: importing the package would load TensorFlow."""
    root = Path(str(importlib.util.find_spec("larq_compute_engine").origin)).parent  # type: ignore[union-attr]
    native = next((root / "tflite" / "python").glob("interpreter_wrapper_lite*"))
    return {"interpreter": str(native), "schema": str(root / "mlir" / "python" / "tflite_schema.py")}
