"""What stands in the kits that use bitat-runtime, where its sources come from, and whether the examples are such kits."""

import glob
import importlib.util
import io
import json
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from kit_files import REPOSITORY, TEMPLATES, small_model, stand_in_runtime
from PIL import Image

from bitat_tf._pixels import PIXELS, Scaling
from bitat_tf.cli import main
from bitat_tf.data import load_digits
from bitat_tf.deployment import kit_runtime, write_kit
from bitat_tf.deployment.kit_targets import TARGETS
from bitat_tf.export import to_tflite

NEW = [name for name in TARGETS if name != "larq"]
APP = "app/src/main"
KOTLIN = f"{APP}/java/com/example/classifier"


@pytest.fixture(scope="module")
def runtime(tmp_path_factory):
    return stand_in_runtime(tmp_path_factory.mktemp("sources") / "runtime")


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    path = tmp_path_factory.mktemp("exported") / "small.tflite"
    to_tflite(small_model(3), path, classes=["cat", "dog", "größte Maus"], pixels="imagenet")
    return path


@pytest.fixture
def android(exported, runtime, tmp_path):
    return write_kit(exported, tmp_path / "android", target="android", runtime=runtime).folder


@pytest.mark.parametrize("target", NEW)
def test_a_kit_is_complete(exported, runtime, tmp_path, target):
    picture = np.random.default_rng(0).integers(0, 256, (5, 9, 3), np.uint8)
    kit = write_kit(exported, tmp_path / "kit", target=target, picture=picture, runtime=runtime)
    there = {path.relative_to(kit.folder).as_posix() for path in kit.folder.rglob("*") if path.is_file()}
    assert there == set(kit.files)
    assert (kit.target, kit.notes) == (target, ())
    part = TARGETS[target]
    assert (kit.folder / part.model).read_bytes() == exported.read_bytes()
    assert (kit.folder / part.labels).read_text("utf-8") == "cat\ndog\ngrößte Maus\n"
    with Image.open(kit.folder / part.picture) as image:
        np.testing.assert_array_equal(np.asarray(image), picture)
    for name in part.templates:
        text = (kit.folder / name).read_text("utf-8")
        assert not re.search(r"@[A-Z][A-Z_]*@", text), name
        assert max(map(len, text.splitlines())) <= (128 if name != "README.md" else 1000), name
    if part.runtime is not None:
        copied = {name for name in kit.files if name.startswith("runtime/")}
        own = {f"runtime/{path.relative_to(runtime).as_posix()}" for path in runtime.rglob("*") if path.is_file()}
        assert copied == own
    named = set(
        re.findall(
            r"`([\w./]+\.(?:cc|h|kt|kts|toml|py|properties|txt|ppm|png|tflite))`", (kit.folder / "README.md").read_text()
        )
    )
    missing = {name for name in named if not any(path.endswith(name.removeprefix("...")) for path in kit.files)}
    assert missing <= {"gradle/wrapper/gradle-wrapper.jar"}


@pytest.mark.parametrize("pixels", ["imagenet", "caffe", "0..1"])
def test_the_numbers_of_the_pixels_arrive(exported, runtime, tmp_path, pixels):
    kit = write_kit(exported, tmp_path / "kit", target="all", pixels=pixels, runtime=runtime)
    scaling = PIXELS[pixels]
    scale, offset = (
        ", ".join(map(repr, np.broadcast_to(np.asarray(values, float), 3).tolist()))
        for values in (scaling.scale, scaling.offset)
    )
    for name in (f"android/{KOTLIN}/Settings.kt", "cpp/settings.h", "raspberry_pi/classify.py"):
        text = (kit.folder / name).read_text()
        assert scale in text, name
        assert offset in text, name
        assert ("true" in text.lower()) == scaling.reverse, name


def test_all_is_the_three_of_them(exported, runtime, tmp_path):
    kit = write_kit(exported, tmp_path / "all", target="all", runtime=runtime)
    assert {path.name for path in kit.folder.iterdir()} == {"android", "cpp", "raspberry_pi"}
    for target in NEW:
        alone = write_kit(exported, tmp_path / target, target=target, runtime=runtime)
        for name in alone.files:
            assert (kit.folder / target.replace("-", "_") / name).read_bytes() == (alone.folder / name).read_bytes()
    assert kit.notes == ("No picture was given: one of many colours that shows nothing stands in its place.",)


def catalog(folder):
    """Return the versions of a project's catalog, by their names."""
    return dict(re.findall(r'^(\w+) = "([^"]+)"', (folder / "gradle/libs.versions.toml").read_text(), re.M))


def test_versions_stand_in_the_catalog_alone(android):
    versions = catalog(android)
    assert set(versions) == {"agp", "litert", "ndk", "cmake", "compileSdk", "targetSdk", "minSdk"}
    for name in (
        "build.gradle.kts",
        "settings.gradle.kts",
        "app/build.gradle.kts",
        "gradle.properties",
        f"{APP}/AndroidManifest.xml",
    ):
        text = re.sub(r"//.*|#.*|<\?xml[^>]*>", "", (android / name).read_text())
        numbers = set(re.findall(r"\d+(?:\.\d+)+|\b(?:[Ss]dk|ndk)\w*\s*=\s*\"?\d+", text))
        assert numbers <= {"1.0"}, name  # the app's own
    used = set(re.findall(r"libs\.versions\.(\w+)\.get\(\)", (android / "app/build.gradle.kts").read_text()))
    assert used == set(versions) - {"agp", "litert"}
    wrapper = (android / "gradle/wrapper/gradle-wrapper.properties").read_text()
    major, minor, _ = map(int, re.search(r"gradle-(\d+)\.(\d+)\.(\d+)-bin\.zip", wrapper).groups())
    assert versions["agp"].startswith("9.4.")
    assert (major, minor) >= (9, 6)  # the least that the plugin's release notes name for 9.4
    assert versions["litert"].startswith("1."), "the Java interpreter of 2.x takes no delegates"


def test_the_documents_name_the_versions_of_the_catalog(android):
    versions = catalog(android)
    documents = [(android / "README.md").read_text(), (REPOSITORY / "docs" / "deployment.md").read_text()]
    documents.append((TEMPLATES / "litert_cpp" / "README.md").read_text())
    for text in documents:
        assert set(re.findall(r"litert:litert:(\d[\d.]*\d)", text)) <= {versions["litert"]}
        assert set(re.findall(r"NDK (\d+\.\d+\.\d+)", text)) <= {versions["ndk"]}
        assert set(re.findall(r"CMake (\d+\.\d+\.\d+)", text)) <= {versions["cmake"]}
        assert set(re.findall(r"(?:compileSdk|platform) (\d+)", text)) <= {versions["compileSdk"]}
    assert f"NDK {versions['ndk']} and CMake {versions['cmake']}" in " ".join(documents[0].split())
    assert f"android-{versions['minSdk']}" in documents[2]


def test_pages_of_16_kb_and_both_processors_are_asked_for(android):
    gradle = (android / "app/build.gradle.kts").read_text()
    assert '"-DANDROID_SUPPORT_FLEXIBLE_PAGE_SIZES=ON"' in gradle
    assert 'abiFilters += listOf("arm64-v8a", "x86_64")' in gradle
    assert "-Wl,-z,max-page-size=16384" in (android / APP / "cpp/CMakeLists.txt").read_text()
    assert "-Wl,-z,max-page-size=16384" in (REPOSITORY / "runtime/CMakeLists.txt").read_text()


def test_the_parts_of_the_project_find_each_other(android):
    gradle = (android / "app/build.gradle.kts").read_text()
    space = re.search(r'namespace = "([\w.]+)"', gradle)[1]
    manifest = ElementTree.parse(android / APP / "AndroidManifest.xml").getroot()
    name = manifest.find("application/activity").get("{http://schemas.android.com/apk/res/android}name")
    activity = android / APP / "java" / space.replace(".", "/") / f"{name.removeprefix('.')}.kt"
    assert f"package {space}\n" in activity.read_text()
    for path in (android / APP / "java").rglob("*.kt"):
        assert f"package {'.'.join(path.relative_to(android / APP / 'java').parts[:-1])}\n" in path.read_text(), path
    assets = set(re.findall(r'"([\w.]+\.(?:tflite|txt|png))"', "".join(p.read_text() for p in android.rglob("*.kt"))))
    assert assets == {path.name for path in (android / APP / "assets").iterdir()}
    strings = {each.get("name") for each in ElementTree.parse(android / APP / "res/values/strings.xml").getroot()}
    used = set(re.findall(r"@string/(\w+)", (android / APP / "AndroidManifest.xml").read_text()))
    used |= set(re.findall(r"R\.string\.(\w+)", activity.read_text()))
    assert used == strings
    assert (
        android / re.search(r"bitat\.runtime=(\S+)", (android / "gradle.properties").read_text())[1] / "CMakeLists.txt"
    ).exists()


@pytest.mark.parametrize("name", [name for name in TARGETS["android"].templates if name.endswith((".kt", ".kts"))])
def test_kotlin_has_no_errors_of_syntax(android, name):
    tree_sitter, kotlin = pytest.importorskip("tree_sitter"), pytest.importorskip("tree_sitter_kotlin")
    parser = tree_sitter.Parser(tree_sitter.Language(kotlin.language()))
    content = (android / name).read_bytes()
    assert not parser.parse(content).root_node.has_error
    assert parser.parse(content.replace(b"{", b"(", 1)).root_node.has_error


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"target": "ios"}, ValueError, "`target` must be one of larq, android, cpp, raspberry-pi, all. Received: 'ios'"),
        ({"picture": "a.png"}, ValueError, "for the targets that use bitat-runtime. Received: target='larq'.*android, cpp"),
        ({"runtime": "."}, ValueError, "`picture` and `runtime` are for the targets that use bitat-runtime"),
        ({"target": "cpp", "runtime": "none"}, ValueError, "the folder of bitat-runtime's CMakeLists.txt .* Received: 'none'"),
        ({"target": "raspberry-pi", "picture": "none.png"}, FileNotFoundError, "must be a file. Received: 'none.png'"),
        ({"target": "raspberry-pi", "picture": __file__}, ValueError, "a JPEG or a PNG. Received: .*test_kit_targets.py"),
        (
            {"target": "raspberry-pi", "picture": np.zeros((2, 2, 3))},
            ValueError,
            r"uint8 of shape .*float64 of shape \(2, 2, 3\)",
        ),
        (
            {"target": "raspberry-pi", "picture": np.zeros((2, 2, 2), np.uint8)},
            ValueError,
            r"Received: uint8 of shape \(2, 2, 2\)",
        ),
        ({"target": "raspberry-pi", "pixels": Scaling(1, (1, 2))}, ValueError, "one for each of the 3 channels"),
    ],
)
def test_wrong_arguments(exported, tmp_path, arguments, error, message):
    with pytest.raises(error, match=message):
        write_kit(exported, tmp_path / "kit", **arguments)
    assert not (tmp_path / "kit").exists()


@pytest.mark.parametrize("kind", ["cut", "deep"])
def test_pictures_that_cannot_be_used(exported, tmp_path, kind):
    buffer = io.BytesIO()
    deep = kind == "deep"
    Image.fromarray(np.zeros((99, 99), np.uint16) if deep else np.zeros((99, 99, 3), np.uint8)).save(buffer, "PNG")
    (tmp_path / "a.png").write_bytes(buffer.getvalue()[: None if deep else -60])
    with pytest.raises(ValueError, match="8 bits a channel. Received: .*a.png" if deep else "can be read. Received: .*a.png"):
        write_kit(exported, tmp_path / "kit", target="raspberry-pi", picture=tmp_path / "a.png")


def test_pictures_are_made_upright_and_small(exported, tmp_path):
    image = Image.new("RGB", (3000, 10), "red")
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "a.jpg", exif=exif)
    kit = write_kit(exported, tmp_path / "kit", target="raspberry-pi", picture=tmp_path / "a.jpg")
    with Image.open(kit.folder / "picture.png") as written:
        assert (written.mode, written.height, written.width < 10) == ("RGB", 1024, True)


def places(monkeypatch, *folders):
    monkeypatch.setattr(kit_runtime, "_places", lambda: iter(folders))


def test_without_sources_the_message_says_how_to_get_them(exported, tmp_path, monkeypatch):
    places(monkeypatch, tmp_path / "nowhere")
    message = r"none were found: .*`pip install ./runtime`.*--runtime DIR.*'larq' and 'raspberry-pi' need none"
    with pytest.raises(ValueError, match=message):
        write_kit(exported, tmp_path / "kit", target="android")
    assert not (tmp_path / "kit").exists()
    write_kit(exported, tmp_path / "kit", target="raspberry-pi")


def test_the_sources_are_those_of_the_installed_package_then_of_the_checkout(runtime, tmp_path, monkeypatch):
    """The first of: `native` in the package, the folder of an editable package, `runtime` of the checkout."""
    package = tmp_path / "site" / "bitat_runtime"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise ImportError('without its library')")  # it is not imported
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.delitem(sys.modules, "bitat_runtime", raising=False)  # the one that is installed, if a test has imported it
    assert REPOSITORY / "runtime" in kit_runtime._places()
    checkout = kit_runtime.runtime_sources()
    assert checkout["include/bitat_delegate.h"] == (REPOSITORY / "runtime/include/bitat_delegate.h").read_bytes()
    assert not [name for name in checkout if name.startswith(("tests/", "bitat_runtime/", "tools/"))]
    shutil.copytree(runtime, package / "native")
    installed = kit_runtime.runtime_sources()
    assert installed["src/delegate.cc"] == (runtime / "src/delegate.cc").read_bytes()


def test_every_template_is_a_part_of_the_package():
    """The pattern of setup.cfg, as setuptools takes it, matches all of them; names with a dot in front would not be."""
    pattern = re.search(r"^bitat_tf\.deployment = (\S+)$", (REPOSITORY / "setup.cfg").read_text(), re.M)[1]
    packed = set(glob.glob(pattern, root_dir=TEMPLATES.parent, recursive=True))
    used = {f"templates/{name}" for target in TARGETS.values() for name in target.templates.values()}
    there = {path.relative_to(TEMPLATES.parent).as_posix() for path in TEMPLATES.rglob("*") if path.is_file()}
    assert used == there
    assert used <= packed


def run_folder(folder, model, data):
    folder.mkdir()
    shutil.copy(model, folder / "model.tflite")
    (folder / "config.json").write_text(json.dumps({"format": 1, "settings": {"data": str(data)}}))
    return folder


def test_the_command_takes_a_run(exported, tmp_path, capsys):
    pictures = tmp_path / "pictures" / "test" / "cat"
    pictures.mkdir(parents=True)
    Image.new("RGB", (7, 5), "blue").save(pictures / "b.png")
    (pictures / "a.txt").write_text("no picture")
    for number, (data, size) in enumerate(
        [("digits", (8, 8)), (tmp_path / "pictures", (7, 5)), (tmp_path / "gone", (224, 224))]
    ):
        run = run_folder(tmp_path / f"run{number}", exported, data)
        out = tmp_path / f"kit{number}"
        assert main(["kit", str(run), "--out", str(out), "--target", "raspberry-pi"]) == 0
        said = capsys.readouterr()
        assert ("No picture was given" in said.out + said.err) == (size == (224, 224))
        with Image.open(out / "picture.png") as image:
            assert image.size == size
            if data == "digits":
                np.testing.assert_array_equal(np.asarray(image)[..., 0], load_digits().test_images[0][..., 0])
    assert main(["kit", str(run), "--out", str(tmp_path / "larq")]) == 0  # the default, without a picture
    assert not (tmp_path / "larq" / "picture.png").exists()
    (run / "config.json").write_text("[]")
    assert main(["kit", str(run), "--out", str(tmp_path / "x"), "--target", "cpp"]) == 2
    assert "config.json is damaged" in capsys.readouterr().err
    (run / "config.json").unlink()
    assert main(["kit", str(run), "--out", str(tmp_path / "x"), "--target", "cpp"]) == 2
    assert "a folder without config.json and model.tflite" in capsys.readouterr().err


def test_the_examples_are_what_the_kit_writes():
    """If not: python examples/write_examples.py."""
    folder = REPOSITORY / "examples"
    spec = importlib.util.spec_from_file_location("write_examples", folder / "write_examples.py")
    examples = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(examples)
    written = dict(examples.contents(examples.ASSETS / "model.tflite", examples.ASSETS / "picture.png"))
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "."], cwd=folder, capture_output=True, text=True
    )
    if listed.returncode == 0 and listed.stdout:
        own = {"README.md", "write_examples.py"}
        assert set(listed.stdout.splitlines()) - own == set(written)
    for name, content in written.items():
        there = (folder / name).read_bytes()
        if name.endswith(".png"):  # compressed by whatever zlib
            there, content = (Image.open(io.BytesIO(each)).tobytes() for each in (there, content))
        assert there == content, f"{name}: python examples/write_examples.py"
    for name in ("android/gradle.properties", "cpp/CMakeLists.txt"):
        place = re.search(r"bitat.runtime=(\S+)|BITAT_RUNTIME_DIR \"([^\"]+)\"", (folder / name).read_text())
        assert ((folder / name).parent / (place[1] or place[2])).resolve() == REPOSITORY / "runtime"
