"""What stands in a kit, which files and arguments it refuses, and where its parts come from."""

import glob
import io
import json
import re
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from kit_files import DIGITS, HOSTILE, PROJECTS, REPOSITORY, kotlin_has_errors
from PIL import Image

from bitat_tf._pixels import PIXELS
from bitat_tf.cli import main
from bitat_tf.data import load_digits
from bitat_tf.kits import Scaling, write_kit
from bitat_tf.kits.network import KitNetwork, TensorKind
from bitat_tf.kits.runtime_sources import runtime_sources
from bitat_tf.kits.settings import class_names, settings_file, settings_of
from bitat_tf.kits.targets import TARGETS


def network(channels=3, classes=(), name="net", pixels=None, operators=None):
    taken, given = TensorKind((1, 8, 8, channels), "float32"), TensorKind((1, len(classes) or 3), "float32")
    return KitNetwork(b"", name, taken, given, classes, pixels, operators or {"ADD": 2})


def tracked(target):
    """Return the paths of a project that are in the repository."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "."],
        cwd=PROJECTS / target,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode or not listed.stdout:
        pytest.skip("not a checkout with git")
    return set(listed.stdout.splitlines())


@pytest.mark.parametrize("target", TARGETS)
def test_a_kit_is_the_project_with_the_parts_of_a_network(stand_in_sources, tmp_path, target):
    picture = np.random.default_rng(0).integers(0, 256, (5, 9, 3), np.uint8)
    kit = write_kit(DIGITS, tmp_path / "kit", target=target, picture=picture, runtime=stand_in_sources)
    there = {path.relative_to(kit.folder).as_posix() for path in kit.folder.rglob("*") if path.is_file()}
    assert there == set(kit.files)
    assert (kit.target, kit.notes, kit.classes) == (target, (), tuple("0123456789"))
    place = TARGETS[target]
    assert (kit.folder / place.assets / "model.tflite").read_bytes() == DIGITS.read_bytes()
    assert (kit.folder / place.assets / "labels.txt").read_text() == "".join(f"{digit}\n" for digit in range(10))
    with Image.open(kit.folder / place.assets / place.picture) as image:
        np.testing.assert_array_equal(np.asarray(image), picture)
    project = tracked(target)
    own = {f"runtime/{path.relative_to(stand_in_sources).as_posix()}" for path in stand_in_sources.rglob("*") if path.is_file()}
    added = {place.assets + name for name in ("model.tflite", "labels.txt", place.picture)} | (own if place.runtime else set())
    assert set(kit.files) == project | added
    for name in project:
        # The settings of the example stand in the projects, so that these can be built as they are.
        expected = (PROJECTS / target / name).read_bytes()
        assert (kit.folder / name).read_bytes() == expected, f"copy {name} from a kit of examples/digits.tflite"
    readme = (kit.folder / "README.md").read_text()
    named = set(re.findall(r"`([\w./]+\.(?:cc|h|kt|kts|toml|py|json|properties|txt|ppm|png|tflite))`", readme))
    missing = {name for name in named if not any(path.endswith(name.removeprefix("...")) for path in kit.files)}
    assert missing <= {"gradle/wrapper/gradle-wrapper.jar"}


def test_all_is_the_three_of_them(stand_in_sources, tmp_path):
    kit = write_kit(DIGITS, tmp_path / "all", runtime=stand_in_sources)
    assert {path.name for path in kit.folder.iterdir()} == set(TARGETS)
    alone = write_kit(DIGITS, tmp_path / "cpp", target="cpp", runtime=stand_in_sources)
    for name in alone.files:
        assert (kit.folder / "cpp" / name).read_bytes() == (alone.folder / name).read_bytes()
    assert kit.notes == ("No picture was given: one of many colours that shows nothing stands in its place.",)


def test_what_a_foreign_file_does_not_say_is_assumed_and_told(foreign, tmp_path):
    kit = write_kit(foreign / "float32.tflite", tmp_path / "kit", target="raspberry_pi")
    assert kit.classes == ("class 0", "class 1", "class 2", "class 3", "class 4")
    assert [note.split(":")[0] for note in kit.notes] == [
        "The file has no names of classes",
        "The file does not say what it expects of pixels",
        "No picture was given",
    ]
    about = json.loads((kit.folder / "settings.json").read_text())["about"]
    assert about[2:4] == ["input: 1 x 8 x 8 x 3, float32", "output: 1 x 5, float32"]
    assert about[5] == "pixels: 0..255, as they are (assumed: the file does not say)"
    assert any(line.startswith("operators: ") and "1 CONV_2D" in line for line in about)


def test_bytes_are_for_files_of_integers(foreign, tmp_path):
    kit = write_kit(foreign / "int8.tflite", tmp_path / "kit", pixels="bytes", target="raspberry_pi")
    settings = json.loads((kit.folder / "settings.json").read_text())
    assert settings["takes_bytes"] is True
    assert re.fullmatch(r"input: 1 x 8 x 8 x 3, int8: [\d.]+ \* \(value - -\d+\)", settings["about"][2])
    assert settings["about"][5] == "pixels: the bytes of the picture, less 128"
    with pytest.raises(ValueError, match="pixels='bytes' is for a file that takes integers. Received: one that takes float32"):
        write_kit(foreign / "float32.tflite", tmp_path / "other", pixels="bytes")


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("kind", ["imagenet", "caffe", "0..1"])
def test_the_numbers_of_the_pixels_arrive_in_each_language(kind, target):
    text = settings_file(settings_of(network(), kind), TARGETS[target].settings)
    for values in (PIXELS[kind].scale, PIXELS[kind].offset):
        assert ", ".join(map(repr, np.broadcast_to(np.asarray(values, float), 3).tolist())) in text
    assert ("true" in text) == PIXELS[kind].reverse


def test_given_pixels_come_before_those_of_the_file():
    assert settings_of(network(pixels="-1..1"), None).scaling == Scaling((1 / 127.5,) * 3, (-1.0,) * 3)
    assert settings_of(network(pixels="-1..1"), "0..255").scaling == Scaling((1.0,) * 3, (0.0,) * 3)
    gray = settings_of(network(1, pixels="-1..1"), Scaling((2.0,), 3, reverse=True))
    assert gray.scaling == Scaling((2.0,) * 3, (3.0,) * 3, reverse=True)


def test_names_of_any_kind_stand_in_one_line_each():
    names = class_names(network(classes=HOSTILE), None)
    assert names == (
        *HOSTILE[:3],
        "two\\nlines\\r\\u2028",
        "\\xff?",
        "\\x1b]0;title\\x07\\x1b[31m",
        "\\u202e*/ turned",
    )
    text = "".join(f"{name}\n" for name in names).encode().decode("utf-8")
    assert text.splitlines() == text.split("\n")[:-1] == list(names)
    assert class_names(network(classes=("größte Maus", "\u3000", "🐁")), None) == ("größte Maus", "\u3000", "🐁")


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_of_any_kind_gives_settings_that_compile(name, tmp_path):
    shown = class_names(network(classes=(name,)), None)[0]
    settings = settings_of(network(name=name, operators={f"Own*/{name}": 1}), "caffe")
    found = json.loads(settings_file(settings, "settings.json"))
    assert found["name"] == shown
    assert found["about"][1].startswith(f"{shown}: 0 bytes, sha256 e3b0c44298fc1c14")
    kotlin = settings_file(settings, "Settings.kt")
    assert not kotlin_has_errors(kotlin.encode("utf-8"))
    literal = re.search(r"val NAME = (\".*\")\n", kotlin)[1]
    assert not re.search(r"(?<!\\)\$", literal)
    assert json.loads(literal.replace(r"\$", "$")) == shown
    if not shutil.which("g++"):
        pytest.skip("g++ is not installed")
    (tmp_path / "settings.h").write_text(settings_file(settings, "settings.h"), "utf-8")
    (tmp_path / "a.cc").write_text('#include "settings.h"\nstatic_assert(kScaling.reverse && !kTakesBytes, "caffe");\n')
    command = ["g++", "-std=c++17", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", f"-I{PROJECTS / 'cpp'}", "a.cc"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_name_of_a_network_fits_into_the_constant_of_a_program():
    settings = settings_of(network(name="n" * 10**7, operators={"o" * 10**7: 1}), "0..1")
    assert settings.name == f"{'n' * 100} ... (9,999,800 characters more) ... {'n' * 100}"
    for target in TARGETS.values():
        assert len(settings_file(settings, target.settings)) < 3000


@pytest.mark.parametrize(
    ("classes", "error", "message"),
    [
        ("abc", TypeError, "`classes` must be a list of names. Received: the single text 'abc'"),
        (["a", "b"], ValueError, "must name each of the 3 classes of the output, in its order. Received: 2 names"),
        (["a", "", "c"], ValueError, "must be a text that is not empty. Received: ''"),
        (["a", 2, "c"], ValueError, "must be a text that is not empty. Received: 2"),
    ],
)
def test_wrong_classes(classes, error, message):
    with pytest.raises(error, match=message):
        class_names(network(), classes)


@pytest.mark.parametrize(
    ("pixels", "error", "message"),
    [
        ("0..2", ValueError, r"`pixels` must be one of 0..255, .*, bytes, or a Scaling. Received: '0..2'"),
        (Scaling(1.0, channels=1), ValueError, "`pixels` must fit the 3 channels of the input. Received: one for 1"),
        (Scaling(float("nan")), ValueError, "`pixels.scale` must be a finite number, .* Received: nan"),
        (Scaling(1, (1, 2)), ValueError, r"`pixels.offset` must be .* each of the 3 channels. Received: \(1, 2\)"),
        (5, TypeError, "`pixels` must be one of 0..255, .*, bytes, or a bitat_tf.kits.Scaling. Received: 5"),
    ],
)
def test_wrong_pixels(pixels, error, message):
    with pytest.raises(error, match=message):
        settings_of(network(), pixels)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"target": "ios"}, ValueError, "`target` must be one of android, cpp, raspberry_pi, all. Received: 'ios'"),
        ({"classes": ["a"]}, ValueError, "must name each of the 10 classes"),
        ({"pixels": "imagenet"}, ValueError, "`pixels` must fit the 1 channels of the input. Received: one for 3"),
        ({"runtime": "none"}, ValueError, "the folder of bitat-runtime's CMakeLists.txt .* Received: 'none'"),
        ({"picture": "none.png"}, FileNotFoundError, "must be a file. Received: 'none.png'"),
        ({"picture": __file__}, ValueError, "a JPEG or a PNG. Received: .*test_write_kit.py"),
        ({"picture": np.zeros((2, 2, 3))}, ValueError, r"uint8 of shape .*float64 of shape \(2, 2, 3\)"),
        ({"picture": np.zeros((2, 2, 2), np.uint8)}, ValueError, r"Received: uint8 of shape \(2, 2, 2\)"),
    ],
)
def test_wrong_arguments_leave_nothing_behind(tmp_path, arguments, error, message):
    with pytest.raises(error, match=message):
        write_kit(DIGITS, tmp_path / "kit", **arguments)
    assert not (tmp_path / "kit").exists()


def test_folders_that_hold_something_are_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ValueError, match="must be new or empty. Received: .* which holds 'mine.txt'.*overwrite=True"):
        write_kit(DIGITS, tmp_path, target="raspberry_pi")
    with pytest.raises(ValueError, match=r"goes into a folder. Received: .*mine.txt', which is a file"):
        write_kit(DIGITS, tmp_path / "mine.txt", target="raspberry_pi")
    write_kit(DIGITS, tmp_path, target="raspberry_pi", overwrite=True)
    write_kit(DIGITS, tmp_path, list("abcdefghij"), target="raspberry_pi", overwrite=True)
    assert (tmp_path / "mine.txt").read_text() == "mine"
    assert (tmp_path / "labels.txt").read_text() == "a\nb\nc\nd\ne\nf\ng\nh\ni\nj\n"


def test_files_that_are_no_image_classifiers(tmp_path):
    for content, message in (
        (b"", "an empty file"),
        (b"not a network at all", "which has TFL3 at byte 4"),
        (DIGITS.read_bytes()[:-3000], "damaged"),
    ):
        (tmp_path / "a.tflite").write_bytes(content)
        with pytest.raises(ValueError, match=message):
            write_kit(tmp_path / "a.tflite", tmp_path / "kit")
    for shape, layer, message in (
        ((5,), keras.layers.Dense(3), "a picture, 1 x height x width x 1 or 3 channels. Received: 1 x 5"),
        ((8, 8, 2), keras.layers.GlobalAveragePooling2D(), "1 or 3 channels. Received: 1 x 8 x 8 x 2, float32"),
        ((8, 8, 3), keras.layers.Conv2D(2, 3), "one score a class, 1 x classes. Received: 1 x 6 x 6 x 2"),
    ):
        inputs = keras.Input(shape, batch_size=1)
        converter = tf.lite.TFLiteConverter.from_keras_model(keras.Model(inputs, layer(inputs)))
        (tmp_path / "other.tflite").write_bytes(converter.convert())
        with pytest.raises(ValueError, match=message):
            write_kit(tmp_path / "other.tflite", tmp_path / "kit")
    with pytest.raises(FileNotFoundError):
        write_kit(tmp_path / "none.tflite", tmp_path / "kit")
    assert not (tmp_path / "kit").exists()


@pytest.mark.parametrize("kind", ["cut", "deep"])
def test_pictures_that_cannot_be_used(tmp_path, kind):
    buffer = io.BytesIO()
    deep = kind == "deep"
    Image.fromarray(np.zeros((99, 99), np.uint16) if deep else np.zeros((99, 99, 3), np.uint8)).save(buffer, "PNG")
    (tmp_path / "a.png").write_bytes(buffer.getvalue()[: None if deep else -60])
    with pytest.raises(ValueError, match="8 bits a channel. Received: .*a.png" if deep else "can be read. Received: .*a.png"):
        write_kit(DIGITS, tmp_path / "kit", target="raspberry_pi", picture=tmp_path / "a.png")


def test_pictures_are_made_upright_and_small(tmp_path):
    image = Image.new("RGB", (3000, 10), "red")
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "a.jpg", exif=exif)
    kit = write_kit(DIGITS, tmp_path / "kit", target="raspberry_pi", picture=tmp_path / "a.jpg")
    with Image.open(kit.folder / "picture.png") as written:
        assert (written.mode, written.height, written.width < 10) == ("RGB", 1024, True)


def test_without_sources_the_message_says_how_to_get_them(tmp_path):
    message = r"none were found: .*`pip install ./runtime`.*--runtime DIR.*'raspberry_pi' needs none"
    with pytest.raises(ValueError, match=message):
        runtime_sources(places=[tmp_path, tmp_path / "nowhere"])


def test_the_sources_are_those_of_the_installed_package_then_of_the_checkout(stand_in_sources, tmp_path, monkeypatch):
    """The first of: `native` in the package, the folder of an editable package, `runtime` of the checkout."""
    package = tmp_path / "site" / "bitat_runtime"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise ImportError('without its library')")  # it is not imported
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.delitem(sys.modules, "bitat_runtime", raising=False)  # the one that is installed, if a test has imported it
    checkout = runtime_sources()
    assert checkout["include/bitat_delegate.h"] == (REPOSITORY / "runtime/include/bitat_delegate.h").read_bytes()
    assert not [name for name in checkout if name.startswith(("tests/", "bitat_runtime/", "tools/"))]
    shutil.copytree(stand_in_sources, package / "native")
    assert runtime_sources()["src/delegate.cc"] == (stand_in_sources / "src/delegate.cc").read_bytes()


def test_every_file_of_the_projects_is_a_part_of_the_package():
    """The patterns of setup.cfg, as setuptools takes them, match all of them; names with a dot in front must be named."""
    patterns = re.search(r"^bitat_tf\.kits = (.+)$", (REPOSITORY / "setup.cfg").read_text(), re.M)[1].split(", ")
    packed = {name for pattern in patterns for name in glob.glob(pattern, root_dir=PROJECTS.parent, recursive=True)}
    assert {f"projects/{target}/{name}" for target in TARGETS for name in tracked(target)} <= packed


def test_the_command_takes_a_run(tmp_path, capsys):
    pictures = tmp_path / "pictures" / "test" / "cat"
    pictures.mkdir(parents=True)
    Image.new("RGB", (7, 5), "blue").save(pictures / "b.png")
    (pictures / "a.txt").write_text("no picture")
    for number, (data, size) in enumerate(
        [("digits", (8, 8)), (tmp_path / "pictures", (7, 5)), (tmp_path / "gone", (224, 224))]
    ):
        run, out = tmp_path / f"run{number}", tmp_path / f"kit{number}"
        run.mkdir()
        shutil.copy(DIGITS, run / "model.tflite")
        (run / "config.json").write_text(json.dumps({"format": 1, "settings": {"data": str(data)}}))
        assert main(["kit", str(run), "--out", str(out), "--target", "raspberry_pi"]) == 0
        said = capsys.readouterr()
        assert ("No picture was given" in said.out + said.err) == (size == (224, 224))
        with Image.open(out / "picture.png") as image:
            assert image.size == size
            if data == "digits":
                np.testing.assert_array_equal(np.asarray(image)[..., 0], load_digits().test_images[0][..., 0])
    (run / "config.json").write_text("[]")
    assert main(["kit", str(run), "--out", str(tmp_path / "x"), "--target", "cpp"]) == 2
    assert "config.json is damaged" in capsys.readouterr().err
    (run / "config.json").unlink()
    assert main(["kit", str(run), "--out", str(tmp_path / "x"), "--target", "cpp"]) == 2
    assert "a folder without config.json and model.tflite" in capsys.readouterr().err
