"""`bitat-tf experiment` on small pictures: files, figures, resuming, refusals."""

import json

import keras
import numpy as np
import pytest
from PIL import Image

from bitat_tf.analysis import GapMonitor
from bitat_tf.applications import MobileNetV2, ReActNet
from bitat_tf.cli import main
from bitat_tf.workflow.experiments import CrossLayerSettings, GapSettings


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Class folders of 32x32 pictures: dark ones and bright ones."""
    root, generator = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for part, count in (("train", 20), ("test", 6)):
        for name, level in (("bright", 170), ("dark", 60)):
            (root / part / name).mkdir(parents=True)
            for index in range(count):
                pixels = np.clip(generator.normal(level, 30, (32, 32, 3)), 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(root / part / name / f"{index}.png")
    return root


@pytest.fixture(scope="module")
def cross_layer(pictures, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "cross"
    options = ["--data", str(pictures), "--width", "0.1", "--epochs", "1", "--scales", "0", "2", "--repeats", "2"]
    assert main(["experiment", "cross-layer", "--out", str(out), *options, "--calibration", "16", "--batch-size", "8"]) == 0
    return out


@pytest.fixture(scope="module")
def gap(pictures, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "gap"
    options = ["--data", str(pictures), "--epochs", "1", "--width", "0.1", "--blocks", "1", "--repeats", "2"]
    options += ["--batch-size", "8", "--binarization-epochs", "4", "--calibration", "16"]
    assert main(["experiment", "gap", "--out", str(out), *options]) == 0
    return out


@pytest.mark.slow
def test_cross_layer_writes_four_curves_of_every_seed(cross_layer):
    report = json.loads((cross_layer / "report.json").read_text())
    assert len(report["curves"]) == 8
    assert {row["seeds"] for row in report["curves"]} == {2}
    clean = {row["accuracy"] for row in report["curves"] if row["scale"] == 0}
    assert clean == {report["float_accuracy"]}, "scale 0 is the float network, and all 12 test images are used"
    text = (cross_layer / "report.md").read_text()
    assert "top, layer-dependent" in text
    assert "| 2 |" in text
    for name in ("figure.png", "table.csv", "float.keras"):
        assert (cross_layer / name).stat().st_size > 0
    assert not list(cross_layer.glob(".*")), "no temporary files are left"
    assert str(cross_layer.parent) not in text


@pytest.mark.slow
def test_gap_compares_both_ways_from_one_float_network(gap):
    report = json.loads((gap / "report.json").read_text())
    assert [(row["network"], row["seed"]) for row in report["results"]] == [
        ("ReActNet", 0),
        ("BiTAT", 0),
        ("ReActNet", 1),
        ("BiTAT", 1),
    ]
    for row in report["results"]:
        binary = keras.models.load_model(gap / "parts" / f"{row['network']}_{row['seed']}.keras", compile=False)
        states = {layer.state for layer in binary.layers if hasattr(layer, "state")}
        assert states == {"binary"}
        assert [one["epoch"] for one in row["curve"]] == [1, 2, 3, 4]
        total = row["gap"][-1]
        assert row["curve"][-1]["q_ratio"] == pytest.approx(total["q_ratio"], rel=1e-5), "the curve ends at the table's value"
    text = (gap / "report.md").read_text()
    mean = np.mean([100 * row["accuracy"] for row in report["results"] if row["network"] == "BiTAT"])
    assert f"| BiTAT | {mean:.4g} ±" in text
    for row in report["results"]:
        assert len(row["agreement"]) == 2
        assert all(-1 <= one["lowest"] <= one["correlation"] <= 1 for one in row["agreement"])
    for name in ("figure.png", "curve.png", "agreement.png", "table.csv"):
        assert (gap / name).stat().st_size > 0


@pytest.mark.slow
def test_resume_takes_what_is_there(cross_layer, gap, capsys):
    for out, kind, parts in ((cross_layer, "cross-layer", ["seed_1"]), (gap, "gap", ["BiTAT_1"])):
        before = json.loads((out / "report.json").read_text())
        assert main(["experiment", kind, "--out", str(out), "--resume"]) == 0
        assert "is finished" in capsys.readouterr().out
        (out / "report.json").unlink()
        for part in parts:
            (out / "parts" / f"{part}.json").unlink()
        kept = {path: path.stat().st_mtime_ns for path in (out / "parts").iterdir()}
        assert main(["experiment", kind, "--out", str(out), "--resume"]) == 0
        assert all(path.stat().st_mtime_ns == time for path, time in kept.items() if path.suffix == ".json")
        after = json.loads((out / "report.json").read_text())
        if kind == "cross-layer":
            assert after == before
        else:
            assert after["results"][:3] == before["results"][:3]


@pytest.mark.slow
@pytest.mark.exhaustive
def test_two_steps_that_were_stopped_in_either_half_end_as_if_they_had_not(pictures, tmp_path, monkeypatch):
    options = ["--data", str(pictures), "--epochs", "1", "--width", "0.1", "--blocks", "1", "--repeats", "1"]
    options += ["--batch-size", "8", "--binarization-epochs", "4", "--calibration", "16"]
    options += ["--float-reference", "--joint-share", "0"]
    whole, original = tmp_path / "whole", GapMonitor.on_epoch_end
    assert main(["experiment", "gap", "--out", str(whole), *options]) == 0
    for epoch in (1, 3):
        stopped, calls = tmp_path / f"stopped_{epoch}", []

        def stop_once(self, number, logs=None, epoch=epoch, calls=calls):
            original(self, number, logs)
            calls.append(number)
            if len(calls) == epoch + 1:
                raise KeyboardInterrupt

        monkeypatch.setattr(GapMonitor, "on_epoch_end", stop_once)
        assert main(["experiment", "gap", "--out", str(stopped), *options]) == 130
        assert main(["experiment", "gap", "--out", str(stopped), "--resume"]) == 0
        results = [json.loads((out / "report.json").read_text())["results"] for out in (whole, stopped)]
        assert results[0] == results[1]
        for part in ("ReActNet_0", "BiTAT_0"):
            models = [keras.models.load_model(out / "parts" / f"{part}.keras", compile=False) for out in (whole, stopped)]
            for first, second in zip(*(model.get_weights() for model in models), strict=True):
                np.testing.assert_array_equal(first, second)


@pytest.mark.slow
def test_starts_from_a_network_of_ones_own(pictures, tmp_path, capsys):
    network = MobileNetV2((32, 32, 3), 2, width=0.1)
    network.save(tmp_path / "mine.keras")
    options = ["--data", str(pictures), "--model", str(tmp_path / "mine.keras"), "--scales", "1", "--repeats", "1"]
    assert main(["experiment", "cross-layer", "--out", str(tmp_path / "out"), *options, "--calibration", "8"]) == 0
    kept = keras.models.load_model(tmp_path / "out" / "float.keras", compile=False)
    for mine, theirs in zip(network.get_weights(), kept.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert "epoch" not in capsys.readouterr().out, "nothing was trained"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["cross-layer", "--scales", "-1"], "`scales` must be a finite number >= 0"),
        (["cross-layer", "--epochs", "0"], "`epochs` must be a finite number >= 1"),
        (["cross-layer", "--data", "digits"], "at least 32x32"),
        (["gap", "--binarization-epochs", "1"], "`binarization_epochs` must be a finite number >= 2"),
        (["gap", "--blocks", "20"], "`blocks` must be a finite number >= 1 and <= 13"),
        (["gap", "--subset", "100"], "--subset: only for folders of images"),
        (["gap", "--resume"], "holds no run"),
        (["gap", "--resume", "--overwrite"], "Pass one of them"),
        (["gap", "--model", "nothing.keras"], "nothing.keras"),
        (["gap", "--model", "nothing.keras", "--width", "0.5"], "--width: only for the float network that is trained"),
        (["gap", "--joint-share", "1"], "`joint_share` must be a finite number >= 0 and <= 0.99"),
        (["cross-layer", "--seed", "2147483647"], "`seed` must be a finite number >= 0 and <= 2e+09"),
    ],
)
def test_refuses_before_anything_is_written(arguments, message, tmp_path, capsys):
    assert main(["experiment", *arguments, "--out", str(tmp_path / "out")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_refuses_networks_without_binary_layers(tmp_path, capsys):
    model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10)])
    model.save(tmp_path / "plain.keras")
    assert main(["experiment", "gap", "--model", str(tmp_path / "plain.keras"), "--out", str(tmp_path / "out")]) == 2
    assert "bitat_tf.binarize" in capsys.readouterr().err
    binary = ReActNet((8, 8, 1), 10, width=0.25, blocks=((64, 1),))
    for layer in binary.layers:
        if hasattr(layer, "set_binary"):
            layer.set_binary()
    binary.save(tmp_path / "binary.keras")
    assert main(["experiment", "gap", "--model", str(tmp_path / "binary.keras"), "--out", str(tmp_path / "out")]) == 2
    assert "2 of them not float" in capsys.readouterr().err
    arguments = ["experiment", "cross-layer", "--model", str(tmp_path / "binary.keras"), "--out", str(tmp_path / "out")]
    assert main(arguments) == 2
    assert "in float state" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_settings_come_back_as_they_were_stored():
    for settings in (CrossLayerSettings(scales=(0, 1), repeats=2), GapSettings(blocks=3)):
        assert type(settings).from_dict(json.loads(json.dumps(settings.to_dict()))) == settings
    assert CrossLayerSettings(seed=5, repeats=2).seeds == [5, 6]
    with pytest.raises(ValueError, match="--epochs must be of type int"):
        GapSettings.from_dict({"epochs": "many"})
