"""Noise along principal directions, against a network in numpy."""

import keras
import numpy as np
import pytest
from matplotlib.figure import Figure
from networks import binary_network, covariance, patches, pictures

from bitat_tf.analysis import ResultTable, confidence_bands, noise_sensitivity, plot_noise_sensitivity
from bitat_tf.analysis.kernel_layers import before_first_call, input_covariance, kernel_layers

DIM, HIDDEN, CLASSES = 7, 6, 4


@pytest.fixture
def network():
    keras.utils.set_random_seed(1)
    return keras.Sequential(
        [
            keras.Input((DIM,)),
            keras.layers.Dense(HIDDEN, "relu", use_bias=False),
            keras.layers.Dense(CLASSES, use_bias=False),
        ]
    )


@pytest.fixture
def data(network):
    generator = np.random.default_rng(0)
    x = (generator.normal(size=(200, DIM)) @ np.diag([3, 2, 1, 1, 0.5, 0.2, 0.1])).astype(np.float32)
    return x, network.predict(x, verbose=0).argmax(axis=-1)  # the clean network is always right


def by_hand(weights, x, calibration, rows, dependent, scale, seed, k):
    """Accuracy of the two-layer network in numpy, in float64, with the noise of the same generator."""
    noisy, inputs, clean_inputs = [], calibration.astype(float), calibration.astype(float)
    for index, weight in enumerate(weights):
        values, vectors = np.linalg.eigh(covariance(inputs if dependent else clean_inputs))
        order = np.argsort(values)[::-1] if rows == "top" else np.argsort(values)
        drawn = np.random.default_rng((seed, index)).standard_normal((k, weight.shape[1]))
        noisy.append(weight + scale * np.sqrt((weight**2).mean()) * vectors[:, order[:k]] @ drawn)
        relu = index == 0
        inputs = np.maximum(inputs @ noisy[-1], 0) if relu else inputs @ noisy[-1]
        clean_inputs = np.maximum(clean_inputs @ weight, 0) if relu else clean_inputs @ weight
    return (np.maximum(x @ noisy[0], 0) @ noisy[1]).argmax(axis=-1)


@pytest.mark.parametrize("rows", ["top", "bottom"])
@pytest.mark.parametrize("dependent", [True, False])
def test_as_in_numpy(network, data, rows, dependent):
    x, labels = data
    weights = [layer.kernel.numpy().astype(float) for layer in network.layers]
    # The sign of an eigenvector is free; for matrices that are equal but for rounding, one routine chooses the same.
    curves = noise_sensitivity(network, data, [0.0, 1.5], rows, 2, dependent, calibration=x[:64], seeds=[3])
    assert curves.column("accuracy")[0] == 1.0
    expected = by_hand(weights, x, x[:64], rows, dependent, 1.5, 3, 2)
    assert curves.column("accuracy")[1] == pytest.approx(np.mean(expected == labels), abs=0.02)
    assert curves.column("accuracy")[1] < 1
    for layer, weight in zip(network.layers, weights, strict=True):
        np.testing.assert_array_equal(layer.kernel.numpy(), weight.astype(np.float32))


def test_noise_stays_in_the_rows_named(network, data, monkeypatch):
    """What is added to a kernel lies in the span of the k directions of largest variance of the noisy network's input."""
    x, _ = data
    seen = {}

    def predict(*_, **__):
        seen["kernels"] = [layer.kernel.numpy().astype(float) for layer in network.layers]
        return np.zeros((len(x), CLASSES))

    clean = [layer.kernel.numpy().astype(float) for layer in network.layers]
    monkeypatch.setattr(network, "predict", predict)
    noise_sensitivity(network, data, [2.0], "top", 3, True, calibration=x, seeds=[0])
    inputs = x.astype(float)
    for weight, noisy in zip(clean, seen["kernels"], strict=True):
        vectors = np.linalg.eigh(covariance(inputs))[1][:, ::-1]
        along = vectors.T @ (noisy - weight)
        assert np.abs(along[:3]).max() > 0.1
        np.testing.assert_allclose(along[3:], 0, atol=1e-5)
        inputs = np.maximum(inputs @ noisy, 0)


def test_top_rows_hurt_more_than_bottom_rows(network, data):
    curves = noise_sensitivity(network, data, [2.0], k=2, seeds=range(4))
    means = {row: curves.where(rows=row).column("accuracy").mean() for row in ("top", "bottom")}
    assert means["top"] < means["bottom"]


def test_covariance_of_a_convolution_is_that_of_its_patches():
    x = pictures()
    network = binary_network()
    found = {}
    with before_first_call(kernel_layers(network), lambda layer, inputs: found.update({layer.name: inputs})):
        network(x)
    np.testing.assert_allclose(
        input_covariance(network.get_layer("conv"), [found["conv"]]), covariance(patches(x, 3)), rtol=1e-4, atol=1e-5
    )
    assert "call" not in vars(network.get_layer("conv")), "the layer is as before"


def test_layers_without_a_single_covariance_stay_as_they_are():
    inputs = keras.Input((8, 8, 4))
    x = keras.layers.DepthwiseConv2D(3, name="depthwise")(inputs)
    x = keras.layers.Conv2D(4, 1, groups=2, name="grouped")(x)
    x = keras.layers.Conv2D(6, 1, name="pointwise")(x)
    x = keras.layers.Conv2DTranspose(3, 2, name="transposed")(x)
    outputs = keras.layers.Dense(2, name="dense")(keras.layers.GlobalAveragePooling2D()(x))
    assert [layer.name for layer in kernel_layers(keras.Model(inputs, outputs))] == ["pointwise", "dense"]


def test_restores_the_weights_when_it_is_stopped(network, data, monkeypatch):
    def stopped(*_, **__):
        raise KeyboardInterrupt

    weights = network.get_weights()
    monkeypatch.setattr(network, "predict", stopped)
    with pytest.raises(KeyboardInterrupt):
        noise_sensitivity(network, data, [1.0])
    for before, after in zip(weights, network.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)


def test_interval_of_the_mean():
    rows = [{"rows": "top", "dependent": True, "scale": 1.0, "seed": s, "accuracy": a} for s, a in enumerate((0.2, 0.4, 0.6))]
    (band,) = confidence_bands(ResultTable(tuple(rows))).rows
    # 4.303: Student's t, 2 degrees of freedom, two-sided 95 % (a printed table)
    half = 4.303 * 0.2 / np.sqrt(3)
    assert band["accuracy"] == pytest.approx(0.4)
    assert band["low"] == 0.0  # 0.4 - 0.497, cut off
    assert band["high"] == pytest.approx(0.4 + half, rel=1e-3)
    assert band["half_width"] == pytest.approx(half, rel=1e-3)
    (alone,) = confidence_bands(ResultTable(tuple(rows[:1]))).rows
    assert (alone["half_width"], alone["low"], alone["high"]) == (0.0, 0.2, 0.2)


def test_plot_has_four_curves_red_and_blue_solid_and_dashed(network, data):
    axes = Figure().subplots()
    curves = noise_sensitivity(network, data, [0.0, 1.0], seeds=[0])
    plot_noise_sensitivity(axes, curves)
    styles = {line.get_label(): (line.get_color(), line.get_linestyle()) for line in axes.lines}
    assert styles == {
        "top rows, layer-dependent": ("#c02020", "-"),
        "top rows, layer-independent": ("#c02020", "--"),
        "bottom rows, layer-dependent": ("#2040c0", "-"),
        "bottom rows, layer-independent": ("#2040c0", "--"),
    }
    top = curves.where(rows="top", dependent=True).column("accuracy")
    np.testing.assert_allclose(axes.lines[0].get_ydata(), 100 * top)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rows": "middle"}, "must be one of 'top', 'bottom'"),
        ({"scales": [-1.0]}, "`scales` must be a finite number >= 0"),
        ({"k": 0}, "`k` must be a finite number >= 1"),
        ({"data": (np.zeros((0, DIM)), np.zeros(0))}, "at least one input"),
        ({"data": (np.zeros((2, DIM)), np.zeros((2, 4)))}, "argmax"),
        ({"data": (np.zeros((2, DIM)), np.zeros((2, 1), int))}, r"Pass labels\[:, 0\]"),
        ({"data": np.zeros((2, DIM))}, "inputs and labels"),
        ({"calibration": np.full((2, DIM), np.nan)}, "must be finite"),
        ({"scales": 0.5}, "`scales` must be a list of at least one value"),
        ({"scales": []}, "`scales` must be a list of at least one value"),
        ({"seeds": 3}, "`seeds` must be a list"),
        ({"data": (np.zeros((2, DIM)), np.array([0, 4]))}, "labels must lie in 0..3"),
    ],
)
def test_refuses(network, data, change, message):
    with pytest.raises(ValueError, match=message):
        noise_sensitivity(**{"model": network, "data": data, "scales": [1.0], **change})


def test_refuses_binary_networks_and_those_without_kernels():
    network = binary_network()
    network.get_layer("conv").set_binary()
    with pytest.raises(ValueError, match="in float state"):
        noise_sensitivity(network, (pictures(), np.zeros(24, int)), [1.0])
    empty = keras.Sequential([keras.Input((4,)), keras.layers.ReLU()])
    with pytest.raises(ValueError, match="no convolution"):
        noise_sensitivity(empty, (np.zeros((2, 4)), np.zeros(2, int)), [1.0])
    sigmoid = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, "sigmoid")])
    with pytest.raises(ValueError, match=r"at least two. Received: outputs of shape \(None, 1\)"):
        noise_sensitivity(sigmoid, (np.zeros((2, 4)), np.zeros(2, int)), [1.0])
