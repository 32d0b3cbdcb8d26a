"""The wheels as users get them: built by the script, installed from another folder, run against larq-compute-engine's outputs.

The wheel of 64-bit ARM runs under qemu with the stock CPython of Debian and the stock ai-edge-litert. That says that it works
and computes the same; it says nothing of its speed.
"""

import fcntl
import json
import os
import platform
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import build_wheels
import numpy as np
import pytest
import qemu_root
import references
import version_matrix
from conftest import RUNTIME, ConvertedNetwork
from elf import Library

pytestmark = pytest.mark.slow

# Keeps what is downloaded, some 300 MB, for the next session.
QEMU_FOLDER = Path.home() / ".cache" / "bitat-runtime" / "qemu"
LITERT = ["2.3.0", "1.4.0"]

# Runs in an environment that has neither larq-compute-engine nor TensorFlow.
PROGRAM = """
import importlib.util, json, platform, sys
import numpy as np
import bitat_runtime

path, samples, results = sys.argv[1:]
samples = list(np.load(samples).values())
predictions = {}
for kernel in bitat_runtime.kernel_families():
    for threads in (1, 2):
        interpreter = bitat_runtime.Interpreter(path, num_threads=threads, kernel=kernel)
        outputs = interpreter.predict(samples, batch_size=threads)
        for number, output in enumerate(outputs if isinstance(outputs, list) else [outputs]):
            predictions[f"{kernel} {threads} {number}"] = output
np.savez(results, **predictions)
print(json.dumps({
    "machine": platform.machine(),
    "package": bitat_runtime.__file__,
    "engine": [interpreter.engine, interpreter.engine_version],
    "others": [name for name in ("tensorflow", "larq", "larq_compute_engine") if importlib.util.find_spec(name)],
}))
"""


def build(machine: str, folder: Path) -> Path:
    compiler = build_wheels.compiler_for(machine)
    if shutil.which(compiler) is None:
        pytest.skip(f"there is no {compiler}")
    return build_wheels.build_wheel(machine, folder)


@pytest.fixture(scope="module")
def x86_wheel(tmp_path_factory) -> Path:
    if platform.machine() != "x86_64":
        pytest.skip(f"this machine is {platform.machine()}, not x86_64")
    return build("x86_64", tmp_path_factory.mktemp("x86"))


@pytest.fixture(scope="module")
def arm_wheel(tmp_path_factory) -> Path:
    return build("aarch64", tmp_path_factory.mktemp("arm"))


def environment(folder: Path) -> Path:
    """Make a virtual environment with nothing in it and return its Python."""
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    return folder / "bin/python"


def run(command: list[str], folder: Path, **variables: str) -> subprocess.CompletedProcess:
    """Run a command that has to succeed, in a folder that is none of the sources'."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(command, cwd=folder, env=clean | variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def check_predictions(command: list[str], network: ConvertedNetwork, folder: Path) -> dict:
    """Run PROGRAM by a command of Python, hold that it predicts what larq-compute-engine does, return what it prints."""
    np.savez(folder / "samples.npz", *network.samples)
    (folder / "program.py").write_text(PROGRAM)
    arguments = [str(folder / "program.py"), str(network.path), str(folder / "samples.npz"), str(folder / "results.npz")]
    report = json.loads(run([*command, *arguments], folder).stdout.splitlines()[-1])
    results = np.load(folder / "results.npz")
    assert len(results.files) >= 4 * len(network.outputs)  # two kernels or more, one and two threads
    for name in results.files:
        expected = network.outputs[int(name.split()[-1])]
        np.testing.assert_allclose(results[name], expected, rtol=0, atol=2e-6 * np.abs(expected).max(), err_msg=name)
    return report


@pytest.mark.parametrize("machine", build_wheels.MACHINES)
def test_a_wheel_names_the_platform_that_its_library_needs(machine, request, tmp_path):
    wheel = request.getfixturevalue("x86_wheel" if machine == "x86_64" else "arm_wheel")
    with zipfile.ZipFile(wheel) as archive:
        library = Library.read(Path(archive.extract("bitat_runtime/libbitat_delegate.so", tmp_path)))
        metadata = archive.read(f"bitat_runtime-{wheel.name.split('-')[1]}.dist-info/WHEEL").decode()
        assert "bitat_runtime/py.typed" in archive.namelist()
    assert library.problems(RUNTIME / "include/bitat_delegate.h") == []
    assert library.glibc == (2, 17)
    tag = f"py3-none-{library.platform_tag}"
    assert wheel.stem.endswith(tag)
    assert f"Tag: {tag}\n" in metadata


def test_the_wheel_of_this_processor_runs_in_a_clean_environment(x86_wheel, small_network, branched_network, tmp_path):
    python = environment(tmp_path / "environment")
    run([str(python), "-m", "pip", "install", "--quiet", f"{x86_wheel}[litert]"], tmp_path)
    for network in (small_network, branched_network):
        report = check_predictions([str(python)], network, tmp_path)
        assert report["engine"][0] == "litert"
        assert report["others"] == []
        assert Path(report["package"]).is_relative_to(tmp_path / "environment")
    # The command too, since `python -m` finds the installed package only from outside the sources.
    command = [str(python), "-m", "bitat_runtime", str(small_network.path), "--runs", "2", "--profile"]
    assert "LceBconv2d" in run(command, tmp_path).stdout


@pytest.fixture(scope="module")
def qemu() -> qemu_root.QemuRoot:
    QEMU_FOLDER.mkdir(parents=True, exist_ok=True)
    try:
        with (QEMU_FOLDER / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # another test process may be preparing it
            return qemu_root.prepare(QEMU_FOLDER, LITERT)
    except qemu_root.NotPreparedError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("litert", LITERT)
@pytest.mark.parametrize("name", ["small_network", "branched_network"])
def test_the_wheel_of_64_bit_arm_runs_under_qemu(name, litert, arm_wheel, qemu, request, tmp_path):
    network = request.getfixturevalue(name)
    with zipfile.ZipFile(arm_wheel) as archive:
        archive.extractall(tmp_path / "packages")  # what pip does for a processor that it does not run on
    command = qemu.command([], [tmp_path / "packages", qemu.packages(litert)])
    report = check_predictions(command, network, tmp_path)
    assert report["machine"] == "aarch64"
    assert report["engine"] == ["litert", litert]
    assert report["others"] == []


def test_operators_of_64_bit_arm_under_qemu(arm_wheel, qemu, tmp_path):
    """NEON gives what numpy gives, on one and two threads."""
    files = tmp_path / "files"
    files.mkdir()
    count = references.write_operators(files, range(100, 160))
    assert count > 40
    packages = tmp_path / "packages"
    with zipfile.ZipFile(arm_wheel) as archive:
        archive.extractall(packages)
    (tmp_path / "program.py").write_text(version_matrix.PROGRAM)
    library = packages / "bitat_runtime" / "libbitat_delegate.so"
    command = qemu.command([], [packages, qemu.packages(LITERT[0])])
    arguments = [str(tmp_path / "program.py"), str(packages), str(library), str(files), "litert"]
    report = json.loads(run([*command, *arguments], tmp_path).stdout.splitlines()[-1])
    assert report == {"worst": 0.0, "runs": 4 * count, "kernels": ["portable", "neon"]}


@pytest.mark.parametrize("missing", ["a compiler that is not there", "nothing but Python on the path"])
def test_without_a_compiler_the_package_installs_and_says_how_to_get_the_library(missing, tmp_path):
    python = environment(tmp_path / "environment")
    variables = {"CXX": "/nonexistent/c++"} if missing.startswith("a compiler") else {"PATH": str(python.parent)}
    installed = run([str(python), "-m", "pip", "install", "-v", str(RUNTIME)], tmp_path, **variables)
    assert "WITHOUT its library" in installed.stdout + installed.stderr
    code = "import bitat_runtime\ntry:\n    bitat_runtime.delegate()\nexcept ImportError as error:\n    print(error)"
    message = run([str(python), "-c", code], tmp_path).stdout
    assert "installed without its library" in message
    assert "apt-get install g++" in message
