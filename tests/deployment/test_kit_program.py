"""The C++ program of a kit: its pixels against those of training, its behaviour on damaged files, and the program as a whole.

TensorFlow Lite's headers come with no package, so `stand_in` stands in their place; what it declares is compared with the
symbols of TensorFlow's library.
"""

import io
import os
import re
import shutil
import subprocess
from importlib.metadata import files
from pathlib import Path

import numpy as np
import pytest
from kit_files import STAND_IN, write_stand_in_model
from PIL import Image

import bitat_tf
from bitat_tf._pixels import PIXELS, Scaling
from bitat_tf.data.decoding import ImageFiles, decode
from bitat_tf.deployment.kit_values import filled

COMPILER = shutil.which("g++")
pytestmark = pytest.mark.skipif(COMPILER is None, reason="g++ is not installed")
CPP = Path(bitat_tf.__file__).parent / "deployment" / "templates" / "cpp"
STRICT = ["-std=c++17", "-Wall", "-Wextra", "-Werror", "-ffp-contract=off"]
SANITIZERS = ["-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
DRIVER = """
#include <cstdio>
#include "pictures.h"
// Arguments: width, height, channels, then pictures; the pixels of each go beside it.
int main(int count, char** arguments) {
  for (int i = 4; i < count; ++i) {
    try {
      const bitat::Image image = bitat::Prepare(bitat::ReadPicture(arguments[i]), std::atoi(arguments[1]),
                                                std::atoi(arguments[2]), std::atoi(arguments[3]));
      std::ofstream(std::string(arguments[i]) + ".pixels", std::ios::binary)
          .write(reinterpret_cast<const char*>(image.pixels.data()), static_cast<std::streamsize>(image.pixels.size()));
      std::puts("read");
    } catch (const std::exception& error) {
      std::puts(error.what());
    }
  }
}
"""


def codecs():
    """Return the compiler's flags for the picture libraries whose headers are there."""
    flags = []
    for header, macro, library in (("jpeglib.h", "BITAT_WITH_JPEG", "-ljpeg"), ("png.h", "BITAT_WITH_PNG", "-lpng")):
        command = [COMPILER, "-E", "-x", "c++", "-", "-o", os.devnull]
        if subprocess.run(
            command, input=f"#include <cstdio>\n#include <{header}>\n", text=True, capture_output=True
        ).returncode:
            continue
        flags += [f"-D{macro}", library]
    return flags


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    folder = tmp_path_factory.mktemp("driver")
    (folder / "driver.cc").write_text(DRIVER)
    flags = codecs()
    libraries = [flag for flag in flags if flag.startswith("-l")]
    macros = [flag for flag in flags if flag.startswith("-D")]
    command = [COMPILER, *STRICT, *SANITIZERS, *macros, f"-I{CPP}", "driver.cc", "-o", "driver", *libraries]
    subprocess.run(command, cwd=folder, check=True)

    def run(paths, size, channels=3):
        width, height = (size, size) if isinstance(size, int) else size
        command = [folder / "driver", *map(str, (width, height, channels)), *paths]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr  # a sanitizer ends the program
        return done.stdout.splitlines()

    run.macros = macros
    return run


def pixels_of(path, height, width, channels):
    return np.fromfile(f"{path}.pixels", np.uint8).reshape(height, width, channels)


def picture(width, height, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("width", "height", "side"),
    [
        (1, 1, 8),
        (7, 5, 32),
        (33, 100, 32),
        (640, 479, 224),
        (31, 31, 32),
        (32, 32, 32),
        (1001, 17, 1),
        (257, 255, 64),
        (3, 9, 5),
    ],
)
def test_pixels_are_those_of_training(driver, tmp_path, width, height, side, channels):
    array = picture(width, height, seed=width)
    Image.fromarray(array).save(tmp_path / "a.png")
    Image.fromarray(array).save(tmp_path / "a.ppm")
    expected, _, corrupt = decode(ImageFiles([tmp_path / "a.png"], np.zeros(1, int)), (side, side, channels))
    assert not corrupt
    assert driver([tmp_path / "a.ppm"], side, channels) == ["read"]
    np.testing.assert_array_equal(pixels_of(tmp_path / "a.ppm", side, side, channels), expected[0])


def test_inputs_that_are_no_squares_are_resized_as_by_pillow(driver, tmp_path):
    image = Image.fromarray(picture(50, 41))
    image.save(tmp_path / "a.ppm")
    driver([tmp_path / "a.ppm"], (20, 60))
    expected = np.asarray(image.crop((4, 0, 45, 41)).resize((20, 60), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(pixels_of(tmp_path / "a.ppm", 60, 20, 3), expected)


def smooth(width, height):
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 255 // width, y * 255 // height, (x + y) * 255 // (width + height)], -1).astype(np.uint8)


def save_kinds(folder):
    """Write pictures of every kind that is read; return their paths."""
    image = Image.fromarray(smooth(61, 43))
    values = np.random.default_rng(0).integers(0, 65536, (43, 61), np.uint16)
    Image.fromarray(values).save(folder / "gray16.png")
    image.convert("L").save(folder / "gray.png")
    image.convert("P").save(folder / "palette.png")
    image.convert("1").save(folder / "bits.png")
    image.save(folder / "rgb.png")
    transparent = image.copy()
    transparent.putalpha(Image.fromarray(picture(61, 43)[..., 0]))
    transparent.save(folder / "rgba.png")
    transparent.convert("LA").save(folder / "gray_alpha.png")
    image.convert("P").save(folder / "palette_alpha.png", transparency=5)
    image.save(folder / "color_key.png", transparency=tuple(np.asarray(image)[3, 3].tolist()))
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        image.save(folder / f"turned{orientation}.jpg", exif=exif, quality=90)
    image.save(folder / "fine.jpg", subsampling=0, quality=95)
    image.save(folder / "progressive.jpg", progressive=True)
    image.convert("L").save(folder / "gray.jpg")
    return sorted(folder.glob("*.[pj][np]g"))


def test_jpeg_and_png_are_read_as_in_training(driver, tmp_path):
    paths = save_kinds(tmp_path)
    if len(driver.macros) < 2:
        pytest.skip("the headers of libjpeg and libpng are not installed")
    assert driver(paths, 24) == ["read"] * len(paths)
    expected, _, corrupt = decode(ImageFiles(paths, np.zeros(len(paths), int)), (24, 24, 3))
    assert not corrupt
    for path, pixels in zip(paths, expected, strict=True):
        np.testing.assert_array_equal(pixels_of(path, 24, 24, 3), pixels, err_msg=path.name)


def damaged(content, count, generator):
    for _ in range(count):
        copy = bytearray(content)
        for place in generator.integers(0, min(len(copy), 200), generator.integers(1, 5)):
            copy[place] = generator.integers(0, 256)
        yield bytes(copy[: generator.integers(0, len(copy) + 1)] if generator.random() < 0.5 else copy)


def test_damaged_files_are_refused_and_never_crash(driver, tmp_path):
    kinds = tmp_path / "kinds"
    kinds.mkdir()
    sources = save_kinds(kinds)
    Image.fromarray(smooth(31, 20)).save(kinds / "a.ppm")
    generator = np.random.default_rng(0)
    paths = []
    for source in [*[kinds / "a.ppm"] * 10, *sources]:
        for content in damaged(source.read_bytes(), 20, generator):
            paths.append(tmp_path / f"{len(paths)}{source.suffix}")
            paths[-1].write_bytes(content)
    said = driver(paths, 8)
    assert len(said) == len(paths)
    assert sum(line != "read" for line in said) > 100
    for path, line in zip(paths, said, strict=True):
        assert line == "read" or line.startswith(f"{path}: "), line


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"P6", "the head of the PPM is damaged"),
        (b"P6\n3 2\n", "the head of the PPM is damaged"),
        (b"P6\n3 2\n255", "the head of the PPM is damaged"),
        (b"P6\n3 -2\n255\n", "the head of the PPM is damaged"),
        (b"P6\n3 2\n255\nabc", "the PPM is cut off: 18 bytes of pixels were expected, 3 are there"),
        (b"P6\n3 2\n65535\n" + bytes(36), "only a PPM of 8 bits is read, with 255 as its largest value"),
        (b"P6\n0 2\n255\n", "a picture of 0x2 pixels is not read"),
        (b"P6\n99999999999999999999 2\n255\n", "the head of the PPM has a number that is too large"),
        (b"P6\n999999 999999\n255\nabc", "the PPM is cut off: 2999994000003 bytes of pixels were expected, 3 are there"),
        (b"P3\n1 1\n255\n1 2 3\n", "neither a binary PPM (P6) nor a JPEG nor a PNG"),
        (b"P6 # a comment\n#1 2\n1 1 255\nabc", None),
    ],
)
def test_messages_say_what_is_wrong(driver, tmp_path, content, message):
    path = tmp_path / "a.ppm"
    path.write_bytes(content)
    assert driver([path], 4) == ["read" if message is None else f"{path}: {message}"]


def settings(folder, scaling=None, kernel="default", takes_bytes=False):
    scaling = scaling or Scaling()
    scale, offset = (
        ", ".join(map(repr, np.broadcast_to(np.asarray(value, float), 3).tolist())) for value in (scaling.scale, scaling.offset)
    )
    values = {"SCALE": scale, "OFFSET": offset, "REVERSE": str(scaling.reverse).lower(), "KERNEL": kernel}
    values |= {"BYTES": str(takes_bytes).lower(), "LCE_VERSION": "0.16.0"}
    for path in CPP.iterdir():
        (folder / path.name).write_text(filled(path.read_text(), values))


INCLUDES = [f"-I{STAND_IN}", f"-I{STAND_IN / 'third_party' / 'tensorflow'}"]


def build(folder, **arguments):
    settings(folder, **arguments)
    macros = [flag for flag in codecs() if flag.startswith("-D")]
    libraries = [flag for flag in codecs() if flag.startswith("-l")]
    command = [COMPILER, *STRICT, *SANITIZERS, *macros, *INCLUDES, "main.cc", "-o", "classify", *libraries]
    subprocess.run(command, cwd=folder, check=True)
    return folder / "classify"


@pytest.fixture(scope="module")
def imagenet(tmp_path_factory):
    return build(tmp_path_factory.mktemp("imagenet"), scaling=PIXELS["imagenet"])


@pytest.fixture(scope="module")
def caffe(tmp_path_factory):
    return build(tmp_path_factory.mktemp("caffe"), scaling=PIXELS["caffe"], kernel="indirect")


@pytest.fixture(scope="module")
def takes_bytes(tmp_path_factory):
    return build(tmp_path_factory.mktemp("bytes"), takes_bytes=True)


def write_model(folder, *kind, grouped=0, classes=7, **arguments):
    write_stand_in_model(folder / "model.tflite", *kind, grouped=grouped, classes=classes, **arguments)
    (folder / "labels.txt").write_text("".join(f"name {number}\r\n" for number in range(classes)))


def classify(program, folder, *arguments):
    environment = {**os.environ, "STAND_IN_DUMP": str(folder / "dump")}
    command = [program, *map(str, arguments)]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def seen(folder, dtype):
    head, content = (folder / "dump").read_bytes().split(b"\n", 1)
    return head.decode().split(), np.frombuffer(content, dtype)


def expected_pixels(folder, side, channels):
    Image.open(folder / "a.ppm").save(folder / "a.png")
    return decode(ImageFiles([folder / "a.png"], np.zeros(1, int)), (side, side, channels))[0][0]


@pytest.mark.parametrize("name", ["imagenet", "caffe"])
@pytest.mark.parametrize(("dtype", "scale", "zero"), [("float32", 0.0, 0), ("int8", 0.021, -3), ("uint8", 0.6, 120)])
def test_the_network_sees_what_it_was_trained_on(request, tmp_path, name, dtype, scale, zero):
    write_model(tmp_path, dtype, scale, zero)
    Image.fromarray(picture(37, 23)).save(tmp_path / "a.ppm")
    done = classify(request.getfixturevalue(name), tmp_path, "a.ppm", "--runs", 3, "--threads", 2)
    assert done.returncode == 0, done.stderr
    values = PIXELS[name](expected_pixels(tmp_path, 6, 3)).ravel()
    if dtype != "float32":
        limits = np.iinfo(dtype)
        values = np.clip(np.rint(values / np.float32(scale)) + zero, limits.min, limits.max).astype(dtype)
    (kernel, threads, xnnpack), found = seen(tmp_path, dtype)
    np.testing.assert_array_equal(found, values)
    assert (kernel, threads, xnnpack) == ("indirect" if name == "caffe" else "default", "2", "0")
    # The stand-in's scores are the first values of its input.
    scores = values[:7] if dtype == "float32" else np.float32(scale) * (values[:7].astype(np.float32) - zero)
    best = np.argsort(-scores, kind="stable")[:5]
    lines = done.stdout.splitlines()
    assert [line.split("  ")[0] for line in lines[:5]] == [f"{place}. name {index}" for place, index in enumerate(best, 1)]
    np.testing.assert_allclose([float(line.split("  ")[1]) for line in lines[:5]], scores[best], rtol=1e-5)
    assert re.fullmatch(r"median of 3 runs: \d+\.\d{3} ms, threads: 2, kernel: \w+", lines[5])


@pytest.mark.parametrize(("dtype", "less"), [("uint8", 0), ("int8", 128)])
def test_bytes_are_taken_as_they_are_whatever_the_grid(takes_bytes, tmp_path, dtype, less):
    write_model(tmp_path, dtype, 0.0078, 5, channels=1)
    Image.fromarray(picture(20, 20)).save(tmp_path / "a.ppm")
    assert classify(takes_bytes, tmp_path, "a.ppm", "--runs", 1).returncode == 0
    pixels = expected_pixels(tmp_path, 6, 1).ravel().astype(int)
    np.testing.assert_array_equal(seen(tmp_path, dtype)[1], pixels - less)


def test_options_reach_the_interpreter(imagenet, tmp_path):
    write_model(tmp_path)
    Image.fromarray(picture(8, 8)).save(tmp_path / "a.ppm")
    done = classify(imagenet, tmp_path, "--kernel", "reference", "--xnnpack", "a.ppm", "--runs", 1)
    assert done.returncode == 0, done.stderr
    assert seen(tmp_path, "float32")[0] == ["reference", "1", "1"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "a picture is expected"),
        (["a.ppm", "b.ppm"], 2, "one picture is expected. Received: a second one, b.ppm"),
        (["a.ppm", "--speed", "9"], 2, "unknown option: --speed"),
        (["a.ppm", "--runs"], 2, "--runs needs a value"),
        (["a.ppm", "--runs", "0"], 2, "--runs must be a whole number from 1 to 1000000. Received: 0"),
        (["a.ppm", "--threads", "two"], 2, "--threads must be a whole number from 1 to 1000000. Received: two"),
        (["a.ppm", "--kernel", "fast"], 2, "--kernel must be default, indirect or reference. Received: fast"),
        (["none.ppm"], 3, "none.ppm: cannot be opened"),
        (["."], 3, ".: cannot be read"),
        (["a.ppm", "--model", "none.tflite"], 3, "none.tflite: cannot be read as a .tflite file"),
        (["a.ppm", "--labels", "none.txt"], 3, "none.txt: cannot be opened"),
        (["a.ppm", "--labels", "short.txt"], 3, "short.txt: 7 classes are expected, 1 are there"),
        (["a.ppm", "--model", "grouped.tflite"], 4, "A grouped convolution needs --kernel indirect"),
        (["a.ppm", "--model", "int32.tflite"], 4, "an input of float32, uint8 or int8 is expected"),
        (["a.ppm", "--model", "channels.tflite"], 4, "an input of shape 1 x height x width x 1 or 3 is expected"),
    ],
)
def test_what_is_wrong_is_said_and_told_by_the_exit_code(imagenet, tmp_path, arguments, code, message):
    for name, options in (("grouped", {"grouped": 1}), ("int32", {"dtype": "int32"}), ("channels", {"channels": 2})):
        write_model(tmp_path, **options)
        (tmp_path / "model.tflite").rename(tmp_path / f"{name}.tflite")
    write_model(tmp_path)
    (tmp_path / "short.txt").write_text("one\n")
    Image.fromarray(picture(8, 8)).save(tmp_path / "a.ppm")
    done = classify(imagenet, tmp_path, *arguments)
    assert done.returncode == code, done.stderr
    assert message in done.stderr
    assert ("usage: classify" in done.stderr) == (code == 2)


def test_codecs_may_be_left_out(tmp_path):
    settings(tmp_path)
    subprocess.run([COMPILER, *STRICT, "-fsyntax-only", *INCLUDES, "main.cc"], cwd=tmp_path, check=True)
    subprocess.run([COMPILER, *STRICT, *INCLUDES, "main.cc", "-o", "classify"], cwd=tmp_path, check=True)
    write_model(tmp_path)
    for kind in ("png", "jpeg"):
        content = io.BytesIO()
        Image.fromarray(picture(8, 8)).save(content, kind)
        (tmp_path / "a").write_bytes(content.getvalue())
        done = classify(tmp_path / "classify", tmp_path, "a")
        assert done.returncode == 3
        assert f"a: {kind.upper()} is not built in: install lib{kind}'s headers" in done.stderr


def test_the_stand_in_declares_what_tensorflow_has(tmp_path):
    """What main.cc calls has the same mangled names in TensorFlow's own library."""
    library = next((path.locate() for path in files("tensorflow") or () if path.name == "libtensorflow_cc.so.2"), None)
    if library is None or shutil.which("nm") is None:
        pytest.skip("libtensorflow_cc.so.2 or nm is not there")
    settings(tmp_path)
    subprocess.run([COMPILER, *STRICT, "-O0", "-c", *INCLUDES, "main.cc"], cwd=tmp_path, check=True)
    listed = subprocess.run(["nm", "-D", "--defined-only", library], capture_output=True, text=True, check=True).stdout
    there = {line.split()[-1].split("@")[0] for line in listed.splitlines()}
    symbols = subprocess.run(["nm", "main.o"], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    called = {line.split()[-1] for line in symbols.splitlines() if " W " in line}
    wanted = (r"Interpreter15AllocateTensorsEv$", r"Interpreter6InvokeEv$", r"InterpreterBuilderC2E", r"InterpreterBuildercl")
    for name in wanted:
        symbol = next(symbol for symbol in called if re.search(name, symbol))
        assert symbol in there, symbol


@pytest.mark.skipif(shutil.which("cmake") is None, reason="cmake is not installed")
def test_cmake_builds_the_program(tmp_path):
    settings(tmp_path, kernel="indirect")
    command = ["cmake", "-S", ".", "-B", "build", f"-DLCE_SOURCE_DIR={STAND_IN}"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not done.stderr  # no warnings
    subprocess.run(["cmake", "--build", "build"], cwd=tmp_path, check=True, capture_output=True)
    write_model(tmp_path, grouped=1)
    Image.fromarray(picture(8, 8)).save(tmp_path / "a.ppm")
    done = classify(tmp_path / "build" / "classify", tmp_path, "a.ppm")
    assert done.returncode == 0, done.stderr
    assert "kernel: indirect" in done.stdout


@pytest.mark.skipif(shutil.which("cmake") is None, reason="cmake is not installed")
def test_cmake_says_that_submodules_are_missing(tmp_path):
    settings(tmp_path)
    (tmp_path / "lce").mkdir()
    command = ["cmake", "-S", ".", "-B", "build", "-DLCE_SOURCE_DIR=lce"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "lce has no TensorFlow: run `git submodule update --init" in " ".join(done.stderr.split())
