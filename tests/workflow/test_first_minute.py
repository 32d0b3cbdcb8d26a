"""What a terminal shows of a command: its own lines, and not those of TensorFlow; and how it is stopped. In real processes."""

import math
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest

from bitat_tf.cli import build_parser
from bitat_tf.data import ImageData
from bitat_tf.workflow import RunFolder, TrainConfig
from bitat_tf.workflow.history import EpochLines
from bitat_tf.workflow.opening import few_steps, missing_engine, opening_line

SMALL = ["--epochs", "1", "--epochs-per-layer", "0.5", "--joint-epochs", "2", "--blocks", "1", "--width", "0.25"]
SMALL += ["--batch-size", "8", "--image-size", "12", "--calibration", "32"]
CHATTER = re.compile(r"^[IWEF]0000 |absl|cuda|oneDNN|Assets written|compile_metrics|retracing|tensorflow:", re.MULTILINE)


def start(*arguments, code=None):
    command = [sys.executable, "-m", "bitat_tf.cli", *map(str, arguments)] if code is None else [sys.executable, "-c", code]
    environment = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def finish(process):
    out, err = process.communicate()
    return process.returncode, out, err


@pytest.fixture(scope="module")
def stopped(pictures, tmp_path_factory):
    """Return the folder of a run that SIGTERM has stopped in the binarization, with its exit code and what it wrote."""
    folder = tmp_path_factory.mktemp("a folder")
    data, out = shutil.copytree(pictures, folder / "pictures"), folder / "run"
    (data / "rose" / "broken.png").write_bytes(b"no picture")
    process = start("train", "--data", data, "--out", out, "--skip-corrupt", *SMALL)
    lines = []
    for line in process.stdout:
        lines.append(line)
        if line.startswith("binary epoch 1"):
            process.send_signal(signal.SIGTERM)
            break
    code, rest, err = finish(process)
    return out, code, "".join(lines) + rest, err


@pytest.mark.slow
def test_a_run_opens_with_what_there_is_to_do(stopped):
    _, _, shown, err = stopped
    assert shown.splitlines()[0] == (
        "3 classes of 20 pictures each, 1 skipped, 12x12x3 (the central square of each); "
        "24 training steps (6 float, 18 binary), time left with every epoch"
    ), err
    assert shown.splitlines()[1].startswith("WARNING in phases of 1 step (a layer has two) layers do not find"), shown
    epoch = next(line for line in shown.splitlines() if line.startswith("binary epoch 1/3"))
    assert re.search(r"  \d+:\d\d left$", epoch)


@pytest.mark.slow
def test_sigterm_says_how_it_goes_on_and_it_does_so_without_a_word_of_tensorflow(stopped):
    out, code, shown, err = stopped
    assert (code, err) == (143, f"bitat-tf: stopped. `bitat-tf train --out {shlex.quote(str(out))} --resume` continues.\n")
    before = RunFolder(out).chatter.read_text()
    assert CHATTER.search(before)
    code, more, err = finish(start(*shlex.split(err.split("`")[1])[1:]))
    assert (code, err) == (0, "")
    assert "binary epoch 2/3" in more
    assert "float epoch" not in more
    assert not CHATTER.search(shown + more)
    after = RunFolder(out).chatter.read_text()
    assert after.startswith(before)
    assert CHATTER.search(after[len(before) :])


IMITATION = """
import logging, os, sys, warnings
from bitat_tf import cli
def command(options):
    os.write(2, b"I0000 00:00:1.2 3 file.cc:4] information\\nthat goes on\\nW0000 00:00:1.2 3 file.cc:5] a warning\\n")
    logging.getLogger("tensorflow").warning("of Python")
    warnings.warn("of ours")
    sys.stderr.write("seen\\n")
    {end}
cli._handler = lambda name: command
code = cli.main(["check", "model.keras"])
os.write(2, b"afterwards\\n")
sys.stderr.write(f"stderr is back: {{sys.stderr is sys.__stderr__}}\\n")
sys.exit(code)
"""


@pytest.mark.parametrize(
    ("end", "code", "shown"),
    [
        ("return 0", 0, False),
        ("return 1", 1, False),
        ("raise KeyboardInterrupt", 130, False),
        ("raise ValueError('not this one')", 2, True),
        ("raise RuntimeError('a mistake of ours')", 1, True),
    ],
)
def test_what_native_code_and_loggers_write_is_shown_only_where_a_command_fails(end, code, shown):
    found, _, err = finish(start(code=IMITATION.format(end=end)))
    assert found == code, err
    assert "UserWarning: of ours" in err
    assert "seen\n" in err
    assert "information" not in err
    assert "that goes on" not in err
    assert ("file.cc:5] a warning" in err) == ("WARNING tensorflow: of Python" in err) == shown
    if "RuntimeError" in end:
        assert err.index("of Python") < err.index("Traceback") < err.index("RuntimeError: a mistake of ours")
    else:
        assert err.endswith("afterwards\nstderr is back: True\n")
    assert ("bitat-tf: not this one" in err) == (code == 2)


RUN = """
import os, pathlib, sys
from bitat_tf import cli
def command(options):
    os.write(2, b"before the folder\\n")
    options["chatter"].keep_in(pathlib.Path(options["out"], "logs", "log.txt"))
    os.write(2, b"after it\\n")
    raise ValueError("not this one")
cli._handler = lambda name: command
sys.exit(cli.main(["train", "--out", sys.argv[1]]))
"""


def test_where_a_run_fails_the_file_is_named(tmp_path):
    log = tmp_path / "logs" / "log.txt"
    for number in (1, 2):  # once more: what is there stays
        code, _, err = finish(start(code=f"import sys; sys.argv.append({str(tmp_path)!r}){RUN}"))
        assert (code, err) == (2, f"bitat-tf: not this one\nWhat TensorFlow wrote meanwhile is in {log}.\n")
        assert log.read_text() == "before the folder\nafter it\n" * number


def test_where_stderr_is_somebody_elses_it_is_left_alone(monkeypatch, capfd):
    """Here pytest's; in a notebook that of the cell."""
    from bitat_tf import cli

    streams = []

    def command(options):
        streams.append(sys.stderr)
        os.write(2, b"native\n")
        sys.stderr.write("ours\n")
        return 0

    monkeypatch.setattr(cli, "_handler", lambda name: command)
    before = sys.stderr
    assert cli.main(["check", "model.keras"]) == 0
    assert streams == [before]
    assert sys.stderr is before
    assert sorted(capfd.readouterr().err.splitlines()) == ["native", "ours"]


def test_a_crash_of_native_code_says_where_it_was():
    code, _, err = finish(start(code=IMITATION.format(end="os.abort()")))
    assert code == -signal.SIGABRT
    assert "Fatal Python error: Aborted" in err


@pytest.mark.parametrize("option", ["--version", "--help"])
def test_the_first_answers_need_no_tensorflow(option):
    program = f"""
import sys
from bitat_tf import cli
try:
    cli.main([{option!r}])
except SystemExit as end:
    print(end.code, [name for name in ("tensorflow", "keras", "jax", "sklearn") if name in sys.modules])
"""
    code, out, err = finish(start(code=program))
    assert (code, err) == (0, "")
    assert out.splitlines()[-1] == "0 []"


def test_the_package_is_imported_in_a_moment():
    """Of processor time, so that other programs do not matter; at best of three, since caches may be cold."""
    program = "import time; start = time.process_time(); import bitat_tf; print(time.process_time() - start)"
    assert min(float(finish(start(code=program))[1]) for _ in range(3)) < 0.3


@pytest.mark.parametrize("images", [90, 500, 2400])
@pytest.mark.parametrize("given", [{}, {"joint_epochs": 0.5}, {"batch_size": 7, "joint_epochs": 0.0}])
def test_what_is_advised_for_few_steps_will_do(images, given):
    def advised(config):
        timeline = config.schedule().timeline(["a", "b", "c"], math.ceil(images / config.batch_size))
        return few_steps(config, images, timeline)

    config = TrainConfig.for_data("pictures", **given)
    text = advised(config)
    assert (text is None) == (images >= 500 and "batch_size" in given)
    if text is not None:
        options = vars(build_parser().parse_args(["train", "--out", "x", *text.split("Pass ")[1].rstrip(".").split()]))
        advice = {name: value for name, value in options.items() if name not in ("command", "out")}
        assert advised(replace(config, **advice)) is None


def test_many_classes_are_counted_and_few_named():
    def images(*counts, skipped=()):
        labels = np.repeat(np.arange(len(counts)), counts)
        pictures, names = np.zeros((len(labels), 4, 5, 1), np.uint8), tuple(f"[{number}]" for number in range(len(counts)))
        return ImageData(pictures[1:], labels[1:], pictures[:1], labels[:1], names, skipped)

    assert opening_line(images(3, 5), 0, 0) == "pictures: 3 [0], 5 [1], 4x5x1; no training"
    many = opening_line(images(*range(1000, 1009), skipped=("a", "b")), 0, 12_000)
    assert many.startswith("9 classes of 1,000 to 1,008 pictures, 2 skipped, 4x5x1; 12,000 training steps (12,000 binary), ")


def test_what_will_be_missing_at_the_end_is_said_at_the_start(monkeypatch):
    monkeypatch.setattr("bitat_tf.workflow.opening.available_engines", lambda: ("larq-compute-engine",))
    assert missing_engine() is None
    monkeypatch.setattr("bitat_tf.workflow.opening.available_engines", tuple)
    monkeypatch.setattr("bitat_tf.workflow.opening.engine_obstacle", "is not installed: `pip install {}`".format)
    assert missing_engine() == (
        "the file at the end is run before it is written, which needs bitat-runtime. It is not installed: `pip install "
        "bitat-runtime`. Do so while the training runs; otherwise the run stops after it, and --resume writes the file."
    )


def test_time_left_of_the_first_epoch_is_that_without_the_tracing(monkeypatch, capsys):
    """Four steps, the first of which takes 60 s and each other 2 s; then an epoch of 10 s."""
    clock = [0.0]
    monkeypatch.setattr("bitat_tf.workflow.history.time.monotonic", lambda: clock[0])
    lines = EpochLines("float")
    lines.set_params({"epochs": 3})
    lines.on_train_begin()
    lines.on_epoch_begin(0)
    for seconds in (60, 2, 2, 2):
        clock[0] += seconds
        lines.on_train_batch_end(0)
    lines.on_epoch_end(0, {"loss": 1.0})
    lines.on_epoch_begin(1)
    clock[0] += 10
    lines.on_epoch_end(1, {"loss": 1.0})
    first, second = capsys.readouterr().out.splitlines()
    assert first.endswith("  0:16 left")  # two epochs of 8 s
    assert second.endswith("  0:10 left")


@pytest.mark.slow
@pytest.mark.skipif(find_spec("jax") is None, reason="no JAX")
def test_lines_of_epochs_let_keras_go_on_with_the_next_step():
    """On JAX Keras waits for the logs of a step where a callback looks at every step, unless that says it may be later."""
    program = """
import os
os.environ["KERAS_BACKEND"] = "jax"
import keras
from bitat_tf.workflow.history import EpochLines

class Looks(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        pass

print([not keras.callbacks.CallbackList([callback])._async_train for callback in (EpochLines("float"), Looks())])
"""
    code, out, err = finish(start(code=program))
    assert (code, out) == (0, "[False, True]\n"), err
