"""The monitor of a one-shot run."""

import keras
import numpy as np
import pytest

from bitat_tf.callbacks import QuantizationMonitor
from bitat_tf.layers import binary_layers


def test_statistics_are_those_of_the_float_network_and_nothing_else_changes(make_network, images):
    x, y = images
    model = make_network(keras.optimizers.SGD(0.0))
    layer = model.get_layer("binary_2")
    # Independent: the input of the layer in the float network, signs and covariance in numpy.
    inputs = keras.Model(model.inputs, layer.input)(x, training=False).numpy().reshape(-1, 5)
    signs = np.where(inputs >= 0, 1.0, -1.0)
    kernel = layer.latent_kernel_matrix.astype(float)
    for binary in binary_layers(model):
        binary.set_binary()
    monitor = QuantizationMonitor(x)
    history = model.fit(x, y, epochs=2, callbacks=[monitor], verbose=0).history

    assert [binary.state for binary in binary_layers(model)] == ["binary"] * 3
    covariance = np.cov(signs.T, bias=True)
    b = np.where(kernel >= 0, 1.0, -1.0)
    alpha = np.sum(b * (covariance @ kernel), 0) / np.sum(b * (covariance @ b), 0)
    error = kernel - alpha * b
    expected = np.sum(error * (covariance @ error))
    rows = [row for row in monitor.layer_history if row["layer"] == "binary_2"]
    assert [row["epoch"] for row in rows] == [0, 1]
    assert [row["q_ours"] for row in rows] == pytest.approx([expected] * 2, rel=1e-4)
    assert rows[0]["q_orig"] == pytest.approx(np.sum((kernel - np.abs(kernel).mean(axis=0) * b) ** 2), rel=1e-5)
    assert history["q_ours"][0] == pytest.approx(sum(row["q_ours"] for row in monitor.layer_history if row["epoch"] == 0))
    assert history["q_ratio"][0] == pytest.approx(history["q_ours"][0] / history["q_orig"][0])


@pytest.mark.slow
def test_layers_that_are_float_are_not_counted(make_network, images):
    model = make_network()
    model.get_layer("binary_1").set_binary()
    monitor = QuantizationMonitor(images[0])
    model.fit(*images, epochs=1, callbacks=[monitor], verbose=0)
    assert [row["layer"] for row in monitor.layer_history] == ["binary_1"]
