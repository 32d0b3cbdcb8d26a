"""What folding leaves: the numbers of element-wise operators in files, counted by hand, and outputs as Keras has them."""

import keras
import numpy as np
import pytest
from file_against_keras import counts, written
from small_networks import check, conv, drawn, positive_gammas, small

from benchmarks.networks import paired_reactnet_a
from bitat_tf.applications import QuickNet, ReActNetA
from bitat_tf.export.lowering import lower
from bitat_tf.layers import BinaryDense, RPReLU

L = keras.layers
ELEMENTWISE = ("ADD", "SUB", "MUL", "PRELU", "RELU", "RELU6", "LEAKY_RELU", "TANH")


def normalized(filters, kernel, x, **arguments):
    return L.BatchNormalization()(conv(filters, kernel, **arguments)(x))


def block(x, filters, stride):
    """A block of ReActNet as its authors draw it."""
    shortcut = L.AveragePooling2D(2, padding="same")(x) if stride == 2 else x
    x = RPReLU()(L.Add()([normalized(x.shape[-1], 3, x, strides=stride), shortcut]))
    shortcut = x if filters == x.shape[-1] else L.Concatenate()([x, x])
    return RPReLU()(L.Add()([normalized(filters, 1, x), shortcut]))


def parallel_block(x, filters, stride):
    """The same with the original's two 1x1 convolutions side by side where the filters double."""
    shortcut = L.AveragePooling2D(2, padding="same")(x) if stride == 2 else x
    x = RPReLU()(L.Add()([normalized(x.shape[-1], 3, x, strides=stride), shortcut]))
    halves = [L.Add()([normalized(x.shape[-1], 1, x), x]) for _ in range(filters // x.shape[-1])]
    return RPReLU()(halves[0] if len(halves) == 1 else L.Concatenate()(halves))


def nested(twice):
    def build(x):
        inner_inputs = keras.Input(x.shape[1:])
        inner = keras.Model(inner_inputs, block(inner_inputs, 32, 1), name="inner")
        x = inner(x)
        return block(inner(x) if twice else x, 32, 1)

    return build


def called_twice(x):
    shared = RPReLU(name="shared")
    return block(shared(normalized(32, 3, shared(normalized(32, 3, x)))), 32, 1)


def then(*layers):
    """Return a builder: layers after an RPReLU behind a binary convolution."""

    def build(x):
        x = RPReLU(name="rprelu")(normalized(32, 3, x))
        for layer in layers:
            x = layer.from_config({**layer.get_config(), "name": None})(x)
        return x

    return build


def scaled(activation, separate=True):
    """A convolution with a scale for each filter, its activation, normalization and another convolution, as in QuickNet."""

    def build(x):
        x = conv(32, 3, activation=None if separate else activation)(x)
        return conv(8, 1)(L.BatchNormalization()(activation(x) if separate else x))

    return build


POOLED = L.GlobalAveragePooling2D()
# What is built, and its element-wise operators. Counted by hand: a threshold is an ADD where the tensor before it has other
# readers, or none before it can take it up; a shortcut is an ADD, an RPReLU a PRELU, whose second shift stays as an ADD where
# it is returned, jumps (zeros around it, a function), or nowhere else.
NETWORKS = {
    "shortcuts": (lambda x: conv(8, 1)(block(block(x, 32, 1), 32, 1)), "9 ADD, 4 PRELU"),
    "parallel convolutions": (lambda x: conv(8, 1)(parallel_block(x, 64, 2)), "7 ADD, 2 PRELU"),
    "at the output": (then(), "2 ADD, 1 PRELU"),
    "zero-padded float convolution": (then(L.Conv2D(8, 3, padding="same")), "2 ADD, 1 PRELU"),
    "valid float convolution": (then(L.Conv2D(8, 3, strides=2)), "1 ADD, 1 PRELU"),
    "grouped convolution": (then(L.Conv2D(8, 3, groups=4, use_bias=False)), "1 ADD, 1 PRELU"),
    "flatten and dense": (then(L.Flatten(), L.Dense(8)), "1 ADD, 1 PRELU"),
    "called twice": (called_twice, "7 ADD, 4 PRELU"),
    "nested, called twice": (nested(twice=True), "13 ADD, 6 PRELU"),
    "scaled kernel, own ReLU": (scaled("relu", separate=False), "1 ADD"),
}
MORE_NETWORKS = {
    "widening and strides": (lambda x: conv(8, 1)(block(block(x, 64, 2), 64, 1)), "9 ADD, 4 PRELU"),
    "1x1 float convolution": (then(L.Conv2D(8, 1, padding="same", use_bias=False)), "1 ADD, 1 PRELU"),
    "dilated, with ReLU": (then(L.Conv2D(8, 3, dilation_rate=2, activation="relu")), "1 ADD, 1 PRELU"),
    "depthwise": (then(L.DepthwiseConv2D(3, depth_multiplier=2, use_bias=False)), "1 ADD, 1 PRELU"),
    "dense": (then(L.Dense(8, use_bias=False)), "1 ADD, 1 PRELU"),
    "global average and dense": (then(POOLED, L.Dense(8)), "1 ADD, 1 PRELU"),
    "global maximum and dense": (then(L.GlobalMaxPooling2D(), L.Dense(8)), "1 ADD, 1 PRELU"),
    "normalization and ReLU": (then(L.BatchNormalization(scale=False, center=False), L.ReLU()), "2 ADD, 1 MUL, 1 PRELU"),
    "other activation": (then(L.Activation("tanh"), L.Dense(8)), "2 ADD, 1 PRELU, 1 TANH"),
    "cropped and enlarged": (then(L.Cropping2D(1), L.UpSampling2D(2), L.Conv2D(8, 3)), "1 ADD, 1 PRELU"),
    "maximum and convolution": (then(L.MaxPooling2D(2), conv(8, 3)), "2 ADD, 1 PRELU"),
    "threshold after normalization": (lambda x: conv(8, 3)(normalized(32, 3, x)), "1 ADD"),
    "binary dense layers": (
        lambda x: BinaryDense(8)(RPReLU()(L.BatchNormalization()(BinaryDense(16)(POOLED(x))))),
        "2 ADD, 1 PRELU",
    ),
    "nested": (nested(twice=False), "9 ADD, 4 PRELU"),
    "scaled kernel, ReLU": (scaled(L.ReLU()), "1 ADD"),
    "scaled kernel, ReLU6": (scaled(L.ReLU(6.0)), "1 ADD"),
    "scaled kernel, PReLU": (scaled(L.PReLU(shared_axes=[1, 2])), "2 ADD, 1 PRELU"),
}
CASES = [*NETWORKS, *(pytest.param(name, marks=pytest.mark.slow) for name in MORE_NETWORKS)]


def elementwise(found):
    return ", ".join(f"{found[name]} {name}" for name in ELEMENTWISE if found[name])


@pytest.mark.parametrize("name", CASES)
def test_operators_that_are_left(name):
    build, expected = {**NETWORKS, **MORE_NETWORKS}[name]
    program, found = check(positive_gammas(small(build, (8, 8, 32))))
    assert elementwise(found) == expected
    assert found["LceBconv2d"] == len(program.binary_convolutions())


def test_a_shift_goes_into_the_bias_as_the_kernel_makes_it():
    model = small(then(L.Dense(8, use_bias=False)))
    program = lower(model)
    (output,) = program.outputs
    kernel, shift = model.layers[-1].kernel.numpy(), model.get_layer("rprelu").shift_after.numpy()
    np.testing.assert_allclose(output.shift, shift @ kernel, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_quicknet_has_no_scales_of_its_own():
    found = counts(written(lower(positive_gammas(drawn(QuickNet((32, 32, 3), 10, width=0.25))))))
    assert found["MUL"] == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("build", "convolutions", "activations"),
    [(lambda: ReActNetA((32, 32, 3), 10, width=0.25), 26, 26), (lambda: paired_reactnet_a(32, 0.25, 10), 31, 26)],
    ids=["ReActNet-A", "as its authors built it"],
)
def test_reactnet_a_has_three_operators_a_convolution(build, convolutions, activations):
    """Threshold and shortcut of each convolution, RPReLU of three each; two more scale the pixels."""
    found = counts(written(lower(drawn(build()))))
    assert found["LceBconv2d"] == convolutions
    assert sum(found[name] for name in ("ADD", "SUB", "MUL", "PRELU")) <= 2 * convolutions + activations + 2
