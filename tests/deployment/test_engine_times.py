"""Engines that are missing, or refuse the file, in `benchmark` and in the report of a run. Times themselves are not tested."""

import json
import sys

import keras
import pytest
import tensorflow as tf
from engines import needs_both, needs_lce, needs_one, needs_runtime
from written_files import binary_file

from bitat_tf.deployment import benchmark, timing_child
from bitat_tf.deployment.engine_times import EngineTime, EngineTimes, engine_times
from bitat_tf.tflite_file import MissingEngineError
from bitat_tf.tflite_file.content import parse, sealed
from bitat_tf.tflite_file.engines import LCE, RUNTIME, available_engines


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with a file whose first operator is binary, before whose sign nothing rounds, and a float one."""
    folder = tmp_path_factory.mktemp("files")
    (folder / "binary.tflite").write_bytes(binary_file()[0])
    model = keras.Sequential([keras.Input((8, 8, 64)), keras.layers.Conv2D(4, 3)])
    (folder / "float.tflite").write_bytes(tf.lite.TFLiteConverter.from_keras_model(model).convert())
    return folder


@pytest.fixture
def hidden(monkeypatch):
    """Return a function that makes packages look as if they were not installed."""

    def hide(*packages):
        for package in packages:
            monkeypatch.setitem(sys.modules, package, None)

    return hide


@needs_lce
@pytest.mark.slow
def test_without_bitat_runtime_the_report_says_how_to_install_it(folder, hidden):
    hidden("bitat_runtime")
    report = benchmark(folder / "binary.tflite", [folder / "binary.tflite", folder / "float.tflite"], threads=[1], runs=3)
    assert RUNTIME not in [timing.engine for timing in report.timings]
    assert [timing.label for timing in report.timings if timing.file != report.name] == ["indirect", "TensorFlow Lite, XNNPACK"]
    remark = "Not measured: bitat-runtime, which is not installed: `pip install ./runtime` in a checkout of bitat_tf"
    assert any(one.startswith(remark) for one in report.to_dict()["remarks"])
    assert remark in " ".join(str(report).split())


@pytest.mark.slow
def test_a_file_without_binary_operators_needs_neither(folder, hidden):
    hidden("bitat_runtime", "larq_compute_engine")
    report = benchmark(folder / "float.tflite", [folder / "binary.tflite"], threads=[1], runs=3)
    assert (report.timings[0].engine, report.timings[0].error) == ("TensorFlow Lite", "")
    assert "bitat-runtime" not in " ".join(benchmark(folder / "float.tflite", threads=[1], runs=3).remarks())


@pytest.mark.slow
def test_a_file_with_binary_operators_needs_one_of_them(folder, hidden, monkeypatch, tmp_path):
    hidden("bitat_runtime", "larq_compute_engine")
    (tmp_path / "bitat_runtime.py").write_text("raise ImportError('not installed')\n")  # for the other process
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MissingEngineError, match="benchmark runs a file, which needs bitat-runtime. It is not installed: `pip"):
        benchmark(folder / "binary.tflite", threads=[1], runs=3)
    with pytest.raises(MissingEngineError, match="engine_times runs a file, which needs bitat-runtime. It is not installed"):
        engine_times(folder / "binary.tflite")


def unknown_operator(path):
    """Return the content of a file with an operator in it that nothing knows."""
    model = parse(path.read_bytes())
    for code in model.operatorCodes:
        code.customCode = b"LceUnknown" if code.customCode == b"LceBconv2d" else code.customCode
    return sealed(model, {})


@needs_runtime
def test_what_bitat_runtime_refuses_is_told_with_the_operator(folder, tmp_path):
    (tmp_path / "unknown.tflite").write_bytes(unknown_operator(folder / "binary.tflite"))
    candidate = timing_child.Candidate(0, RUNTIME, None, True, 1)
    with pytest.raises(RuntimeError, match="LceUnknown"):
        timing_child.prepare_runtime(candidate, tf, str(tmp_path / "unknown.tflite"))


@needs_one
def test_times_for_the_report_of_a_run(folder, capfd, recwarn):
    times = engine_times(folder / "binary.tflite")
    assert tuple(times.engines) == available_engines()
    assert all(0 < one.seconds < 1 and one.runs >= 3 for one in times.engines.values())
    assert (times.obstacle is None) == (RUNTIME in available_engines())
    values = json.loads(json.dumps(times.to_dict()))
    assert {name: one["seconds"] for name, one in values["engines"].items()} == {
        name: one.seconds for name, one in times.engines.items()
    }
    assert values["text"] == str(times)
    # Interpreters say what they are when they are made: nothing of it between the lines of a run.
    written = capfd.readouterr()
    assert (written.out, written.err) == ("", "")
    assert not [warning for warning in recwarn if "Interpreter" in str(warning.message)]


@needs_lce
@pytest.mark.slow
def test_times_without_bitat_runtime(folder, hidden):
    hidden("bitat_runtime")
    times = engine_times(folder / "binary.tflite")
    assert [*times.engines] == [LCE]
    assert times.engines[LCE].kernel.startswith(("indirect", "default"))
    assert ". bitat-runtime is not installed: `pip install ./runtime` in a checkout of bitat_tf" in str(times)


@needs_runtime
@pytest.mark.slow
def test_times_without_larq_compute_engine(folder, hidden):
    hidden("larq_compute_engine")
    times = engine_times(folder / "binary.tflite")
    assert ([*times.engines], times.obstacle) == ([RUNTIME], None)
    assert "larq" not in str(times)


@needs_both
def test_a_run_does_not_fail_for_one_that_refuses(folder, monkeypatch):
    def delegate(threads):
        raise ValueError("LceBconv2d (node 3): the reason")

    monkeypatch.setattr("bitat_runtime.delegate", delegate)
    times = engine_times(folder / "binary.tflite")
    assert [*times.engines] == [LCE]
    assert str(times).endswith(" bitat-runtime cannot run the file: LceBconv2d (node 3): the reason.")


@needs_one
def test_a_file_that_nothing_can_run(folder, tmp_path):
    (tmp_path / "unknown.tflite").write_bytes(unknown_operator(folder / "binary.tflite"))
    with pytest.raises(ValueError, match=rf"engine_times: {available_engines()[0]} cannot run .*unknown.tflite: "):
        engine_times(tmp_path / "unknown.tflite")


def test_the_sentence():
    engines = {RUNTIME: EngineTime("avx2", 0.0439, 31), LCE: EngineTime("indirect, XNNPACK", 1.25, 3)}
    assert str(EngineTimes(engines, None, 1, "a chip, x86_64")) == (
        "Time per picture: 43.9 ms with bitat-runtime (avx2), 1,250 ms with larq-compute-engine (indirect, XNNPACK); 1 thread, "
        "medians of 3 runs in turns, a chip, x86_64."
    )
