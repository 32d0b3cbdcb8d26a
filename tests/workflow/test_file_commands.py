"""The commands for `.tflite` files: what they write, print and refuse, with their exit codes."""

import json
import sys

import keras
import numpy as np
import pytest
from engines import needs_lce, needs_runtime

import bitat_tf
from bitat_tf.data import load_digits
from bitat_tf.layers import binary_layers
from bitat_tf.tflite_file import read


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Return a folder with a network that was trained on digits of pixels 0..1, binary, and one that is float."""
    folder, data = tmp_path_factory.mktemp("binary"), load_digits()
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 1))
    x = keras.layers.BatchNormalization(momentum=0.8)(keras.layers.Conv2D(32, 3, padding="same", name="stem")(inputs))
    x = bitat_tf.layers.BinaryConv2D(32, 3, padding="same", use_bias=False, name="binary")(x)
    x = bitat_tf.layers.RPReLU(name="rprelu")(keras.layers.BatchNormalization(momentum=0.8)(x))
    model = keras.Model(inputs, keras.layers.Dense(10, "softmax", name="top")(keras.layers.Flatten()(x)), name="digits")
    model.save(folder / "float.keras")
    for layer in binary_layers(model):
        layer.set_binary()
    model.compile(keras.optimizers.Adam(3e-3), keras.losses.SparseCategoricalCrossentropy())
    model.fit(data.train_images / np.float32(255), data.train_labels, epochs=4, verbose=0)
    model.save(folder / "binary.keras")
    return folder


@pytest.fixture(scope="module")
def model(models):
    return models / "binary.keras"


@pytest.fixture(scope="module")
def file(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("exported") / "digits.tflite"
    assert bitat_tf.cli.main(["export", str(model), str(path), "--data", "digits", "--pixels", "0..1"]) == 0
    return path


def test_export_writes_a_verified_file(model, call, tmp_path):
    out = tmp_path / "model.tflite"
    code, printed, error = call("export", model, out, "--data", "digits", "--pixels", "0..1")
    assert (code, error) == (0, "")
    assert "binary kernels  1 of 1 LceBconv2d" in printed
    facts = read(out).facts
    assert facts["classes"] == [str(digit) for digit in range(10)]
    assert (facts["pixels"], facts["int8"], facts["converter"]) == ("0..255", False, "direct")
    code, printed, _ = call("export", model, out, "--data", "digits", "--pixels", "0..1", "--overwrite", "--json")
    report = json.loads(printed)
    assert (code, report["verdict"], report["float_rest"], report["path"]) == (0, "same", None, str(out))
    assert report["accuracy"] > 0.8
    assert report["size"] == out.stat().st_size
    assert [path.name for path in tmp_path.iterdir()] == ["model.tflite"]


def test_export_without_data(model, call, tmp_path):
    code, printed, error = call("export", model, tmp_path / "model.tflite")
    assert (code, error) == (0, "")
    assert "random inputs" in printed
    assert read(tmp_path / "model.tflite").facts["classes"] == []


def test_a_file_of_which_nothing_was_seen_does_not_pass(model, call, tmp_path):
    """A head that has died gives the same for all pictures: the file is written, and `verify` ends with 1."""
    dead, out = keras.models.load_model(model), tmp_path / "dead.tflite"
    dead.get_layer("top").kernel.assign(np.zeros(dead.get_layer("top").kernel.shape))
    dead.save(tmp_path / "dead.keras")
    code, printed, _ = call("export", tmp_path / "dead.keras", out, "--data", "digits", "--pixels", "0..1")
    assert (code, out.exists()) == (0, True)
    assert printed.endswith("No verdict: these data cannot tell whether the file does what the model does.\n")
    code, printed, error = call("verify", tmp_path / "dead.keras", out, "--data", "digits", "--pixels", "0..1", "--json")
    found = json.loads(printed)
    assert (code, error, found["ok"], found["verdict"]) == (1, "", False, "no verdict")
    assert "the same output for all samples" in found["outputs"][0]["reason"]


def test_int8_takes_bytes_and_keeps_the_accuracy(model, call, tmp_path):
    out = tmp_path / "model.tflite"
    options = ["--data", "digits", "--pixels", "0..1", "--int8", "--input-type", "uint8"]
    code, printed, error = call("export", model, out, *options, "--calibration", 128, "--json")
    assert (code, error) == (0, "")
    report = json.loads(printed)
    assert (report["int8"], report["input_type"], report["float_rest"]["int8"]) == (True, "uint8", False)
    # 10 of 360 pictures: 8 bits cost about a percent.
    assert report["accuracy"] > report["float_rest"]["accuracy"] - 0.03
    facts = read(out).facts
    assert (facts["pixels"], facts["int8"], len(facts["classes"])) == ("bytes", True, 10)
    code, printed, error = call("verify", model, out, "--data", "digits", "--pixels", "0..1", "--json")
    found = json.loads(printed)
    assert (code, error, found["verdict"]) == (0, "", "same")
    assert found["inside"]["compared_layers"] == 1
    assert found["outputs"][0]["agreement"] > 0.9
    code, printed, _ = call("export", model, out, *options, "--overwrite")
    assert code == 0
    assert "with float rest" in printed


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--int8"], "--int8 measures ranges on images. Received: no --data"),
        (["--input-type", "uint8"], "--input-type is for files with an int8 rest. Received: no --int8"),
        (["--data", "nowhere"], "nowhere"),
        (["--pixels", "imagenet"], "--pixels imagenet is for pictures of 3 channels"),
    ],
)
def test_export_refuses(options, message, model, call, tmp_path):
    code, printed, error = call("export", model, tmp_path / "model.tflite", *options)
    assert (code, printed) == (2, "")
    assert error.startswith("bitat-tf: ")
    assert message in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_export_replaces_nothing_unasked(models, model, call, tmp_path):
    out = tmp_path / "model.tflite"
    out.write_bytes(b"mine")
    code, _, error = call("export", model, out)
    assert (code, out.read_bytes()) == (2, b"mine")
    assert "is there already. Pass --overwrite to replace it" in error
    # A network that is not binary leaves the old file as it was.
    code, _, error = call("export", models / "float.keras", out, "--overwrite")
    assert (code, out.read_bytes()) == (2, b"mine")
    assert "every binary layer must be binarized" in error
    code, _, error = call("export", model, tmp_path / "model.bin")
    assert code == 2
    assert "must end with .tflite" in error
    assert [path.name for path in tmp_path.iterdir()] == ["model.tflite"]


def test_verify_tells_the_file_of_another_model(models, model, file, call, tmp_path):
    code, printed, error = call("verify", model, file, "--data", "digits", "--pixels", "0..1", "--traced", 2)
    assert (code, error) == (0, "")
    assert "The file does what the model does." in printed
    other = keras.models.load_model(model, compile=False)
    kernel = other.get_layer("stem").kernel
    kernel.assign(kernel[..., ::-1])
    other.save(tmp_path / "other.keras")
    code, printed, error = call("verify", tmp_path / "other.keras", file, "--data", "digits", "--pixels", "0..1")
    assert (code, error) == (1, "")
    assert "The file does something else than the model." in printed


@needs_runtime
def test_verify_and_benchmark_with_bitat_runtime(model, file, call):
    options = ["--data", "digits", "--pixels", "0..1", "--traced", 2, "--engine", "bitat-runtime"]
    code, printed, error = call("verify", model, file, *options)
    assert (code, error) == (0, "")
    assert "ran in          bitat-runtime " in printed
    assert "The file does what the model does." in printed
    code, printed, error = call("benchmark", file, "--runs", 3, "--threads", 1, "--json")
    assert (code, error) == (0, "")
    assert [one["engine"] for one in json.loads(printed)["timings"]].count("bitat-runtime") == 1


@needs_lce
def test_verify_and_benchmark_without_bitat_runtime(model, file, call, monkeypatch):
    monkeypatch.setitem(sys.modules, "bitat_runtime", None)
    code, printed, error = call("verify", model, file, "--engine", "bitat-runtime")
    assert (code, printed) == (2, "")
    message = "bitat-tf: verify: engine='bitat-runtime' needs bitat-runtime, which is not installed: `pip install "
    assert error.startswith(message)
    assert error.count("\n") == 1
    code, printed, error = call("benchmark", file, "--runs", 3, "--threads", 1)
    assert (code, error) == (0, "")
    assert "Not measured: bitat-runtime, which is not installed: `pip install" in " ".join(printed.split())


def test_inspect_prints(file, call):
    code, printed, error = call("inspect", file)
    assert (code, error) == (0, "")
    assert "LceBconv2d" in printed
    code, printed, error = call("inspect", file, "--json")
    assert (code, error) == (0, "")
    content = json.loads(printed)
    assert content == json.loads(json.dumps(bitat_tf.tflite_file.inspect(file).to_dict()))
    assert content["sealed"] is True


def test_benchmark_times_files(file, call):
    code, printed, error = call("benchmark", file, "--runs", 3, "--threads", 1, "--json")
    assert (code, error) == (0, "")
    assert json.loads(printed)


def test_kit_is_a_folder(file, call, tmp_path):
    code, printed, error = call("kit", file, "--out", tmp_path / "kit", "--target", "raspberry_pi")
    assert (code, error) == (0, "")
    assert "No picture was given" in printed
    assert "start with README.md" in printed
    assert (tmp_path / "kit" / "model.tflite").read_bytes() == file.read_bytes()
    assert (tmp_path / "kit" / "labels.txt").read_text() == "".join(f"{digit}\n" for digit in range(10))
    (tmp_path / "names.txt").write_text("one\ntwo\n")
    code, _, error = call("kit", file, "--out", tmp_path / "other", "--labels", tmp_path / "names.txt")
    assert code == 2
    assert "Received" in error
    code, _, error = call("kit", file, "--out", tmp_path / "kit")
    assert code == 2
    assert {path.name for path in tmp_path.iterdir()} == {"kit", "names.txt"}


def test_dump_writes_arrays(file, call, tmp_path):
    code, printed, error = call("dump", file, "--out", tmp_path / "digits", "--json")
    assert (code, error) == (0, "")
    assert json.loads(printed)
    (written,) = tmp_path.iterdir()
    with np.load(written) as arrays:
        assert arrays.files
    code, _, error = call("dump", file, "--out", tmp_path / "digits")
    assert code == 2
    assert "overwrite" in error
    assert call("dump", file, "--out", tmp_path / "digits", "--overwrite")[0] == 0


@pytest.mark.parametrize("kind", ["missing", "empty", "foreign", "damaged", "cut", "folder"])
@pytest.mark.parametrize("command", ["verify", "inspect", "benchmark", "kit", "dump"])
def test_unusable_files_are_one_line(command, kind, model, file, call, tmp_path):
    path, out = tmp_path / "file.tflite", tmp_path / "out"
    content = file.read_bytes()
    if kind == "folder":
        path.mkdir()
    elif kind != "missing":
        damaged = content[:4000] + bytes([content[4000] ^ 1]) + content[4001:]
        path.write_bytes({"empty": b"", "foreign": b"no network at all", "damaged": damaged, "cut": content[:4000]}[kind])
    before = {found.name for found in tmp_path.iterdir()}
    arguments = [command, model, path] if command == "verify" else [command, path]
    code, printed, error = call(*arguments, *(["--out", out] if command in ("kit", "dump") else []))
    assert (code, printed) == (2, "")
    assert error.startswith("bitat-tf: ")
    assert "file.tflite" in error
    assert error.count("\n") == 1
    assert {found.name for found in tmp_path.iterdir()} == before


@pytest.mark.parametrize("command", ["export", "verify"])
@pytest.mark.parametrize("content", [None, b"", b"no model"], ids=["missing", "empty", "foreign"])
def test_unusable_models_are_one_line(command, content, file, call, tmp_path):
    path = tmp_path / "model.keras"
    if content is not None:
        path.write_bytes(content)
    out = file if command == "verify" else tmp_path / "model.tflite"
    code, printed, error = call(command, path, out)
    assert (code, printed) == (2, "")
    assert "model.keras" in error
    assert error.count("\n") == 1
    assert not (tmp_path / "model.tflite").exists()
