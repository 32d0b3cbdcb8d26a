"""What the tests of the kits share: small networks in files, and a stand-in for the sources of bitat-runtime."""

import shutil
from pathlib import Path

import bitat_tf
from bitat_tf._keras import keras

STAND_IN = Path(__file__).parent / "stand_in"
REPOSITORY = Path(bitat_tf.__file__).parents[1]
TEMPLATES = Path(bitat_tf.__file__).parent / "deployment" / "templates"
CODES = {"float32": 1, "uint8": 3, "int8": 9, "int32": 2}  # of TfLiteType


def small_model(channels=1, groups=1):
    """Return a binarized network for pictures of 8x8."""
    if groups == 1:
        model = bitat_tf.applications.ReActNet((8, 8, channels), 3, width=0.5, blocks=((64, 1),))
    else:
        inputs = keras.Input((8, 8, channels))
        outputs = keras.layers.Conv2D(64, 3)(inputs)
        outputs = bitat_tf.layers.BinaryConv2D(64, 3, groups=groups, pad_values=1, padding="same")(outputs)
        outputs = keras.layers.GlobalAveragePooling2D()(keras.layers.BatchNormalization()(outputs))
        model = keras.Model(inputs, keras.layers.Dense(3)(outputs))
    for layer in bitat_tf.layers.binary_layers(model):
        layer.set_binary()
    return model


def stand_in_runtime(folder):
    """Write sources that have the interface of bitat-runtime's and build in a second."""
    shutil.copytree(STAND_IN / "runtime", folder)
    shutil.copytree(REPOSITORY / "runtime" / "include", folder / "include")
    return folder


def write_stand_in_model(path, dtype="float32", scale=0.0, zero=0, side=6, channels=3, classes=7, grouped=None, output=None):
    """Write a line of text that the stand-ins for interpreters take as a model; their output is the start of their input."""
    output = output or f"{CODES[dtype]} {scale} {zero}"
    groups = "" if grouped is None else f"{grouped} "
    path.write_text(f"STANDIN {groups}{CODES[dtype]} {scale} {zero} {side} {side} {channels} {output} {classes}")
