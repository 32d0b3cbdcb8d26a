"""Benchmarks: what is run, in which order, and what is told of it. Times themselves are not tested."""

import json
import statistics
from collections import Counter
from itertools import pairwise

import keras
import numpy as np
import pytest
import tensorflow as tf
from engines import needs_lce, needs_one
from written_files import Writer, binary_file

import bitat_tf
from bitat_tf.deployment import BenchmarkReport, benchmark, benchmarking
from bitat_tf.deployment.benchmark_report import Timing
from bitat_tf.deployment.machine import Machine, this_machine
from bitat_tf.deployment.timing_child import turns
from bitat_tf.tflite_file.content import parse, sealed, serialize
from bitat_tf.tflite_file.engines import LCE, RUNTIME, available_engines

pytestmark = needs_one
# What runs a file with binary operators: with all kernels the one under test, with the first of them another one.
KERNELS = ["indirect", "indirect, XNNPACK", "default", "default, XNNPACK", "reference"] if LCE in available_engines() else []
if RUNTIME in available_engines():
    import bitat_runtime

    KERNELS = [f"bitat-runtime, {bitat_runtime.kernel_families()[-1]}", *KERNELS]
TF_LITE = "TensorFlow Lite, XNNPACK"
RUNS = 5


def float_file(size):
    model = keras.Sequential([keras.Input((size, size, 64)), keras.layers.Conv2D(4, 3, name="conv")])
    return tf.lite.TFLiteConverter.from_keras_model(model).convert()


def grouped_file():
    writer = Writer()
    bits = writer.quantize(writer.input((8, 8, 64)))
    return writer.content(writer.binary_convolution(bits, 64, 64, groups=2)[0])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with a small binary file, one that the default kernel refuses, and float files."""
    folder = tmp_path_factory.mktemp("files")
    (folder / "small.tflite").write_bytes(sealed(parse(binary_file()[0]), {}))
    (folder / "grouped.tflite").write_bytes(grouped_file())
    (folder / "float.tflite").write_bytes(float_file(8))
    (folder / "any_size.tflite").write_bytes(float_file(None))
    return folder


@pytest.fixture(scope="module")
def model():
    """Return a model of the file's inputs, for the twins."""
    return keras.Sequential([keras.Input((8, 8, 64)), bitat_tf.layers.BinaryConv2D(32, 3)])


@pytest.fixture(scope="module")
def report(folder, model):
    against = [folder / name for name in ("grouped.tflite", "float.tflite", "any_size.tflite")]
    return benchmark(folder / "small.tflite", against, model, runs=RUNS)


def test_every_file_and_kernel_is_measured_with_every_number_of_threads(report):
    rows = [("small.tflite", kernel) for kernel in KERNELS] + [("float twin", TF_LITE), ("int8 twin", TF_LITE)]
    rows += [("grouped.tflite", KERNELS[0]), ("float.tflite", TF_LITE), ("any_size.tflite", TF_LITE)]
    found = [(timing.threads, timing.file, timing.label) for timing in report.timings]
    assert found == [(threads, *row) for threads in (1, 2) for row in rows]
    assert not [timing.error for timing in report.timings if timing.error]
    assert all(len(timing.seconds) == RUNS and timing.minimum > 0 for timing in report.timings)


def test_runs_take_turns(report):
    size = len(report.timings)
    rounds = [report.order[start : start + size] for start in range(0, len(report.order), size)]
    assert len(rounds) == RUNS
    assert all(sorted(one) == list(range(size)) for one in rounds)
    assert len(set(rounds)) > 1  # nobody comes always after the same other one


def test_kernels_do_the_same(report):
    own = [timing for timing in report.timings if timing.file == report.name]
    assert len(own) == 2 * len(KERNELS)
    largest = np.abs(binary_file()[1](np.ones((1, 8, 8, 64)))).max()  # the inputs are pixels, none of them negative
    assert all(timing.difference is not None and timing.difference < 1e-5 * largest for timing in own)
    assert len({timing.difference for timing in own if timing.engine == LCE and not timing.xnnpack}) <= 1
    assert all(timing.difference is None for timing in report.timings if timing.file != report.name)


def test_ratios_are_to_the_fastest_kernel_of_the_file(report):
    for threads in (1, 2):
        here = [timing for timing in report.timings if timing.threads == threads]
        own = {timing.label: statistics.median(timing.seconds) for timing in here if timing.file == "small.tflite"}
        assert report.fastest(threads).label == min(own, key=own.get)
        for timing in here:
            assert report.ratio(timing) == pytest.approx(statistics.median(timing.seconds) / min(own.values()))


def test_a_file_of_any_size_is_given_the_size_of_the_file_under_test(report):
    shapes = {timing.file: timing.input_shape for timing in report.timings}
    assert set(shapes.values()) == {(1, 8, 8, 64)}


def test_sizes_are_those_on_disk(report, folder):
    for timing in report.timings:
        if timing.file.endswith(".tflite"):
            assert timing.size == (folder / timing.file).stat().st_size


def test_report_prints_and_serializes(report):
    text = str(report)
    for part in (*KERNELS, "float twin", "int8 twin", "grouped.tflite", TF_LITE, report.machine.cpu):
        assert part in text
    assert all(f"{engine} {report.machine.versions[engine]}" in " ".join(text.split()) for engine in available_engines())
    assert max(map(len, text.splitlines())) <= 150
    values = json.loads(json.dumps(report.to_dict()))
    assert values["order"] == [*report.order]
    assert values["machine"]["cores"] == report.machine.cores >= 1
    assert [one["ratio"] for one in values["timings"]] == [report.ratio(timing) for timing in report.timings]
    assert values["timings"][0]["seconds"] == [*report.timings[0].seconds]


def machine(**values):
    facts = {"cpu": "a", "architecture": "aarch64", "system": "Linux", "cores": 2, "load": 0.0, "versions": {"python": "3"}}
    return Machine(**{**facts, **values})


def timing(file, kernel, seconds, **values):
    facts = {"size": 1024, "engine": "larq-compute-engine", "xnnpack": False, "threads": 1, "input_shape": (1, 2)}
    return Timing(file=file, kernel=kernel, seconds=seconds, **{**facts, **values})


def made_report(timings=None, **values):
    timings = timings or (timing("a", "indirect", (3.0, 1.0, 2.0)), timing("a", "default", (9.0, 6.0, 5.0)))
    facts = {"name": "a", "timings": timings, "order": (), "runs": 3, "machine": machine()}
    return BenchmarkReport(**{**facts, **values})


def test_figures_of_a_report():
    seconds = (5.0, 1.0, 4.0, 2.0, 8.0, 3.0, 9.0)
    report = made_report((timing("a", "indirect", (2.0, 1.0, 3.0)), timing("b", "indirect", seconds)))
    assert report.timings[1].median == 4.0
    assert report.timings[1].minimum == 1.0
    first, _, third = statistics.quantiles(seconds, n=4, method="inclusive")
    assert report.timings[1].spread == pytest.approx(third - first)
    assert report.ratio(report.timings[1]) == 2.0
    assert report.fastest(2) is None


def test_remarks():
    assert made_report().remarks() == []
    assert "made for 64-bit ARM only. On this x86_64" in made_report(machine=machine(architecture="x86_64")).remarks()[0]
    assert made_report(machine=machine(architecture="arm64")).remarks() == []  # macOS' name of it
    by_runtime = timing("a", "avx2", (3.0, 1.0, 2.0), engine="bitat-runtime")
    assert made_report((by_runtime,), machine=machine(architecture="x86_64")).remarks() == []
    assert made_report(foreign=0.02).remarks() == []
    assert "Other programs used 0.70 cores" in made_report(foreign=0.7).remarks()[0]
    assert "had fewer than 5 runs, spread over all rounds: a (indirect, 1 thread) 3" in made_report(runs=5).remarks()[0]
    assert "outputs mean nothing" in made_report(twins=True).remarks()[0]
    several = made_report((timing("a", "indirect", (1.0,) * 3, threads=4),)).remarks()
    assert several[0] == "There are fewer cores (2) than threads (4)."
    assert "use one thread" in several[1]
    other = timing("b", "indirect", (1.0,) * 3, input_shape=(1, 3))
    assert "inputs differ" in made_report((made_report().timings[0], other)).remarks()[0]


def test_this_machine():
    found = this_machine()
    assert found.cpu
    assert set(found.versions) >= {"python", "tensorflow", *available_engines()}
    assert found.versions["bitat_tf"] == bitat_tf.__version__


def test_turns_spread_those_who_have_few():
    order = turns([12, 3, 12, 12])
    assert Counter(order) == {0: 12, 1: 3, 2: 12, 3: 12}
    places = [place for place, one in enumerate(order) if one == 1]
    thirds = [place * 3 // len(order) for place in places]
    assert thirds == [0, 1, 2]
    rest = [one for one in order if one != 1]
    assert all(sorted(rest[start : start + 3]) == [0, 2, 3] for start in range(0, 36, 3))
    assert len(set(pairwise(rest))) > 3
    assert turns([]) == []


@pytest.mark.slow
def test_slow_ones_have_three_runs(folder):
    report = benchmark((folder / "small.tflite").read_bytes(), threads=[1], runs=9, seconds=1e-9)
    assert [len(timing.seconds) for timing in report.timings] == [3] * len(KERNELS)
    assert "fewer than 9 runs" in str(report)
    assert report.name == "file 1"


@needs_lce
@pytest.mark.slow
def test_a_kernel_that_refuses_the_file_is_told(folder):
    report = benchmark(folder / "grouped.tflite", threads=[1], runs=3)
    errors = {timing.label: timing.error for timing in report.timings if timing.error}
    assert set(errors) == {"default", "default, XNNPACK"}
    assert "Grouped binary convolutions are not supported" in errors["default"]
    text = " ".join(str(report).split())
    assert "Failed: grouped.tflite (default, 1 thread): " in text
    values = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert [one["median"] is None for one in values["timings"]] == [label in errors for label in KERNELS]


@pytest.mark.slow
def test_a_float_file_is_measured_by_tensorflow_lite(folder):
    report = benchmark(folder / "float.tflite", [folder / "small.tflite"], threads=[1], runs=3)
    assert [(timing.file, timing.label) for timing in report.timings] == [
        ("float.tflite", TF_LITE),
        ("small.tflite", KERNELS[0]),
    ]
    assert report.ratio(report.timings[0]) == 1.0


def test_nothing_of_the_process_reaches_the_user(folder, capfd, recwarn):
    benchmark(folder / "float.tflite", threads=[1], runs=3)
    written = capfd.readouterr()
    assert written.out == ""
    assert "deprecated" not in written.err
    assert not [warning for warning in recwarn if "deprecated" in str(warning.message)]


@pytest.mark.slow
def test_files_of_one_name_are_told_apart(folder, tmp_path):
    content = (folder / "float.tflite").read_bytes()
    (tmp_path / "float.tflite").write_bytes(content)
    files = [folder / "float.tflite", tmp_path / "float.tflite", content, tmp_path / "float.tflite"]
    report = benchmark(files[0], files[1:], threads=[1], runs=3)
    expected = [str(files[0]), str(files[1]), "file 3", f"{files[1]} (4)"]
    assert [timing.file for timing in report.timings] == expected


def with_unknown_operator(content):
    model = parse(content)
    for code in model.operatorCodes:
        code.customCode = b"LceUnknown" if code.customCode == b"LceBconv2d" else code.customCode
    return model


@pytest.mark.slow
def test_a_file_that_no_kernel_runs(folder):
    model = with_unknown_operator((folder / "small.tflite").read_bytes())
    with pytest.raises(ValueError, match=r"benchmark: no interpreter can run file 1 \(.*LceUnknown.*Expected a file of"):
        benchmark(sealed(model, {}), threads=[1], runs=3)
    with pytest.raises(ValueError, match="no interpreter can run any_size.tflite .*size of its input is not fixed"):
        benchmark(folder / "any_size.tflite", threads=[1], runs=3)


def test_a_crash_is_an_error(folder, monkeypatch, tmp_path):
    program = "import os, sys\nsys.stdout.write('1 TensorFlow Lite\\n')\nsys.stdout.flush()\nos.abort()\n"
    (tmp_path / "crash.py").write_text(program)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(benchmarking, "_CHILD", "crash")
    message = (
        "could not be timed: .*ended .*, while TensorFlow Lite prepared float.tflite. Received: small.tflite, float.tflite"
    )
    with pytest.raises(ValueError, match=message):
        benchmark(folder / "small.tflite", [folder / "float.tflite"], threads=[1], runs=3)


def test_a_process_without_end_is_an_error(folder):
    with pytest.raises(ValueError, match="benchmark: the files could not be timed: it came to no end within 0 s"):
        benchmark(folder / "small.tflite", threads=[1], runs=3, timeout=0.01)


def test_damaged_files(folder, tmp_path):
    whole = (folder / "small.tflite").read_bytes()
    (tmp_path / "text.txt").write_text("no network")
    with pytest.raises(ValueError, match="benchmark: .*text.txt: expected the content of a .tflite file, which has TFL3"):
        benchmark(folder / "small.tflite", [tmp_path / "text.txt"])
    with pytest.raises(ValueError, match="benchmark: bytes: .*changed or damaged since"):
        benchmark(whole[:200] + bytes([whole[200] ^ 1]) + whole[201:])
    with pytest.raises(ValueError, match="benchmark: the files could not be timed: .*struct.error"):
        benchmark(b"\xff\xff\xff\x7fTFL3" + bytes(100), threads=[1])
    with pytest.raises(FileNotFoundError):
        benchmark(tmp_path / "none.tflite")


def test_errors_of_arguments(folder):
    path = folder / "small.tflite"
    with pytest.raises(ValueError, match="benchmark: `runs` must be a whole number >= 3. Received: runs=2"):
        benchmark(path, runs=2)
    with pytest.raises(ValueError, match="benchmark: `seconds` must be a finite number > 0. Received: seconds=0"):
        benchmark(path, seconds=0)
    for threads in ([], [0], [1, 1], 2, "12", [1.5]):
        with pytest.raises(ValueError, match="benchmark: `threads` must be a list of different whole numbers >= 1"):
            benchmark(path, threads=threads)
    with pytest.raises(TypeError, match="benchmark: `against` must be a list of files. Received: a single str"):
        benchmark(path, str(path))


@pytest.mark.slow
def test_a_model_of_other_inputs(folder):
    model = keras.Sequential([keras.Input((4, 4, 32)), bitat_tf.layers.BinaryConv2D(32, 3)])
    with pytest.raises(ValueError, match=r"`model` must be the model of the file.*inputs \(4, 4, 32\).*inputs \(8, 8, 64\)"):
        benchmark(folder / "small.tflite", model=model, threads=[1], runs=3)


def test_content_without_a_seal(folder):
    content = serialize(parse((folder / "float.tflite").read_bytes()))
    assert np.isfinite(benchmark(content, threads=[1], runs=3).timings[0].median)
