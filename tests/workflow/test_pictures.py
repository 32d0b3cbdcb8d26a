"""Runs on a folder of pictures that has no test set of its own, files that are no pictures, and names that are no UTF-8."""

import json
import os
import shutil

import numpy as np
import pytest
from PIL import Image

from bitat_tf.data import split_folder
from bitat_tf.workflow import RunFolder, TrainConfig
from bitat_tf.workflow.images import load_images, load_own_images
from bitat_tf.workflow.kit_source import source_of_kit
from bitat_tf.workflow.settings import Pictures


@pytest.fixture(scope="module")
def odd_run(pictures, build_network, tmp_path_factory):
    """Return the exit code, what was written, and the folder of a run in which all names are no UTF-8."""
    root = tmp_path_factory.mktemp("odd")
    data, model, out = (root / os.fsdecode(name) for name in (b"pictures\xe9", b"model\xe9.keras", b"run\xe9"))
    shutil.copytree(pictures, data)
    (data / "rose").rename(data / os.fsdecode(b"ros\xe9"))
    (data / "grass" / os.fsdecode(b"th\xe9.png")).write_bytes(b"no picture")
    for name in ("1.HEIC", "2.heic", "Thumbs.db"):
        (data / "grass" / name).write_bytes(b"\0")
    build_network((12, 12, 3), 3).save(root / "plain.keras")
    (root / "plain.keras").rename(model)
    return root, data, model, out


OPTIONS = ("--skip-corrupt", "--post-training", "--calibration", "40")


def test_a_whole_run(odd_run, call):
    _, data, model, out = odd_run
    code, printed, error = call("binarize", model, "--data", data, "--out", out, *OPTIONS)
    assert code == 0, error
    report = json.loads((out / "report.json").read_text("utf-8"))
    assert (report["data"], report["source"]["model"]) == (r"pictures\xe9", r"model\xe9.keras")
    assert report["skipped_images"] == [r"grass/th\xe9.png"]
    assert (out / "labels.txt").read_text("utf-8") == "blue sky\ngrass\n" + r"ros\xe9" + "\n"
    left_out, drawn = report["warnings"]
    assert ".HEIC (1), .heic (1). Convert" in left_out
    assert drawn.startswith("the 12 test pictures are drawn from ")
    assert "with seed 0. If the model was trained on some of them" in drawn
    for name in ("report.md", "report.html"):
        text = (out / name).read_text("utf-8")
        assert r"th\xe9.png" in text
        assert "Warning:" in text
        assert "the 12 test pictures are drawn from" in text
        assert "12x12x3 (the central square of each)" in text
    assert f"WARNING {left_out}" in printed
    assert f"WARNING {drawn}" in printed


def test_test_pictures_are_new_where_the_user_says_so(pictures, tmp_path, call):
    drawn = load_images("binarize", Pictures(str(pictures), seed=7), (12, 12, 3))
    (note,) = drawn.notes
    assert f"drawn from {pictures}, with seed 7" in note
    assert f"bitat_tf.data.split_folder({str(pictures)!r}, seed=7)" in note
    split = split_folder(pictures, seed=7)
    shutil.copytree(pictures, tmp_path / "train")
    for path, label in zip(split.test.paths, split.test.labels, strict=True):
        target = tmp_path / "test" / split.class_names[label] / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "train" / path.relative_to(pictures)).rename(target)
    for named in (Pictures(str(tmp_path)), Pictures(str(tmp_path / "train"), test=str(tmp_path / "test"))):
        own = load_images("binarize", named, (12, 12, 3))
        assert own.notes == ()
        np.testing.assert_array_equal(own.test_images, drawn.test_images)
    assert load_own_images(Pictures(str(pictures)), 12).notes == ()  # a network that is trained on the others


def test_a_kit_takes_a_picture_of_the_run_and_knows_how_it_was_made_square(pictures, tmp_path):
    config = TrainConfig.for_data(str(pictures), test=str(pictures / "grass"), aspect="stretch")
    with RunFolder(tmp_path / "run") as folder:
        folder.begin(config)
    folder.tflite.write_bytes(b"")
    source = source_of_kit(folder.path, with_picture=True)
    assert source.picture == pictures / "grass" / "0.png"
    assert source.notes[0].startswith("the network was trained with --aspect stretch. The programs of the kit cut pictures")


def test_a_kit_takes_a_picture_that_it_can_show(tmp_path):
    data = tmp_path / "data"
    for name in (".thumbnails", "a", "b"):
        (data / name).mkdir(parents=True)
    image = Image.fromarray(np.zeros((8, 8, 3), np.uint8))
    image.save(data / ".thumbnails" / "0.png")
    Image.fromarray(np.full((8, 8), 40000, np.uint16)).save(data / "a" / "0.png")
    (data / "a" / "1.png").symlink_to(data / "nowhere.png")
    (data / "b" / "0.png").write_bytes(b"no picture")
    with RunFolder(tmp_path / "run") as folder:
        folder.begin(TrainConfig.for_data(str(data)))
    folder.tflite.write_bytes(b"")
    source = source_of_kit(folder.path, with_picture=True)
    assert source.picture is None
    (note,) = source.notes
    assert note.startswith("no picture of the run's data is of use for the kit (`picture` must be a picture, such as a JPEG")
    assert note.endswith("b/0.png.). Name one with --picture.")
    assert source_of_kit(folder.path, with_picture=False).notes == ()
    image.save(data / "b" / "1.png")
    source = source_of_kit(folder.path, with_picture=True)
    assert (source.picture, source.notes) == (data / "b" / "1.png", ())
