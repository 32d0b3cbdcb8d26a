"""Every activation and layer of Keras between two binary layers: a file that does the same, or `check` names it before."""

import inspect
import re

import keras
import numpy as np
import pytest
import tensorflow as tf
from engines import run_everywhere
from file_against_keras import assert_close, counts, outputs_of, written
from small_networks import conv, samples, small

from bitat_tf import check, quantizers
from bitat_tf.export.lowering import lower
from bitat_tf.export.lowering.layer_kinds import without_effect
from bitat_tf.inspection import rules
from bitat_tf.layers import binary_layers

L = keras.layers
NO_ACTIVATIONS = ("deserialize", "get", "glu", "serialize", "threshold")  # glu halves the channels, threshold takes numbers
ACTIVATIONS = {
    name: function for name, function in inspect.getmembers(keras.activations, inspect.isfunction) if name not in NO_ACTIVATIONS
}
ACTIVATIONS["hard_tanh of the quantizers"] = quantizers.hard_tanh
ACTIVATIONS |= {f"tf.nn {name}": getattr(tf.nn, name) for name in ("relu6", "leaky_relu", "silu", "gelu", "elu")}
ACTIVATIONS["gelu, approximate"] = lambda x: keras.activations.gelu(x, approximate=True)


def of_layer(make):
    return lambda x: make()(x)


def of_rows(make):
    """A layer for 36 rows of 32 channels."""
    return lambda x: L.Reshape((-1, 6, 32))(make()(L.Reshape((36, 32))(x)))


def of_four(make):
    """A layer for pictures of 6x6x4 with 8 channels."""
    return lambda x: L.Reshape((1, 1, -1))(L.Flatten()(make()(L.Reshape((6, 6, 4, 8))(x))))


def of_vector(make):
    """A layer that makes a vector of 36 rows."""
    return lambda x: L.Reshape((1, 1, -1))(make()(L.Reshape((36, 32))(x)))


def of_bins(make):
    """A layer for whole numbers from 0 to 3."""
    return lambda x: L.Reshape((6, 6, -1))(make()(L.Discretization([-1.0, 0.0, 1.0])(x)))


def of_sound(make):
    """A layer for a sound of 1,152 samples."""
    return lambda x: L.Reshape((1, 1, -1))(L.Flatten()(make()(L.Reshape((-1, 1))(x))))


def of_films(make):
    """A layer for four pictures of 6x6 with 8 channels."""
    return lambda x: L.Reshape((1, 1, -1))(L.Flatten()(make()(L.Reshape((4, 6, 6, 8))(x))))


def of_both(make):
    return lambda x: make()([x, 0.5 * x])


FAST = {
    "Conv2DTranspose": of_layer(lambda: L.Conv2DTranspose(16, 3, 2, padding="same")),
    "SeparableConv2D": of_layer(lambda: L.SeparableConv2D(16, 3, activation="relu")),
    "GroupNormalization": of_layer(lambda: L.GroupNormalization(4)),
    "MultiHeadAttention": lambda x: L.Reshape((6, 6, 32))(L.MultiHeadAttention(2, 8)(*[L.Reshape((36, 32))(x)] * 2)),
    "RandomCrop": of_layer(lambda: L.RandomCrop(4, 4)),
    "Resizing": of_layer(lambda: L.Resizing(9, 4)),
}
LAYERS = {
    "Add": of_both(L.Add),
    "Subtract": of_both(L.Subtract),
    "Multiply": of_both(L.Multiply),
    "Average": of_both(L.Average),
    "Maximum": of_both(L.Maximum),
    "Minimum": of_both(L.Minimum),
    "Concatenate": of_both(L.Concatenate),
    "Concatenate of rows": of_both(lambda: L.Concatenate(axis=1)),
    "Dot": lambda x: L.Reshape((6, 6, 36))(L.Dot((2, 2))([L.Reshape((36, 32))(x)] * 2)),
    "LeakyReLU": of_layer(L.LeakyReLU),
    "PReLU": of_layer(lambda: L.PReLU("random_uniform", shared_axes=[1, 2])),
    "PReLU of every pixel": of_layer(lambda: L.PReLU("random_uniform")),
    "ELU": of_layer(L.ELU),
    "ReLU with everything": of_layer(lambda: L.ReLU(2.0, 0.1, 0.2)),
    "Softmax": of_layer(L.Softmax),
    "Softmax of rows": of_layer(lambda: L.Softmax(axis=1)),
    "Conv2D": of_layer(lambda: L.Conv2D(32, 3, activation="relu")),
    "Conv2D with groups": of_layer(lambda: L.Conv2D(32, 3, groups=4)),
    "Conv2D with strides": of_layer(lambda: L.Conv2D(32, 3, 2, padding="same")),
    "Conv2D, dilated": of_layer(lambda: L.Conv2D(32, 3, dilation_rate=2, padding="same")),
    "DepthwiseConv2D": of_layer(lambda: L.DepthwiseConv2D(3, depth_multiplier=2)),
    "Conv2DTranspose, valid": of_layer(lambda: L.Conv2DTranspose(16, 2, 3, activation="relu")),
    "Conv1D": of_rows(lambda: L.Conv1D(32, 3, padding="same")),
    "Conv1D, causal": of_rows(lambda: L.Conv1D(32, 3, padding="causal")),
    "SeparableConv1D": of_rows(lambda: L.SeparableConv1D(32, 3, padding="same")),
    "DepthwiseConv1D": of_rows(lambda: L.DepthwiseConv1D(3, padding="same")),
    "Conv1DTranspose": of_rows(lambda: L.Conv1DTranspose(32, 3, 2, padding="same")),
    "Conv3D": of_four(lambda: L.Conv3D(8, 3)),
    "Dense": of_layer(lambda: L.Dense(32, activation="relu")),
    "EinsumDense": of_layer(lambda: L.EinsumDense("abcd,de->abce", (None, None, 16))),
    "MaxPooling2D": of_layer(lambda: L.MaxPooling2D(3, 2, padding="same")),
    "AveragePooling2D": of_layer(lambda: L.AveragePooling2D(2, padding="same")),
    "GlobalAveragePooling2D": of_layer(lambda: L.GlobalAveragePooling2D(keepdims=True)),
    "GlobalMaxPooling2D": of_layer(lambda: L.GlobalMaxPooling2D(keepdims=True)),
    "MaxPooling1D": of_rows(lambda: L.MaxPooling1D(2)),
    "AveragePooling1D": of_rows(lambda: L.AveragePooling1D(2)),
    "GlobalMaxPooling1D": of_vector(L.GlobalMaxPooling1D),
    "GlobalAveragePooling1D": of_vector(L.GlobalAveragePooling1D),
    "GlobalMaxPooling3D": of_four(L.GlobalMaxPooling3D),
    "BatchNormalization": of_layer(L.BatchNormalization),
    "BatchNormalization of rows": of_layer(lambda: L.BatchNormalization(axis=1)),
    "LayerNormalization": of_layer(L.LayerNormalization),
    "LayerNormalization of pictures": of_layer(lambda: L.LayerNormalization([1, 2, 3])),
    "UnitNormalization": of_layer(L.UnitNormalization),
    "Normalization": of_layer(lambda: L.Normalization(mean=0.3, variance=2.0)),
    "Rescaling": of_layer(lambda: L.Rescaling(0.5, -0.1)),
    "Dropout": of_layer(lambda: L.Dropout(0.5)),
    "SpatialDropout2D": of_layer(lambda: L.SpatialDropout2D(0.5)),
    "GaussianNoise": of_layer(lambda: L.GaussianNoise(0.5)),
    "ActivityRegularization": of_layer(lambda: L.ActivityRegularization(0.5)),
    "RandomFlip": of_layer(L.RandomFlip),
    "RandomRotation": of_layer(lambda: L.RandomRotation(0.2)),
    "RandomContrast": of_layer(lambda: L.RandomContrast(0.2)),
    "CenterCrop": of_layer(lambda: L.CenterCrop(3, 4)),
    "Flatten": lambda x: L.Reshape((6, 6, 32))(L.Flatten()(x)),
    "Permute": of_layer(lambda: L.Permute((3, 1, 2))),
    "RepeatVector": lambda x: L.Reshape((2, 2, 32))(L.RepeatVector(4)(L.GlobalMaxPooling2D()(x))),
    "Cropping2D": of_layer(lambda: L.Cropping2D(1)),
    "ZeroPadding2D": of_layer(lambda: L.ZeroPadding2D(1)),
    "ZeroPadding1D": of_vector(lambda: L.ZeroPadding1D(1)),
    "UpSampling2D": of_layer(lambda: L.UpSampling2D(2)),
    "UpSampling2D, bilinear": of_layer(lambda: L.UpSampling2D(2, interpolation="bilinear")),
    "Resizing, nearest": of_layer(lambda: L.Resizing(9, 4, "nearest")),
    "Resizing of a part": of_layer(lambda: L.Resizing(4, 8, crop_to_aspect_ratio=True)),
    "LSTM, unrolled": of_vector(lambda: L.LSTM(8, unroll=True)),
    "GRU, unrolled": of_vector(lambda: L.GRU(8, unroll=True)),
    "TimeDistributed": of_layer(lambda: L.TimeDistributed(L.Dense(16))),
    "Attention": lambda x: L.Reshape((6, 6, 32))(L.Attention()([L.Reshape((36, 32))(x)] * 2)),
    "AdditiveAttention": lambda x: L.Reshape((6, 6, 32))(L.AdditiveAttention()([L.Reshape((36, 32))(x)] * 2)),
    "GroupQueryAttention": lambda x: L.Reshape((6, 6, 32))(L.GroupQueryAttention(8, 4, 2)(*[L.Reshape((36, 32))(x)] * 2)),
    "AutoContrast": of_layer(L.AutoContrast),
    "Solarization": of_layer(L.Solarization),
    "ContrastLimitedAdaptiveHistogramEqualization": of_layer(lambda: L.ContrastLimitedAdaptiveHistogramEqualization()),
    "Bidirectional": of_vector(lambda: L.Bidirectional(L.LSTM(4, unroll=True))),
    "SimpleRNN, unrolled": of_vector(lambda: L.SimpleRNN(4, unroll=True)),
    "RNN, unrolled": of_vector(lambda: L.RNN(L.StackedRNNCells([L.GRUCell(4), L.LSTMCell(4)]), unroll=True)),
    "ConvLSTM2D, unrolled": of_films(lambda: L.ConvLSTM2D(4, 3, unroll=True)),
    "Conv3DTranspose": of_four(lambda: L.Conv3DTranspose(4, 3)),
    "Cropping1D": of_vector(lambda: L.Cropping1D(1)),
    "Cropping3D": of_four(lambda: L.Cropping3D(1)),
    "ZeroPadding3D": of_four(lambda: L.ZeroPadding3D(1)),
    "UpSampling1D": of_rows(lambda: L.UpSampling1D(2)),
    "UpSampling3D": of_four(lambda: L.UpSampling3D(2)),
    "GlobalAveragePooling3D": of_four(L.GlobalAveragePooling3D),
    "AdaptiveAveragePooling1D": of_rows(lambda: L.AdaptiveAveragePooling1D(12)),
    "AdaptiveAveragePooling2D": of_layer(lambda: L.AdaptiveAveragePooling2D(2)),
    "AdaptiveMaxPooling1D": of_rows(lambda: L.AdaptiveMaxPooling1D(12)),
    "AdaptiveMaxPooling2D": of_layer(lambda: L.AdaptiveMaxPooling2D(3)),
    "Embedding": of_bins(lambda: L.Embedding(9, 4)),
    "ReversibleEmbedding": of_bins(lambda: L.ReversibleEmbedding(9, 4)),
    "CategoryEncoding": of_bins(lambda: L.CategoryEncoding(5, "one_hot")),
    "Identity": of_layer(L.Identity),
    "Masking": of_layer(L.Masking),
    "Pipeline": of_layer(lambda: L.Pipeline([L.RandomFlip(), L.Rescaling(2.0)])),
    "RMSNormalization": of_layer(L.RMSNormalization),
    "SpectralNormalization": of_layer(lambda: L.SpectralNormalization(L.Conv2D(8, 3))),
    "MelSpectrogram": lambda x: L.Reshape((1, 1, -1))(L.Flatten()(L.MelSpectrogram(64, 32, num_mel_bins=8)(L.Flatten()(x)))),
    "STFTSpectrogram": of_sound(lambda: L.STFTSpectrogram(frame_length=64, frame_step=32, fft_length=64)),
    "Resizing with a border": of_layer(lambda: L.Resizing(4, 8, pad_to_aspect_ratio=True)),
    "Lambda": of_layer(lambda: L.Lambda(lambda x: x[..., ::2] * 2 - 1)),
    "operators": lambda x: keras.ops.where(x > 0.0, x, 0.5 * x)[..., :8],
}
OF_OTHERS = {
    "bases, and what others have in them": ("Layer", "Wrapper", "InputLayer", "Activation", "Reshape"),
    "parts of RNN": ("GRUCell", "LSTMCell", "SimpleRNNCell", "StackedRNNCells"),
    "of other frameworks": ("FlaxLayer", "JaxLayer", "TFSMLayer", "TorchModuleWrapper"),
    "of text and of what has no pictures": (
        *("Discretization", "HashedCrossing", "Hashing", "IntegerLookup", "StringLookup", "TextVectorization"),
        *("MaxNumBoundingBoxes", "Equalization"),  # the latter fits in no graph of layers
    ),
}
REFUSED = {
    "Resizing, lanczos5": (of_layer(lambda: L.Resizing(9, 4, "lanczos5", name="this")), r"'this' \(ScaleAndTranslate\)"),
    "Resizing, smoothed": (
        of_layer(lambda: L.Resizing(4, 4, antialias=True, name="this")),
        r"'this' \(ScaleAndTranslate\)",
    ),
    "UpSampling2D, bicubic": (
        of_layer(lambda: L.UpSampling2D(2, interpolation="bicubic", name="this")),
        r"'this' \(ResizeBicubic\)",
    ),
    "AdaptiveAveragePooling3D": (of_four(lambda: L.AdaptiveAveragePooling3D(2, name="this")), r"'this' \(AvgPool3D\)"),
    "AdaptiveMaxPooling3D": (of_four(lambda: L.AdaptiveMaxPooling3D(2, name="this")), r"'this' \(MaxPool3D\)"),
    "ConvLSTM1D": (of_films(lambda: L.TimeDistributed(L.ConvLSTM1D(4, 3), name="this")), r"'this' \(TimeDistributed\)"),
    "ConvLSTM2D": (of_films(lambda: L.ConvLSTM2D(4, 3, name="this")), r"'this' \(ConvLSTM2D\)"),
    "activation of a layer": (of_layer(lambda: L.Conv2D(8, 1, activation=tf.math.erf, name="this")), r"'this' \(Erf\)"),
    "Resizing, bicubic": (of_layer(lambda: L.Resizing(9, 4, "bicubic", name="this")), r"'this' \(ResizeBicubic\)"),
    "Resizing, lanczos3": (of_layer(lambda: L.Resizing(9, 4, "lanczos3", name="this")), r"'this' \(ScaleAndTranslate\)"),
    "MaxPooling3D": (of_four(lambda: L.MaxPooling3D(2, name="this")), r"'this' \(MaxPool3D\)"),
    "AveragePooling3D": (of_four(lambda: L.AveragePooling3D(2, name="this")), r"'this' \(AvgPool3D\)"),
    "LSTM": (of_vector(lambda: L.LSTM(8, name="this")), r"'this' \(LSTM\).*unroll=True"),
    "error function": (of_layer(lambda: L.Lambda(tf.math.erf, name="this")), r"'this' \(Erf\)"),
    "loop": (of_layer(lambda: L.Lambda(lambda x: looped(x), name="this")), r"'this' \(WHILE\)"),
    "Python": (of_layer(lambda: L.Lambda(lambda x: in_python(x), name="this")), r"'this' \(PyFunc"),
}


def looped(x):
    return tf.while_loop(lambda number, y: number < 3, lambda number, y: (number + 1, y * 1.1), (0, x))[1]


def in_python(x):
    return tf.ensure_shape(tf.numpy_function(np.sin, [x], tf.float32), x.shape)


def network(layer):
    model = small(lambda x: conv(8, 1, name="second")(layer(conv(32, use_bias=True, name="first")(x))))
    first, second = binary_layers(model)
    generator = np.random.default_rng(0)
    for weight in (first.bias, second.input_quantizer.threshold):  # sums, and means of sums, shall not meet a threshold
        weight.assign(generator.normal(scale=0.5, size=weight.shape))
    return model


def marked(names, fast):
    return [name if name in fast else pytest.param(name, marks=pytest.mark.slow) for name in names]


def check_same(model):
    assert check(model).ok
    inputs = samples(model)
    program = lower(model)
    content = written(program)
    assert counts(content)["LceBconv2d"] == 2
    expected = model(inputs[0], training=False).numpy()
    for engine, (found,) in run_everywhere(content, inputs):
        if engine == "bitat-runtime":  # larq-compute-engine is built with an older interpreter, which lacks some operators
            differs = np.abs(found - expected).reshape(len(found), -1).max(axis=1) > 1e-4 * max(1.0, np.abs(expected).max())
            assert differs.sum() <= 1  # a value on a threshold
            import bitat_runtime

            together = bitat_runtime.Interpreter(content).predict(inputs[0], batch_size=6)  # as many as there are columns
            np.testing.assert_allclose(together, found, atol=1e-4)


@pytest.mark.parametrize("name", marked(ACTIVATIONS, ("hard_sigmoid",)))
def test_activations(name):
    check_same(network(L.Activation(ACTIVATIONS[name])))


@pytest.mark.parametrize("name", marked({**FAST, **LAYERS}, FAST))
def test_layers(name):
    check_same(network({**FAST, **LAYERS}[name]))


@pytest.mark.parametrize("name", marked(REFUSED, ("Resizing, bicubic",)))
def test_layers_without_a_form_on_the_device_are_named(name):
    layer, message = REFUSED[name]
    model = network(layer)
    assert [(one.layer, one.rule in (rules.FORM, rules.RECURRENT)) for one in check(model).errors] == [("this", True)]
    program = lower(model)
    with pytest.raises(ValueError, match=f"to_tflite: these layers have no form on the device: {message}"):
        written(program)


def test_no_layer_of_keras_is_left_out():
    classes = {one for _, one in inspect.getmembers(L, inspect.isclass) if issubclass(one, L.Layer)}
    names = [re.split("[ ,]", name)[0] for name in (*FAST, *LAYERS, *REFUSED)]
    tried = {getattr(L, name) for name in names if hasattr(L, name)}
    others = {getattr(L, name) for names in OF_OTHERS.values() for name in names if hasattr(L, name)}
    without = {one for one in classes if without_effect(object.__new__(one))}
    assert {one.__name__ for one in classes - tried - others - without} <= {"ConvLSTM3D"}  # as ConvLSTM2D


def test_transposed_convolutions_of_every_geometry():
    """As convolutions and a depth-to-space, against Keras: kernels smaller and larger than the stride, even and odd."""
    pictures, outputs = [], []
    for size, kernel in (((1, 1), 3), ((2, 3), 1), ((5, 4), 2), ((3, 5), 4), ((4, 4), (5, 2))):
        pictures.append(keras.Input((*size, 3)))
        for stride in (1, 2, 3):
            for padding in ("same", "valid"):
                layer = L.Conv2DTranspose(5, kernel, stride, padding=padding, bias_initializer="normal", activation="relu")
                outputs.append(layer(pictures[-1]))
    model = keras.Model(pictures, outputs)
    program = lower(model)
    assert not any("conv2d_transpose" in step.name and type(step).__name__ == "KerasCall" for step in program.steps())
    inputs = samples(model, 2)
    assert_close(outputs_of(program, inputs), [np.asarray(one) for one in model(inputs)])
