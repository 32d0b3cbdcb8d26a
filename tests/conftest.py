"""What all tests share: fixed seeds, a clean Keras session, small networks."""

import bitat_tf  # isort: skip  (first: it decides which Keras is used)

import numpy as np
import pytest

from bitat_tf._keras import keras, tf

# As many processes as there are cores run tests: see the Makefile.
tf.config.threading.set_intra_op_parallelism_threads(1)
tf.config.threading.set_inter_op_parallelism_threads(1)


@pytest.fixture(autouse=True)
def _clean_session():
    keras.backend.clear_session()
    keras.utils.set_random_seed(0)


@pytest.fixture
def make_network():
    """Return a function that builds a small compiled network with three binary layers and batch normalization."""

    def build(optimizer=None, size=7, channels=5):
        inputs = keras.Input((size, size, 2))
        x = keras.layers.Conv2D(channels, 3, padding="same", name="stem")(inputs)
        x = keras.layers.BatchNormalization(name="bn_0")(x)
        for number, (filters, kernel, stride) in enumerate([(channels, 3, 1), (2 * channels, 1, 1)], 1):
            x = bitat_tf.layers.BinaryConv2D(filters, kernel, stride, padding="same", use_bias=False, name=f"binary_{number}")(
                x
            )
            x = keras.layers.BatchNormalization(name=f"bn_{number}")(x)
            x = bitat_tf.layers.RPReLU(name=f"rprelu_{number}")(x)
        x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
        x = bitat_tf.layers.BinaryDense(8, name="binary_3")(x)
        x = keras.layers.BatchNormalization(name="bn_3")(x)
        model = keras.Model(inputs, keras.layers.Dense(4, name="logits")(x))
        model.compile(
            optimizer or keras.optimizers.Adam(1e-2),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
        )
        return model

    return build


@pytest.fixture
def images():
    """Return 48 images of 7x7x2 and labels of 4 classes that can be learned from them."""
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 4, 48)
    pictures = generator.normal(size=(48, 7, 7, 2)) + labels[:, None, None, None] * np.array([0.5, -0.5])
    return pictures.astype(np.float32), labels.astype(np.int64)
