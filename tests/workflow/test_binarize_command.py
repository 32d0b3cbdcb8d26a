"""`bitat-tf binarize`: a trained network of the user's own becomes a verified binary one, in small."""

import csv
import json
import os
import re
import shutil

import keras
import numpy as np
import pytest

from bitat_tf import cli
from bitat_tf.cli.options import build_parser
from bitat_tf.data import load_digits, load_folder
from bitat_tf.inspection import check, rules
from bitat_tf.layers import RPReLU, binary_layers
from bitat_tf.tflite_file import run_tflite
from bitat_tf.workflow import BinarizeConfig, TrainConfig
from bitat_tf.workflow.binarize import LoadedNetwork

SHORT = ["--epochs-per-layer", "0.5", "--joint-epochs", "1"]


@pytest.fixture(scope="module")
def finished(digits_model, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "run"
    arguments = ["binarize", str(digits_model), "--data", "digits", "--out", str(out), "--pixels", "0..1", *SHORT]
    assert cli.main(arguments) == 0
    return out


def test_everything_is_there_and_true(finished, digits_model):
    files = ["accuracy.png", "binary.keras", "config.json", "float.keras", "history.csv", "labels.txt", "model.tflite"]
    files += ["q_ours.png", "report.html", "report.json", "report.md", "source.keras"]
    assert [path.name for path in sorted(finished.iterdir()) if path.is_file()] == files
    report = json.loads((finished / "report.json").read_text())
    data = load_digits()
    images = data.test_images.astype(np.float32)

    def accuracy(outputs):
        return pytest.approx(np.mean(outputs.argmax(axis=1) == data.test_labels))

    # The float network of the run computes what the user's does, and takes raw pixels; so does the file.
    trained, floating = (keras.models.load_model(path, compile=False) for path in (digits_model, finished / "float.keras"))
    expected = trained.predict(images / 255, verbose=0)
    np.testing.assert_allclose(floating.predict(images, verbose=0), expected, rtol=1e-3, atol=1e-4)
    assert report["float_accuracy"] == report["source"]["accuracy"] == accuracy(expected)
    assert report["float_accuracy"] > 0.8
    binary = keras.models.load_model(finished / "binary.keras")
    assert binary.loss.get_config()["from_logits"]
    assert [layer.name for layer in binary_layers(binary)] == ["conv_1", "conv_2"]
    assert report["binary_accuracy"] == accuracy(binary.predict(images, verbose=0))
    assert report["export"]["accuracy"] == accuracy(run_tflite((finished / "model.tflite").read_bytes(), images))
    assert report["export"]["fused_binary"] == report["export"]["expected_binary"] == 2
    assert report["outputs"] == "logits"
    rows = list(csv.DictReader((finished / "history.csv").open()))
    assert [(row["run"], row["epoch"]) for row in rows] == [("binary", "0"), ("binary", "1")]


def test_plan_and_check_stand_in_the_report(finished):
    report, text = json.loads((finished / "report.json").read_text()), (finished / "report.md").read_text()
    plan = {layer["layer"]: layer for layer in report["source"]["plan"]}
    assert {name: layer["action"] for name, layer in plan.items()} == {
        "stem": "float",
        "conv_1": "binary",
        "conv_2": "binary",
        "top": "float",
    }
    assert plan["stem"]["cure"] == "Pass --first-and-last to make it binary all the same."
    assert report["source"]["check"]["ok"] is True
    assert report["source"]["warnings"] == []
    assert "2 layers: conv_1, conv_2. 2 of 4 convolutions and dense layers will run in a binary kernel." in text
    assert "| stem | Conv2D | the first layer of the network" in text
    assert "`digits.keras`, made binary layer by layer: 2 binary layers." in text
    assert "pixels from 0 to 255 as float32 (the scaling to 0..1, which the model was trained with, is inside of it)" in text
    assert "its outputs are logits" in text


@pytest.mark.slow
def test_a_softmax_network_without_training(digits_model, untrained, tmp_path, call):
    logits = keras.models.load_model(digits_model, compile=False)
    scaled = keras.layers.Rescaling(1 / 255)(inputs := keras.Input((8, 8, 1)))
    path = untrained(keras.Model(inputs, keras.layers.Softmax()(logits(scaled))))
    out = tmp_path / "run"
    options = ["--post-training", "--calibration", "300", "--skip", "conv_2", "--skip", "nothing_*", "--activation", "rprelu"]
    code, _, error = call("binarize", path, "--data", "digits", "--out", out, *options)
    assert code == 2
    assert "no convolution or dense layer of the model has: 'nothing_*'" in error
    assert not out.exists()
    del options[5:7]
    code, printed, _ = call("binarize", path, "--data", "digits", "--out", out, *options)
    assert code == 0
    assert "network/conv_2" in printed
    assert "skipped, as you asked" in printed
    assert "bitat_tf.binarize" not in printed
    assert "WARNING" not in printed
    report = json.loads((out / "report.json").read_text())
    # `check` would advise to make conv_2 binary by bitat_tf.binarize, which the user has just said not to do.
    assert rules.NOT_YET_BINARY not in {finding["rule"] for finding in report["source"]["check"]["findings"]}
    assert report["outputs"] == "probabilities"
    assert report["source"]["pixels"] == "0..255"
    binary = keras.models.load_model(out / "binary.keras")
    assert not binary.loss.get_config()["from_logits"]
    assert [layer.name for layer in binary_layers(binary)] == ["conv_1"]
    assert any(isinstance(layer, RPReLU) for layer in binary._flatten_layers())
    outputs = run_tflite((out / "model.tflite").read_bytes(), load_digits().test_images[:5].astype(np.float32))
    np.testing.assert_allclose(outputs.sum(axis=1), 1, atol=1e-5)
    text = (out / "report.md").read_text()
    assert "its outputs are probabilities" in text
    assert not (out / "accuracy.png").exists()  # nothing was trained: no curve
    assert "accuracy.png" not in text


@pytest.mark.slow
def test_pictures_in_folders_shortcuts_and_frozen_layers(pictures, build_network, untrained, tmp_path, call):
    data = load_folder(pictures, 12)
    model = build_network((12, 12, 3), 3, "softmax")
    model.compile(keras.optimizers.Adam(3e-3), "sparse_categorical_crossentropy")
    model.fit(data.train_images / np.float32(127.5) - 1, data.train_labels, epochs=8, batch_size=8, verbose=0)
    model.get_layer("conv_1").trainable = False
    out = tmp_path / "run"
    options = ["--pixels", "-1..1", "--shortcuts", "--epochs", "1", "--batch-size", "8", *SHORT]
    code, printed, _ = call("binarize", untrained(model), "--data", pictures, "--out", out, *options)
    assert code == 0
    report = json.loads((out / "report.json").read_text())
    assert report["image_shape"] == [12, 12, 3]
    assert report["source"]["accuracy"] > 0.9
    assert report["source"]["accuracy"] == pytest.approx(
        np.mean(model.predict(data.test_images / np.float32(127.5) - 1, verbose=0).argmax(axis=1) == data.test_labels)
    )
    assert (out / "labels.txt").read_text() == "blue sky\ngrass\nrose\n"
    rows = list(csv.DictReader((out / "history.csv").open()))
    assert [row["run"] for row in rows] == ["float", "binary", "binary"]
    assert "frozen (trainable=False) are trained now, since binary weights have to find their place: conv_1." in printed
    assert all(layer.trainable for layer in binary_layers(keras.models.load_model(out / "binary.keras")))
    text = (out / "report.md").read_text()
    assert "**Warning:** layers that were frozen" in text
    assert "trained for 1 more epoch in float" in text
    assert "| float, as it came |" in text
    assert "conv_2 (shortcut: identity" in text


def test_cures_of_the_plan_are_options_of_the_command(untrained, tmp_path):
    inputs = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(8, 3, name="first")(inputs)
    x = keras.layers.SeparableConv2D(8, 3, name="separable")(keras.layers.DepthwiseConv2D(3, name="depthwise")(x))
    x = keras.layers.Conv2D(8, 1, name="skipped")(keras.layers.Conv2D(8, 1, name="middle")(x))
    model = keras.Model(inputs, keras.layers.Dense(10, name="last")(keras.layers.Flatten()(x)))
    path = untrained(model)
    plan = LoadedNetwork(BinarizeConfig.for_data("digits", model=str(path), skip=["skipped"]), path).plan
    assert [layer.layer for layer in plan.kept_float] == ["first", "depthwise", "separable", "skipped", "last"]
    cures = {layer.layer: layer.cure for layer in plan.kept_float}
    for layer in plan.layers:
        assert not re.search(r"=|to binarize|_and_|'|`", layer.cure), layer.cure
        assert "`" not in layer.reason
    assert cures["first"] == cures["last"] == "Pass --first-and-last to make it binary all the same."
    assert cures["depthwise"] == "Pass --depthwise expand for a full convolution."
    assert cures["separable"] == "Pass --depthwise expand for a full convolution and a binary 1x1 one."
    # What the cures name is what the command takes.
    options = {option for cure in cures.values() for option in re.findall(r"--[a-z-]+(?: expand)?", cure)}
    for option in options:
        parsed = build_parser().parse_args(["binarize", str(path), "--out", "run", *option.split()])
        assert vars(parsed)[option.split()[0][2:].replace("-", "_")] in (True, "expand")


def test_a_model_near_chance_and_a_scaling_that_fits_better_are_noticed(digits_model, tmp_path, capsys):
    def warnings_of(path, pixels):
        source = LoadedNetwork(BinarizeConfig.for_data("digits", model=str(path), pixels=pixels), path)
        images = source.load_images()
        report = check(source.build(images))
        capsys.readouterr()
        labels = images.test_labels
        source.introduce(report, lambda model: np.mean(model.predict(images.test_images, verbose=0).argmax(axis=1) == labels))
        printed = capsys.readouterr().out
        assert all(f"WARNING {text}" in printed for text in source.facts()["warnings"])
        return source.facts()["warnings"]

    assert warnings_of(digits_model, "0..1") == []
    (scaling,) = warnings_of(digits_model, "0..255")
    assert "--pixels 0..255 (the default): of 256 training images at most, the model recognizes" in scaling
    assert "with --pixels 0..1" in scaling
    shifted = keras.models.load_model(digits_model, compile=False)
    shifted.get_layer("top").set_weights([weights[..., ::-1] for weights in shifted.get_layer("top").get_weights()])
    shifted.save(tmp_path / "shifted.keras")  # its classes are in another order
    (chance,) = warnings_of(tmp_path / "shifted.keras", "0..1")
    assert "the model as it came has an accuracy of" in chance
    assert "chance is 10.0%" in chance
    assert "--pixels (received 0..1; what was it trained on?), or another order of the classes" in chance


@pytest.mark.slow
def test_an_interrupted_run_needs_its_model_no_more(digits_model, tmp_path, monkeypatch, call):
    class Interrupt(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                raise KeyboardInterrupt

    model, out = tmp_path / "mine.keras", tmp_path / "run"
    shutil.copy(digits_model, model)
    monkeypatch.chdir(tmp_path)
    with monkeypatch.context() as patch:
        fit = keras.Model.fit
        patch.setattr(
            keras.Model, "fit", lambda self, *a, callbacks, **k: fit(self, *a, callbacks=[*callbacks, Interrupt()], **k)
        )
        code, _, error = call(
            "binarize", "mine.keras", "--data", "digits", "--out", "run", "--pixels", "0..1", "--skip", "conv_2", *SHORT
        )
    assert code == 130
    assert "`bitat-tf binarize --out run --resume` continues" in error
    config = json.loads((out / "config.json").read_text())
    assert config["command"] == "binarize"
    assert config["settings"]["model"] == str(model)
    for arguments, message in [
        (
            ["train"],
            f"was made by `bitat-tf binarize`. Received: `bitat-tf train`. Continue it with `bitat-tf binarize --out {out}",
        ),
        (["binarize", "--pixels", "-1..1"], "pixels is '0..1', received '-1..1'"),
        (["binarize", "--skip", "conv_1"], "skip is ['conv_2'], received ['conv_1']"),
        (["binarize", tmp_path / "none.keras"], "Leave the model out: the run has a copy of it"),
    ]:
        code, _, error = call(*arguments, "--out", out, "--resume")
        assert code == 2
        assert message in error
    model.write_bytes(model.read_bytes() + b" ")
    code, _, error = call("binarize", model, "--out", out, "--resume")
    assert code == 2
    assert "is another model than the one that the run was begun with" in error
    model.unlink()
    code, _, _ = call("binarize", digits_model, "--skip", "conv_2", "--out", out, "--resume")  # the same file elsewhere
    assert code == 0
    rows = list(csv.DictReader((out / "history.csv").open()))
    assert [(row["run"], row["epoch"]) for row in rows] == [("binary", "0"), ("binary", "1")]
    code, printed, _ = call("binarize", "--out", out, "--resume")
    assert code == 0
    assert "is finished" in printed


def test_a_damaged_copy_is_noticed(finished, tmp_path, call):
    out = tmp_path / "run"
    shutil.copytree(finished, out)
    (out / "report.json").unlink()
    (out / "source.keras").write_bytes(b"")
    code, _, error = call("binarize", "--out", out, "--resume")
    assert code == 2
    assert "source.keras is not the model that the run was begun with. Start the run anew with --overwrite" in error
    (out / "source.keras").unlink()
    code, _, error = call("binarize", "--out", out, "--resume")
    assert code == 2
    assert "source.keras, is missing" in error


def test_the_users_model_is_never_removed(finished, call):
    before = sorted(finished.rglob("*"))
    arguments = ["binarize", finished / "float.keras", "--data", "digits", "--out", finished]
    code, _, error = call(*arguments)
    assert code == 2
    assert "already holds a run" in error
    code, _, error = call(*arguments, "--overwrite")
    assert code == 2
    assert "no layer of model 'network' can be made binary" in error  # they are binary layers already
    code, _, error = call("binarize", finished / "source.keras", "--data", "digits", "--out", finished, "--overwrite")
    assert code == 2
    assert "--overwrite would remove the model itself" in error
    assert sorted(finished.rglob("*")) == before


def test_settings():
    assert TrainConfig.normalized({"data": "pictures"}) == {"data": os.path.abspath("pictures")}
    assert TrainConfig.normalized({"data": "digits", "test": "digits"}) == {"data": "digits", "test": os.path.abspath("digits")}
    assert BinarizeConfig.for_data("digits", model="m.keras").epochs == 0
    assert BinarizeConfig.for_data("digits", model="m.keras", shortcuts=True).epochs == 5
    config = BinarizeConfig.for_data("pictures", model="m.keras", skip=["a*"], post_training=True)
    assert (config.batch_size, config.calibration, config.skip) == (64, 2048, ("a*",))
    assert BinarizeConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
