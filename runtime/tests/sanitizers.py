"""Builds the library and its native tests with sanitizers."""

import shutil
import subprocess
from pathlib import Path

import pytest

RUNTIME = Path(__file__).resolve().parents[1]


def build(folder: Path, sanitizers: str, targets: tuple[str, ...]) -> str:
    """Build targets of CMake in a folder, and return the compiler that did it.

    Args:
        folder: Where to build.
        sanitizers: As g++ takes them: "address,undefined", "thread".
        targets: "bitat_delegate" and native tests.
    """
    compiler = shutil.which("g++")
    if compiler is None or shutil.which("cmake") is None:
        pytest.skip("needs g++ with its sanitizers, and CMake")
    options = [f"-DBITAT_SANITIZE={sanitizers}", f"-DCMAKE_CXX_COMPILER={compiler}"]
    options += ["-DCMAKE_BUILD_TYPE=RelWithDebInfo", "-DBITAT_TESTS=ON"]
    for command in (
        ["cmake", "-S", str(RUNTIME), "-B", str(folder), *options],
        ["cmake", "--build", str(folder), "-j2", "--target", *targets],
    ):
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return compiler


def library_of(compiler: str, name: str) -> str:
    """Return the path of a library that a compiler brings along."""
    return subprocess.run([compiler, f"-print-file-name={name}"], capture_output=True, text=True).stdout.strip()


def run(command: list[str], **environment: str) -> str:
    """Run a program that must end well and quietly; return what it says."""
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-8000:]
    assert "Sanitizer" not in done.stderr, done.stderr[-8000:]
    return done.stdout
