"""Runs files in a process of their own, so that one that ends it is found out."""

import os
import re
import subprocess
import sys
from pathlib import Path

import bitat_runtime

DRIVER = Path(__file__).with_name("mutation_driver.py")
_MOST_FAILURES = 10


def run_all(folder: Path, library: Path, texts: list[str], **environment: str) -> list[str]:
    """Run the files 0.tflite, 1.tflite, ... of a folder; return the lines of the log that `mutation_driver` writes.

    Args:
        folder: The folder.
        library: The delegate's.
        texts: What each file is, for messages.
        **environment: Added to that of the process.

    Raises:
        AssertionError: Files ended the process; with what it said of each of them.
    """
    path = os.pathsep.join([str(Path(bitat_runtime.__file__).parents[1]), *sys.path])
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2", "PYTHONPATH": path, **environment}
    failures: list[str] = []
    while True:
        lines = log_of(folder)
        first = int(lines[-1].split()[0]) + 1 if lines else 0
        command = [sys.executable, str(DRIVER), str(library), str(folder), str(first)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        after = log_of(folder)
        if after and after[-1] == "end":
            break
        assert len(after) > len(lines), f"the program does not run at all:\n{done.stderr[-6000:]}"
        failures.append(f"{texts[int(after[-1].split()[0])]} ended the process ({done.returncode}):\n{report_of(done.stderr)}")
        assert len(failures) < _MOST_FAILURES, "\n\n".join(failures)
    assert not failures, "\n\n".join(failures)
    return after


def log_of(folder: Path) -> list[str]:
    """Return the lines of a log, none if there is no log yet."""
    return (folder / "log").read_text().splitlines() if (folder / "log").exists() else []


def report_of(text: str) -> str:
    """Return the part of an output that a sanitizer wrote, or its end; without TensorFlow's notes on itself."""
    found = re.search(r"(==\d+==ERROR|[^\n]*runtime error:).*", text, re.DOTALL)
    if found:
        return "\n".join(found.group(0).splitlines()[:30])
    return "\n".join(line for line in text.splitlines() if not re.match(r"[IWE]\d{4} |WARNING: All log", line))[-3000:]
