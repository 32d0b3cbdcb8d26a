"""The programs of the kits that use bitat-runtime, built and run: with stand-ins, and (slow) with bitat-runtime itself.

No Python package has TensorFlow Lite's C API, so `stand_in/tensorflowlite_c` stands in its place: a simple one, and one that
hands everything on to the interpreter of the Python package.
"""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np
import pytest
from kit_files import REPOSITORY, STAND_IN, TEMPLATES, small_model, stand_in_runtime, write_stand_in_model
from PIL import Image

from bitat_tf._pixels import PIXELS
from bitat_tf.data.decoding import ImageFiles, decode
from bitat_tf.deployment import write_kit
from bitat_tf.export import to_tflite
from bitat_tf.tflite_file.running import run

COMPILER, CMAKE, JAVAC = shutil.which("g++"), shutil.which("cmake"), shutil.which("javac")
needs_cmake = pytest.mark.skipif(COMPILER is None or CMAKE is None, reason="g++ or cmake is not installed")
JNI = "app/src/main/cpp"


@pytest.fixture(scope="module")
def runtime(tmp_path_factory):
    return stand_in_runtime(tmp_path_factory.mktemp("sources") / "runtime")


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    path = tmp_path_factory.mktemp("exported") / "small.tflite"
    to_tflite(small_model(3), path, classes=["cat", "dog", "mouse"], pixels="imagenet")
    return path


def checked(*command, **options):
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done


def cmake(source, build, *arguments):
    """Configure and build; there must be no warnings of CMake."""
    assert not checked(CMAKE, "-S", source, "-B", build, *arguments).stderr
    checked(CMAKE, "--build", build, "-j2")
    return build


# The app for Android: its native part


def java_home():
    """Return the folder of a JDK with jni.h."""
    home = JAVAC and Path(JAVAC).resolve().parents[1]
    if not home or not (home / "include" / "jni.h").exists():
        pytest.skip("no JDK with jni.h")
    return home


@pytest.fixture(scope="module")
def native(exported, runtime, tmp_path_factory):
    folder = tmp_path_factory.mktemp("native")
    kit = write_kit(exported, folder / "kit", target="android", runtime=runtime).folder
    include = java_home() / "include"
    headers = f"{include};{include / 'linux'}"
    return kit, cmake(kit / JNI, folder / "build", f"-DBITAT_RUNTIME_DIR={kit / 'runtime'}", f"-DJNI_INCLUDE_DIRS={headers}")


@needs_cmake
def test_java_calls_the_delegate(native, tmp_path):
    """In a real virtual machine, which checks what native code may do (-Xcheck:jni)."""
    _, build = native
    checked(JAVAC, "-Xlint:all", "-Werror", "-d", tmp_path, STAND_IN / "java/bitat/runtime/BitatNative.java")
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


@needs_cmake
@pytest.mark.skipif(shutil.which("nm") is None or shutil.which("readelf") is None, reason="binutils are not installed")
def test_kotlin_and_the_library_name_the_same_functions_and_pages_have_16_kb(native):
    kit, build = native
    listed = checked("nm", "-D", "--defined-only", build / "libbitat_jni.so").stdout
    exported = set(re.findall(r" T (\w+)", listed))
    kotlin = (kit / "app/src/main/java/bitat/runtime/BitatDelegate.kt").read_text()
    assert "package bitat.runtime" in kotlin
    names = re.search(r"object (\w+) \{(.*?)^\}", kotlin, re.S | re.M)
    assert exported == {f"Java_bitat_runtime_{names[1]}_{name}" for name in re.findall(r"external fun (\w+)", names[2])}
    java = (STAND_IN / "java/bitat/runtime/BitatNative.java").read_text()
    assert exported == {f"Java_bitat_runtime_BitatNative_{name}" for name in re.findall(r"native \w+ (\w+)\(", java)}
    segments = re.findall(r"LOAD .* (0x\w+)$", checked("readelf", "-lW", build / "libbitat_jni.so").stdout, re.M)
    assert segments
    assert set(segments) == {"0x4000"}


@needs_cmake
@pytest.mark.parametrize(("target", "place"), [("android", JNI), ("cpp", ".")])
def test_cmake_says_that_the_sources_are_missing(exported, runtime, tmp_path, target, place):
    kit = write_kit(exported, tmp_path / "kit", target=target, runtime=runtime).folder
    command = [CMAKE, "-S", kit / place, "-B", tmp_path / "build", "-DBITAT_RUNTIME_DIR=/nowhere"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert re.search("sources of bitat-runtime", " ".join(done.stderr.split()))


# The program for TensorFlow Lite's C API


def tflite_library(folder, name, *arguments):
    """Build a stand-in for libtensorflowlite_c."""
    folder.mkdir()
    library = folder / "libtensorflowlite_c.so"
    source = STAND_IN / "tensorflowlite_c" / name
    flags = ["-std=c++17", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", f"-I{TEMPLATES / 'litert_cpp'}"]
    checked(COMPILER, *flags, source, "-o", library, f"-Wl,-soname,{library.name}", *arguments)
    return library


@pytest.fixture(scope="module")
def build_program(exported, runtime, tmp_path_factory):
    folder = tmp_path_factory.mktemp("programs")
    library = tflite_library(folder / "tflite", "simple.cc")

    def build(pixels, takes_bytes=False):
        kit = write_kit(exported, folder / f"{pixels}{takes_bytes}", target="cpp", pixels=pixels, runtime=runtime).folder
        settings = kit / "settings.h"
        settings.write_text(settings.read_text().replace("kTakesBytes = false", f"kTakesBytes = {str(takes_bytes).lower()}"))
        return cmake(kit, kit / "build", f"-DTFLITE_C_LIBRARY={library}") / "classify"

    return build


@pytest.fixture(scope="module", params=["imagenet", "caffe"])
def scaled(request, build_program):
    return request.param, build_program(request.param)


def picture_file(folder, width=37, height=23):
    array = np.random.default_rng(width).integers(0, 256, (height, width, 3), np.uint8)
    Image.fromarray(array).save(folder / "a.ppm")
    Image.fromarray(array).save(folder / "a.png")


def pixels_of_training(folder, side, channels):
    return decode(ImageFiles([folder / "a.png"], np.zeros(1, int)), (side, side, channels))[0][0]


def expected_input(folder, name, dtype, scale, zero):
    """Return what the network must see of a.png, a picture of 6x6x3: by Pillow and numpy."""
    values = PIXELS[name](pixels_of_training(folder, 6, 3)).ravel()
    if dtype == "float32":
        return values
    limits = np.iinfo(dtype)
    return np.clip(np.rint(values / np.float32(scale)) + zero, limits.min, limits.max).astype(dtype)


def expected_lines(values, dtype, scale, zero):
    """Return the names of the best of 7 classes, whose scores are the first values of the input, and these scores."""
    scores = values[:7] if dtype == "float32" else np.float32(scale) * (values[:7].astype(np.float32) - zero)
    best = np.argsort(-scores, kind="stable")[:5]
    return [f"{place}. name {index}" for place, index in enumerate(best, 1)], scores[best]


def assert_printed(lines, values, dtype, scale, zero):
    names, scores = expected_lines(values, dtype, scale, zero)
    assert [line.split("  ")[0] for line in lines[:5]] == names
    np.testing.assert_allclose([float(line.split("  ")[1]) for line in lines[:5]], scores, rtol=1e-5)


def classify(command, folder, *arguments, **environment):
    dump = {**os.environ, "STAND_IN_DUMP": str(folder / "dump"), **environment}
    return subprocess.run([*command, *arguments], cwd=folder, env=dump, capture_output=True, text=True, check=False)


def stand_in_files(folder, **arguments):
    write_stand_in_model(folder / "model.tflite", **arguments)
    (folder / "labels.txt").write_text("".join(f"name {number}\n" for number in range(7)))
    picture_file(folder)


KINDS = [("float32", 0.0, 0), ("int8", 0.021, -3), ("uint8", 0.6, 120)]


@needs_cmake
@pytest.mark.parametrize(("dtype", "scale", "zero"), KINDS)
def test_the_program_shows_the_network_what_it_was_trained_on(scaled, tmp_path, dtype, scale, zero):
    name, program = scaled
    stand_in_files(tmp_path, dtype=dtype, scale=scale, zero=zero)
    done = classify([program], tmp_path, "a.ppm", "--runs", "3", "--threads", "2", "--kernel", "fast")
    assert done.returncode == 0, done.stderr
    threads, content = (tmp_path / "dump").read_bytes().split(b"\n", 1)
    assert threads == b"2"
    values = expected_input(tmp_path, name, dtype, scale, zero)
    np.testing.assert_array_equal(np.frombuffer(content, dtype), values)
    lines = done.stdout.splitlines()
    assert_printed(lines, values, dtype, scale, zero)
    assert re.fullmatch(r"median of 3 runs: \d+\.\d{3} ms, threads: 2, kernel: fast, TensorFlow Lite 0.0.0", lines[5])


@needs_cmake
def test_the_program_takes_bytes_as_they_are(build_program, tmp_path):
    program = build_program("0..255", takes_bytes=True)
    for dtype, less in (("uint8", 0), ("int8", 128)):
        stand_in_files(tmp_path, dtype=dtype, scale=0.0078, zero=5, channels=1)
        assert classify([program], tmp_path, "a.ppm", "--runs", "1").returncode == 0
        content = (tmp_path / "dump").read_bytes().split(b"\n", 1)[1]
        pixels = pixels_of_training(tmp_path, 6, 1).ravel().astype(int)
        np.testing.assert_array_equal(np.frombuffer(content, dtype), pixels - less)


@needs_cmake
@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "a picture is expected"),
        (["a.ppm", "--xnnpack"], 2, "unknown option: --xnnpack"),
        (["a.ppm", "--kernel", "neon"], 2, "--kernel must be auto, portable or fast. Received: neon"),
        (["a.ppm", "--model", "labels.txt"], 3, "labels.txt: cannot be read as a .tflite file"),
        (["none.ppm"], 3, "none.ppm: cannot be opened"),
        (["a.ppm", "--labels", "short.txt"], 3, "short.txt: 7 classes are expected, 1 are there"),
        (["a.ppm", "--model", "int32.tflite"], 4, "an input of float32, uint8 or int8 is expected"),
        (["a.ppm", "--model", "refused.tflite"], 4, "the network is refused: \n  0 is no height, says line 7"),
    ],
)
def test_the_program_says_what_is_wrong(scaled, tmp_path, arguments, code, message):
    for name, options in (("int32", {"dtype": "int32"}), ("refused", {"side": 0}), ("model", {})):
        write_stand_in_model(tmp_path / f"{name}.tflite", **options)
    stand_in_files(tmp_path)
    (tmp_path / "short.txt").write_text("one\n")
    done = classify([scaled[1]], tmp_path, *arguments)
    assert done.returncode == code, done.stderr
    assert message in done.stderr
    assert ("usage: classify" in done.stderr) == (code == 2)


# The script for a Raspberry Pi


@pytest.mark.parametrize(
    ("pixels", "dtype", "scale", "zero"),
    [(name, *kind) for name in ("imagenet", "caffe", "bytes") for kind in KINDS if name != "bytes" or kind[0] != "float32"],
)
def test_the_script_shows_the_network_what_it_was_trained_on(exported, tmp_path, pixels, dtype, scale, zero):
    name = "0..255" if pixels == "bytes" else pixels
    kit = write_kit(exported, tmp_path / "kit", target="raspberry-pi", pixels=name).folder
    script = kit / "classify.py"
    if pixels == "bytes":
        script.write_text(script.read_text().replace("TAKES_BYTES = False", "TAKES_BYTES = True"))
    stand_in_files(kit, dtype=dtype, scale=scale, zero=zero)
    done = classify(
        [sys.executable], tmp_path, script, kit / "a.png", PYTHONPATH=str(STAND_IN / "python"), STAND_IN_DUMP="d.npy"
    )
    assert done.returncode == 0, done.stderr
    if pixels == "bytes":
        values = (pixels_of_training(kit, 6, 3).astype(int) - (128 if dtype == "int8" else 0)).astype(dtype).ravel()
    else:
        values = expected_input(kit, name, dtype, scale, zero)
    np.testing.assert_array_equal(np.load(tmp_path / "d.npy").ravel(), values)
    assert_printed(done.stdout.splitlines(), values, dtype, scale, zero)


# bitat-runtime itself on a stock interpreter


@pytest.fixture(scope="module")
def real(exported, tmp_path_factory):
    """The kits for C++ and Python with the real sources, built; the C API is handed on to the interpreter of Python."""
    library = Path(sysconfig.get_config_var("LIBDIR"), sysconfig.get_config_var("INSTSONAME") or "")
    header = Path(sysconfig.get_path("include"), "Python.h")
    if not library.is_file() or not header.exists():
        pytest.skip("no shared library of Python, or no Python.h")
    folder = tmp_path_factory.mktemp("real")
    picture = np.random.default_rng(1).integers(0, 256, (50, 41, 3), np.uint8)
    kit = write_kit(exported, folder / "kit", target="all", picture=picture).folder
    tflite = tflite_library(folder / "tflite", "through_python.cc", f"-I{header.parent}", library)
    cmake(kit / "cpp", kit / "cpp" / "build", f"-DTFLITE_C_LIBRARY={tflite}")
    package = folder / "package"
    shutil.copytree(REPOSITORY / "runtime" / "bitat_runtime", package / "bitat_runtime")
    shutil.copy(kit / "cpp/build/bitat_runtime/libbitat_delegate.so", package / "bitat_runtime")
    return kit, package


def scores_of(lines):
    return {line.split(". ")[1].split("  ")[0]: float(line.split("  ")[1]) for line in lines}


@pytest.mark.slow
@needs_cmake
def test_on_stock_interpreters_the_scores_are_those_of_larq_compute_engine(exported, real):
    kit, package = real
    picture = decode(ImageFiles([kit / "raspberry_pi/picture.png"], np.zeros(1, int)), (8, 8, 3))[0]
    expected = dict(zip(["cat", "dog", "mouse"], run(exported.read_bytes(), PIXELS["imagenet"](picture))[0][0], strict=True))
    path = os.pathsep.join([str(package), *filter(None, sys.path)])
    program = classify([kit / "cpp/build/classify"], kit / "cpp", "picture.ppm", "--threads", "2", PYTHONPATH=path)
    assert program.returncode == 0, program.stderr
    script = classify(
        [sys.executable], kit, kit / "raspberry_pi/classify.py", kit / "raspberry_pi/picture.png", PYTHONPATH=path
    )
    assert script.returncode == 0, script.stderr
    for lines in (program.stdout.splitlines()[:3], script.stdout.splitlines()):
        found = scores_of(lines)
        assert list(found) == sorted(expected, key=expected.get, reverse=True)
        for label, score in expected.items():
            assert found[label] == pytest.approx(score, rel=1e-4, abs=1e-5)
