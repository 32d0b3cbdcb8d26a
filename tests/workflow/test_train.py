"""`bitat-tf train`: the whole job in small, resuming, and what it refuses."""

import csv
import json
import shutil
import sys

import keras
import numpy as np
import pytest
from engines import needs_lce
from PIL import Image

import bitat_tf
from bitat_tf import cli
from bitat_tf.callbacks import SequentialBinarization
from bitat_tf.layers import binary_layers
from bitat_tf.tflite_file import run_tflite
from bitat_tf.tflite_file.engines import available_engines
from bitat_tf.workflow import RunFolder, TrainConfig, TrainJob

SMALL = ["--epochs", "2", "--epochs-per-layer", "0.5", "--joint-epochs", "1", "--blocks", "1", "--width", "0.25"]
FILES = [
    "accuracy.png",
    "binary.keras",
    "config.json",
    "float.keras",
    "history.csv",
    "labels.txt",
    "model.tflite",
    "q_ours.png",
    "report.html",
    "report.json",
    "report.md",
]


def call(capsys, *arguments):
    code = cli.main(["train", *map(str, arguments)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.fixture(scope="module")
def finished(pictures, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "run"
    options = ["--image-size", "12", "--batch-size", "8", "--seed", "3", "--tensorboard"]
    assert cli.main(["train", "--data", str(pictures), "--out", str(out), *SMALL, *options]) == 0
    return out


def test_everything_is_there_and_true(finished, pictures):
    assert [path.name for path in sorted(finished.iterdir()) if path.is_file()] == FILES
    report = json.loads((finished / "report.json").read_text())
    assert (finished / "labels.txt").read_text() == "blue sky\ngrass\nrose\n"
    assert (report["train_images"], report["validation_images"], report["test_images"]) == (42, 6, 12)
    assert report["settings"]["seed"] == 3
    assert report["export"]["fused_binary"] == report["export"]["expected_binary"] == 2
    # The numbers are those of the files: accuracy measured again, from the pictures.
    from bitat_tf.data import load_folder

    data = load_folder(pictures, 12, seed=3)
    images = data.test_images.astype(np.float32)
    for name, key in (("float", "float_accuracy"), ("binary", "binary_accuracy")):
        model = keras.models.load_model(finished / f"{name}.keras", compile=False)
        expected = np.mean(model.predict(images, verbose=0).argmax(axis=1) == data.test_labels)
        assert report[key] == pytest.approx(expected)
    outputs = run_tflite((finished / "model.tflite").read_bytes(), images)
    assert report["export"]["accuracy"] == pytest.approx(np.mean(outputs.argmax(axis=1) == data.test_labels))
    assert report["export"]["size"] == (finished / "model.tflite").stat().st_size
    errors = [layer.quantization_errors() for layer in binary_layers(model)]
    assert [row["q_ours"] for row in report["layers"]] == pytest.approx([error.q_ours for error in errors])

    rows = list(csv.DictReader((finished / "history.csv").open()))
    assert [(row["run"], row["epoch"]) for row in rows] == [("float", "0"), ("float", "1"), ("binary", "0"), ("binary", "1")]
    assert [row["stage"] for row in rows] == ["", "", "2", "2"]
    assert all(float(row["q_rel"]) > 0 for row in rows[2:])
    text = (finished / "report.md").read_text()
    assert f"{report['float_accuracy']:.2%}" in text
    assert "| LceBconv2d | 2 |" in text
    assert {path.name for path in (finished / "tensorboard" / "binary").iterdir()} == {"binarization", "train", "validation"}
    assert {path.name for path in (finished / "tensorboard" / "float").iterdir()} == {"train", "validation"}
    page = (finished / "report.html").read_text()
    assert f"{report['float_accuracy']:.2%}" in page
    assert report["times"]["text"] in page
    for name in ("accuracy.png", "q_ours.png"):
        assert np.asarray(Image.open(finished / name).convert("L")).std() > 5  # something is drawn


def test_the_time_of_a_picture_ends_the_run(finished):
    report = json.loads((finished / "report.json").read_text())
    times = report["times"]
    assert tuple(times["engines"]) == available_engines()
    assert all(0 < one["seconds"] < 1 for one in times["engines"].values())
    assert times["text"] in (finished / "report.md").read_text()


@needs_lce
def test_a_run_without_bitat_runtime_ends_as_well(finished, tmp_path, monkeypatch, capsys):
    """It says how to install it; all else was written before."""
    monkeypatch.setitem(sys.modules, "bitat_runtime", None)
    out = tmp_path / "run"
    shutil.copytree(finished, out)
    (out / "report.json").unlink()
    code, printed, error = call(capsys, "--out", out, "--resume")
    assert (code, error) == (0, "")
    line = next(line for line in printed.splitlines() if line.startswith("Time per picture: "))
    assert line.endswith(". bitat-runtime is not installed: `pip install ./runtime` in a checkout of bitat_tf.")
    assert json.loads((out / "report.json").read_text())["times"]["text"] == line


def test_a_crash_while_the_time_is_measured_leaves_a_finished_run(finished, tmp_path, monkeypatch):
    def crash(path):
        raise KeyboardInterrupt  # what stops a program at once

    out = tmp_path / "run"
    shutil.copytree(finished, out)
    (out / "report.json").unlink()
    monkeypatch.setattr("bitat_tf.workflow.job.engine_times", crash)
    assert cli.main(["train", "--out", str(out), "--resume"]) == 130
    assert RunFolder(out).finished
    assert "times" not in json.loads((out / "report.json").read_text())
    assert "LceBconv2d" in (out / "report.md").read_text()


def test_a_folder_that_holds_a_run_is_left_alone(finished, pictures, capsys):
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*")}
    code, _, error = call(capsys, "--data", pictures, "--out", finished, *SMALL)
    assert code == 2
    assert "already holds a run. Nothing was changed. Pass --resume to continue that run, --overwrite to replace" in error
    assert {path: path.stat().st_mtime_ns for path in finished.rglob("*")} == before
    code, out, _ = call(capsys, "--out", finished, "--resume")
    assert code == 0
    assert "is finished" in out
    assert {path: path.stat().st_mtime_ns for path in finished.rglob("*")} == before


def test_overwrite_replaces_the_runs_own_files_only(tmp_path):
    folder = RunFolder(tmp_path / "run")
    with folder:
        folder.begin(TrainConfig())
    (folder.path / "notes.txt").write_text("mine")
    (folder.path / "binary.keras").write_text("old")
    (folder.path / "checkpoints" / "float").mkdir(parents=True)
    with pytest.raises(FileExistsError, match="already holds a run"):
        folder.begin(TrainConfig())
    with folder:
        folder.begin(TrainConfig(), overwrite=True)
    assert sorted(path.name for path in folder.path.iterdir()) == ["config.json", "logs", "notes.txt"]


def test_files_that_are_not_of_a_run_are_never_touched(tmp_path, capsys):
    for name in ("labels.txt", "binary.keras", "logs/a.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("mine")
    code, _, error = call(capsys, "--out", tmp_path, "--overwrite")
    assert code == 2
    assert "holds files that are not of a run. Nothing was changed" in error
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == ["a.txt", "binary.keras", "labels.txt"]


def test_a_mistake_in_the_options_destroys_nothing_and_leaves_nothing(finished, tmp_path, pictures, capsys):
    before = sorted(finished.rglob("*"))
    for wrong, message in [
        (["--data", "nowhere"], "there is no directory"),
        (["--data", pictures, "--epochs-per-layer", "0.01"], "shorter than one of the"),
        (["--data", pictures, "--subset", "1000"], "`subset` must lie between"),
    ]:
        code, _, error = call(capsys, "--out", finished, "--overwrite", *wrong)
        assert code == 2
        assert message in error
        assert sorted(finished.rglob("*")) == before
        assert call(capsys, "--out", tmp_path / "new", *wrong)[0] == 2
        assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("where", [pytest.param("float", marks=pytest.mark.slow), "binary"])
def test_an_interrupted_run_is_resumed(where, pictures, tmp_path, monkeypatch, capsys):
    class Interrupt(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            binary = any(layer.state == "binary" for layer in binary_layers(self.model))
            if epoch == 1 and binary == (where == "binary"):
                raise KeyboardInterrupt

    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        fit = keras.Model.fit
        patch.setattr(
            keras.Model, "fit", lambda self, *a, callbacks, **k: fit(self, *a, callbacks=[*callbacks, Interrupt()], **k)
        )
        code, _, error = call(capsys, "--data", pictures, "--out", out, *SMALL, "--image-size", "12", "--batch-size", "8")
    assert code == 130
    assert f"train --out {out} --resume` continues" in error
    assert (out / "float.keras").exists() == (where == "binary")
    code, _, error = call(capsys, "--out", out, "--resume", "--width", "0.5")
    assert code == 2
    assert "width is 0.25, received 0.5. Leave these options out" in error
    code, _, _ = call(capsys, "--out", out, "--resume")
    assert code == 0
    rows = list(csv.DictReader((out / "history.csv").open()))
    assert [(row["run"], row["epoch"]) for row in rows] == [("float", "0"), ("float", "1"), ("binary", "0"), ("binary", "1")]
    report = json.loads((out / "report.json").read_text())
    assert all(seconds > 0 for seconds in report["seconds"].values())  # of both parts, before and after
    assert not (out / "checkpoints").exists()


@pytest.mark.slow
def test_the_same_seed_gives_the_same_network(pictures, tmp_path):
    config = TrainConfig.for_data(
        str(pictures), epochs=1, epochs_per_layer=0.5, joint_epochs=0, blocks=1, width=0.25, image_size=12, batch_size=8
    )
    models = []
    for name in ("a", "b"):
        folder = RunFolder(tmp_path / name)
        folder.begin(config)
        TrainJob(config).run(folder)
        models.append(keras.models.load_model(folder.binary_model))
    for first, second in zip(*(model.get_weights() for model in models), strict=True):
        np.testing.assert_allclose(first, second, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_distillation_follows_the_teacher_and_resumes_under_it(pictures, tmp_path, monkeypatch, capsys):
    options = ["--data", pictures, *SMALL, "--image-size", "12", "--batch-size", "8", "--distillation", "1"]
    whole, out = tmp_path / "whole", tmp_path / "run"
    assert call(capsys, "--out", whole, *options)[0] == 0
    config = json.loads((whole / "config.json").read_text())["settings"]
    assert config["distillation"] == 1.0
    log = list(csv.DictReader((whole / "logs" / "binary.csv").open()))
    for row in log:  # of a teacher alone the loss is the divergence, and the disentangled loss of a layer
        assert 0 < float(row["distillation_loss"]) <= float(row["loss"]) + 1e-4
    assert "distillation_loss" in (whole / "history.csv").read_text().splitlines()[0]

    original = SequentialBinarization.on_epoch_end

    def stop(self, epoch, logs=None):
        original(self, epoch, logs)
        if epoch == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(SequentialBinarization, "on_epoch_end", stop)
    assert call(capsys, "--out", out, *options)[0] != 0
    monkeypatch.undo()
    assert call(capsys, "--out", out, "--resume")[0] == 0
    model = keras.models.load_model(out / "binary.keras", compile=False)
    assert [layer.state for layer in binary_layers(model)] == ["binary"] * 2
    assert type(model) is not bitat_tf.Distiller, "the file holds the student"
    log = list(csv.DictReader((out / "logs" / "binary.csv").open()))
    assert all(float(row["distillation_loss"]) > 0 for row in log), "also after the interruption"


@pytest.mark.slow
def test_a_full_disk_while_saving_leaves_no_half_model(pictures, tmp_path, monkeypatch, capsys):
    def full(self, path, *arguments, **options):
        with open(path, "wb") as file:
            file.write(b"half a model")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(keras.Model, "save", full)
    out = tmp_path / "run"
    code, _, error = call(capsys, "--data", pictures, "--out", out, *SMALL, "--image-size", "12", "--batch-size", "8")
    assert code == 2
    assert "could not write" in error
    assert "No space left on device" in error
    assert "float.keras" in error
    left = [path.name for path in out.iterdir() if path.is_file()]
    assert sorted(left) == ["config.json", "labels.txt"]
    # With space again, the run goes on from its last whole epoch.
    monkeypatch.undo()
    assert call(capsys, "--out", out, "--resume")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "nowhere"], "there is no directory"),
        (["--epochs", "0"], "`epochs` must be a finite number >= 1"),
        (["--distillation", "1.5"], "`distillation` must be a finite number >= 0 and <= 1"),
        (["--distillation", "1", "--post-training"], "--distillation: only for a binarization with training"),
        (["--width", "-1"], "`width` must be a finite number > 0"),
        (["--blocks", "14"], "`blocks` must be a finite number >= 1 and <= 13. Received: blocks=14"),
        (["--epochs-per-layer", "0"], "`epochs_per_layer` must be a finite number > 0"),
        (["--overwrite", "--resume"], "Received: both. Pass one of them"),
        (["--resume"], "holds no run"),
        (["--subset", "5", "--image-size", "9"], "--subset, --image-size: only for folders of images"),
    ],
)
def test_errors_of_the_command_line(arguments, message, tmp_path, capsys):
    code, _, error = call(capsys, "--out", tmp_path / "run", *arguments)
    assert code == 2
    assert error.startswith("bitat-tf: ")
    assert message in error
    assert "Traceback" not in error


@pytest.fixture
def with_a_corrupt_one(pictures, tmp_path):
    """Return options for a run on the pictures, one of which is no picture."""
    shutil.copytree(pictures, tmp_path / "pictures")
    (tmp_path / "pictures" / "rose" / "3.png").write_bytes(b"")
    return ["--data", tmp_path / "pictures", *SMALL, "--image-size", "12", "--batch-size", "8"]


def test_corrupt_images_are_named(with_a_corrupt_one, tmp_path, capsys):
    code, _, error = call(capsys, "--out", tmp_path / "run", *with_a_corrupt_one)
    assert code == 2
    assert "1 of 60 images" in error
    assert "rose/3.png: the file is empty" in error


@pytest.mark.slow
def test_corrupt_images_are_skipped_if_asked(with_a_corrupt_one, tmp_path, capsys):
    code, _, _ = call(capsys, "--out", tmp_path / "run", *with_a_corrupt_one, "--skip-corrupt")
    assert code == 0
    assert json.loads((tmp_path / "run" / "report.json").read_text())["skipped_images"] == ["rose/3.png"]
    assert "skipped images: rose/3.png" in (tmp_path / "run" / "report.md").read_text()


def test_runs_of_another_version_and_damaged_ones(tmp_path, capsys):
    for content, message in [("{}", "is of another version"), ("{", "is damaged"), ("[1]", "is of another version")]:
        (tmp_path / "config.json").write_text(content)
        code, _, error = call(capsys, "--out", tmp_path, "--resume")
        assert code == 2
        assert message in error


def test_runs_from_before_there_was_a_second_command_are_resumed(finished, tmp_path, capsys):
    shutil.copytree(finished, tmp_path / "run")
    config = json.loads((finished / "config.json").read_text())
    assert config.pop("command") == "train"
    (tmp_path / "run" / "config.json").write_text(json.dumps(config))
    code, out, _ = call(capsys, "--out", tmp_path / "run", "--resume")
    assert code == 0
    assert "is finished" in out


def test_a_network_that_would_not_be_binary_is_refused_before_training(tmp_path, monkeypatch, capsys):
    def broken(shape, classes, **options):
        layers = [keras.layers.Conv2D(32, 3), bitat_tf.layers.BinaryConv2D(32, 3, kernel_quantizer="ste_tern", name="ternary")]
        return keras.Sequential([keras.Input(shape), *layers, keras.layers.Flatten(), keras.layers.Dense(classes)])

    monkeypatch.setattr("bitat_tf.workflow.train.ReActNet", broken)
    code, _, error = call(capsys, "--out", tmp_path / "run")
    assert code == 2
    assert "the network would not be binary on the device" in error
    assert "ternary: " in error
    assert not (tmp_path / "run").exists()


def test_help_reads_well(capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["train", "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80
    for option in ("--data", "--out", "--epochs", "--width", "--seed", "--subset", "--resume", "--overwrite"):
        assert option in text
    assert SequentialBinarization.__name__ not in text  # words of a user, not of the code
