"""What takes seconds to make, once for all tests of the kits."""

import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from kit_files import REPOSITORY, STAND_IN, cmake

from bitat_tf.kits import write_kit


@pytest.fixture(scope="session")
def stand_in_sources(tmp_path_factory):
    """Sources that have the interface of bitat-runtime's and build in a second."""
    folder = tmp_path_factory.mktemp("sources") / "runtime"
    shutil.copytree(STAND_IN / "runtime", folder)
    shutil.copytree(REPOSITORY / "runtime" / "include", folder / "include")
    return folder


@pytest.fixture(scope="session")
def foreign(tmp_path_factory):
    """Files of TensorFlow's own converter, which say nothing of classes and pixels: of floats, and of bytes."""
    folder = tmp_path_factory.mktemp("foreign")
    inputs = keras.Input((8, 8, 3), batch_size=1)
    outputs = keras.layers.Dense(5)(keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3)(inputs)))
    converter = tf.lite.TFLiteConverter.from_keras_model(keras.Model(inputs, outputs))
    (folder / "float32.tflite").write_bytes(converter.convert())
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([value] for value in np.full((2, 1, 8, 8, 3), 255, np.float32))
    converter.inference_input_type = converter.inference_output_type = tf.int8
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    (folder / "int8.tflite").write_bytes(converter.convert())
    return folder


@pytest.fixture(scope="session")
def native(foreign, stand_in_sources, tmp_path_factory):
    """The project for Android, and its native part built for this computer."""
    if not shutil.which("g++") or not shutil.which("cmake"):
        pytest.skip("g++ or cmake is not installed")
    javac = shutil.which("javac")
    include = Path(javac).resolve().parents[1] / "include" if javac else None
    if include is None or not (include / "jni.h").exists():
        pytest.skip("no JDK with jni.h")
    folder = tmp_path_factory.mktemp("native")
    picture = np.random.default_rng(0).integers(0, 256, (11, 17, 3), np.uint8)
    kit = write_kit(foreign / "float32.tflite", folder / "kit", target="android", picture=picture, runtime=stand_in_sources)
    headers = f"-DJNI_INCLUDE_DIRS={include};{include / 'linux'}"
    source = kit.folder / "app/src/main/cpp"
    return kit.folder, cmake(source, folder / "build", f"-DBITAT_RUNTIME_DIR={kit.folder / 'runtime'}", headers)
