"""The C++ program: its pixels against those of training, its behaviour on damaged files, and the program as a whole.

No Python package has TensorFlow Lite's C API, so `stand_in/tensorflowlite_c/simple.cc` stands in its place;
`test_real_runtime.py` has a stock interpreter.
"""

import os
import re
import shutil
import subprocess

import numpy as np
import pytest
from kit_files import (
    HOSTILE,
    KINDS,
    PROJECTS,
    STAND_IN,
    assert_printed,
    checked,
    cmake,
    expected_input,
    pixels_of_training,
    write_picture,
    write_stand_in_model,
)
from PIL import Image

from bitat_tf.kits import write_kit

COMPILER = shutil.which("g++")
pytestmark = pytest.mark.skipif(COMPILER is None, reason="g++ is not installed")
STRICT = ["-std=c++17", "-Wall", "-Wextra", "-Werror", "-ffp-contract=off"]
DRIVER = """
#include "classification.h"
// pixels WIDTH HEIGHT CHANNELS PICTURES...: the pixels of each go beside it. Then "read" is printed, or what is wrong.
// bytes TYPE SIDE SCALE ZERO PICTURE: the same with what a gray network sees that takes bytes as they are.
int main(int, char** arguments) {
  const std::string mode = *++arguments;
  const int first = std::atoi(*++arguments), second = std::atoi(*++arguments);
  const double third = std::atof(*++arguments);
  const int zero = mode == "bytes" ? std::atoi(*++arguments) : 0;
  while (*++arguments != nullptr) {
    try {
      std::vector<uint8_t> pixels(second * second);
      if (mode == "bytes") {
        const bitat::TensorView input = {first, pixels.data(), {1, second, second, 1}, static_cast<float>(third), zero};
        bitat::FillInput(*arguments, input, {{1, 1, 1}, {0, 0, 0}, false}, true);
      } else {
        pixels = bitat::Prepare(bitat::ReadPicture(*arguments), first, second, static_cast<int>(third)).pixels;
      }
      std::ofstream(std::string(*arguments) + ".pixels", std::ios::binary)
          .write(reinterpret_cast<const char*>(pixels.data()), static_cast<std::streamsize>(pixels.size()));
      std::puts("read");
    } catch (const std::exception& error) {
      std::puts(error.what());
    }
  }
}
"""


def built(folder, *flags):
    """Build the driver; return a function that runs it, and returns what it printed."""
    (folder / "driver.cc").write_text(DRIVER)
    checked(COMPILER, *STRICT, *flags, f"-I{PROJECTS / 'cpp'}", "driver.cc", "-o", "driver", cwd=folder)
    # A sanitizer ends the program.
    return lambda *arguments: checked(folder / "driver", *arguments).stdout.splitlines()


@pytest.fixture(scope="session")
def driver(tmp_path_factory):
    return built(tmp_path_factory.mktemp("driver"), "-O1")


@pytest.fixture(scope="session")
def with_stb_image(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stb")
    for flags in ([], ["-isystem", "/usr/include/stb"]):
        command = [COMPILER, *flags, "-E", "-x", "c++", "-", "-o", os.devnull]
        if not subprocess.run(
            command, input="#include <stb_image.h>\n", text=True, capture_output=True, check=False
        ).returncode:
            return built(folder, "-O1", *flags)
    pytest.skip("stb_image.h is not installed")


def pixels_of(path, height, width, channels, dtype=np.uint8):
    return np.fromfile(f"{path}.pixels", dtype).reshape(height, width, channels)


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
    write_picture(tmp_path, width, height, seed=width)
    assert driver("pixels", side, side, channels, tmp_path / "a.ppm") == ["read"]
    expected = pixels_of_training(tmp_path / "a.png", side=side, channels=channels)[0]
    np.testing.assert_array_equal(pixels_of(tmp_path / "a.ppm", side, side, channels), expected)


def test_inputs_that_are_no_squares_are_resized_as_by_pillow(driver, tmp_path):
    write_picture(tmp_path, 50, 41)
    driver("pixels", 20, 60, 3, tmp_path / "a.ppm")
    image = Image.open(tmp_path / "a.ppm").crop((4, 0, 45, 41)).resize((20, 60), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(pixels_of(tmp_path / "a.ppm", 60, 20, 3), np.asarray(image))


@pytest.mark.parametrize(("dtype", "code"), [("uint8", 3), ("int8", 9)])
def test_bytes_are_taken_as_they_are_whatever_the_grid(driver, tmp_path, dtype, code):
    write_picture(tmp_path)
    assert driver("bytes", code, 6, 0.0078, 5, tmp_path / "a.ppm") == ["read"]
    expected = expected_input(pixels_of_training(tmp_path / "a.png", side=6, channels=1)[0], "bytes", dtype, 0.0078, 5)
    np.testing.assert_array_equal(pixels_of(tmp_path / "a.ppm", 6, 6, 1, dtype), expected)


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
        (b"P6 # a comment\n#1 2\n1 1 255\nabc", None),
    ],
)
def test_messages_say_what_is_wrong(driver, tmp_path, content, message):
    path = tmp_path / "a.ppm"
    path.write_bytes(content)
    assert driver("pixels", 4, 4, 3, path) == ["read" if message is None else f"{path}: {message}"]


def test_without_stb_image_the_message_says_how_to_get_it(driver, tmp_path):
    if (
        "#define BITAT_WITH_STB_IMAGE"
        in checked(COMPILER, "-std=c++17", "-E", "-dM", "-x", "c++", PROJECTS / "cpp/pictures.h", "-o", "-").stdout
    ):
        pytest.skip("stb_image.h is where the compiler finds it by itself")
    write_picture(tmp_path)
    (line,) = driver("pixels", 4, 4, 3, tmp_path / "a.png")
    assert line.startswith(f"{tmp_path / 'a.png'}: no binary PPM (P6). This program was built without stb_image.h")
    assert line.endswith("install it (libstb-dev) and build again, or convert the picture")


@pytest.mark.slow
def test_damaged_files_are_refused_and_never_crash(tmp_path):
    sanitized = built(tmp_path, "-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
    write_picture(tmp_path, 31, 20)
    content, generator, paths = (tmp_path / "a.ppm").read_bytes(), np.random.default_rng(0), []
    for number in range(400):
        copy = bytearray(content)
        for place in generator.integers(0, 20, generator.integers(1, 5)):
            copy[place] = generator.integers(0, 256)
        paths.append(tmp_path / f"{number}.ppm")
        paths[-1].write_bytes(bytes(copy[: generator.integers(0, len(copy) + 1)] if generator.random() < 0.5 else copy))
    said = sanitized("pixels", 8, 8, 3, *paths)
    assert len(said) == len(paths)
    assert 50 < sum(line != "read" for line in said) < 400
    for path, line in zip(paths, said, strict=True):
        assert line == "read" or line.startswith(f"{path}: "), line


@pytest.mark.slow
def test_stb_image_reads_png_as_training_and_jpeg_almost(with_stb_image, tmp_path):
    y, x = np.mgrid[:43, :61]
    image = Image.fromarray(np.stack([x * 4, y * 5, x + y], -1).astype(np.uint8))
    alpha = image.copy()
    alpha.putalpha(image.convert("L"))
    kinds = {"rgb": image, "rgba": alpha, **{mode: image.convert(mode) for mode in ("L", "P", "1")}, "LA": alpha.convert("LA")}
    for name, picture in kinds.items():
        picture.save(tmp_path / f"{name}.png")
    image.convert("P").save(tmp_path / "transparent.png", transparency=5)
    image.save(tmp_path / "a.jpg", quality=95, subsampling=0)
    image.save(tmp_path / "progressive.jpg", progressive=True, quality=95, subsampling=0)
    image.convert("L").save(tmp_path / "gray.jpg", quality=95)
    paths = sorted(tmp_path.glob("*.[pj][np]g"))
    assert with_stb_image("pixels", 24, 24, 3, *paths) == ["read"] * len(paths) == ["read"] * 10
    for path, pixels in zip(paths, pixels_of_training(*paths, side=24, channels=3).astype(int), strict=True):
        difference = np.abs(pixels_of(path, 24, 24, 3) - pixels)
        assert difference.max() <= (0 if path.suffix == ".png" else 3), path.name  # decoders of JPEG round differently


@pytest.mark.slow
def test_stb_image_refuses_what_is_no_picture(with_stb_image, tmp_path):
    write_picture(tmp_path)
    (tmp_path / "cut.png").write_bytes((tmp_path / "a.png").read_bytes()[:-900])
    Image.open(tmp_path / "a.png").save(tmp_path / "a.gif")
    cut, gif = with_stb_image("pixels", 4, 4, 3, tmp_path / "cut.png", tmp_path / "a.gif")
    assert cut.startswith(f"{tmp_path / 'cut.png'}: the picture is damaged: ")
    assert gif == f"{tmp_path / 'a.gif'}: neither a binary PPM (P6) nor a JPEG nor a PNG: convert it first"


# The program


@pytest.fixture(scope="session")
def program(foreign, stand_in_sources, tmp_path_factory):
    """The program of a network with pixels as Caffe's, built by CMake."""
    if shutil.which("cmake") is None:
        pytest.skip("cmake is not installed")
    folder = tmp_path_factory.mktemp("program")
    source, library = STAND_IN / "tensorflowlite_c/simple.cc", folder / "libtensorflowlite_c.so"
    flags = [*STRICT, "-shared", "-fPIC", f"-I{PROJECTS / 'cpp'}", f"-Wl,-soname,{library.name}"]
    checked(COMPILER, *flags, source, "-o", library)
    file = foreign / "float32.tflite"
    kit = write_kit(
        file, folder / "kit", (*HOSTILE[:3], *HOSTILE[-2:]), pixels="caffe", target="cpp", runtime=stand_in_sources
    ).folder
    return cmake(kit, kit / "build", f"-DTFLITE_C_LIBRARY={library}") / "classify"


def classify(program, folder, *arguments):
    environment = {**os.environ, "STAND_IN_DUMP": str(folder / "dump")}
    command = [program, *map(str, arguments)]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(("dtype", "scale", "zero"), KINDS)
def test_the_program_shows_the_network_what_it_was_trained_on(program, tmp_path, dtype, scale, zero):
    write_stand_in_model(tmp_path, dtype, scale, zero)
    write_picture(tmp_path)
    done = classify(program, tmp_path, "a.ppm", "--runs", "3", "--threads", "2", "--kernel", "fast")
    assert done.returncode == 0, done.stderr
    threads, content = (tmp_path / "dump").read_bytes().split(b"\n", 1)
    assert threads == b"2"
    pixels = pixels_of_training(tmp_path / "a.png", side=6, channels=3)[0]
    values = expected_input(pixels, "caffe", dtype, scale, zero).ravel()
    np.testing.assert_array_equal(np.frombuffer(content, dtype), values)
    lines = done.stdout.splitlines()
    assert_printed(lines, values, dtype, scale, zero)
    assert re.fullmatch(r"median of 3 runs: \d+\.\d{3} ms, threads: 2, kernel: fast, TensorFlow Lite 0.0.0", lines[5])


def test_the_program_prints_names_of_any_kind(program, tmp_path):
    write_stand_in_model(tmp_path, classes=5)
    write_picture(tmp_path)
    labels = program.parents[1] / "labels.txt"
    done = classify(program, tmp_path, "a.ppm", "--labels", labels)
    assert done.returncode == 0, done.stderr
    printed = {line.split(". ", 1)[1].rpartition("  ")[0] for line in done.stdout.splitlines()[:5]}
    assert printed == set(labels.read_text("utf-8").splitlines())
    assert {HOSTILE[0], HOSTILE[1], HOSTILE[2]} < printed


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "a picture is expected"),
        (["a.ppm", "b.ppm"], 2, "one picture is expected. Received: a second one, b.ppm"),
        (["a.ppm", "--speed", "9"], 2, "unknown option: --speed"),
        (["a.ppm", "--runs"], 2, "--runs needs a value"),
        (["a.ppm", "--runs", "0"], 2, "--runs must be a whole number from 1 to 1000000. Received: 0"),
        (["a.ppm", "--threads", "two"], 2, "--threads must be a whole number from 1 to 1000000. Received: two"),
        (["a.ppm", "--kernel", "neon"], 2, "the delegate cannot be made: the stand-in has no option kernel=neon"),
        (["a.ppm", "--model", "labels.txt"], 3, "labels.txt: cannot be read as a .tflite file"),
        (["none.ppm"], 3, "none.ppm: cannot be opened"),
        (["."], 3, ".: cannot be read"),
        (["a.ppm", "--labels", "none.txt"], 3, "none.txt: cannot be opened"),
        (["a.ppm", "--labels", "short.txt"], 3, "short.txt: 7 classes are expected, 1 are there"),
        (["a.ppm", "--model", "int32.tflite"], 4, "an input of float32, uint8 or int8 is expected"),
        (["a.ppm", "--model", "channels.tflite"], 4, "an input of shape 1 x height x width x 1 or 3 is expected"),
        (["a.ppm", "--model", "refused.tflite"], 4, "the network is refused: \n  0 is no height, says line 7"),
    ],
)
def test_the_program_says_what_is_wrong(program, tmp_path, arguments, code, message):
    for name, options in (("int32", {"dtype": "int32"}), ("channels", {"channels": 2}), ("refused", {"side": 0})):
        write_stand_in_model(tmp_path, **options)
        (tmp_path / "model.tflite").rename(tmp_path / f"{name}.tflite")
    write_stand_in_model(tmp_path)
    write_picture(tmp_path)
    (tmp_path / "short.txt").write_text("one\n")
    done = classify(program, tmp_path, *arguments)
    assert done.returncode == code, done.stderr
    assert message in done.stderr
    assert ("usage: classify" in done.stderr) == (code == 2)


@pytest.mark.skipif(shutil.which("cmake") is None, reason="cmake is not installed")
@pytest.mark.parametrize("place", ["cpp", "android/app/src/main/cpp"])
def test_cmake_says_that_the_sources_are_missing(tmp_path, place):
    command = ["cmake", "-S", PROJECTS / place, "-B", tmp_path / "build", "-DBITAT_RUNTIME_DIR=/nowhere"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "sources of bitat-runtime" in " ".join(done.stderr.split())
