"""What the tests of the kits share: places, models in text for the stand-ins of interpreters, and what a network must see."""

import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import bitat_tf
from bitat_tf._pixels import PIXELS
from bitat_tf.data.decoding import ImageFiles, decode

STAND_IN = Path(__file__).parent / "stand_in"
REPOSITORY = Path(bitat_tf.__file__).parents[1]
PROJECTS = Path(bitat_tf.__file__).parent / "kits" / "projects"
DIGITS = REPOSITORY / "examples" / "digits.tflite"
# Names that folders of classes can have; the last one is no UTF-8 on the disk.
HOSTILE = (
    "<script>alert(1)</script>",
    "quotes \" ' and ${dollars} at $home",
    "back\\slash\\",
    "two\nlines\r\u2028",
    "\udcff?",
    "\x1b]0;title\x07\x1b[31m",
    "\u202e*/ turned",
)
KINDS = [("float32", 0.0, 0), ("int8", 0.021, -3), ("uint8", 0.6, 120)]
_CODES = {"float32": 1, "uint8": 3, "int8": 9, "int32": 2}  # of TfLiteType


def checked(*command, **options):
    """Run a command that must succeed."""
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done


def cmake(source, build, *arguments):
    """Configure and build; there must be no warnings of CMake."""
    assert not checked("cmake", "-S", source, "-B", build, *arguments).stderr
    checked("cmake", "--build", build, "-j2")
    return build


def kotlin_has_errors(content):
    """Return whether Kotlin has errors of syntax."""
    tree_sitter, kotlin = pytest.importorskip("tree_sitter"), pytest.importorskip("tree_sitter_kotlin")
    return tree_sitter.Parser(tree_sitter.Language(kotlin.language())).parse(content).root_node.has_error


def write_stand_in_model(folder, dtype="float32", scale=0.0, zero=0, side=6, channels=3, classes=7):
    """Write labels, and a line of text that the stand-ins take as a model; their output is the start of their input."""
    kind = f"{_CODES[dtype]} {scale} {zero}"
    (folder / "model.tflite").write_text(f"STANDIN {kind} {side} {side} {channels} {kind} {classes}")
    (folder / "labels.txt").write_text("".join(f"name {number}\r\n" for number in range(classes)))


def write_picture(folder, width=37, height=23, seed=0):
    """Write a picture as a.ppm and a.png."""
    array = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    for name in ("a.ppm", "a.png"):
        Image.fromarray(array).save(folder / name)


def pixels_of_training(*paths, side, channels):
    """Return what training sees of pictures, of 8 bits."""
    pixels, _, corrupt = decode(ImageFiles(list(paths), np.zeros(len(paths), int)), (side, side, channels), "crop")
    assert not corrupt
    return pixels


def expected_input(pixels, kind, dtype, scale, zero):
    """Return what a network of a kind of pixels ("caffe", "bytes", ...) and a type must see, by numpy."""
    if kind == "bytes":
        return (pixels.astype(int) - (128 if dtype == "int8" else 0)).astype(dtype)
    values = PIXELS[kind](pixels)
    if dtype == "float32":
        return values
    limits = np.iinfo(dtype)
    return np.clip(np.rint(values / np.float32(scale)) + zero, limits.min, limits.max).astype(dtype)


def expected_scores(values, dtype, scale, zero):
    """Return the best five of seven classes, whose scores are the first values of the input, and these scores."""
    first = values.ravel()[:7].astype(np.float32)
    scores = first if dtype == "float32" else np.float32(scale) * (first - zero)
    best = np.argsort(-scores, kind="stable")[:5]
    return best, scores[best]


def assert_printed(lines, values, dtype, scale, zero):
    """Assert that a program has printed the best classes of a stand-in's model, the best one first."""
    best, scores = expected_scores(values, dtype, scale, zero)
    pairs = [line.split("  ") for line in lines[:5]]
    assert [name for name, _ in pairs] == [f"{place}. name {index}" for place, index in enumerate(best, 1)]
    np.testing.assert_allclose([float(score) for _, score in pairs], scores, rtol=1e-5)
