"""The lowering: random binary networks against Keras, bit by bit inside, and the rules of folding one by one."""

import re

import keras
import numpy as np
import pytest
from binary_networks import BinaryNetwork
from engines import converted_by_lce, larq_compute_engine, run_everywhere
from file_against_keras import check_file, written
from small_networks import check, conv, positive_gammas, small

from bitat_tf.export import to_plain_network
from bitat_tf.export.lowering import lower
from bitat_tf.layers import BinaryConv2D, BinaryDense, RPReLU, binary_layers

L = keras.layers
FAST, SLOW, ALL = 8, 160, 520


def marks(seed):
    return [] if seed < FAST else [pytest.mark.slow] if seed < SLOW else [pytest.mark.slow, pytest.mark.exhaustive]


@pytest.mark.parametrize("seed", [pytest.param(seed, marks=marks(seed)) for seed in range(ALL)])
def test_random_networks_do_what_keras_does(seed):
    """Outputs to rounding in every engine; signs before each binary layer bit by bit, values on a threshold among them."""
    exact = seed % 2 == 0
    network = BinaryNetwork(seed, exact)
    model = network.build()
    inputs = network.inputs(model)
    check_file(model, inputs, exact)


def test_nothing_stands_between_a_plain_chain_of_binary_layers():
    def chain(x):
        for number in range(3):
            x = L.ReLU()(L.BatchNormalization()(conv(name=f"conv_{number}")(x)))
        return conv(name="last")(x)

    program, found = check(small(chain))
    assert found == {"LceQuantize": 1, "LceBconv2d": 4} or found == {"ADD": 1, "LceQuantize": 1, "LceBconv2d": 4}
    assert [step.thresholds is not None for step in program.binary_convolutions()] == [True, True, True, False]


@pytest.mark.parametrize("slope", [0.0, 0.25, 2.0])
@pytest.mark.parametrize("gamma", [1.5, -1.5, 0.0])
def test_signs_of_every_possible_sum_are_those_of_the_layers(slope, gamma):
    """Brute force: all sums that 9 * 3 signs can have, through batch normalization, PReLU and threshold, in float64."""

    def build(x):
        x = L.BatchNormalization(epsilon=0.0)(conv(8, name="first")(x))
        x = RPReLU()(x)
        return conv(4, 1, name="second")(x)

    model = small(build, (5, 5, 3))
    normalization = next(layer for layer in model.layers if isinstance(layer, L.BatchNormalization))
    prelu = next(layer for layer in model.layers if isinstance(layer, RPReLU))
    normalization.gamma.assign(np.full(8, gamma))
    normalization.moving_variance.assign(np.ones(8))
    normalization.moving_mean.assign(np.arange(-4.0, 4.0))
    prelu.prelu.alpha.assign(np.full(prelu.prelu.alpha.shape, slope))
    first, second = binary_layers(model)
    program = lower(model)
    step = program.binary_convolutions()[0]
    assert step.thresholds is not None
    sums = np.arange(-27, 28, 2.0)[:, None]
    alpha = np.abs(first.latent_kernel).mean(axis=(0, 1, 2)).astype(np.float64)
    y = gamma * (alpha * sums - np.arange(-4.0, 4.0)) + normalization.beta.numpy()
    y = y - prelu.shift_before.numpy()
    y = np.where(y >= 0, y, slope * y) + prelu.shift_after.numpy() + second.input_quantizer.threshold.numpy()
    turned = (step.kernel.astype(int) * np.where(first.latent_kernel >= 0, 1, -1)).sum(axis=(0, 1, 2)) < 0
    unlike = (27 - np.where(turned, -1, 1) * sums) / 2
    clear = np.abs(y) > 1e-6
    np.testing.assert_array_equal((unlike > step.thresholds)[clear], (y < 0)[clear])


def test_dead_channels_and_ties_are_the_same_on_both_sides():
    """All sums are integers, thresholds are met exactly, and a kernel of zeros gives zeros."""

    def build(x):
        return conv(16, name="second")(conv(32, name="first")(x))

    model = small(build, (7, 7, 31))
    first, second = binary_layers(model)
    kernel = np.random.default_rng(0).choice([-1.0, 1.0], first.kernel.shape)
    kernel[..., ::4] = 0.0
    first.kernel.assign(kernel)
    second.input_quantizer.threshold.assign(np.tile([0.0, 1.0, -3.0, 5.0], 8))
    x = np.random.default_rng(1).choice([-1.0, 1.0], (4, 7, 7, 31)).astype(np.float32)
    sums = second.input_images(first(x), False)
    assert (np.asarray(sums) + np.tile([0.0, 1.0, -3.0, 5.0], 8) == 0).mean() > 0.02  # ties are common here
    content = written(lower(model))
    expected = model(x).numpy()
    for engine, (found,) in run_everywhere(content, [x]):
        np.testing.assert_allclose(found, expected, atol=1e-5, err_msg=engine)


def test_one_quantize_for_several_readers_of_the_same_signs():
    def build(x):
        return L.Concatenate()([conv(name=f"branch_{number}", input_quantizer="ste_sign")(x) for number in range(3)])

    assert check(small(build))[1]["LceQuantize"] == 1


def test_maxima_between_binary_layers_are_taken_of_signs():
    def build(x):
        x = conv(name="first")(x)
        x = L.MaxPooling2D(2)(L.BatchNormalization()(x))
        return conv(name="second")(x)

    found = check(small(build))[1]
    assert (found["LceBMaxPool2d"], found["MAX_POOL_2D"]) == (1, 0)


@pytest.mark.parametrize("function", ["tanh", "sigmoid", "elu", "softplus", "relu", L.LeakyReLU(0.1), L.ReLU(6.0)])
def test_monotone_steps_before_a_sign_vanish(function):
    def build(x):
        x = L.BatchNormalization()(conv(name="first")(x))
        x = L.Activation(function)(x) if isinstance(function, str) else type(function).from_config(function.get_config())(x)
        return conv(4, 1, name="second")(x)

    found = check(positive_gammas(small(build)))[1]
    assert set(found) <= {"ADD", "LceQuantize", "LceBconv2d"}
    assert (found["LceQuantize"], found["LceBconv2d"]) == (1, 2)


def test_a_relu_that_others_read_stays():
    def build(x):
        x = L.ReLU()(conv(name="first")(x))
        return L.Add()([x, conv(name="second")(x)])

    program, found = check(small(build))
    assert program.binary_convolutions()[0].relu  # in the same operator
    assert found["LceBconv2d"] == 2


def test_shifts_of_rprelu_cost_no_operator():
    def build(x):
        for number in range(2):
            x = RPReLU()(L.Add()([x, L.BatchNormalization()(conv(name=f"conv_{number}")(x))]))
        return L.Conv2D(4, 1, name="head")(x)

    found = check(small(build))[1]
    assert found["PRELU"] == 2
    assert found["ADD"] == 2 + 2  # the shortcuts, and a threshold before each sign: the tensor before it has other readers


def test_float_kernels_take_up_scales_and_shifts():
    def build(x):
        x = L.Rescaling(1 / 127.5, -1.0)(x)
        x = L.BatchNormalization()(L.Conv2D(8, 3, padding="same")(x))
        x = L.BatchNormalization()(conv(32, name="binary")(x))
        x = L.BatchNormalization()(L.ReLU()(x))
        return L.Dense(4)(L.Flatten()(x))

    found = check(positive_gammas(small(build)))[1]
    assert found["MUL"] == 0


@pytest.mark.parametrize("padding", ["valid", "same"])
def test_every_geometry_against_larq_compute_engine_and_keras(padding):
    """Strides, dilations and kernels of all kinds, in one network side by side."""

    def build(x):
        found = []
        geometries = [(1, 2, 1), ((1, 5), 1, 1), (3, 1, 2), (5, 3, 1), (2, 2, 1), (7, 1, 1)]
        for number, (kernel, stride, dilation) in enumerate(geometries):
            y = conv(33, kernel, strides=stride, dilation_rate=dilation, padding=padding, name=f"conv_{number}")(x)
            found.append(L.GlobalAveragePooling2D()(y))
        return L.Add()(found)

    model = small(build, (9, 11, 40))
    x = np.random.default_rng(0).normal(size=(3, 9, 11, 40)).astype(np.float32)
    for engine, (found,) in run_everywhere(written(lower(model)), [x]):
        np.testing.assert_allclose(found, model(x).numpy(), atol=1e-4, err_msg=engine)


def test_dense_layers_are_1x1_and_in_a_row_nothing_is_between_them():
    def build(x):
        x = BinaryDense(48, use_bias=False, name="first")(L.Flatten()(x))
        x = L.BatchNormalization()(x)
        return BinaryDense(10, name="second")(x)

    found = check(small(build, (2, 2, 16)))[1]
    assert found["LceBconv2d"] == 2
    assert found["LceQuantize"] == 1
    assert found["RESHAPE"] <= 2


def test_the_file_is_no_larger_than_that_of_larq_compute_engines_converter():
    larq_compute_engine()

    def build(x):
        for number in range(3):
            x = L.ReLU()(L.BatchNormalization()(conv(64, name=f"conv_{number}")(x)))
        return L.Dense(10)(L.GlobalAveragePooling2D()(x))

    model = small(build, (8, 8, 64))
    assert len(written(lower(model))) <= len(converted_by_lce(to_plain_network(model)))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda x: BinaryConv2D(4, 3, kernel_quantizer="ste_tern")(x), r"must give \+alpha and -alpha"),
        (lambda x: BinaryConv2D(4, 3, input_quantizer="ste_tern")(x), "must give signs"),
        (lambda x: BinaryConv2D(4, 3, groups=2)(x), "multiple of 32 channels. Received: 16 in each of 2 groups"),
        (lambda x: BinaryConv2D(4, 3, padding="same", pad_values=0.5)(x), "padded with 1 or 0. Received: pad_values=0.5"),
    ],
)
def test_what_the_device_has_not_is_refused_by_name(make, message):
    with pytest.raises(ValueError, match=message) as caught:
        lower(small(make))
    assert re.search("binary_conv2d", str(caught.value))


def test_layers_of_other_precision_are_written_in_float32():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = small(lambda x: L.Dense(4)(L.GlobalAveragePooling2D()(L.Conv2D(8, 1, activation="gelu")(conv()(x)))))
    finally:
        keras.config.set_dtype_policy("float32")
    content = written(lower(model))
    x = np.random.default_rng(0).normal(size=(4, 6, 6, 32)).astype(np.float32)
    for _, (found,) in run_everywhere(content, [x]):
        np.testing.assert_allclose(found, model(x).numpy(), atol=2e-2)


def test_residual_dense_layers_on_sequences():
    """What is reshaped for a dense layer is read by the shortcut too, and the thresholds are one for each feature."""
    model = small(lambda x: L.Add()([x, BinaryDense(32, name="binary_dense")(x)]), (16, 32))
    binary_layers(model)[0].input_quantizer.threshold.assign(np.linspace(-1, 1, 32))
    x = np.random.default_rng(0).normal(size=(3, 16, 32)).astype(np.float32)
    for engine, (found,) in run_everywhere(written(lower(model)), [x]):
        np.testing.assert_allclose(found, model(x).numpy(), atol=1e-4, err_msg=engine)


def test_a_scale_near_zero_takes_no_constant_with_it():
    """A channel that weight decay has switched off keeps its shift."""

    def build(x):
        return L.PReLU(shared_axes=[1, 2])(L.BatchNormalization(name="bn")(L.Add()([x, conv(name="binary")(x)])))

    model = positive_gammas(small(build))
    gamma = np.ones(32)
    gamma[3] = 1e-39
    model.get_layer("bn").gamma.assign(gamma)
    model.get_layer("bn").beta.assign(np.full(32, 0.75))
    check(model)


def test_bytes_go_through_layers_that_keep_them():
    inputs = keras.Input((8, 8, 3), dtype="uint8")
    x = L.Rescaling(1 / 127.5, -1.0)(L.Cropping2D(1)(inputs))
    model = keras.Model(inputs, conv(4, name="binary")(L.Conv2D(32, 1)(x)))
    binary_layers(model)[0].set_binary()
    x = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3)).astype(np.uint8)
    for engine, (found,) in run_everywhere(written(lower(model)), [x]):
        np.testing.assert_allclose(found, model(x).numpy(), atol=1e-4, err_msg=engine)
