"""What the tests of the commands share: folders of pictures, trained models in files."""

import keras
import numpy as np
import pytest
from PIL import Image

from bitat_tf.data import load_digits


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    """Return a folder of three classes of 12x12 pictures that differ in color, and are not all square."""
    root, generator = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for color, name in enumerate(["blue sky", "grass", "rose"]):
        (root / name).mkdir()
        for number in range(20):
            pixels = generator.integers(0, 120, (12, 12 + number % 2, 3))
            pixels[..., 2 - color] += 130
            Image.fromarray(pixels.astype(np.uint8)).save(root / name / f"{number}.png")
    return root


def build_network(shape, classes, activation=None):
    """Return a float network of four layers, of which two can become binary."""
    inputs = keras.Input(shape)
    x = keras.layers.Conv2D(16, 3, padding="same", name="stem")(inputs)
    x = keras.layers.BatchNormalization(momentum=0.9)(x)
    for number, stride in ((1, 2), (2, 1)):
        x = keras.layers.ReLU(name=f"relu_{number}")(x)
        x = keras.layers.Conv2D(32, 3, stride, padding="same", use_bias=False, name=f"conv_{number}")(x)
        x = keras.layers.BatchNormalization(momentum=0.9)(x)
    x = keras.layers.Flatten()(x)
    return keras.Model(inputs, keras.layers.Dense(classes, activation, name="top")(x), name="network")


@pytest.fixture(scope="session", name="build_network")
def _build_network():
    """Return the function that builds such a network."""
    return build_network


@pytest.fixture(scope="session")
def digits_model(tmp_path_factory):
    """Return the file of a network that was trained on digits of pixels 0..1 and gives logits."""
    keras.utils.set_random_seed(0)
    data, path = load_digits(), tmp_path_factory.mktemp("models") / "digits.keras"
    model = build_network((8, 8, 1), 10)
    model.compile(keras.optimizers.Adam(3e-3), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(data.train_images / np.float32(255), data.train_labels, epochs=3, verbose=0)
    model.save(path)
    return path


@pytest.fixture
def untrained(tmp_path):
    """Return a function that saves a model and returns its path."""

    def save(model, name="model"):
        path = tmp_path / f"{name}.keras"
        model.save(path)
        return path

    return save
