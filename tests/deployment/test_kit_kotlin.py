"""The Kotlin of the kits, compiled and run with stand-ins for the classes of Android and TensorFlow Lite.

The compiler is that of kotlin-jupyter-kernel, which is no requirement of the tests: without it these are skipped.
"""

import importlib.util
import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from kit_files import STAND_IN, small_model, stand_in_runtime
from PIL import Image

from bitat_tf._pixels import PIXELS
from bitat_tf.data.decoding import ImageFiles, decode
from bitat_tf.deployment import write_kit
from bitat_tf.export import to_tflite

KERNEL = importlib.util.find_spec("run_kotlin_kernel")
JAVAC = shutil.which("javac")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(KERNEL is None or JAVAC is None, reason="no Kotlin compiler: kotlin-jupyter-kernel and a JDK"),
]
JNI = "app/src/main/cpp"
KINDS = [
    ("FLOAT32", 0, 0, 3, "imagenet"),
    ("INT8", 0.021, -3, 3, "caffe"),
    ("UINT8", 0.004, 0, 1, "0..1"),
    ("INT8", 0.5, 7, 1, "bytes"),
]


def run(*command, **options):
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout


def compiled(folder, sources):
    """Compile Kotlin; return the class path."""
    jars = Path(next(iter(KERNEL.submodule_search_locations))) / "jars"
    standard = next(jars.glob("kotlin-stdlib-*.jar"))
    compiler = [
        "java",
        "-cp",
        f"{jars}/*",
        "org.jetbrains.kotlin.cli.jvm.K2JVMCompiler",
        "-no-stdlib",
        "-no-reflect",
        "-Werror",
    ]
    run(*compiler, "-cp", standard, *sources, "-d", folder)
    return f"{folder}{os.pathsep}{standard}"


def write_files(folder, dtype, scale, zero, side, channels):
    (folder / "model.tflite").write_text(f"{dtype} {scale} {zero} {side} {channels} 7")
    (folder / "labels.txt").write_text("".join(f"label{number}\n" for number in range(7)))


@pytest.mark.parametrize(("dtype", "scale", "zero", "channels", "pixels"), KINDS)
def test_the_class_sees_what_the_network_was_trained_on(tmp_path, dtype, scale, zero, channels, pixels):
    path = tmp_path / "small.tflite"
    to_tflite(small_model(channels), path)
    folder = write_kit(path, tmp_path / "kit", pixels="0..255" if pixels == "bytes" else pixels).folder / "android"
    if pixels == "bytes":
        text = (folder / "Settings.kt").read_text()
        (folder / "Settings.kt").write_text(text.replace("TAKES_BYTES = false", "TAKES_BYTES = true"))
    classes = compiled(tmp_path / "out", [*STAND_IN.glob("kotlin/*.kt"), *folder.glob("*.kt")])

    write_files(tmp_path, dtype, scale, zero, 16, channels)
    lines, sources, generator = [], [], np.random.default_rng(0)
    for number, (width, height) in enumerate([(1, 1), (7, 5), (33, 100), (64, 47), (16, 16), (150, 31)]):
        rgba = generator.integers(0, 256, (height, width, 4), np.uint8)
        sources.append(tmp_path / f"{number}.png")
        Image.fromarray(rgba).save(sources[-1])
        rgba[..., [2, 1, 0, 3]].astype(np.uint8).tofile(tmp_path / f"{number}.argb")  # little endian
        lines.append(f"{tmp_path} {width} {height} {tmp_path}/{number}.argb {tmp_path}/{number}.seen")
    printed = run("java", "-cp", classes, "com.example.classifier.MainKt", input="\n".join(lines)).splitlines()

    expected, _, _ = decode(ImageFiles(sources, np.zeros(len(sources), int)), (16, 16, channels))
    for number, picture in enumerate(expected):
        if pixels == "bytes":
            values = (picture.astype(int) - 128).astype(np.int8)
        else:
            values = PIXELS[pixels](picture)
        if dtype != "FLOAT32" and pixels != "bytes":
            limits = np.iinfo(dtype.lower())
            values = np.clip(np.rint(values / np.float32(scale)) + zero, limits.min, limits.max).astype(dtype.lower())
        seen = np.fromfile(tmp_path / f"{number}.seen", values.dtype)
        np.testing.assert_array_equal(seen, values.ravel())
        scores = values.ravel()[:7] if dtype == "FLOAT32" else scale * (values.ravel()[:7].astype(float) - zero)
        best = np.argsort(-scores, kind="stable")[:5]
        pairs = [pair.split("=") for pair in printed[number].split()]
        assert [label for label, _ in pairs] == [f"label{index}" for index in best]
        np.testing.assert_allclose([float(score) for _, score in pairs], scores[best], rtol=1e-5)


@pytest.mark.skipif(shutil.which("g++") is None or shutil.which("cmake") is None, reason="g++ or cmake is not installed")
def test_the_app_shows_classes_and_time_or_what_went_wrong(tmp_path):
    """All of the app, with its own native library; the delegate is the stand-in's."""
    to_tflite(small_model(), tmp_path / "small.tflite")
    picture = np.random.default_rng(0).integers(0, 256, (11, 17, 3), np.uint8)
    runtime = stand_in_runtime(tmp_path / "runtime")
    kit = write_kit(tmp_path / "small.tflite", tmp_path / "kit", target="android", picture=picture, runtime=runtime).folder
    include = Path(JAVAC).resolve().parents[1] / "include"
    build = tmp_path / "build"
    headers = f"-DJNI_INCLUDE_DIRS={include};{include / 'linux'}"
    run("cmake", "-S", kit / JNI, "-B", build, f"-DBITAT_RUNTIME_DIR={kit / 'runtime'}", headers)
    run("cmake", "--build", build)
    stand_ins = [path for path in STAND_IN.glob("kotlin/*.kt") if path.name != "Main.kt"]
    sources = [*stand_ins, *STAND_IN.glob("kotlin_app/*.kt"), *(kit / "app/src/main/java").rglob("*.kt")]
    classes = compiled(tmp_path / "out", sources)
    assets = kit / "app/src/main/assets"
    write_files(assets, "FLOAT32", 0, 0, 8, 1)

    def started(libraries):
        options = ["-Xcheck:jni", f"-Dassets={assets}", f"-Djava.library.path={libraries}", "-cp", classes]
        environment = {**os.environ, "LD_LIBRARY_PATH": str(build / "bitat_runtime")}
        first, shown, runs, *text = run("java", *options, "com.example.classifier.StartKt", env=environment).splitlines()
        assert first == "first: string 7"  # of the resources, until the network has run
        return shown.removeprefix("picture: "), int(runs.removeprefix("runs: ")), text

    shown, runs, text = started(build)
    assert (shown, runs) == ("17x11", 1 + 50)
    values = decode(ImageFiles([assets / "picture.png"], np.zeros(1, int)), (8, 8, 1))[0].ravel()[:7].astype(float)
    best = np.argsort(-values, kind="stable")[:5]
    assert [line.split("  ")[0] for line in text[:5]] == [f"{place}. label{index}" for place, index in enumerate(best, 1)]
    np.testing.assert_allclose([float(line.split("  ")[1]) for line in text[:5]], values[best], rtol=1e-3)
    assert text[5] == ""
    assert re.fullmatch(r"\d+\.\d{3} ms, median of 50 runs", text[6])
    assert re.fullmatch(r"[1-4] threads, kernels: portable", text[7])

    def failing(message, shown="17x11", libraries=build):
        assert (shown, 0, ["That did not work.", "", message]) == started(libraries)

    assert started(tmp_path)[2][2].startswith("no bitat_jni in java.library.path")
    (assets / "labels.txt").write_text("one\n")
    failing("labels.txt must have 7 lines. Received: 1.")
    write_files(assets, "refused", 0, 0, 8, 1)
    failing("Internal error: Cannot create interpreter: the network is refused")
    (assets / "picture.png").write_text("no picture")
    failing("picture.png of the assets cannot be read as a picture", shown="null")
