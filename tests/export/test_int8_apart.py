"""int8 files of networks whose layers are several operators: no float operator stays inside."""

import numpy as np
import pytest

from bitat_tf._keras import keras
from bitat_tf.export import Measure, compare_outputs, inspect, quantize_rest, run_tflite, to_plain_larq, to_tflite
from bitat_tf.layers import BinaryConv2D, RPReLU, binary_layers

L = keras.layers


def binary(filters, **arguments):
    return BinaryConv2D(filters, 3, padding="same", use_bias=False, **arguments)


def shift_that_stays(x):
    # Zeros around the image: the shift after the RPReLU cannot go into the bias.
    return L.DepthwiseConv2D(3, padding="same")(RPReLU()(L.BatchNormalization()(binary(16)(x))))


def normalization_of_a_sum(x):
    y = L.Add()([x, L.BatchNormalization()(binary(16)(x))])
    return L.Add()([y, L.BatchNormalization()(binary(16)(L.BatchNormalization()(y)))])


def normalization_of_several_readers(x):
    y = binary(16)(x)
    return L.Add()([y, L.BatchNormalization()(y)])


def rprelu_called_twice(x):
    shared = RPReLU()
    return shared(L.BatchNormalization()(binary(16)(shared(x))))


BUILDERS = [shift_that_stays, normalization_of_a_sum, normalization_of_several_readers, rprelu_called_twice]


@pytest.mark.parametrize("build", BUILDERS, ids=lambda build: build.__name__)
def test_no_float_operator_stays_inside(build, tmp_path):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 3))
    x = build(L.Conv2D(16, 3, padding="same")(inputs))
    model = keras.Model(inputs, L.Dense(5)(L.GlobalAveragePooling2D()(x)))
    generator = np.random.default_rng(0)
    for weight in model.weights:
        name = weight.name.split("/")[-1]
        if name.startswith(("moving_variance", "gamma")):
            weight.assign(generator.uniform(0.5, 1.5, weight.shape))
        elif name.startswith(("moving_mean", "beta", "shift")):
            weight.assign(generator.normal(0, 0.3, weight.shape))
    for layer in binary_layers(model):
        layer.set_binary()
    data = generator.normal(size=(64, 8, 8, 3)).astype(np.float32)
    plain = to_plain_larq(model).predict(data, verbose=0)

    quantized = quantize_rest(model, data)
    report = to_tflite(quantized, tmp_path / "int8.tflite", data, minimum_agreement=0.5)
    assert report.fused_binary == report.expected_binary
    found = inspect(report.path)
    written = [(one.name, {spec.type for spec in one.outputs}) for one in found.operators]
    assert [name for name, types in written if "float32" in types] == ["DEQUANTIZE"]  # the last one
    # The rounded network is the network, but for int8; and the file is the rounded network.
    outputs = quantized.predict(data, verbose=0)
    scale = np.ptp(plain)
    assert np.abs(outputs - plain).mean() < 0.05 * scale
    in_file = run_tflite((tmp_path / "int8.tflite").read_bytes(), data)
    assert np.abs(in_file - outputs).mean() < 0.03 * scale
    assert compare_outputs(outputs, in_file, Measure("top-1")).agreement > 0.8
