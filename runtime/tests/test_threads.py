"""Threads of the delegate: how many there are, that they sleep, and what becomes of them in a process that was forked.

Each test is a program of its own, since what it looks at belongs to the whole process.
"""

import subprocess
import sys

import numpy as np
import numpy_model
import pytest
from lce_files import Graph, pack

PRELUDE = """
import os, signal, sys, threading, time, warnings
warnings.simplefilter("ignore")
signal.alarm(120)  # a thread that waits for ever ends the program
import numpy as np
import bitat_runtime
from bitat_runtime._engines import find_engine
content = open(sys.argv[1], "rb").read()
stored = np.load(sys.argv[2])
pixels, expected = stored["inputs"], stored["outputs"]

def interpreter(delegate, threads=1):
    one = find_engine(None).interpreter(model_content=content, num_threads=threads, experimental_delegates=[delegate])
    one.allocate_tensors()
    one.set_tensor(one.get_input_details()[0]["index"], pixels)
    return one

def check(one):
    one.invoke()
    assert np.array_equal(one.get_tensor(one.get_output_details()[0]["index"]), expected)

def tasks():
    return len(os.listdir("/proc/self/task"))
"""


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    """A convolution that is large enough to be shared by threads, and its result by the model in numpy."""
    folder = tmp_path_factory.mktemp("threads")
    generator = np.random.default_rng(0)
    graph = Graph()
    x = graph.input((1, 40, 40, 4), "int32")
    kernel = pack(generator.random((64, 3, 3, 128)) < 0.5)
    values = {name: generator.standard_normal(64).astype(np.float32) for name in ("multiplier", "bias")}
    graph.outputs = [graph.bconv(x, kernel, channels_in=128, **values)]
    inputs = pack(generator.random((1, 40, 40, 128)) < 0.5)
    path = folder / "convolution.tflite"
    path.write_bytes(graph.content())
    np.savez(folder / "convolution.npz", inputs=inputs, outputs=numpy_model.run(graph, [inputs])[0])
    return path


def run_program(case, program):
    command = [sys.executable, "-c", PRELUDE + program, str(case), str(case.with_suffix(".npz"))]
    finished = subprocess.run(command, check=False, capture_output=True, text=True, timeout=180)
    assert finished.returncode == 0, finished.stderr[-3000:]
    return finished.stdout


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_number_of_threads(case, threads):
    program = f"""
one = interpreter(bitat_runtime.delegate(num_threads={threads}))
before = tasks()
check(one)
assert tasks() == before + {threads} - 1, (before, tasks())
check(one)
assert tasks() == before + {threads} - 1, (before, tasks())
"""
    run_program(case, program)


def test_as_many_threads_as_the_interpreter(case):
    program = """
one = interpreter(bitat_runtime.delegate(), threads=3)
before = tasks()
check(one)
assert tasks() == before + 2, (before, tasks())
"""
    run_program(case, program)


def test_threads_end_with_the_delegate(case):
    program = """
before = tasks()
for _ in range(5):
    delegate = bitat_runtime.delegate(num_threads=4)
    one = interpreter(delegate)
    check(one)
    del one, delegate
assert tasks() - before < 4, (before, tasks())
"""
    run_program(case, program)


def test_threads_sleep_between_runs(case):
    program = """
one = interpreter(bitat_runtime.delegate(num_threads=3))
check(one)
time.sleep(0.05)  # they look for work for some microseconds more
start = time.process_time()
time.sleep(1.0)
assert time.process_time() - start < 0.05, time.process_time() - start
"""
    run_program(case, program)


def test_a_forked_process_has_threads_of_its_own(case):
    program = """
one = interpreter(bitat_runtime.delegate(num_threads=3))
check(one)
for _ in range(4):
    child = os.fork()
    if child == 0:
        status = 1
        try:
            assert tasks() == 1
            check(one)
            check(one)
            assert tasks() == 3
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    check(one)
"""
    run_program(case, program)


@pytest.mark.parametrize("shared", [True, False])
def test_interpreters_at_the_same_time(case, shared):
    """Several interpreters run on threads of Python, with one delegate for all or one each."""
    program = f"""
both = bitat_runtime.delegate(num_threads=2)
delegates = [both if {shared} else bitat_runtime.delegate(num_threads=2) for _ in range(3)]
interpreters = [interpreter(delegate) for delegate in delegates]
failures = []

def work(one):
    try:
        for _ in range(100):
            check(one)
    except BaseException as error:
        failures.append(error)

threads = [threading.Thread(target=work, args=(one,)) for one in interpreters]
for thread in threads: thread.start()
for thread in threads: thread.join()
assert not failures, failures
"""
    run_program(case, program)
