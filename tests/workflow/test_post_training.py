"""`bitat-tf train --post-training`."""

import csv
import json

import keras
import numpy as np
import pytest

from bitat_tf import binarize_post_training, cli
from bitat_tf.data import load_digits, split_validation
from bitat_tf.layers import binary_layers
from bitat_tf.workflow import TrainConfig

OPTIONS = ["--post-training", "--epochs", "2", "--blocks", "1", "--width", "0.25", "--calibration", "200", "--seed", "3"]


@pytest.mark.slow
def test_a_run_without_training_the_binary_network(tmp_path, capsys):
    out = tmp_path / "run"
    assert cli.main(["train", "--out", str(out), *OPTIONS]) == 0
    report = json.loads((out / "report.json").read_text())
    assert report["settings"]["post_training"] is True
    assert report["schedule"] is None
    assert report["export"]["fused_binary"] == report["export"]["expected_binary"] == 2
    assert "made binary without training" in (out / "report.md").read_text()
    with (out / "history.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["run"] for row in rows] == ["float", "float", "binary"]
    assert float(rows[2]["seconds"]) > 0

    # The network is what the function makes of the float one and of training pictures.
    binary = keras.models.load_model(out / "binary.keras")
    assert all(layer.state == "binary" for layer in binary_layers(binary))
    data = load_digits(seed=3)
    train_images = split_validation(data.train_images, data.train_labels, 0.1, 3)[0]
    chosen = np.random.default_rng(3).permutation(len(train_images))[:200]
    expected = binarize_post_training(
        keras.models.load_model(out / "float.keras", compile=False), train_images[chosen].astype(np.float32), seed=3, verbose=0
    )
    for now, then in zip(binary.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_allclose(now, then, atol=1e-5)
    assert [row["q_rel"] < row["q_rel_start"] for row in report["layers"]] == [True, True]

    capsys.readouterr()
    (out / "report.json").unlink()
    (out / "model.tflite").unlink()
    assert cli.main(["train", "--out", str(out), "--resume"]) == 0  # takes the networks from the folder
    assert json.loads((out / "report.json").read_text())["binary_accuracy"] == report["binary_accuracy"]


def test_more_calibration_pictures_without_training():
    assert TrainConfig.for_data(post_training=True).calibration == 2048
    assert TrainConfig.for_data().calibration == 512
    assert TrainConfig.for_data(post_training=True, calibration=7).calibration == 7


def test_options_of_the_trained_binarization_are_refused(tmp_path, capsys):
    out = tmp_path / "run"
    code = cli.main(["train", "--out", str(out), "--post-training", "--joint-epochs", "3", "--freeze", "always"])
    assert code == 2
    assert (
        "--joint-epochs, --freeze: only for a binarization with training. Received: --post-training" in capsys.readouterr().err
    )
    assert not out.exists()
