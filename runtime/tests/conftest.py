"""What the tests of the runtime share: small networks, converted once for a session."""

import os

os.environ["TF_USE_LEGACY_KERAS"] = "1"  # before TensorFlow: larq needs Keras 2

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

RUNTIME = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(RUNTIME / "tools"))


@dataclass(frozen=True)
class ConvertedNetwork:
    """A file that larq-compute-engine wrote, samples for it, and what larq-compute-engine's own interpreter makes of them.

    Attributes:
        content: The bytes of the file.
        path: The file.
        samples: One array for each input.
        outputs: One array for each output.
        macs: Binary multiply-accumulates for one sample.
    """

    content: bytes
    path: Path
    samples: list[np.ndarray]
    outputs: list[np.ndarray]
    macs: int


def _converted(model, folder: Path, samples: list[np.ndarray], macs: int, **options) -> ConvertedNetwork:
    lce = pytest.importorskip("larq_compute_engine")
    content = lce.convert_keras_model(model, **options)
    path = folder / "network.tflite"
    path.write_bytes(content)
    outputs = lce.testing.Interpreter(content, use_reference_bconv=True).predict(samples if len(samples) > 1 else samples[0])
    return ConvertedNetwork(content, path, samples, outputs if isinstance(outputs, list) else [outputs], macs)


def _shuffle_normalizations(model) -> None:
    """Give batch normalizations statistics as after a training: as they are made, they do nothing."""
    generator = np.random.default_rng(1)
    for layer in model.layers:
        if "batch_normalization" in layer.name:
            layer.set_weights([generator.uniform(0.5, 1.5, weight.shape) for weight in layer.get_weights()])


def _binary_convolution(filters: int, **options):
    import larq

    return larq.layers.QuantConv2D(
        filters,
        3,
        padding="same",
        pad_values=1.0,
        input_quantizer="ste_sign",
        kernel_quantizer="ste_sign",
        kernel_constraint="weight_clip",
        use_bias=False,
        **options,
    )


@pytest.fixture(scope="session")
def small_network(tmp_path_factory) -> ConvertedNetwork:
    """Two binary convolutions with a shortcut, PReLU and batch normalizations on 8x8x40 numbers; any batch size.

    The first operator is binary. So no convolution of another engine, which may round otherwise, comes before a sign: the
    outputs of engines differ by the rounding of the last float operators only.
    """
    from tensorflow import keras

    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 40), name="picture")
    x = _binary_convolution(40)(inputs)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.PReLU(shared_axes=[1, 2], alpha_initializer="random_uniform")(x)
    shortcut = x
    x = _binary_convolution(40)(x)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.Add()([x, shortcut])
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, keras.layers.Dense(7)(x))
    _shuffle_normalizations(model)
    samples = [np.random.default_rng(2).standard_normal((7, 8, 8, 40), np.float32)]
    return _converted(model, tmp_path_factory.mktemp("small"), samples, macs=2 * 8 * 8 * 9 * 40 * 40)


@pytest.fixture(scope="session")
def branched_network(tmp_path_factory) -> ConvertedNetwork:
    """Two inputs, two outputs."""
    from tensorflow import keras

    keras.utils.set_random_seed(3)
    left, right = keras.Input((6, 6, 32), name="left"), keras.Input((6, 6, 8), name="right")
    x = _binary_convolution(16)(left)
    y = _binary_convolution(16)(right)
    both = keras.layers.Add()([x, y])
    model = keras.Model([left, right], [keras.layers.GlobalAveragePooling2D(name="mean")(both), y])
    generator = np.random.default_rng(4)
    samples = [generator.standard_normal((5, 6, 6, channels), np.float32) for channels in (32, 8)]
    return _converted(model, tmp_path_factory.mktemp("branched"), samples, macs=6 * 6 * 9 * (32 + 8) * 16)


@pytest.fixture(scope="session")
def fixed_network(tmp_path_factory) -> ConvertedNetwork:
    """A network with a reshape to fixed sizes: its file cannot run several samples at once."""
    import tensorflow as tf
    from tensorflow import keras

    keras.utils.set_random_seed(5)
    inputs = keras.Input((4, 4, 32))
    x = _binary_convolution(32)(inputs)
    x = tf.reshape(x, (1, 16, 32))
    model = keras.Model(inputs, keras.layers.Dense(3)(x))
    samples = [np.random.default_rng(6).standard_normal((5, 4, 4, 32), np.float32)]
    return _converted(model, tmp_path_factory.mktemp("fixed"), samples, macs=4 * 4 * 9 * 32 * 32)


@pytest.fixture(scope="session")
def quantized_network(tmp_path_factory) -> ConvertedNetwork:
    """A network with int8 inputs and outputs."""
    import tensorflow as tf
    from tensorflow import keras

    keras.utils.set_random_seed(7)
    inputs = keras.Input((6, 6, 32))
    x = _binary_convolution(32)(inputs)
    model = keras.Model(inputs, keras.layers.BatchNormalization()(x))
    samples = [np.random.default_rng(8).integers(-128, 128, (4, 6, 6, 32), np.int8)]
    return _converted(
        model,
        tmp_path_factory.mktemp("quantized"),
        samples,
        macs=6 * 6 * 9 * 32 * 32,
        inference_input_type=tf.int8,
        inference_output_type=tf.int8,
        experimental_default_int8_range=(-60.0, 60.0),
    )
