"""Files that are changed at random, with the library under AddressSanitizer and UndefinedBehaviorSanitizer.

Whatever a file holds, it runs or is refused with a message: no memory is read or written that is not the library's or the
interpreter's to give, nothing overflows, nothing ends the process. The same for files that are whole.
"""

import re
from pathlib import Path

import pytest
import sanitizers
import tflite_reader
from driven import run_all
from mutations import Mutation
from random_graphs import RandomGraph
from random_operators import random_case

pytestmark = pytest.mark.slow

MUTATED, WHOLE_OPERATORS, WHOLE_GRAPHS = 1000, 200, 100
SANITIZERS = ("libasan.so", "libubsan.so", "libstdc++.so")


@pytest.fixture(scope="module")
def sanitized(tmp_path_factory) -> tuple[Path, str]:
    """Return a folder of what was built with sanitizers, and what has to be loaded before a program that uses its library."""
    folder = tmp_path_factory.mktemp("sanitized")
    compiler = sanitizers.build(folder, "address,undefined", ("bitat_delegate", "threads_test", "kernel_test"))
    return folder, " ".join(sanitizers.library_of(compiler, name) for name in SANITIZERS)


def run_sanitized(folder: Path, sanitized: tuple[Path, str], texts: list[str]) -> list[str]:
    """Run the files of a folder; return the lines of the log. Fails with what a sanitizer says of a file."""
    built, preload = sanitized
    # Python and TensorFlow leave memory to the system when they end; a size that cannot be given is an error, no crash.
    options = {"ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1"}
    options["UBSAN_OPTIONS"] = "halt_on_error=1:print_stacktrace=1"
    return run_all(folder, built / "libbitat_delegate.so", texts, LD_PRELOAD=preload, **options)


def test_a_thousand_mutated_files(sanitized, small_network, quantized_network, branched_network, tmp_path):
    networks = [tflite_reader.parse(one.content) for one in (small_network, quantized_network, branched_network)]
    texts = []
    for seed in range(MUTATED):
        mutation = Mutation(seed, networks)
        texts.append(mutation.text)
        (tmp_path / f"{seed}.tflite").write_bytes(mutation.content)
    log = run_sanitized(tmp_path, sanitized, texts)
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
    log = run_sanitized(tmp_path, sanitized, [f"file {number}" for number in range(len(graphs))])
    assert {line.split()[0] for line in log if line.endswith(" ran")} == {str(number) for number in range(len(graphs))}
    assert sum(line.endswith(" resized") for line in log) > len(graphs) / 4


def test_native_programs(sanitized):
    """With a host that is built with sanitizers too: it sees what is read behind the end of a tensor, and what is not freed."""
    folder, _ = sanitized
    options = {"ASAN_OPTIONS": "detect_leaks=1", "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1"}
    assert sanitizers.run([str(folder / "threads_test"), "5"], **options) == "ok\n"
    sanitizers.run([str(folder / "kernel_test"), "1", "300"], **options)
