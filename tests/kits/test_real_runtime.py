"""The C++ program and the script with bitat-runtime itself, on a stock interpreter, against the network in Keras."""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np
import pytest
from kit_files import PROJECTS, REPOSITORY, STAND_IN, checked, cmake, pixels_of_training

import bitat_tf
from bitat_tf._pixels import PIXELS
from bitat_tf.export import to_tflite
from bitat_tf.kits import write_kit

CLASSES = ("cat", "dog", "mouse")


@pytest.fixture(scope="module")
def network():
    model = bitat_tf.applications.ReActNet((8, 8, 3), 3, width=0.5, blocks=((64, 1),))
    for layer in bitat_tf.layers.binary_layers(model):
        layer.set_binary()
    return model


@pytest.fixture(scope="module")
def kit(network, tmp_path_factory):
    """Both kits, the C++ one built: TensorFlow Lite's C API is handed on to the interpreter of Python."""
    library = Path(sysconfig.get_config_var("LIBDIR"), sysconfig.get_config_var("INSTSONAME") or "")
    header = Path(sysconfig.get_path("include"), "Python.h")
    if not shutil.which("g++") or not shutil.which("cmake") or not library.is_file() or not header.exists():
        pytest.skip("no g++, no cmake, no shared library of Python, or no Python.h")
    folder = tmp_path_factory.mktemp("real")
    to_tflite(network, folder / "small.tflite", classes=CLASSES, pixels="imagenet")
    picture = np.random.default_rng(1).integers(0, 256, (50, 41, 3), np.uint8)
    kit = write_kit(folder / "small.tflite", folder / "kit", picture=picture).folder
    tflite = folder / "libtensorflowlite_c.so"
    flags = ["-std=c++17", "-shared", "-fPIC", f"-I{PROJECTS / 'cpp'}", f"-I{header.parent}", f"-Wl,-soname,{tflite.name}"]
    checked("g++", *flags, STAND_IN / "tensorflowlite_c/through_python.cc", "-o", tflite, library)
    cmake(kit / "cpp", kit / "cpp/build", f"-DTFLITE_C_LIBRARY={tflite}")
    shutil.copytree(REPOSITORY / "runtime/bitat_runtime", folder / "package/bitat_runtime")
    shutil.copy(kit / "cpp/build/bitat_runtime/libbitat_delegate.so", folder / "package/bitat_runtime")
    return kit


@pytest.mark.slow
@pytest.mark.parametrize("target", ["cpp", "raspberry_pi"])
def test_the_scores_are_those_of_keras(network, kit, target):
    commands = {
        "cpp": [kit / "cpp/build/classify", "picture.ppm", "--threads", "2"],
        "raspberry_pi": [sys.executable, "classify.py", "picture.png"],
    }
    pixels = pixels_of_training(kit / "raspberry_pi/picture.png", side=8, channels=3)
    expected = dict(zip(CLASSES, network.predict(PIXELS["imagenet"](pixels), verbose=0)[0], strict=True))
    path = os.pathsep.join([str(kit.parent / "package"), *filter(None, sys.path)])
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(commands[target], cwd=kit / target, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    pairs = [line.split(". ")[1].split("  ") for line in done.stdout.splitlines()[:3]]
    found = {name: float(score) for name, score in pairs}
    assert list(found) == sorted(expected, key=expected.get, reverse=True)
    for name, score in expected.items():
        assert found[name] == pytest.approx(score, rel=1e-4, abs=1e-5)
