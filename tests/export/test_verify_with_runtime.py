"""`verify` with bitat-runtime: the outputs are those of the runtime, and so are the tensors inside."""

import json
import sys

import numpy as np
import pytest
from engines import needs_both, needs_lce, needs_runtime
from test_verify import build, flip_a_sign, samples

from bitat_tf.export import quantize_rest, to_tflite, verify
from bitat_tf.tflite_file import MissingEngineError, engines, running
from bitat_tf.tflite_file.engines import LCE, RUNTIME


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    path = tmp_path_factory.mktemp("verify") / "model.tflite"
    to_tflite(build(), path, samples())
    return path


@needs_both
def test_a_file_of_the_model(exported):
    model, x = build(), samples()
    by_larq, by_runtime = verify(model, exported, x, engine=LCE), verify(model, exported, x)
    assert by_larq.ok
    assert by_runtime.ok
    assert (by_runtime.engine, by_runtime.traced, by_runtime.unlike_inside) == (RUNTIME, 8, 0)
    assert by_runtime.compared_layers == by_larq.compared_layers
    assert by_runtime.ran_in.startswith("bitat-runtime ")
    assert f"ran in          {by_runtime.ran_in}" in str(by_runtime)
    assert f"ran in          {by_larq.ran_in}" in str(by_larq)
    found = json.loads(json.dumps(by_runtime.to_dict()))
    assert (found["engine"], found["ran_in"], found["ok"]) == (RUNTIME, by_runtime.ran_in, True)
    assert json.loads(json.dumps(by_larq.to_dict()))["ran_in"].startswith("larq-compute-engine 0.")


@needs_runtime
def test_a_file_with_an_int8_rest(tmp_path):
    x = samples()
    model = quantize_rest(build(), x, "uint8")
    to_tflite(model, tmp_path / "int8.tflite", x, minimum_agreement=0.1)
    report = verify(model, tmp_path / "int8.tflite", x, traced=4, minimum_agreement=0.1, engine=RUNTIME)
    assert (report.traced, report.unlike_inside, report.unexplained) == (4, 0, ())
    assert report.ok


@needs_runtime
def test_the_layer_that_was_changed_is_found(exported):
    model = build()
    flip_a_sign(model)
    report = verify(model, exported, samples(), traced=3, engine=RUNTIME)
    assert not report.ok
    assert len(report.unexplained) == 3
    assert all(parting.layer.startswith("two_") for parting in report.unexplained)


@needs_runtime
def test_the_outputs_are_those_of_the_file_as_it_is(exported, monkeypatch):
    """If operators that run as one gave something else than apart, only the outputs of the file as it is would show it."""
    model, content = build(), exported.read_bytes()
    by_larq = verify(model, exported, samples())

    def run(file, inputs, engine):
        outputs, used = running.run(file, inputs, engine)
        return [output + 0.05 * (file == content) for output in outputs], used

    monkeypatch.setattr(engines, "run", run)
    report = verify(model, exported, samples(), traced=3, engine=RUNTIME)
    assert report.agreement.top1 == 1.0
    assert report.agreement.largest_difference == pytest.approx(0.05, abs=1e-4)
    assert by_larq.agreement.largest_difference < 1e-4
    assert not report.partings
    assert (report.unlike_inside, report.ok) == (3, False)
    assert "The outputs of 3 of these samples were others when the tensors inside were read." in str(report)
    assert "The file does something else than the model." in str(report)


@needs_runtime
def test_tensors_inside_are_held_in_parts(exported, monkeypatch):
    model, runs = build(), []

    def run(file, inputs, engine):
        runs.append(len(inputs[0]))
        return running.run(file, inputs, engine)

    monkeypatch.setattr(engines, "run", run)
    whole = verify(model, exported, samples(), traced=3, engine=RUNTIME)
    monkeypatch.setattr(sys.modules[verify.__module__], "_BATCH", 1)
    assert verify(model, exported, samples(), traced=3, engine=RUNTIME) == whole
    assert runs == [24, 3, 24, 1, 1, 1]


@needs_runtime
def test_a_crash_is_an_error(exported, monkeypatch, tmp_path):
    lines = ["import json, os, sys", "if json.load(open(sys.argv[1]))['task'] == 'run':", "    os.abort()"]
    lines += ["from bitat_tf.tflite_file.child import do, serve", "serve(do)"]
    (tmp_path / "crash.py").write_text("\n".join(lines))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(running, "CHILD", "crash")
    with pytest.raises(ValueError, match=r"verify: bitat-runtime could not run .*model.tflite: the process .* ended by signal"):
        verify(build(), exported, samples(), engine=RUNTIME)


@needs_lce
def test_without_bitat_runtime_it_is_larq_compute_engine(exported, monkeypatch):
    monkeypatch.setitem(sys.modules, "bitat_runtime", None)
    with pytest.raises(
        MissingEngineError, match=r"verify: engine='bitat-runtime' needs bitat-runtime, .*not installed: `pip install"
    ):
        verify(build(), exported, np.zeros((1, 8, 8, 3)), engine=RUNTIME)
    assert issubclass(MissingEngineError, ImportError)
    report = verify(build(), exported, samples(), traced=0)
    assert (report.ok, report.engine) == (True, LCE)


def test_engines_that_there_are_not(exported):
    message = "verify: `engine` must be one of 'bitat-runtime', 'larq-compute-engine'. Received: engine='tflite'"
    with pytest.raises(ValueError, match=message):
        verify(build(), exported, engine="tflite")
