"""The project for Android: its parts fit together; its native part runs in a Java virtual machine, its Kotlin with stand-ins.

The Kotlin compiler is that of kotlin-jupyter-kernel, which is no requirement of the tests: without it these are skipped.
"""

import importlib.util
import os
import re
import shutil
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
from kit_files import (
    PROJECTS,
    REPOSITORY,
    STAND_IN,
    checked,
    expected_input,
    expected_scores,
    kotlin_has_errors,
    pixels_of_training,
)
from PIL import Image

from bitat_tf.kits.network import KitNetwork, TensorKind
from bitat_tf.kits.settings import settings_file, settings_of

ANDROID = PROJECTS / "android"
APP = ANDROID / "app/src/main"
JAVA = APP / "java"
KOTLIN = sorted([*ANDROID.rglob("*.kt"), *ANDROID.rglob("*.kts")])
KERNEL = importlib.util.find_spec("run_kotlin_kernel")


def catalog():
    """Return the versions of the project's catalog, by their names."""
    return dict(re.findall(r'^(\w+) = "([^"]+)"', (ANDROID / "gradle/libs.versions.toml").read_text(), re.M))


def test_versions_stand_in_the_catalog_alone():
    versions = catalog()
    assert set(versions) == {"agp", "litert", "ndk", "cmake", "compileSdk", "targetSdk", "minSdk"}
    gradle = ("build.gradle.kts", "settings.gradle.kts", "app/build.gradle.kts", "gradle.properties")
    for path in (*(ANDROID / name for name in gradle), APP / "AndroidManifest.xml"):
        text = re.sub(r"//.*|#.*|<\?xml[^>]*>", "", path.read_text())
        numbers = set(re.findall(r"\d+(?:\.\d+)+|\b(?:[Ss]dk|ndk)\w*\s*=\s*\"?\d+", text))
        assert numbers <= {"1.0"}, path  # the app's own
    used = set(re.findall(r"libs\.versions\.(\w+)\.get\(\)", (ANDROID / "app/build.gradle.kts").read_text()))
    assert used == set(versions) - {"agp", "litert"}
    wrapper = (ANDROID / "gradle/wrapper/gradle-wrapper.properties").read_text()
    major, minor, _ = map(int, re.search(r"gradle-(\d+)\.(\d+)\.(\d+)-bin\.zip", wrapper).groups())
    assert versions["agp"].startswith("9.4.")
    assert (major, minor) >= (9, 6)  # the least that the plugin's release notes name for 9.4
    assert versions["litert"].startswith("1."), "the Java interpreter of 2.x takes no delegates"


def test_the_documents_name_the_versions_of_the_catalog():
    versions = catalog()
    documents = [ANDROID / "README.md", PROJECTS / "cpp/README.md", REPOSITORY / "docs/deployment.md"]
    android, cpp, docs = (path.read_text() for path in documents)
    for text in (android, cpp, docs):
        assert set(re.findall(r"litert:litert:(\d[\d.]*\d)", text)) <= {versions["litert"]}
        assert set(re.findall(r"NDK (\d+\.\d+\.\d+)", text)) <= {versions["ndk"]}
        assert set(re.findall(r"CMake (\d+\.\d+\.\d+)", text)) <= {versions["cmake"]}
        assert set(re.findall(r"(?:compileSdk|platform) (\d+)", text)) <= {versions["compileSdk"]}
    assert f"NDK {versions['ndk']} and CMake {versions['cmake']}" in " ".join(android.split())
    assert f"android-{versions['minSdk']}" in cpp


def test_pages_of_16_kb_and_both_processors_are_asked_for():
    gradle = (ANDROID / "app/build.gradle.kts").read_text()
    assert '"-DANDROID_SUPPORT_FLEXIBLE_PAGE_SIZES=ON"' in gradle
    assert 'abiFilters += listOf("arm64-v8a", "x86_64")' in gradle
    for path in (APP / "cpp/CMakeLists.txt", PROJECTS / "cpp/CMakeLists.txt", REPOSITORY / "runtime/CMakeLists.txt"):
        assert "-Wl,-z,max-page-size=16384" in path.read_text()


def test_the_parts_of_the_project_find_each_other(native):
    space = re.search(r'namespace = "([\w.]+)"', (ANDROID / "app/build.gradle.kts").read_text())[1]
    manifest = ElementTree.parse(APP / "AndroidManifest.xml").getroot()
    name = manifest.find("application/activity").get("{http://schemas.android.com/apk/res/android}name")
    activity = JAVA / space.replace(".", "/") / f"{name.removeprefix('.')}.kt"
    assert f"package {space}\n" in activity.read_text()
    for path in JAVA.rglob("*.kt"):
        assert f"package {'.'.join(path.relative_to(JAVA).parts[:-1])}\n" in path.read_text(), path
    kit = native[0]
    assets = set(re.findall(r'"([\w.]+\.(?:tflite|txt|png))"', "".join(path.read_text() for path in JAVA.rglob("*.kt"))))
    assert assets == {path.name for path in (kit / "app/src/main/assets").iterdir()}
    strings = {each.get("name") for each in ElementTree.parse(APP / "res/values/strings.xml").getroot()}
    used = set(re.findall(r"@string/(\w+)", (APP / "AndroidManifest.xml").read_text()))
    used |= set(re.findall(r"R\.string\.(\w+)", activity.read_text()))
    assert used == strings
    runtime = re.search(r"bitat\.runtime=(\S+)", (kit / "gradle.properties").read_text())[1]
    assert (kit / runtime / "CMakeLists.txt").exists()


@pytest.mark.parametrize("path", KOTLIN, ids=lambda path: path.name)
def test_kotlin_has_no_errors_of_syntax(path):
    content = path.read_bytes()
    assert not kotlin_has_errors(content)
    assert kotlin_has_errors(content.replace(b"{", b"(", 1))


def test_java_calls_the_delegate(native, tmp_path):
    """In a real virtual machine, which checks what native code may do (-Xcheck:jni)."""
    _, build = native
    checked("javac", "-Xlint:all", "-Werror", "-d", tmp_path, STAND_IN / "java/bitat/runtime/BitatNative.java")
    environment = {**os.environ, "LD_LIBRARY_PATH": str(build / "bitat_runtime")}
    command = ["java", "-Xcheck:jni", f"-Djava.library.path={build}", "-cp", tmp_path, "bitat.runtime.BitatNative"]
    assert checked(*command, env=environment).stdout.splitlines() == [
        "version 0.0.0",
        "handle true",
        "kernel portable",
        "error ''",
        "IllegalArgumentException: the stand-in has no option speed=9",
        "IllegalArgumentException: the stand-in has no option num_threads=many",
        "IllegalArgumentException: the options of the delegate must be at most 4 pairs of key and value",
        "NullPointerException: an option of the delegate is null",
        "IllegalArgumentException: the options of the delegate must be at most 4 pairs of key and value",
    ]


@pytest.mark.skipif(shutil.which("nm") is None or shutil.which("readelf") is None, reason="binutils are not installed")
def test_kotlin_and_the_library_name_the_same_functions_and_pages_have_16_kb(native):
    _, build = native
    listed = checked("nm", "-D", "--defined-only", build / "libbitat_jni.so").stdout
    exported = set(re.findall(r" T (\w+)", listed))
    kotlin = (JAVA / "bitat/runtime/BitatDelegate.kt").read_text()
    assert "package bitat.runtime" in kotlin
    names = re.search(r"object (\w+) \{(.*?)^\}", kotlin, re.S | re.M)
    assert exported == {f"Java_bitat_runtime_{names[1]}_{name}" for name in re.findall(r"external fun (\w+)", names[2])}
    java = (STAND_IN / "java/bitat/runtime/BitatNative.java").read_text()
    assert exported == {f"Java_bitat_runtime_BitatNative_{name}" for name in re.findall(r"native \w+ (\w+)\(", java)}
    segments = re.findall(r"LOAD .* (0x\w+)$", checked("readelf", "-lW", build / "libbitat_jni.so").stdout, re.M)
    assert segments
    assert set(segments) == {"0x4000"}


def kotlinc(folder, class_path, *sources):
    """Compile Kotlin; return the class path with the result before the rest."""
    jars = Path(next(iter(KERNEL.submodule_search_locations))) / "jars"
    compiler = ["java", "-cp", f"{jars}/*", "org.jetbrains.kotlin.cli.jvm.K2JVMCompiler", "-no-stdlib", "-no-reflect"]
    path = os.pathsep.join(map(str, class_path or [next(jars.glob("kotlin-stdlib-*.jar"))]))
    checked(*compiler, "-Werror", "-cp", path, *sources, "-d", folder)
    return [folder, *path.split(os.pathsep)]


@pytest.fixture(scope="session")
def app(native, tmp_path_factory):
    """All Kotlin of the app, compiled with stand-ins for the classes of Android and LiteRT."""
    if KERNEL is None:
        pytest.skip("no Kotlin compiler: kotlin-jupyter-kernel is not installed")
    return kotlinc(
        tmp_path_factory.mktemp("app"), None, *(STAND_IN / "kotlin").glob("*.kt"), *(native[0] / "app").rglob("*.kt")
    )


def started(build, class_path, name, libraries=None, **options):
    """Run a main function of the stand-ins; return the lines that it printed."""
    environment = {**os.environ, "LD_LIBRARY_PATH": str(build / "bitat_runtime")}
    properties = [f"-D{key}={value}" for key, value in options.pop("properties", {}).items()]
    command = ["java", "-Xcheck:jni", f"-Djava.library.path={libraries or build}", *properties]
    command += ["-cp", os.pathsep.join(map(str, class_path)), f"com.example.classifier.{name}"]
    return checked(*command, env=environment, **options).stdout.splitlines()


def write_model(folder, dtype, scale, zero, side, channels):
    (folder / "model.tflite").write_text(f"{dtype} {scale} {zero} {side} {channels} 7")
    (folder / "labels.txt").write_text("".join(f"name{number}\n" for number in range(7)))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dtype", "scale", "zero", "channels", "kind"),
    [
        ("float32", 0, 0, 3, "imagenet"),
        ("int8", 0.021, -3, 3, "caffe"),
        ("uint8", 0.004, 0, 1, "0..1"),
        ("int8", 0.5, 7, 1, "bytes"),
    ],
)
def test_the_app_shows_the_network_what_it_was_trained_on(native, app, tmp_path, dtype, scale, zero, channels, kind):
    taken, given = TensorKind((1, 16, 16, channels), dtype), TensorKind((1, 7), dtype)
    settings = settings_of(KitNetwork(b"", 'a "$network" \\', taken, given, (), None, {}), kind)
    (tmp_path / "Settings.kt").write_text(settings_file(settings, "Settings.kt"))
    class_path = kotlinc(tmp_path / "settings", app, tmp_path / "Settings.kt")
    write_model(tmp_path, dtype.upper(), scale, zero, 16, channels)
    lines, sources, generator = [], [], np.random.default_rng(0)
    for number, (width, height) in enumerate([(1, 1), (7, 5), (33, 100), (64, 47), (16, 16), (150, 31)]):
        rgba = generator.integers(0, 256, (height, width, 4), np.uint8)
        sources.append(tmp_path / f"{number}.png")
        Image.fromarray(rgba).save(sources[-1])
        rgba[..., [2, 1, 0, 3]].astype(np.uint8).tofile(tmp_path / f"{number}.argb")  # little endian
        lines.append(f"{tmp_path} {width} {height} {tmp_path}/{number}.argb {tmp_path}/{number}.seen")
    name, *printed = started(native[1], class_path, "MainKt", input="\n".join(lines))
    assert name == 'a "$network" \\'
    for number, pixels in enumerate(pixels_of_training(*sources, side=16, channels=channels)):
        values = expected_input(pixels, kind, dtype, scale, zero)
        np.testing.assert_array_equal(np.fromfile(tmp_path / f"{number}.seen", values.dtype), values.ravel())
        best, scores = expected_scores(values, dtype, scale, zero)
        pairs = [pair.split("=") for pair in printed[number].split()]
        assert [label for label, _ in pairs] == [f"name{index}" for index in best]
        np.testing.assert_allclose([float(score) for _, score in pairs], scores, rtol=1e-5)


@pytest.mark.slow
def test_the_app_shows_classes_and_time_or_what_went_wrong(native, app, tmp_path):
    """All of the app, with its own native library; the delegate is the stand-in's."""
    kit, build = native
    assets = tmp_path / "assets"
    shutil.copytree(kit / "app/src/main/assets", assets)
    write_model(assets, "FLOAT32", 0, 0, 8, 1)

    def start(libraries=None):
        title, first, shown, runs, *text = started(build, app, "StartKt", libraries, properties={"assets": assets})
        assert (title, first) == ("title: float32", "first: string 7")  # of the resources, until the network has run
        return shown.removeprefix("picture: "), int(runs.removeprefix("runs: ")), text

    shown, runs, text = start()
    assert (shown, runs) == ("17x11", 1 + 50)
    best, scores = expected_scores(pixels_of_training(assets / "picture.png", side=8, channels=1), "float32", 0, 0)
    assert [line.split("  ")[0] for line in text[:5]] == [f"{place}. name{index}" for place, index in enumerate(best, 1)]
    np.testing.assert_allclose([float(line.split("  ")[1]) for line in text[:5]], scores, rtol=1e-3)
    assert text[5] == ""
    assert re.fullmatch(r"\d+\.\d{3} ms, median of 50 runs", text[6])
    assert re.fullmatch(r"[1-4] threads, kernels: portable", text[7])

    def assert_fails(message, shown="17x11"):
        assert (shown, 0, ["That did not work.", "", message]) == start()

    assert start(tmp_path)[2][2].startswith("no bitat_jni in java.library.path")
    (assets / "labels.txt").write_text("one\n")
    assert_fails("labels.txt must have 7 lines. Received: 1.")
    write_model(assets, "refused", 0, 0, 8, 1)
    assert_fails("Internal error: Cannot create interpreter: the network is refused")
    (assets / "picture.png").write_text("no picture")
    assert_fails("picture.png of the assets cannot be read as a picture", shown="null")
