"""Quantizers and layers against Larq itself, forward and gradient; skipped where Larq cannot be installed."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from larq_reference import QUANTIZERS

from bitat_tf import quantizers
from bitat_tf.layers import BinaryConv2D

pytestmark = pytest.mark.skipif(importlib.util.find_spec("larq") is None, reason="Larq is not installed")


@pytest.fixture(scope="module")
def given():
    generator = np.random.default_rng(0)
    x = generator.normal(size=(9, 4)).astype(np.float32)
    x[0] = [0.0, -0.0, 1.0, -1.0]  # where the surrogate gradients change
    x[1] = [0.5, -0.5, 0.05, 3.0]
    return {
        "x": x,
        "upstream": generator.normal(size=x.shape).astype(np.float32),
        "kernel": generator.uniform(-0.9, 0.9, (3, 3, 4, 5)).astype(np.float32),
        "pictures": generator.normal(size=(2, 7, 8, 4)).astype(np.float32),
    }


@pytest.fixture(scope="module")
def larqs(given, tmp_path_factory):
    folder = tmp_path_factory.mktemp("larq")
    np.savez(folder / "request.npz", **given)
    command = [sys.executable, Path(__file__).parent / "larq_reference.py", folder / "request.npz", folder / "answer.npz"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return dict(np.load(folder / "answer.npz"))


def value_and_gradient(function, given):
    x = tf.Variable(given["x"])
    with tf.GradientTape() as tape:
        values = function(x)
        total = tf.reduce_sum(values * given["upstream"])
    return keras.ops.convert_to_numpy(values), tape.gradient(total, x).numpy()


@pytest.mark.parametrize("name", QUANTIZERS)
def test_quantizers(name, given, larqs):
    kind, arguments = QUANTIZERS[name]
    values, gradient = value_and_gradient(getattr(quantizers, kind)(**arguments), given)
    np.testing.assert_array_equal(values, larqs[name])
    np.testing.assert_allclose(gradient, larqs[f"{name}_gradient"], rtol=1e-6, atol=1e-7)
    assert np.abs(gradient).max() > 0


def test_hard_tanh(given, larqs):
    values, gradient = value_and_gradient(quantizers.hard_tanh, given)
    np.testing.assert_array_equal(values, larqs["hard_tanh"])
    np.testing.assert_allclose(gradient, larqs["hard_tanh_gradient"])


@pytest.mark.parametrize("padding", ["same", "valid"])
def test_a_binary_convolution(padding, given, larqs):
    layer = BinaryConv2D(5, 3, 2, padding, use_bias=False, input_quantizer="approx_sign")
    pictures = tf.Variable(given["pictures"])
    layer(pictures)
    layer.kernel.assign(given["kernel"])
    layer.set_binary()
    with tf.GradientTape() as tape:
        outputs = layer(pictures)
        total = tf.reduce_sum(tf.square(outputs))
    by_kernel, by_pictures = tape.gradient(total, [layer.kernel.value, pictures])
    np.testing.assert_allclose(outputs, larqs[f"layer_{padding}"], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(by_pictures, larqs[f"layer_{padding}_by_pictures"], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(by_kernel, larqs[f"layer_{padding}_by_kernel"], rtol=1e-4, atol=1e-4)
