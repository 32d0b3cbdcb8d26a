"""`verify` with each engine: the outputs are those that it gives, and so are the signs inside."""

import json
import subprocess
from pathlib import Path

import pytest
from engines import HAS_LCE, HAS_RUNTIME, needs_both, needs_one
from test_verify import build, flip_a_sign, samples

from bitat_tf.export import inside, to_tflite, verify
from bitat_tf.tflite_file import engines
from bitat_tf.tflite_file.engines import LCE, RUNTIME

EACH = [name for name, here in ((RUNTIME, HAS_RUNTIME), (LCE, HAS_LCE)) if here]


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    path = tmp_path_factory.mktemp("verify") / "model.tflite"
    to_tflite(build(), path, samples(), verify=False)
    return path


@needs_both
def test_both_say_the_same_of_a_file(exported):
    model, x = build(), samples()
    by_runtime, by_lce = (verify(model, exported, x, engine=engine) for engine in (RUNTIME, LCE))
    for report, name in ((by_runtime, RUNTIME), (by_lce, LCE)):
        assert report.ok
        assert (report.engine, report.inside.traced, report.inside.unlike_outputs) == (name, 8, 0)
        assert report.inside.compared_layers == 3
        assert report.ran_in.startswith(f"{name} 0.")
        assert f"ran in          {report.ran_in}" in str(report)
        found = json.loads(json.dumps(report.to_dict()))
        assert (found["engine"], found["ran_in"], found["ok"]) == (name, report.ran_in, True)


@pytest.mark.parametrize("engine", EACH)
def test_the_signs_after_a_change_are_found(engine, exported):
    model = build()
    flip_a_sign(model)
    report = verify(model, exported, samples(), traced=3, engine=engine)
    assert not report.ok
    assert [found.layer for found in report.inside.unexplained] == ["three_conv"] * 3


@needs_one
def test_the_outputs_are_those_of_the_file_as_it_is(exported, monkeypatch):
    """If operators that run as one gave something else than apart, only the outputs of the file as it is would show it."""
    model, content, run = build(), exported.read_bytes(), engines.run
    labels = model.predict(samples(), verbose=0).argmax(axis=1)
    without = verify(model, exported, samples(), labels)

    def run_otherwise(file, inputs, engine):
        outputs, used = run(file, inputs, engine)
        return [output + 0.05 * (file == content) for output in outputs], used

    monkeypatch.setattr(engines, "run", run_otherwise)
    report = verify(model, exported, samples(), labels, traced=3)
    assert (without.outputs[0].agreement, report.outputs[0].agreement) == (1.0, 1.0)
    assert without.outputs[0].largest_difference < 1e-4
    assert report.outputs[0].largest_difference == pytest.approx(0.05, abs=1e-4)
    assert {found.layer for found in report.inside.divergences} == {"outputs"}
    assert (report.inside.unlike_outputs, report.ok) == (3, False)
    assert "The outputs of 3 of these samples were others when the tensors inside were read." in str(report)
    assert "The file does something else than the model." in str(report)


@needs_one
@pytest.mark.slow
def test_tensors_inside_are_held_in_parts(exported, monkeypatch):
    model, runs, run = build(), [], engines.run

    def counted(file, inputs, engine):
        runs.append(len(inputs[0]))
        return run(file, inputs, engine)

    monkeypatch.setattr(engines, "run", counted)
    whole = verify(model, exported, samples(), traced=3)
    monkeypatch.setattr(inside, "_BATCH", 1)
    assert verify(model, exported, samples(), traced=3) == whole
    assert runs == [24, 3, 24, 1, 1, 1]


@pytest.mark.parametrize("engine", EACH)
def test_a_crash_is_an_error(engine, exported, monkeypatch):
    run = subprocess.run

    def crashing(command, **arguments):
        running = '"task": "run"' in Path(arguments["cwd"], "request.json").read_text()
        return run([command[0], "-c", "import os; os.abort()"] if running else command, **arguments)

    monkeypatch.setattr("bitat_tf.tflite_file.running.subprocess.run", crashing)
    with pytest.raises(ValueError, match=rf"verify: {engine}.* could not run .*model\.tflite: the process .* ended by signal"):
        verify(build(), exported, samples(), engine=engine)


def test_engines_that_there_are_not(exported):
    message = "verify: `engine` must be one of 'bitat-runtime', 'larq-compute-engine'. Received: engine='tflite'"
    with pytest.raises(ValueError, match=message):
        verify(build(), exported, engine="tflite")
