"""bitat-runtime in `benchmark` and in the report of a run. Times themselves are not tested."""

import json
import runpy
import sys
from pathlib import Path

import pytest

import bitat_tf
from bitat_tf._keras import keras, tf
from bitat_tf.deployment import _timing_child, benchmark
from bitat_tf.deployment.benchmark_report import LCE, RUNTIME
from bitat_tf.deployment.engine_times import EngineTime, EngineTimes, engine_times
from bitat_tf.tflite_file import _child as tflite_child
from bitat_tf.tflite_file.content import parse, sealed
from bitat_tf.tflite_file.runtime import runtime_obstacle

needs_runtime = pytest.mark.skipif(runtime_obstacle() is not None, reason=f"bitat-runtime {runtime_obstacle()}")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with a file whose first operator is binary, before whose sign nothing rounds, and a float one."""
    folder = tmp_path_factory.mktemp("files")
    layers = [bitat_tf.layers.BinaryConv2D(32, 3), keras.layers.Flatten(), keras.layers.Dense(4)]
    model = keras.Sequential([keras.Input((8, 8, 64)), *layers])
    for layer in bitat_tf.layers.binary_layers(model):
        layer.set_binary()
    bitat_tf.export.to_tflite(model, folder / "binary.tflite")
    model = keras.Sequential([keras.Input((8, 8, 64)), keras.layers.Conv2D(4, 3)])
    (folder / "float.tflite").write_bytes(tf.lite.TFLiteConverter.from_keras_model(model).convert())
    return folder


@pytest.fixture
def hidden(monkeypatch):
    """Let bitat-runtime be not installed."""
    monkeypatch.setitem(sys.modules, "bitat_runtime", None)


@needs_runtime
def test_the_file_under_test_is_run_by_it_with_every_number_of_threads(folder):
    import bitat_runtime

    (folder / "other.tflite").write_bytes((folder / "binary.tflite").read_bytes())
    report = benchmark(folder / "binary.tflite", [folder / "other.tflite", folder / "float.tflite"], runs=3)
    rows = [timing for timing in report.timings if timing.runtime == RUNTIME]
    family = bitat_runtime.kernel_families()[-1]
    assert [(row.file, row.threads, row.kernel) for row in rows] == [("binary.tflite", count, family) for count in (1, 2)]
    assert all(row.label == f"bitat-runtime, {family}" and len(row.seconds) == 3 for row in rows)
    assert all(row.difference < 1e-3 for row in rows)
    assert report.machine.versions["bitat-runtime"] == bitat_runtime.__version__
    # It has its turns among the others.
    assert all(report.order.count(number) == 3 for number in range(len(report.timings)))
    assert rows[0].label in str(report)
    assert "Not measured" not in str(report)
    assert [one["kernel"] for one in json.loads(json.dumps(report.to_dict()))["timings"] if one["runtime"] == RUNTIME]


def test_where_it_is_missing_the_report_says_how_to_install_it(folder, hidden):
    report = benchmark(folder / "binary.tflite", [folder / "float.tflite"], threads=[1], runs=3)
    assert RUNTIME not in [timing.runtime for timing in report.timings]
    remark = "Not measured: bitat-runtime, which is not installed: `pip install bitat-runtime`, or `pip install ./runtime`"
    assert any(one.startswith(remark) for one in report.to_dict()["remarks"])
    assert remark in " ".join(str(report).split())
    # It runs the file under test only, and that has no binary operators.
    assert "bitat-runtime" not in " ".join(benchmark(folder / "float.tflite", threads=[1], runs=3).remarks())


def unknown_operator(path):
    """Return the content of a file with an operator in it that nothing knows."""
    model = parse(path.read_bytes())
    for code in model.operatorCodes:
        code.customCode = b"LceUnknown" if code.customCode == b"LceBconv2d" else code.customCode
    return sealed(model, {})


@needs_runtime
def test_what_it_refuses_is_told_with_the_operator(folder, tmp_path):
    (tmp_path / "unknown.tflite").write_bytes(unknown_operator(folder / "binary.tflite"))
    candidate = _timing_child.Candidate(0, RUNTIME, None, True, 1)
    with pytest.raises(RuntimeError, match="LceUnknown"):
        _timing_child.prepare_runtime(candidate, tf, str(tmp_path / "unknown.tflite"))
    with pytest.raises(ValueError, match=r"no interpreter can run unknown.tflite \(.*LceUnknown"):
        benchmark(tmp_path / "unknown.tflite", threads=[1], runs=3)


@needs_runtime
def test_times_for_the_report_of_a_run(folder, capfd, recwarn):
    times = engine_times(folder / "binary.tflite")
    assert 0 < times.larq.seconds < 1
    assert 0 < times.runtime.seconds < 1
    assert min(times.larq.runs, times.runtime.runs) >= 3
    assert times.obstacle is None
    values = json.loads(json.dumps(times.to_dict()))
    assert values["runtime"]["seconds"] == times.runtime.seconds
    assert values["text"] == str(times)
    # Interpreters say what they are when they are made: nothing of it between the lines of a run.
    written = capfd.readouterr()
    assert (written.out, written.err) == ("", "")
    assert not [warning for warning in recwarn if "Interpreter" in str(warning.message)]


def test_times_without_it(folder, hidden):
    times = engine_times(folder / "binary.tflite")
    assert times.runtime is None
    assert times.larq.kernel.startswith(("indirect", "default"))
    assert str(times).endswith(
        ". bitat-runtime is not installed: `pip install bitat-runtime`, or `pip install ./runtime` in a checkout of bitat_tf."
    )


@needs_runtime
def test_a_run_does_not_fail_for_it(folder, monkeypatch):
    def delegate(threads):
        raise ValueError("LceBconv2d (node 3): the reason")

    monkeypatch.setattr("bitat_runtime.delegate", delegate)
    times = engine_times(folder / "binary.tflite")
    assert times.runtime is None
    assert str(times).endswith(" bitat-runtime cannot run the file: LceBconv2d (node 3): the reason.")


def test_a_file_that_larq_compute_engine_cannot_run(folder, hidden, tmp_path):
    (tmp_path / "unknown.tflite").write_bytes(unknown_operator(folder / "binary.tflite"))
    with pytest.raises(ValueError, match=r"engine_times: larq-compute-engine cannot run .*unknown.tflite: "):
        engine_times(tmp_path / "unknown.tflite")


def test_the_sentence():
    times = EngineTimes(EngineTime("indirect, XNNPACK", 0.0439, 31), EngineTime("avx2", 1.25, 3), None, 1, "a chip, x86_64")
    assert str(times) == (
        "Time per picture: 43.9 ms with larq-compute-engine (indirect, XNNPACK), 1,250 ms with bitat-runtime (avx2); 1 thread, "
        "medians of 3 runs in turns, a chip, x86_64."
    )


def test_names_are_those_of_the_process_that_measures():
    assert (LCE, RUNTIME) == (_timing_child.LCE, _timing_child.RUNTIME)


@pytest.mark.parametrize("path", [_timing_child.__file__, tflite_child.__file__], ids=lambda path: Path(path).stem)
def test_only_the_process_itself_takes_its_arguments_for_folders(path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["bitat-tf", "train", "--data", "digits"])
    monkeypatch.setattr(sys, "path", [*sys.path])
    runpy.run_path(path)
    assert "digits" not in sys.path
