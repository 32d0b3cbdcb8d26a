"""Twins have the convolutions of the network, computed by ordinary kernels."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import bitat_tf
from bitat_tf.deployment import float_twin, int8_twin
from bitat_tf.tflite_file import read_operators
from bitat_tf.tflite_file.content import parse, schema

KERNELS = ("CONV_2D", "FULLY_CONNECTED")
FLOATS = (schema.TensorType.FLOAT32, schema.TensorType.FLOAT16)


@pytest.fixture
def network(make_network):
    model = make_network()
    for layer in bitat_tf.layers.binary_layers(model):
        layer.set_binary()
    return model


def kernel_shapes(content):
    """Return the shapes of the kernels of all convolutions and matrix products, sorted."""
    model = parse(content)
    graph = model.subgraphs[0]
    names = [operator.name for operator in read_operators(content)]
    found = [
        tuple(graph.tensors[operator.inputs[1]].shape)
        for operator, name in zip(graph.operators, names, strict=True)
        if name in KERNELS
    ]
    return sorted(found)


def expected_shapes(model):
    """Return the same of the Keras layers: output channels come first in a file."""
    kernels = [layer for layer in model.layers if isinstance(layer, (keras.layers.Conv2D, keras.layers.Dense))]
    return sorted(tuple(np.moveaxis(np.empty(layer.kernel.shape), -1, 0).shape) for layer in kernels)


def run(content, inputs):
    with pytest.warns(UserWarning, match="deprecated"):
        interpreter = tf.lite.Interpreter(model_content=content)
    interpreter.allocate_tensors()
    outputs = []
    for sample in inputs:
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], sample[None])
        interpreter.invoke()
        outputs.append(interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0])
    return np.array(outputs)


@pytest.mark.parametrize("twin", [float_twin, int8_twin])
def test_convolutions_are_those_of_the_network(network, twin):
    content = twin(network)
    assert len(expected_shapes(network)) == 5
    assert kernel_shapes(content) == expected_shapes(network)
    assert not [operator.name for operator in read_operators(content) if "Lce" in operator.name]


def test_float_twin_does_what_the_network_does_in_float_state(network, images):
    twin = float_twin(network)
    assert {layer.state for layer in bitat_tf.layers.binary_layers(network)} == {"binary"}  # the model is not changed
    for layer in bitat_tf.layers.binary_layers(network):
        layer.set_binary(input=False, kernel=False)
    np.testing.assert_allclose(run(twin, images[0][:4]), network.predict(images[0][:4], verbose=0), atol=1e-4)


def test_weights_of_the_model_stay(network):
    before = network.get_weights()
    float_twin(network)
    for old, new in zip(before, network.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("state", [(False, False), (False, True), (True, True)])
def test_state_of_the_layers_does_not_matter(make_network, state):
    model = make_network()
    expected = [operator.name for operator in read_operators(float_twin(model))]
    for layer in bitat_tf.layers.binary_layers(model):
        layer.set_binary(*state)
    assert [operator.name for operator in read_operators(float_twin(model))] == expected


def test_int8_twin_has_no_float_tensor(network):
    graph = parse(int8_twin(network)).subgraphs[0]
    assert not [tensor.name for tensor in graph.tensors if tensor.type in FLOATS]
    ends = [graph.tensors[number] for number in (*graph.inputs, *graph.outputs)]
    assert [tensor.type for tensor in ends] == [schema.TensorType.INT8] * 2


def test_int8_twin_takes_its_ranges_from_the_data(network, images):
    def input_scale(content):
        graph = parse(content).subgraphs[0]
        return float(graph.tensors[graph.inputs[0]].quantization.scale[0])

    assert input_scale(int8_twin(network)) == pytest.approx(1.0, rel=0.05)  # pixels 0..255 in 255 steps
    data = np.clip(images[0], 0, 1)
    assert input_scale(int8_twin(network, data)) == pytest.approx(1 / 255, rel=0.05)


def test_int8_twin_is_near_the_float_twin(network, images):
    """A twin whose weights were scrambled would be far off; quantization costs a few steps of the output."""
    content = int8_twin(network, images[0])
    graph = parse(content).subgraphs[0]
    (input_scale, input_zero), (output_scale, output_zero) = (
        (float(tensor.quantization.scale[0]), int(tensor.quantization.zeroPoint[0]))
        for tensor in (graph.tensors[graph.inputs[0]], graph.tensors[graph.outputs[0]])
    )
    quantized = np.clip(np.rint(images[0][:8] / input_scale) + input_zero, -128, 127).astype(np.int8)
    outputs = (run(content, quantized).astype(np.float32) - output_zero) * output_scale
    expected = run(float_twin(network), images[0][:8])
    assert np.abs(outputs - expected).max() < 0.15 * np.ptp(expected)


def test_batch_is_one(network):
    for content in (float_twin(network), int8_twin(network)):
        graph = parse(content).subgraphs[0]
        tensor = graph.tensors[graph.inputs[0]]
        assert tuple(tensor.shape) == (1, 7, 7, 2)
        assert tensor.shapeSignature is None or -1 not in tensor.shapeSignature


def test_nested_model():
    inner = keras.Sequential([keras.Input((8, 8, 32)), bitat_tf.layers.BinaryConv2D(32, 3), keras.layers.BatchNormalization()])
    model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(32, 1), inner, keras.layers.Flatten()])
    assert kernel_shapes(float_twin(model)) == [(32, 1, 1, 3), (32, 3, 3, 32)]


@pytest.mark.parametrize("twin", [float_twin, int8_twin])
def test_errors(twin):
    name = twin.__name__
    with pytest.raises(ValueError, match=f"{name}: model 'plain' has no binary layers: it is a float network"):
        twin(keras.Sequential([keras.Input((4, 4, 3)), keras.layers.Conv2D(2, 1)], name="plain"))
    with pytest.raises(ValueError, match=f"{name}: .*one input of known size.*None, None, None, 32"):
        twin(keras.Sequential([keras.Input((None, None, 32)), bitat_tf.layers.BinaryConv2D(32, 1)]))
    with pytest.raises(TypeError, match=f"{name}: expected a keras.Model"):
        twin("model.keras")


def test_errors_of_data(network):
    with pytest.raises(ValueError, match=r"int8_twin: `data` must have shape \(n >= 1, 7, 7, 2\). Received: \(3, 7, 7, 1\)"):
        int8_twin(network, np.zeros((3, 7, 7, 1)))
    with pytest.raises(ValueError, match=r"`data` must have shape.*Received: \(0, 7, 7, 2\)"):
        int8_twin(network, np.zeros((0, 7, 7, 2)))
    with pytest.raises(ValueError, match="int8_twin: the data must be finite"):
        int8_twin(network, np.full((1, 7, 7, 2), np.nan))
