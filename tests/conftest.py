"""What all tests share: fixed seeds, a clean Keras session, small networks, and a limit of what a quick test may take."""

import gc
import os
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import bitat_tf
from bitat_tf import cli

# As many processes as there are cores run tests: see the Makefile.
tf.config.threading.set_intra_op_parallelism_threads(1)
tf.config.threading.set_inter_op_parallelism_threads(1)

# Of processor time, so that a busy machine does not matter; the quick tests take a tenth of it at most.
LIMIT = 40.0


def processor_seconds():
    """Return the processor time of this process, and of those that it started and that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


# Files whose tests take longest come first, or one worker waits for the other at the end.
FIRST = (
    "test_binary_networks.py",
    "test_distribution.py",
    "test_benchmarks.py",
    "test_readme.py",
    "test_resume.py",
    "test_doctests.py",
    "test_sequential_binarization.py",
)


def pytest_collection_modifyitems(items):
    def rank(item):
        name = Path(item.path).name
        whole_runs = "notebooks" in Path(item.path).parts or "workflow" in Path(item.path).parts
        return FIRST.index(name) if name in FIRST else len(FIRST) + (not whole_runs)

    items.sort(key=rank)


def pytest_collection_finish():
    """What was imported and collected stays: no search for garbage need look through it again."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    before = processor_seconds()
    result = yield
    seconds = processor_seconds() - before
    if seconds > LIMIT and item.get_closest_marker("slow") is None:
        pytest.fail(f"It took {seconds:.0f} s of processor time. Make it cheaper, or mark it as slow.")
    return result


@pytest.fixture(autouse=True)
def _clean_session():
    keras.backend.clear_session(free_memory=False)  # that is done once a file: for every test it took half of all the time
    keras.utils.set_random_seed(0)


@pytest.fixture(autouse=True, scope="module")
def _free_memory():
    yield
    gc.collect()
    gc.freeze()  # what a file leaves in caches is not looked through again


@pytest.fixture(scope="session")
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
            optimizer or keras.optimizers.SGD(1e-2),  # with the fewest operators to trace
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=[keras.metrics.SparseCategoricalAccuracy("accuracy")],  # as an object: the first step is traced once
        )
        return model

    return build


@pytest.fixture(scope="session")
def images():
    """Return 48 images of 7x7x2 and labels of 4 classes that can be learned from them."""
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 4, 48)
    pictures = generator.normal(size=(48, 7, 7, 2)) + labels[:, None, None, None] * np.array([0.5, -0.5])
    arrays = pictures.astype(np.float32), labels.astype(np.int64)
    for array in arrays:
        array.setflags(write=False)  # the tests share them
    return arrays


@pytest.fixture
def call(capsys):
    """Return a function that runs a command and returns its exit code, what it wrote, and its errors."""

    def run(*arguments):
        capsys.readouterr()
        code = cli.main([*map(str, arguments)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run
