"""The kernels against each other, without an interpreter, on this processor and on 64-bit ARM in an emulator.

`native/kernel_test.cc` compares all outputs of random convolutions with those of the portable kernels, bit by bit.
"""

import shutil
import subprocess
from pathlib import Path

import pytest

import bitat_runtime

RUNTIME = Path(__file__).resolve().parents[1]
ARM = RUNTIME / "cmake" / "aarch64-linux-gnu.cmake"


def build(folder: Path, *options: str) -> Path:
    configure = ["cmake", "-S", str(RUNTIME), "-B", str(folder), "-DBITAT_TESTS=ON", *options]
    for command in (configure, ["cmake", "--build", str(folder), "-j2", "--target", "kernel_test"]):
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return folder / "kernel_test"


def needs(*programs: str) -> None:
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        pytest.skip(f"there is no {' and no '.join(missing)}")


@pytest.mark.slow
def test_kernels_of_this_processor(tmp_path):
    needs("cmake", "g++")
    program = build(tmp_path)
    families = ",".join(bitat_runtime.kernel_families())
    for seed in ("1", "2"):
        done = subprocess.run([program, seed, "3000"], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-3000:]
        assert f"{families}: 3000 convolutions, 0 differences" in done.stdout
    unknown = subprocess.run([program, "--work", "abacus", "1"], capture_output=True, text=True)
    assert unknown.returncode == 2
    assert "must be one of portable" in unknown.stderr


@pytest.mark.slow
def test_kernels_of_64_bit_arm(tmp_path):
    needs("cmake", "aarch64-linux-gnu-g++", "qemu-aarch64")
    program = build(tmp_path, f"-DCMAKE_TOOLCHAIN_FILE={ARM}")
    done = subprocess.run(
        ["qemu-aarch64", "-L", "/usr/aarch64-linux-gnu", program, "1", "1500"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-3000:]
    assert "portable,neon: 1500 convolutions, 0 differences" in done.stdout
