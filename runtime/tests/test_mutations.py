"""Files that are changed at random, with the library under AddressSanitizer and UndefinedBehaviorSanitizer.

Whatever a file holds, it runs or is refused with a message: no memory is read or written that is not the library's or the
interpreter's to give, nothing overflows, nothing ends the process. The same for files that are whole.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import tflite_reader
from mutations import Mutation
from random_graphs import RandomGraph
from random_operators import random_case

import bitat_runtime

pytestmark = pytest.mark.slow

MUTATED, WHOLE_OPERATORS, WHOLE_GRAPHS = 1000, 200, 100
RUNTIME = Path(__file__).resolve().parents[1]
DRIVER = Path(__file__).with_name("mutation_driver.py")
SANITIZERS = ("libasan.so", "libubsan.so", "libstdc++.so")


@pytest.fixture(scope="module")
def sanitized(tmp_path_factory) -> tuple[Path, str]:
    """Return a library that was built with sanitizers, and what has to be loaded before a program that uses it."""
    compiler = shutil.which("g++")
    if compiler is None or shutil.which("cmake") is None:
        pytest.skip("needs g++ with its sanitizers, and CMake")
    build = tmp_path_factory.mktemp("sanitized")
    options = ["-DCMAKE_BUILD_TYPE=RelWithDebInfo", "-DBITAT_SANITIZE=address,undefined", f"-DCMAKE_CXX_COMPILER={compiler}"]
    for command in (["cmake", "-S", str(RUNTIME), "-B", str(build), *options], ["cmake", "--build", str(build), "-j2"]):
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    paths = [subprocess.run([compiler, f"-print-file-name={name}"], capture_output=True, text=True) for name in SANITIZERS]
    return build / "libbitat_delegate.so", " ".join(path.stdout.strip() for path in paths)


def run_all(folder: Path, sanitized: tuple[Path, str], texts: list[str]) -> list[str]:
    """Run the files of a folder; return the lines of the log. Fails with what a sanitizer says of a file."""
    library, preload = sanitized
    environment = {
        **os.environ,
        "LD_PRELOAD": preload,
        # Python and TensorFlow leave memory to the system when they end; a size that cannot be given is an error, no crash.
        "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1",
        "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "PYTHONPATH": os.pathsep.join([str(Path(bitat_runtime.__file__).parents[1]), *sys.path]),
    }
    failures = []
    while True:
        lines = (folder / "log").read_text().splitlines() if (folder / "log").exists() else []
        first = int(lines[-1].split()[0]) + 1 if lines else 0
        command = [sys.executable, str(DRIVER), str(library), str(folder), str(first)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        after = (folder / "log").read_text().splitlines() if (folder / "log").exists() else []
        if after and after[-1] == "end":
            break
        assert len(after) > len(lines), f"the program does not run at all:\n{done.stderr[-6000:]}"
        failures.append(f"{texts[int(after[-1].split()[0])]}\n{report_of(done.stderr)}")
        assert len(failures) < 10, "\n\n".join(failures)
    assert not failures, "\n\n".join(failures)
    return after


def report_of(text: str) -> str:
    """Return the part of an output that a sanitizer wrote, or its end."""
    found = re.search(r"(==\d+==ERROR|[^\n]*runtime error:).*", text, re.DOTALL)
    return "\n".join((found.group(0) if found else text[-3000:]).splitlines()[:30])


def test_a_thousand_mutated_files(sanitized, small_network, quantized_network, branched_network, tmp_path):
    networks = [tflite_reader.parse(one.content) for one in (small_network, quantized_network, branched_network)]
    texts = []
    for seed in range(MUTATED):
        mutation = Mutation(seed, networks)
        texts.append(mutation.text)
        (tmp_path / f"{seed}.tflite").write_bytes(mutation.content)
    log = run_all(tmp_path, sanitized, texts)
    ran = {line.split()[0] for line in log if line.endswith(" ran")}
    refused = [line for line in log if " refused: " in line]
    by_delegate = [line for line in refused if re.search(r"Lce\w*\b.* \(node \d+\): ", line)]
    assert {line.split()[0] for line in log[:-1]} == {str(number) for number in range(MUTATED)}
    # Otherwise the files would hold TFLite's own checks rather than the delegate's.
    assert len(ran) > MUTATED / 8
    assert len(by_delegate) > MUTATED / 3
    assert all(line.split(" refused: ")[1] for line in refused)


def test_whole_files(sanitized, tmp_path):
    """With the sizes that they have they all run; another size may be one that does not fit."""
    graphs = [random_case(seed).graph for seed in range(WHOLE_OPERATORS)]
    graphs += [RandomGraph(seed).graph for seed in range(WHOLE_GRAPHS)]
    for number, graph in enumerate(graphs):
        (tmp_path / f"{number}.tflite").write_bytes(graph.content())
    log = run_all(tmp_path, sanitized, [f"file {number}" for number in range(len(graphs))])
    assert {line.split()[0] for line in log if line.endswith(" ran")} == {str(number) for number in range(len(graphs))}
    assert sum(line.endswith(" resized") for line in log) > len(graphs) / 4
