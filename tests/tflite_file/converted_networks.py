"""Small networks as files, neither run nor sealed."""

import keras
import numpy as np
import pytest
from engines import converted_by_lce, needs_lce

from bitat_tf.export import to_plain_network
from bitat_tf.export.lowering import convert, lower
from bitat_tf.layers import RPReLU, binary_layers
from bitat_tf.tflite_file import inspect
from bitat_tf.tflite_file.content import serialize

L = keras.layers
CONVERTERS = ["direct", pytest.param("larq-compute-engine", marks=needs_lce)]


def randomized(model):
    """Give batch normalizations and thresholds values that no converter drops, and make the layers binary."""
    generator = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, (L.BatchNormalization, RPReLU, L.PReLU)):
            layer.set_weights([generator.uniform(0.5, 1.5, weight.shape) for weight in layer.get_weights()])
    for layer in binary_layers(model):
        layer.set_binary()
    return model


def converted(model, converter="direct") -> bytes:
    if converter == "direct":
        return serialize(convert(lower(model)))
    return converted_by_lce(to_plain_network(model) if binary_layers(model) else model)


def inspect_content(folder, content):
    (folder / "model.tflite").write_bytes(content)
    return inspect(folder / "model.tflite")
