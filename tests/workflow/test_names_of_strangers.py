"""What names in files and folders do to a terminal: nothing. And what escapes the commands as a traceback: nothing either."""

import dataclasses
import json
import os
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

import bitat_tf
from bitat_tf import cli
from bitat_tf._tables import as_html
from bitat_tf.tflite_file.content import parse, sealed
from bitat_tf.workflow.plots import plot_layer_errors

DIGITS = Path(bitat_tf.__file__).parents[1] / "examples" / "digits.tflite"
CONTROLS = "\x1b]0;title\x07\x1b[31m"
SHOWN = r"\x1b]0;title\x07\x1b[31m"


def network(name="network", layer="conv"):
    layers = [keras.layers.Conv2D(32, 3), keras.layers.Conv2D(32, 3, name=layer), keras.layers.Flatten(), keras.layers.Dense(2)]
    return keras.Sequential([keras.Input((8, 8, 3)), *layers], name=name)


@pytest.fixture(scope="module")
def members(tmp_path_factory):
    """Return the members of the file of a network."""
    path = tmp_path_factory.mktemp("model") / "model.keras"
    network().save(path)
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write(path, members, **changed):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in {**members, **changed}.items():
            archive.writestr(name, content)
    return path


@pytest.mark.parametrize("name", ["[bold]x", "$\\frac$"])
def test_names_that_look_like_markup_stand_as_they_are(name, untrained, call):
    path = untrained(network(name, name))
    for command in ("check", "summary"):
        code, out, error = call(command, path)
        assert (code, error) == (0, "")
        assert f"{name}: 1 layer can become binary, 2 stay float" in out
        assert f"can be binary  {name}\n" in out
    binary = bitat_tf.binarize(keras.models.load_model(path), verbose=0)
    report = bitat_tf.check(binary)
    assert report.table().title.plain.startswith(name)
    assert name in str(report)
    assert name in as_html(report)
    assert "[/x]: 0 errors" in str(dataclasses.replace(report, model="[/x]"))  # as older versions of Keras let through


def test_names_do_not_control_the_terminal():
    """Of a model in Python, which may be called anything."""
    model = network(f"model{CONTROLS}", f"conv{CONTROLS}")
    for report in (bitat_tf.check(model), bitat_tf.summary(model), bitat_tf.check(bitat_tf.binarize(model, verbose=0))):
        text = str(report)
        assert SHOWN in text
        assert "\x1b" not in text
        assert "\x07" not in text


@pytest.mark.parametrize("name", [f"conv{CONTROLS}", "caf\udce9", "n" * 10**7, "\u202eevil"])
@pytest.mark.parametrize("where", ["name", "class_name"])
def test_names_in_files(name, where, members, tmp_path, call):
    config = json.loads(members["config.json"])
    layer = config["config"]["layers"][2]
    if where == "name":
        layer["config"]["name"] = name
    else:
        layer.update(class_name=name, registered_name=name)
    path = write(tmp_path / "strange.keras", members, **{"config.json": json.dumps(config)})
    code, out, error = call("check", path)
    assert (code, out) == (2, "")
    assert "has names that cannot be shown" in error if where == "name" else "holds classes or functions that are not" in error
    assert len(error) < 1500
    assert error.rstrip("\n").isprintable()


def test_names_of_files_and_folders(tmp_path, call):
    path = os.fsdecode(os.fsencode(f"{tmp_path}/caf") + b"\xe9\x1b[31m.keras")
    code, _, error = call("check", path)
    assert code == 2
    assert r"caf\xe9\x1b[31m.keras" in error
    for name in ("cat", f"dog{CONTROLS}"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(4):
            Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "data" / name / f"{number}.png")
    (tmp_path / "data" / f"dog{CONTROLS}" / "0.png").write_bytes(b"no picture")
    code, _, error = call("train", "--data", tmp_path / "data", "--out", tmp_path / "run")
    assert code == 2
    assert f"dog{SHOWN}/0.png" in error
    assert "\x1b" not in error


FORGED = {
    "classes": 5,
    "name": ["x"],
    "pixels": {"a": 1},
    "versions": "2.20",
    "float_layers": [1],
    "expected_binary": "all",
}


@pytest.mark.parametrize("fact", [*FORGED, None])
def test_forged_seals(fact, tmp_path, call):
    """A seal is a digest and no signature: anybody can write one."""
    path = tmp_path / "forged.tflite"
    path.write_bytes(sealed(parse(DIGITS.read_bytes()), ["x"] if fact is None else {fact: FORGED[fact]}))
    wrong = "it is no object of JSON" if fact is None else f"its {fact} is {FORGED[fact]!r}, and not"
    for arguments in (["kit", path, "--out", tmp_path / "kit", "--target", "raspberry_pi"], ["inspect", path]):
        code, out, error = call(*arguments)
        assert (code, out) == (2, "")
        assert f"whose seal is damaged ({wrong}" in error
    assert not (tmp_path / "kit").exists()


def test_controls_in_a_seal_are_shown(tmp_path, call):
    path = tmp_path / "named.tflite"
    facts = {"name": f"net{CONTROLS}", "classes": [f"digit {CONTROLS}{n}" for n in range(10)], "versions": {CONTROLS: "1"}}
    path.write_bytes(sealed(parse(DIGITS.read_bytes()), facts))
    code, out, _ = call("inspect", path)
    assert code == 0
    assert f"net{SHOWN}" in out
    assert "\x1b" not in out
    assert call("kit", path, "--out", tmp_path / "kit", "--target", "raspberry_pi")[0] == 0
    assert (tmp_path / "kit" / "labels.txt").read_text().splitlines() == [f"digit {SHOWN}{number}" for number in range(10)]


def test_damaged_members(members, tmp_path, call):
    """Bytes of what is packed, in turn: what unpacks raises errors of its own."""
    path = tmp_path / "damaged.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    with zipfile.ZipFile(path) as archive:
        member = archive.getinfo("config.json")
    start = member.header_offset + 30 + len(member.filename)  # of what is packed, behind the header
    content = path.read_bytes()
    codes = []
    for place in start + np.random.default_rng(0).integers(0, member.compress_size, 40):
        path.write_bytes(content[:place] + bytes([content[place] ^ 255]) + content[place + 1 :])
        code, out, error = call("check", path)
        codes.append(code)
        assert code == 0 or out == "" and error.startswith(f"bitat-tf: {path} is damaged")
    assert codes.count(2) > 30


@pytest.mark.parametrize("text", ["", "Unable to allocate 7.00 TiB"])
def test_too_little_memory(text, members, tmp_path, call, monkeypatch):
    def load(*arguments, **options):
        raise MemoryError(*[text][: len(text)])

    monkeypatch.setattr("bitat_tf.workflow.load_model", load)
    code, _, error = call("check", write(tmp_path / "model.keras", members))
    assert code == 2
    assert error.startswith(f"bitat-tf: there is too little memory: {text or 'no more is to be had'}. Free some")


def test_output_of_an_encoding_without_such_characters(untrained, monkeypatch, tmp_path):
    path = untrained(network("größte"))
    with (tmp_path / "out.txt").open("w", encoding="ascii") as stream:
        monkeypatch.setattr("sys.stdout", stream)
        assert cli.main(["summary", str(path)]) == 0
        assert stream.errors == "strict"
    assert r"gr\xf6\xdfte" in (tmp_path / "out.txt").read_text()


def test_figures_take_dollars_for_dollars():
    """Matplotlib would read mathematics, and fail where there is none."""
    rows = [
        {"layer": r"$\frac$", "index": 1, "share": 0.5, "q_ours": 1.0, "q_rel": 0.1, "q_rel_start": 0.2},
        {"layer": "other", "index": 1, "share": 0.5, "q_ours": 1.0, "q_rel": 0.1, "q_rel_start": 0.2},
    ]
    figure = Figure()
    FigureCanvasAgg(figure)
    upper, lower = figure.subplots(2)
    plot_layer_errors(upper, rows)
    bitat_tf.analysis.plot_spectra(lower, bitat_tf.analysis.ResultTable(tuple(rows)))
    figure.canvas.draw()
    assert [label.get_text() for label in upper.get_xticklabels()] == [r"$\frac$", "other"]
