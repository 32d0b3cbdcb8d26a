"""Time and peak memory of a function, in a fresh process."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

THREADS = 2


def measure(function: Callable[[], Any], repeats: int = 1) -> dict[str, float]:
    """Return seconds (the median) and the peak of resident memory above that before the call, in MiB.

    Args:
        function: What is measured; what it returns is dropped.
        repeats: Calls.
    """
    before = _reset_peak()
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - started)
    return {"seconds": sorted(seconds)[len(seconds) // 2], "peak_mib": (_status("VmHWM") - before) / 1024}


def run_case(name: str, tiny: bool = False) -> Any:
    """Run a case in a process of its own and return what it returns."""
    environment = {
        **os.environ,
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "OMP_NUM_THREADS": str(THREADS),
        "OPENBLAS_NUM_THREADS": str(THREADS),
    }
    command = [sys.executable, "-m", "benchmarks.child", name, *(["--tiny"] if tiny else [])]
    root = Path(__file__).parents[1]
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"benchmark {name} failed:\n{done.stderr[-4000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def _status(field: str) -> int:
    """Return a field of this process' status in KiB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1])
    raise RuntimeError(f"/proc/self/status has no {field}; the benchmarks measure memory on Linux only.")


def _reset_peak() -> int:
    """Set the peak of resident memory to what is resident now, and return that."""
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")
