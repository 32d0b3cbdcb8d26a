"""A run that is killed and started again ends as one that never was, bit for bit."""

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np
import pytest

RUN = ["--epochs", "2", "--epochs-per-layer", "0.7", "--joint-epochs", "2", "--blocks", "1", "--width", "0.25"]
RUN += ["--batch-size", "64", "--calibration", "64"]
ENVIRONMENT = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"}


def start(out, *before):
    """Start the run, or continue it, in a process of its own; `before` are statements that it executes first."""
    more = ["--resume"] if (out / "config.json").exists() else RUN
    arguments = ["train", "--data", "digits", "--out", str(out), *more]
    code = ";".join(["import sys", "from bitat_tf import cli", *before, f"sys.exit(cli.main({arguments!r}))"])
    return subprocess.Popen([sys.executable, "-c", code], env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def finish(out, *before):
    process = start(out, *before)
    output = process.communicate()[0].decode()
    assert process.returncode == 0, output
    return output


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """Return the folder of a run that nothing happened to, and its seconds."""
    out = tmp_path_factory.mktemp("uninterrupted") / "run"
    started = time.monotonic()
    finish(out)
    return out, time.monotonic() - started


def weights(path):
    return keras.models.load_model(path, compile=False).get_weights()


def assert_same(out: Path, expected: Path):
    for name in ("float.keras", "binary.keras"):
        for weight, other in zip(weights(out / name), weights(expected / name), strict=True):
            np.testing.assert_array_equal(weight, other)
    assert (out / "model.tflite").read_bytes() == (expected / "model.tflite").read_bytes()
    rows, others = (list(csv.DictReader((folder / "history.csv").open())) for folder in (out, expected))
    for row, other in zip(rows, others, strict=True):
        del row["seconds"], other["seconds"]
        assert row == other


def kill_at_random(out, seed, kills, seconds):
    """Kill a run and start it again, each time at a random moment of the time that a whole run takes."""
    for delay in np.random.default_rng(seed).uniform(0, seconds, kills):
        process = start(out)
        try:
            process.communicate(timeout=delay)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.communicate()


@pytest.mark.slow
def test_killed_at_ten_random_moments(uninterrupted, tmp_path):
    folder, seconds = uninterrupted
    kill_at_random(tmp_path / "run", 0, 10, seconds)
    finish(tmp_path / "run")
    assert_same(tmp_path / "run", folder)


@pytest.mark.slow
@pytest.mark.exhaustive
def test_killed_at_ten_more_random_moments(uninterrupted, tmp_path):
    folder, seconds = uninterrupted
    for number in range(5):  # few kills a run: moments that more of them do not reach
        out = tmp_path / str(number)
        kill_at_random(out, 1 + number, 2, seconds)
        finish(out)
        assert_same(out, folder)


KILL = "lambda *arguments, **more: os.kill(os.getpid(), 9)"
MOMENTS = {
    "statistics": "stages.layer_statistics",
    "a backup is written, but not its checksum": "backup.write_text",
    "a network is trained, but not saved": "job.save_model",
    "a network is saved, but not exported": "job.to_tflite",
}


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_at_a_moment_that_is_named(moment, uninterrupted, tmp_path):
    out = tmp_path / "run"
    imports = ["import os", "from bitat_tf.callbacks import backup, stages", "from bitat_tf.workflow import job"]
    process = start(out, *imports, f"{MOMENTS[moment]} = {KILL}")
    output = process.communicate()[0].decode()
    assert process.returncode == -signal.SIGKILL, output
    assert not (out / "report.json").exists()
    finish(out)
    assert_same(out, uninterrupted[0])
