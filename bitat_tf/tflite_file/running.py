"""Running a file in a process of its own, so that a damaged one cannot take this process with it."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

CHILD = "bitat_tf.tflite_file.child"
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


def probe(content: bytes, engine: str | None) -> str | None:
    """Read all of a file in a process of its own, and let an engine prepare it.

    Args:
        content: What the file holds.
        engine: The engine that prepares it; None: it is only read.

    Returns:
        Why the engine does not take the file (an operator that it does not know, ...); None if it does.

    Raises:
        ChildFailure: If the file cannot even be read, or takes the process down.
    """
    try:
        in_child(CHILD, {"task": "probe", "engine": engine}, content, _PROBE_SECONDS)
    except ChildFailure as failure:
        if failure.crashed or "parsed" not in failure.progress:
            raise
        return failure.reason
    return None


def run(
    content: bytes, inputs: Sequence[np.ndarray], engine: str, timeout: float | None = None
) -> tuple[list[np.ndarray], str]:
    """Run a file on samples, in a process of its own.

    Args:
        content: What the file holds.
        inputs: For each input of the file an array of shape (n, ...), n >= 1, of the type of the input.
        engine: What runs it: "bitat-runtime" or "larq-compute-engine".
        timeout: Seconds after which the process is ended. Default: none.

    Returns:
        For each output of the file an array of shape (n, ...); and what ran it: the engine with its version, of bitat-runtime
        also the kernels and the stock interpreter.

    Raises:
        ChildFailure: If the process fails, crashes, or takes too long.
    """
    with tempfile.TemporaryDirectory() as folder:
        request = {"task": "run", "engine": engine, "samples": f"{folder}/samples.npz", "outputs": f"{folder}/outputs.npz"}
        np.savez(request["samples"], *inputs)
        used = in_child(CHILD, request, content, timeout)
        with np.load(request["outputs"]) as outputs:
            return [outputs[name] for name in outputs.files], used["engine"]


def in_child(module: str, request: dict[str, Any], content: bytes, timeout: float | None) -> dict[str, Any]:
    """Let a module do a task with a file, in a process of its own.

    Args:
        module: Its name; it is run as a program, and ends with `bitat_tf.tflite_file.child.serve`.
        request: What it must know, plain values. Added to them are "model", the path of the file, and "result", where it
            writes its result as JSON.
        content: What the file holds.
        timeout: Seconds after which the process is ended; None for never.

    Returns:
        What the module wrote as its result.

    Raises:
        ChildFailure: If the process fails, crashes, or takes too long.
    """
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder, "result.json")
        Path(folder, "model.tflite").write_bytes(content)
        request = {**request, "model": str(Path(folder, "model.tflite")), "result": str(result)}
        Path(folder, "request.json").write_text(json.dumps(request))
        # It finds what this process finds, and runs in an empty folder: modules of one name in the user's are not in its way.
        path = os.pathsep.join(os.path.abspath(entry) for entry in sys.path if entry)
        command, environment = [sys.executable, "-m", module, "request.json"], {**os.environ, "PYTHONPATH": path}
        try:
            done = subprocess.run(
                command,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=timeout,
                check=False,
                cwd=folder,
                env=environment,
            )
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
