"""The promised size of the file against the size of the file that larq-compute-engine writes: 10 %, the summary's promise."""

import larq as lq
import numpy as np
import pytest
from engines import converted_by_lce

from bitat_tf._keras import keras
from bitat_tf.applications import ReActNet
from bitat_tf.export import to_plain_larq
from bitat_tf.graph import CallGraph
from bitat_tf.inspection.file_size.prediction import predict_file_size, predict_operators
from bitat_tf.inspection.kernels import predict_kernels
from bitat_tf.inspection.model_summary import summary
from bitat_tf.layers import BinaryConv2D, BinaryDense, RPReLU, binary_layers
from bitat_tf.tflite_file import read_operators

L = keras.layers


def trained(model, seed=0):
    """Give all weights random values, as training does: a vector of equal ones would be written as one number."""
    random = np.random.default_rng(seed)
    for variable in model.variables:
        if variable.dtype == "float32":
            values = random.normal(scale=0.3, size=variable.shape)
            positive = "variance" in variable.name or "gamma" in variable.name
            variable.assign(np.abs(values) + 0.5 if positive else values)
    return model


def written(model):
    """Return the content of the file that the export converts, all binary layers binary."""
    for layer in binary_layers(model):
        layer.set_binary()
    return converted_by_lce(to_plain_larq(model) if binary_layers(model) else model)


def check_size(model, tolerance=0.1):
    promised = summary(trained(model)).totals.file_size
    content = written(model)
    assert promised == pytest.approx(len(content), rel=tolerance), model.name
    return content


def predicted_operators(model):
    graph = CallGraph(model)
    operators = predict_operators(graph, predict_kernels(graph), model.name).operators
    return sorted(operator.kind for operator in operators if operator.kind != "INPUT")


@pytest.mark.parametrize("width", [0.25, 1.0])
@pytest.mark.parametrize("shape", [(8, 8, 1), (32, 32, 3)], ids=["digits", "32x32"])
def test_reactnet(shape, width):
    model = ReActNet(shape, 10, width=width, blocks=((64, 1), (128, 2)))
    content = check_size(model, 0.03)
    # Not by chance: the converter writes these very operators.
    assert predicted_operators(model) == sorted(operator.name for operator in read_operators(content))


class Networks:
    """Small random networks of the layers that users of binary networks write."""

    def __init__(self, seed):
        self.random = np.random.default_rng(seed)

    def choose(self, *options):
        return options[self.random.integers(len(options))]

    def activation(self, x):
        layer = self.choose(L.ReLU, RPReLU, RPReLU, lambda: L.ReLU(6.0), lambda: L.Activation("swish"), None)
        return x if layer is None else layer()(x)

    def normalized(self, x):
        return self.activation(L.BatchNormalization()(x) if self.random.random() < 0.7 else x)

    def convolution(self, x, filters=None, padding=None, strides=1):
        layer, kernel = self.choose(BinaryConv2D, BinaryConv2D, L.Conv2D), self.choose(1, 3)
        filters = filters or self.choose(4, 8, 12, 33)
        padding = padding or ("same" if min(x.shape[1:3]) <= kernel else self.choose("same", "valid"))
        use_bias, activation = self.choose(False, True), self.choose("relu", None, None)
        return layer(filters, kernel, strides=strides, padding=padding, use_bias=use_bias, activation=activation)(x)

    def block(self, x):
        kind = self.choose("conv", "conv", "depthwise", "pooling", "add", "concatenate", "nested", "dropout")
        if kind == "conv":
            return self.normalized(self.convolution(x, strides=self.choose(1, 1, 2)))
        if kind == "depthwise":
            return self.normalized(L.DepthwiseConv2D(3, padding="same", use_bias=self.choose(False, True))(x))
        if kind == "pooling":
            return self.choose(L.MaxPooling2D, L.AveragePooling2D)(2, padding="same")(x)
        if kind == "add":
            y = self.convolution(x, x.shape[-1], "same")
            return self.activation(L.Add()([x, L.BatchNormalization()(y)]))
        if kind == "concatenate":
            return L.Concatenate()([x, self.normalized(self.convolution(x, padding="same"))])
        if kind == "nested":
            inputs = keras.Input(x.shape[1:])
            inner = keras.Model(inputs, self.normalized(self.convolution(inputs, x.shape[-1], "same")))
            return inner(inner(x)) if self.choose(False, True) else inner(x)
        return L.Dropout(0.1)(x)

    def build(self):
        x = inputs = keras.Input((self.choose(6, 9), 8, self.choose(1, 3, 16)))
        if self.choose(False, False, True):
            x = L.Rescaling(1 / 127.5, offset=-1.0)(x)
        for _ in range(self.choose(1, 2, 3)):
            x = self.block(x)
        x = self.choose(L.GlobalAveragePooling2D, L.Flatten)()(x)
        if self.choose(False, True):
            x = self.normalized(self.choose(BinaryDense, L.Dense)(self.choose(5, 40))(x))
        return keras.Model(inputs, L.Dense(10, activation=self.choose("softmax", None))(x), name="random")


@pytest.mark.parametrize("seed", range(30))
def test_random_networks(seed):
    check_size(Networks(seed).build())


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.parametrize("seed", range(100, 200))
def test_more_random_networks(seed):
    check_size(Networks(seed).build())


def sign_conv(filters=8, **arguments):
    options = {"padding": "same", "pad_values": 1.0, "use_bias": False, "kernel_constraint": "weight_clip"}
    return lq.layers.QuantConv2D(
        filters, 3, input_quantizer="ste_sign", kernel_quantizer="ste_sign", **{**options, **arguments}
    )


# Each is written in another way than its neighbours; found by reading the files.
SINGLE = {
    "grouped": ([L.Conv2D(8, 3, groups=2), L.BatchNormalization(), L.ReLU()], (8, 8, 6)),
    "depthwise": ([L.ZeroPadding2D(((0, 1), (0, 1))), L.DepthwiseConv2D(3, strides=2), L.BatchNormalization()], (8, 8, 6)),
    "transposed": ([L.Conv2DTranspose(8, 3, strides=2), L.BatchNormalization(), L.ReLU()], (8, 8, 6)),
    "separable": ([L.SeparableConv2D(8, 3), L.BatchNormalization(), L.Conv2D(4, 3, activation="gelu")], (8, 8, 6)),
    "one dimension": ([L.Conv1D(8, 3), L.MaxPooling1D(), L.BatchNormalization(), L.Conv1D(4, 3)], (16, 4)),
    "layer normalization": ([L.LayerNormalization(), L.Dense(4)], (7, 4)),
    "group normalization": ([L.GroupNormalization(2)], (8, 8, 6)),
    "dense": ([L.Dense(20), L.BatchNormalization(), L.Dense(9), L.PReLU(), L.Dense(4, "softmax")], (30,)),
    "shapes": ([L.UpSampling2D(), L.Permute((2, 1, 3)), L.Cropping2D(1), L.Reshape((7, 14, 12)), L.Conv2D(4, 3)], (8, 8, 6)),
    "larq, pooling on bits": ([sign_conv(32), L.BatchNormalization(), L.MaxPooling2D(), sign_conv()], (8, 8, 6)),
    "larq, ReLU before normalization": ([sign_conv(32), L.ReLU(), L.BatchNormalization(), sign_conv()], (8, 8, 6)),
    "larq, zero padding": ([sign_conv(pad_values=0.0), L.BatchNormalization(), sign_conv()], (8, 8, 6)),
    "binary dense": ([BinaryDense(40), L.BatchNormalization(), BinaryDense(20), L.BatchNormalization(), L.ReLU()], (100,)),
    "binary dense on rows": ([BinaryDense(16), L.BatchNormalization(), RPReLU(), L.Dense(3)], (7, 5)),
    "groups that stay float": ([BinaryConv2D(8, 3, groups=2, padding="same")], (8, 8, 8)),
}


@pytest.mark.parametrize("name", SINGLE)
def test_layers_that_are_written_in_ways_of_their_own(name):
    layers, shape = SINGLE[name]
    layers = [type(layer).from_config(layer.get_config()) for layer in layers]
    model = keras.Sequential([keras.Input(shape), *layers], name="single")
    content = check_size(model)
    assert predicted_operators(model) == sorted(operator.name for operator in read_operators(content))


def test_shared_layers_are_written_once():
    # Two calls of a layer of 64 -> 64 channels: 4.6 kB of bits once, not twice.
    shared = BinaryConv2D(64, 3, padding="same", use_bias=False)
    inputs = keras.Input((8, 8, 64))
    check_size(keras.Model(inputs, shared(RPReLU()(shared(inputs)))))


def test_bytes_of_calls_and_the_rest_are_the_whole():
    model = ReActNet((8, 8, 1), 10, blocks=((64, 1),))
    graph = CallGraph(model)
    size = predict_file_size(graph, predict_kernels(graph), model.name)
    assert size.total == size.rest + sum(size.by_call.values())
    by_path = {call.path: size.by_call.get(id(call), 0) for call in graph.calls}
    # 3x3x32 bits for each of 32 filters, and two float vectors: the words, by hand.
    assert by_path["block_1_conv3x3"] > 32 * 9 * 4 + 2 * 32 * 4
    assert by_path["block_1_bn3x3"] == 0  # folded
    assert size.unknown == ()


def test_unknown_layers_are_named():
    class Unknown(keras.layers.Layer):
        def call(self, inputs):
            return inputs * 2.0

    model = keras.Sequential([keras.Input((4,)), Unknown(name="mine"), L.Dense(2)])
    graph = CallGraph(model)
    assert predict_file_size(graph, predict_kernels(graph)).unknown == ("mine",)
    assert any("no rule for mine" in remark for remark in summary(model).remarks)


def test_unknown_sizes_of_pictures():
    model = keras.Sequential([keras.Input((None, None, 3)), L.Conv2D(4, 3)])
    result = summary(model)
    assert result.totals.file_size is None
    assert any("fixed input_shape" in remark for remark in result.remarks)


@pytest.mark.slow
def test_reactnet_a():
    check_size(ReActNet((224, 224, 3), 1000), 0.03)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["MobileNetV2", "MobileNetV3Small", "ResNet50", "Xception"])
def test_networks_of_keras(name):
    check_size(getattr(keras.applications, name)(weights=None, input_shape=(96, 96, 3)), 0.03)
