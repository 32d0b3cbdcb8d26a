"""`verify` with bitat-runtime: the outputs are those of the runtime, and so are the tensors inside."""

import json
import sys

import numpy as np
import pytest
from test_verify import build, flip_a_sign, samples

from bitat_tf.export import engines, inside, quantize_rest, to_tflite, verify
from bitat_tf.tflite_file import running
from bitat_tf.tflite_file.runtime import MissingRuntimeError, runtime_obstacle

needs_runtime = pytest.mark.skipif(runtime_obstacle() is not None, reason=f"bitat-runtime {runtime_obstacle()}")


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    path = tmp_path_factory.mktemp("verify") / "model.tflite"
    to_tflite(build(), path, samples())
    return path


@needs_runtime
def test_a_file_of_the_model(exported):
    model, x = build(), samples()
    by_larq, by_runtime = (verify(model, exported, x, engine=engine) for engine in engines.ENGINES)
    assert by_larq.ok
    assert by_runtime.ok
    assert (by_runtime.engine, by_runtime.inside.traced, by_runtime.inside.unlike_outputs) == ("runtime", 8, 0)
    assert by_runtime.inside.compared_layers == by_larq.inside.compared_layers
    assert by_runtime.ran_in.startswith("bitat-runtime ")
    assert f"ran in          {by_runtime.ran_in}" in str(by_runtime)
    assert f"ran in          {by_larq.ran_in}" in str(by_larq)
    found = json.loads(json.dumps(by_runtime.to_dict()))
    assert (found["engine"], found["ran_in"], found["ok"]) == ("runtime", by_runtime.ran_in, True)
    assert json.loads(json.dumps(by_larq.to_dict()))["ran_in"].startswith("larq-compute-engine 0.")


@needs_runtime
def test_a_file_with_an_int8_rest(tmp_path):
    x = samples()
    model = quantize_rest(build(), x, "uint8")
    to_tflite(model, tmp_path / "int8.tflite", x, minimum_agreement=0.1)
    report = verify(model, tmp_path / "int8.tflite", x, traced=4, minimum_agreement=0.1, engine="runtime")
    assert (report.inside.traced, report.inside.unlike_outputs, report.inside.unexplained) == (4, 0, ())
    assert report.ok


@needs_runtime
def test_the_layer_that_was_changed_is_found(exported):
    model = build()
    flip_a_sign(model)
    report = verify(model, exported, samples(), traced=3, engine="runtime")
    assert not report.ok
    assert len(report.inside.unexplained) == 3
    assert {found.layer for found in report.inside.unexplained} == {"three_conv"}


@needs_runtime
def test_the_outputs_are_those_of_the_file_as_it_is(exported, monkeypatch):
    """If operators that run as one gave something else than apart, only the outputs of the file as it is would show it."""
    model, content = build(), exported.read_bytes()
    by_larq = verify(model, exported, samples())

    def run_in_runtime(file, inputs):
        outputs, used = running.run_in_runtime(file, inputs)
        return [output + 0.05 * (file == content) for output in outputs], used

    monkeypatch.setattr(engines, "run_in_runtime", run_in_runtime)
    report = verify(model, exported, samples(), traced=3, engine="runtime")
    assert report.outputs[0].agreement == 1.0
    assert report.outputs[0].largest_difference == pytest.approx(0.05, abs=1e-4)
    assert by_larq.outputs[0].largest_difference < 1e-4
    assert not report.inside.unexplained
    assert (report.inside.unlike_outputs, report.ok) == (3, False)
    assert "The outputs of 3 of these samples were others when the tensors inside were read." in str(report)
    assert "The file does something else than the model." in str(report)


@needs_runtime
def test_tensors_inside_are_held_in_parts(exported, monkeypatch):
    model, runs = build(), []

    def run_in_runtime(file, inputs):
        runs.append(len(inputs))
        return running.run_in_runtime(file, inputs)

    monkeypatch.setattr(engines, "run_in_runtime", run_in_runtime)
    whole = verify(model, exported, samples(), traced=3, engine="runtime")
    monkeypatch.setattr(inside, "_BATCH", 1)
    assert verify(model, exported, samples(), traced=3, engine="runtime") == whole
    assert runs == [24, 3, 24, 1, 1, 1]


@needs_runtime
def test_a_crash_is_an_error(exported, monkeypatch, tmp_path):
    script = tmp_path / "crash.py"
    script.write_text("import os\nos.abort()\n")
    whole = running.in_child

    def in_child(task, content, timeout, **request):
        return whole(task, content, timeout, **request, **({"script": script} if task == "run_in_runtime" else {}))

    monkeypatch.setattr(running, "in_child", in_child)
    with pytest.raises(ValueError, match=r"verify: bitat-runtime could not run .*model.tflite: the process .* ended by signal"):
        verify(build(), exported, samples(), engine="runtime")


def test_without_bitat_runtime_the_error_says_how_to_install_it(exported, monkeypatch):
    monkeypatch.setitem(sys.modules, "bitat_runtime", None)
    with pytest.raises(
        MissingRuntimeError, match=r"verify: engine='runtime' needs bitat-runtime, .*not installed: `pip install"
    ):
        verify(build(), exported, np.zeros((1, 8, 8, 3)), engine="runtime")
    assert issubclass(MissingRuntimeError, ImportError)
    assert verify(build(), exported, samples(), traced=0).ok


def test_engines_that_there_are_not(exported):
    with pytest.raises(ValueError, match="verify: `engine` must be one of 'larq', 'runtime'. Received: engine='tflite'"):
        verify(build(), exported, engine="tflite")
