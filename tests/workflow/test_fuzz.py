"""Broken folders of images, model files and settings: only our errors, an exit code, and nothing left behind."""

import io
import json
import re
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bitat_tf.workflow import RunFolder, TrainConfig

GROUP = 10  # inputs of a test


def groups(total=100):
    return pytest.mark.parametrize("first", range(0, total, GROUP))


def snapshot(folder: Path) -> dict[str, bytes | None]:
    return {str(path): path.read_bytes() if path.is_file() else None for path in sorted(folder.rglob("*"))}


def expect_refusal(call, what, *arguments):
    """Run a command that must fail, and return what it said."""
    code, _, error = call(*arguments)
    assert code == 2, f"{what}: exit code {code}"
    assert error.startswith("bitat-tf: "), f"{what}: {error}"
    assert "Traceback" not in error, what
    assert len(error) > 30, f"{what}: {error}"
    return error


# Folders of images.


def picture(generator, kind="PNG"):
    buffer = io.BytesIO()
    Image.fromarray(generator.integers(0, 255, (12, 12, 3)).astype(np.uint8)).save(buffer, kind)
    return buffer.getvalue()


def make_folder(root, generator, split):
    for part in ("train", "test") if split else ("",):
        for name in ("cat", "dog", "fox"):
            (root / part / name).mkdir(parents=True)
            for number in range(4):
                (root / part / name / f"{number}.png").write_bytes(picture(generator))


def pick(generator, paths):
    paths = sorted(paths)
    return paths[generator.integers(len(paths))]


def cut(path, generator):
    content = path.read_bytes()
    path.write_bytes(content[: int(generator.integers(1, len(content) - 20))])


def class_becomes_a_file(folder, generator):
    shutil.rmtree(folder)
    folder.write_bytes(picture(generator))


def leave_one_class(folder):
    for other in folder.parent.iterdir():
        if other != folder:
            shutil.rmtree(other)


def empty_the_class(folder):
    shutil.rmtree(folder)
    folder.mkdir()


# Each breaks a folder for certain: the first ones by one image, the others by one class folder.
IMAGES = {
    "zero bytes": lambda path, generator: path.write_bytes(b""),
    "cut off": cut,
    "text": lambda path, generator: path.write_text("this is no picture"),
    "noise": lambda path, generator: path.write_bytes(generator.bytes(200)),
    "a format that is not read": lambda path, generator: path.write_bytes(picture(generator, "EPS")),
    "a huge picture": lambda path, generator: path.write_bytes(
        picture(generator)[:16] + (2**31 - 1).to_bytes(4, "big") * 2 + picture(generator)[24:]
    ),
    "a link to nothing": lambda path, generator: (path.unlink(), path.symlink_to("nothing.png")),
}
CLASSES = {
    "one class": lambda folder, generator: leave_one_class(folder),
    "an empty class": lambda folder, generator: empty_the_class(folder),
    "a class of one image": lambda folder, generator: [path.unlink() for path in sorted(folder.iterdir())[1:]],
}
SPLIT_CLASSES = {
    "a class of one part": lambda folder, generator: shutil.rmtree(folder),
    "a class of another name": lambda folder, generator: folder.rename(folder.with_name("wolf")),
    "a file in place of a class": class_becomes_a_file,
}


@groups()
def test_broken_folders(first, call, tmp_path):
    for seed in range(first, first + GROUP):
        generator = np.random.default_rng(seed)
        split = bool(seed % 2)
        root, out = tmp_path / f"data{seed}", tmp_path / f"out{seed}"
        make_folder(root, generator, split)
        kinds = {**IMAGES, **(SPLIT_CLASSES if split else CLASSES)}
        kind = list(kinds)[seed // 2 % len(kinds)]
        images = [path for path in root.rglob("*.png") if path.is_file()]
        kinds[kind](pick(generator, images if kind in IMAGES else {path.parent for path in images}), generator)
        before = snapshot(root)
        error = expect_refusal(call, f"{kind}, seed {seed}", "train", "--data", root, "--out", out)
        assert str(root) in error, kind
        assert not out.exists(), kind
        assert snapshot(root) == before, kind


# Model files.


def rezipped(content, change):
    """Return a `.keras` file whose members went through `change`, a function of a dictionary of them."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, member in members.items():
            archive.writestr(name, member)
    return buffer.getvalue()


def edited(generator, text):
    """Break a JSON text at random: remove, repeat or replace a part of it until it is no JSON any more."""
    while True:
        start, stop = sorted(generator.integers(0, len(text), 2))
        broken = [text[:start] + text[stop:], text[:stop] + text[start:], text[:start] + "@" + text[stop:]][
            generator.integers(3)
        ]
        try:
            json.loads(broken)
        except ValueError:
            return broken


def change_config(members, generator, key, values):
    """Give one of the places where the configuration says `key` a value that cannot be."""
    text = members["config.json"].decode()
    layers = text[: text.find('"compile_config"')]  # how it was trained is not read
    places = list(re.finditer(rf'"{key}": ("[^"]*"|\[[^\]]*\]|[^,}}]*)', layers))
    place = places[generator.integers(len(places))]
    value = json.dumps(values[generator.integers(len(values))])
    members["config.json"] = (text[: place.start(1)] + value + text[place.end(1) :]).encode()


def noisy(member, generator):
    start = int(generator.integers(len(member)))
    return member[:start] + generator.bytes(len(member) - start)


MODELS = {
    "cut off": lambda content, generator: content[: int(generator.integers(len(content)))],
    "noise": lambda content, generator: generator.bytes(len(content)),
    "no configuration": lambda content, generator: rezipped(content, lambda members: members.pop("config.json")),
    "no weights": lambda content, generator: rezipped(content, lambda members: members.pop("model.weights.h5")),
    "configuration is no JSON": lambda content, generator: rezipped(
        content, lambda members: members.update({"config.json": edited(generator, members["config.json"].decode()).encode()})
    ),
    "weights cut off": lambda content, generator: rezipped(
        content, lambda members: members.update({"model.weights.h5": members["model.weights.h5"][: generator.integers(2000)]})
    ),
    "weights are noise": lambda content, generator: rezipped(
        content, lambda members: members.update({"model.weights.h5": noisy(members["model.weights.h5"][:1000], generator)})
    ),
    "unknown class": lambda content, generator: rezipped(
        content, lambda members: change_config(members, generator, "class_name", ["Convolution9", 5, None, "os.system"])
    ),
    "impossible filters": lambda content, generator: rezipped(
        content, lambda members: change_config(members, generator, "filters", [-1, "many", None, 10**12, 0, [3]])
    ),
    "impossible kernel": lambda content, generator: rezipped(
        content, lambda members: change_config(members, generator, "kernel_size", [-1, "wide", None, [3], [0, 0], [[3]]])
    ),
    "a link that leads nowhere": lambda content, generator: rezipped(
        content, lambda members: change_config(members, generator, "inbound_nodes", [[[["nobody", 0, 0, {}]]], 5, "x", [[[]]]])
    ),
}


@groups()
def test_broken_models(first, digits_model, call, tmp_path):
    content = digits_model.read_bytes()
    for seed in range(first, first + GROUP):
        generator = np.random.default_rng(seed)
        kind = list(MODELS)[seed % len(MODELS)]
        path, out = tmp_path / f"{seed}.keras", tmp_path / f"out{seed}"
        path.write_bytes(MODELS[kind](content, generator))
        for arguments in (["summary", path], ["binarize", path, "--data", "digits", "--out", out]):
            error = expect_refusal(call, f"{kind}, seed {seed}", *arguments)
            assert str(path) in error, (kind, error)
        assert not out.exists(), kind


# The settings of a run.


def setting(name, *values):
    return lambda content, generator: content["settings"].update({name: values[generator.integers(len(values))]})


SETTINGS = {
    "format": lambda content, generator: content.update(format=[0, 2, None, "1", [1], {}][generator.integers(6)]),
    "command": lambda content, generator: content.update(
        command=["binarize", "fly", 5, None, ["train"]][generator.integers(5)]
    ),
    "no settings": lambda content, generator: content.pop("settings"),
    "other settings": lambda content, generator: content.update(settings=[[], 5, None, "all"][generator.integers(4)]),
    "unknown": lambda content, generator: content["settings"].update(wings=2),
    "data": setting("data", 5, None, ["digits"], "/nowhere/at/all", ""),
    "epochs": setting("epochs", -1, "many", None, 1.5, [1]),
    "epochs_per_layer": setting("epochs_per_layer", 0, -1, "many", None, 1e-9, [1]),
    "joint_epochs": setting("joint_epochs", -1, "many", None),
    "batch_size": setting("batch_size", 0, -5, 2.5, "many", None),
    "learning_rate": setting("learning_rate", 0, -1.0, "fast", None),
    "binarization_learning_rate": setting("binarization_learning_rate", 0, -1.0, "fast", None),
    "validation_share": setting("validation_share", 0, 1.0, -1, "half", None),
    "augment": setting("augment", "spin", 5, None),
    "freeze": setting("freeze", "winter", True, None),
    "strength": setting("strength", -1, "strong", True),
    "distillation": setting("distillation", 2, -1, "a bit", None),
    "calibration": setting("calibration", 0, "some", None),
    "width": setting("width", 0, -1, "wide", None),
    "blocks": setting("blocks", 0, 1000, "three", 1.5),
    "image_size": setting("image_size", 0, "large", 2.5),
    "seed": setting("seed", -1, 2**40, "seven", None),
    "post_training": setting("post_training", "perhaps", 5, None),
}


@groups()
def test_broken_settings(first, call, tmp_path):
    for seed in range(first, first + GROUP):
        generator = np.random.default_rng(seed)
        folder = RunFolder(tmp_path / str(seed))
        folder.begin(TrainConfig.for_data(width=0.25, blocks=1))
        content = json.loads(folder.config.read_text())
        if seed % 10 == 9:
            kind = "noise"
            folder.config.write_bytes(generator.bytes(100))
        elif seed % 5 == 4:
            kind = "no JSON"
            folder.config.write_text(edited(generator, json.dumps(content)))
        else:
            kind = list(SETTINGS)[(seed - seed // 5) % len(SETTINGS)]
            SETTINGS[kind](content, generator)
            folder.config.write_text(json.dumps(content))
        before = snapshot(folder.path)
        expect_refusal(call, f"{kind}, seed {seed}: {content}", "train", "--out", folder.path, "--resume")
        assert snapshot(folder.path) == before, kind
