"""The arrays of a dump against the engines that run the file, and against Keras."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from bit_network import BitNetwork, pack
from converted_networks import CONVERTERS, converted
from engines import needs_lce
from written_files import small_file

from bitat_tf.applications import ReActNet
from bitat_tf.layers import BinaryConv2D, BinaryDense, RPReLU, binary_layers
from bitat_tf.quantizers import RSign
from bitat_tf.tflite_file import content as file_content
from bitat_tf.tflite_file import dump
from bitat_tf.tflite_file.engines import LCE, available_engines
from bitat_tf.tflite_file.running import run

L = keras.layers


def randomize(model):
    """Give every weight a random value, negative scales among them, and make the layers binary."""
    generator = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, L.BatchNormalization):
            size = layer.gamma.shape
            scale = generator.uniform(0.5, 1.5, size) * generator.choice([-1, 1], size)
            shift, mean = generator.normal(size=(2, *size))
            layer.set_weights([scale, shift, mean, generator.uniform(0.5, 2, size)])
        elif isinstance(layer, (RPReLU, L.PReLU)):
            layer.set_weights([generator.normal(scale=0.3, size=weight.shape) for weight in layer.get_weights()])
        elif isinstance(layer, (L.Conv2D, L.Dense)) and layer.use_bias:
            layer.bias.assign(generator.normal(size=layer.bias.shape))
    for layer in binary_layers(model):
        if isinstance(layer.input_quantizer, RSign):
            threshold = layer.input_quantizer.threshold
            threshold.assign(generator.normal(scale=0.3, size=threshold.shape))
        layer.set_binary()
    return model


def network(layers, size=(8, 9), channels=33):
    return randomize(keras.Sequential([keras.Input((*size, channels)), *layers]))


def conv(filters, kernel=3, **arguments):
    return BinaryConv2D(filters, kernel, **{"use_bias": False, **arguments})


def sign_conv(filters, kernel=3, **arguments):
    """A convolution whose multiplier and bias are exactly 1 and 0, and whose threshold is 0."""
    quantizers = {"input_quantizer": "ste_sign", "kernel_quantizer": "ste_sign"}
    return conv(filters, kernel, **{**quantizers, **arguments})


def fake_quantization(low, high):
    return L.Lambda(lambda x: tf.quantization.fake_quant_with_min_max_args(x, low, high))


def write(model, path, converter):
    content = converted(model, converter)
    path.write_bytes(content)
    return content


def outputs(content, x):
    """Return the single output of a file, in each engine that is installed."""
    return [run(content, [x], engine)[0][0] for engine in available_engines()]


def dumped(model, folder, converter=LCE):
    """Return the file's content, and what is read from its dump."""
    content = write(model, folder / "net.tflite", converter)
    return content, BitNetwork(dump(folder / "net.tflite", folder / "bits").path)


def samples(model, count=8):
    return np.random.default_rng(1).normal(size=(count, *model.input_shape[1:])).astype(np.float32)


def convolutional(x):
    """Float operators of all kinds that such networks have."""
    x = L.Conv2D(16, 3, strides=2, padding="same", activation="relu")(x)
    y = L.DepthwiseConv2D(3, padding="same", depth_multiplier=2)(L.ReLU(6.0)(x))
    y = L.PReLU(shared_axes=[1, 2])(L.BatchNormalization()(y))
    z = L.Conv2D(32, 3, groups=2)(L.ZeroPadding2D(((1, 1), (2, 0)))(x))
    x = L.Multiply()([L.Add()([y, z]), L.Subtract()([z, y])])
    x = L.Concatenate()([L.AveragePooling2D(3, 2, padding="same")(x), L.MaxPooling2D(3, 2, padding="same")(x)])
    x = L.Dense(8, activation="relu")(L.Flatten()(x))
    return L.Dense(5, activation="softmax")(x)


def build_float():
    inputs = keras.Input((11, 12, 3))
    return randomize(keras.Model(inputs, convolutional(inputs)))


def build_shared():
    inputs, layer = keras.Input((6, 6, 8)), conv(8, padding="same")
    return randomize(keras.Model(inputs, L.GlobalAveragePooling2D()(L.Add()([inputs, layer(layer(inputs))]))))


NETWORKS = {
    "reactnet": lambda: randomize(ReActNet((16, 16, 1), 10, width=0.5, blocks=((64, 1), (128, 2), (128, 1)))),
    "3 channels": lambda: network([conv(8, padding="same")], channels=3),
    "40 channels": lambda: network([conv(33, padding="same", use_bias=True)], channels=40),
    "stride": lambda: network([conv(8, padding="same", strides=2), L.BatchNormalization()]),
    "dilation": lambda: network([conv(8, padding="same", dilation_rate=2)]),
    "zero padding": lambda: network([conv(8, padding="same", pad_values=0.0), L.BatchNormalization()]),
    "zero padding, stride": lambda: network([conv(8, padding="same", pad_values=0.0, strides=2)], (9, 8)),
    "zero padding, dilation": lambda: network([conv(8, padding="same", pad_values=0.0, dilation_rate=2)]),
    "groups": lambda: network([conv(12, padding="same", groups=2)], channels=64),
    "bits out": lambda: network([conv(40), L.BatchNormalization(), conv(33), L.BatchNormalization(), conv(8)]),
    "relu": lambda: network([conv(40, activation="relu"), L.BatchNormalization(), conv(8)]),
    "fused relu": lambda: network([sign_conv(8, padding="same", activation="relu"), L.BatchNormalization()]),
    "dense": lambda: network([L.Flatten(), BinaryDense(40), L.BatchNormalization(), BinaryDense(5)], (3, 3), 6),
    "shared": build_shared,
    "float": build_float,
}


@pytest.mark.parametrize("converter", CONVERTERS)
@pytest.mark.parametrize("name", NETWORKS)
def test_the_network_is_recomputed_from_the_arrays_alone(name, converter, tmp_path):
    model = NETWORKS[name]()
    content, bits = dumped(model, tmp_path, converter)
    calls = len(binary_layers(model)) + (name == "shared")
    assert [operator["name"] for operator in bits.graph["operators"]].count("LceBconv2d") == calls
    x = samples(model)
    (found,) = bits.run(x)
    for expected in outputs(content, x):
        different = np.abs(found - expected).reshape(len(x), -1).max(axis=1) > 1e-5 * np.abs(expected).max()
        # Float operators round in another order: in the deep network a value on a threshold may fall on the other side.
        assert different.sum() <= (1 if name == "reactnet" else 0)


def test_a_file_that_no_converter_wrote(tmp_path):
    (tmp_path / "net.tflite").write_bytes(small_file())
    bits = BitNetwork(dump(tmp_path / "net.tflite", tmp_path / "bits").path)
    x = np.random.default_rng(1).normal(size=(8, 8, 8, 3)).astype(np.float32)
    (found,) = bits.run(x)
    for expected in outputs(small_file(), x):
        np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


BINARY = {
    "bits out": lambda: network([sign_conv(40), L.BatchNormalization(), sign_conv(8)]),
    "bits out, padding": lambda: network([sign_conv(40, padding="same", strides=2), L.BatchNormalization(), sign_conv(8)]),
    "bits out, fused relu": lambda: network([sign_conv(40, activation="relu"), L.BatchNormalization(), sign_conv(8)]),
    "max pool": lambda: network([sign_conv(40), L.BatchNormalization(), L.MaxPooling2D(2), sign_conv(8, 1)]),
    "max pool, padding": lambda: network([sign_conv(40), L.MaxPooling2D(3, 2, padding="same"), sign_conv(8, 1)], (9, 8)),
    "groups": lambda: network([sign_conv(64), L.BatchNormalization(), sign_conv(6, groups=2)]),
    "relu6": lambda: network([sign_conv(8, 1, activation=tf.nn.relu6)]),
    "zero padding": lambda: network([sign_conv(8, padding="same", pad_values=0.0, strides=2)]),
}


@pytest.mark.parametrize("converter", CONVERTERS)
@pytest.mark.parametrize("name", BINARY)
def test_networks_of_binary_operators_are_recomputed_exactly(name, converter, tmp_path):
    model = BINARY[name]()
    content, bits = dumped(model, tmp_path, converter)
    names = [operator["name"] for operator in bits.graph["operators"]]
    if (name, converter) != ("relu6", "direct"):  # a function of TensorFlow stays an operator of its own
        assert all(operator.startswith("Lce") for operator in names)
    assert ("LceBMaxPool2d" in names) == ("max pool" in name)
    first = next(operator for operator in bits.graph["operators"] if operator["name"] == "LceBconv2d")
    assert (bits.output(first).get("bit_packed", False)) == (names.count("LceBconv2d") == 2)
    x = samples(model)
    (found,) = bits.run(x)
    assert len(np.unique(found)) > 2  # not all outputs are clamped, or one bit
    for expected in outputs(content, x):
        np.testing.assert_array_equal(found, expected)


@needs_lce
def test_bits_that_are_read_as_floats(tmp_path):
    signs = L.Lambda(lambda x: tf.sign(tf.sign(x) + 0.1))  # as larq-compute-engine's converter knows them
    model = network([L.Flatten(), signs, L.Dense(4)], (3, 3), 5)
    content, bits = dumped(model, tmp_path)
    assert "LceDequantize" in [operator["name"] for operator in bits.graph["operators"]]
    for expected in outputs(content, samples(model)):
        np.testing.assert_allclose(bits.run(samples(model))[0], expected, atol=1e-5)


@needs_lce
@pytest.mark.parametrize("activation", [None, "relu"])
def test_int8_outputs_of_binary_convolutions(activation, tmp_path):
    # Other zero points than 0 come from limits that are not symmetric.
    layers = [fake_quantization(-1, 4), sign_conv(16, padding="same", activation=activation), L.BatchNormalization()]
    model = network([*layers, fake_quantization(-30, 50)])
    content, bits = dumped(model, tmp_path)
    convolution = next(operator for operator in bits.graph["operators"] if operator["name"] == "LceBconv2d")
    assert bits.output(convolution)["type"] == "int8"
    assert bits.output(convolution)["quantization"]["zero_point"] != [0]
    (found,) = bits.run(samples(model))
    assert len(np.unique(found)) > 20
    step = bits.output(convolution)["quantization"]["scale"][0]
    for expected in outputs(content, samples(model)):
        assert np.abs(found - expected).max() < 1.01 * step  # halves may be rounded up or down
        assert np.mean(np.abs(found - expected) > 0.5 * step) < 0.01


@needs_lce
def test_zero_padding_is_that_of_keras_where_larq_compute_engine_fails(tmp_path):
    model = network([conv(8, padding="same", pad_values=0.0)], (2, 7), 3)
    content, bits = dumped(model, tmp_path)
    expected = model(samples(model), training=False).numpy()
    np.testing.assert_allclose(bits.run(samples(model))[0], expected, atol=1e-5)
    # A later version that computes it needs no warning in the description.
    ((found,), _) = run(content, [samples(model)], LCE)
    assert np.abs(found - expected).max() > 0.1


def output_at(content, name):
    """Return a file that ends with the first operator of a name."""
    model = file_content.parse(content)
    graph = model.subgraphs[0]
    codes = [model.operatorCodes[operator.opcodeIndex].customCode for operator in graph.operators]
    graph.operators = graph.operators[: codes.index(name) + 1]
    graph.outputs = graph.operators[-1].outputs
    for signature in model.signatureDefs or ():
        for output in signature.outputs:
            output.tensorIndex = graph.outputs[0]
    return file_content.serialize(model)


@pytest.mark.parametrize("converter", CONVERTERS)
@pytest.mark.parametrize("name", [b"LceQuantize", b"LceBconv2d"])
def test_the_interpreters_words_are_the_recomputed_ones(name, converter, tmp_path):
    model = network([sign_conv(40), L.BatchNormalization(), sign_conv(8)])
    content = output_at(write(model, tmp_path / "whole.tflite", converter), name)
    (tmp_path / "net.tflite").write_bytes(content)
    bits = BitNetwork(dump(tmp_path / "net.tflite", tmp_path / "bits").path)
    x = samples(model)
    x[0, 0, 0, :6] = [0.0, -0.0, np.nan, np.inf, -np.inf, -1.0]
    (words,) = bits.run(x)
    for expected in outputs(content, x):
        np.testing.assert_array_equal(words, expected.view(np.uint32))
    channels = bits.tensors[bits.graph["outputs"][0]]["channels"]
    assert channels == {b"LceQuantize": 33, b"LceBconv2d": 40}[name]
    assert not (words[..., -1] >> (channels % 32)).any()  # bits beyond the last channel
    if name == b"LceQuantize":
        np.testing.assert_array_equal(words, pack(x < 0))
        assert words[0, 0, 0, 0] & 0b111111 == 0b110000


@needs_lce
def test_weights_are_keras_signs_and_thresholds_take_any_scale(tmp_path):
    layers = [sign_conv(40, name="first"), L.BatchNormalization(name="normalization"), sign_conv(8, name="second")]
    model = network(layers)
    normalization = model.get_layer("normalization")
    scale, shift, mean, variance = normalization.get_weights()
    scale[:2], shift[:2] = 0, (0.5, -0.5)
    normalization.set_weights([scale, shift, mean, variance])
    arrays = dumped(model, tmp_path)[1].arrays
    signs = {
        name: pack(np.moveaxis(model.get_layer(name).kernel.numpy(), -1, 0) < 0).reshape(filters, 3, 3, 2)
        for name, filters in (("first", 40), ("second", 8))
    }
    np.testing.assert_array_equal(arrays["002_LceBconv2d/weights_bits"], signs["second"])
    np.testing.assert_array_equal(arrays["002_LceBconv2d/multiplier"], np.ones(8))
    # The signs of a channel with a negative scale are turned, but not the bits beyond the 33rd channel.
    turn = pack(np.broadcast_to((scale < 0)[:, None, None, None], (40, 3, 3, 33)))
    np.testing.assert_array_equal(arrays["001_LceBconv2d/weights_bits"][2:], (signs["first"] ^ turn)[2:])
    thresholds = arrays["001_LceBconv2d/thresholds"]
    assert thresholds.dtype == np.int32
    assert thresholds[:2].tolist() == [2**31 - 1, -(2**31)]  # scale 0: always +1, always -1
    # output = |scale| / deviation * (accumulator -+ mean) + shift < 0, with accumulator = 33 * 9 - 2 * n
    scale, shift, mean, variance = scale[2:], shift[2:], mean[2:], variance[2:]
    limit = np.sign(scale) * mean - shift * np.sqrt(variance + normalization.epsilon) / np.abs(scale)
    np.testing.assert_array_equal(thresholds[2:], np.floor((297 - limit) / 2))


@needs_lce
def test_quantized_constants_come_with_their_scales(tmp_path):
    model = network([fake_quantization(-4, 4), L.Conv2D(5, 3), fake_quantization(-4, 4), sign_conv(8)], channels=3)
    bits = dumped(model, tmp_path)[1]
    key = next(operator["key"] for operator in bits.graph["operators"] if operator["name"] == "CONV_2D")
    weights, scale = bits.arrays[f"{key}/weights"], bits.arrays[f"{key}/weights_scale"]
    assert weights.dtype == np.int8
    expected = np.moveaxis(model.layers[1].kernel.numpy(), -1, 0)
    np.testing.assert_allclose(weights * scale[:, None, None, None], expected, atol=scale.max())
    assert not bits.arrays[f"{key}/weights_zero_point"].any()
