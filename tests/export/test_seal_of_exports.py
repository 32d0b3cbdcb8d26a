"""What `to_tflite` writes beside the network, and networks of mixed precision."""

import contextlib
import json
from importlib.metadata import version

import keras
import numpy as np
import pytest

from bitat_tf.callbacks import Schedule, SequentialBinarization
from bitat_tf.export import to_plain_network, to_tflite
from bitat_tf.layers import BinaryConv2D, BinaryDense, RPReLU, binary_layers
from bitat_tf.tflite_file import inspect, read, run_tflite

L = keras.layers
KEYS = {"format", "name", "expected_binary", "float_layers", "converter", "int8", "classes", "pixels", "versions"}
CLASSES = ["cat", "größte Maus", ""]


def network(dtype=None, seed=0):
    """Return a network in which folding moves something: shifts of an RPReLU."""
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((8, 8, 3))
    x = shortcut = L.BatchNormalization()(L.Conv2D(32, 3, padding="same", name="stem")(inputs))
    x = L.BatchNormalization()(BinaryConv2D(32, 3, padding="same", use_bias=False, name="binary", dtype=dtype)(x))
    x = RPReLU(name="rprelu")(L.Add()([x, shortcut]))
    x = BinaryDense(16, name="dense", dtype=dtype)(L.GlobalAveragePooling2D()(x))
    return keras.Model(inputs, L.Dense(3, name="top", dtype="float32")(x), name="small")


def binary_network(**arguments):
    model = network(**arguments)
    generator = np.random.default_rng(0)
    model.get_layer("rprelu").set_weights([generator.normal(size=32), generator.normal(size=32), np.full((1, 1, 32), 0.3)])
    for layer in binary_layers(model):
        layer.set_binary()
    return model


@pytest.fixture(scope="module")
def pictures():
    return np.random.default_rng(1).normal(size=(64, 8, 8, 3)).astype(np.float32)


@contextlib.contextmanager
def policy(name):
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy("float32")


def test_facts_say_what_the_file_is(tmp_path, pictures):
    path = tmp_path / "model.tflite"
    report = to_tflite(binary_network(), path, pictures, classes=CLASSES, pixels="imagenet")
    file = read(path)
    assert file.sealed
    assert set(file.facts) == KEYS
    assert file.facts == {
        "format": 1,
        "name": "small",
        "expected_binary": 2,
        "float_layers": [],
        "converter": "direct",
        "int8": False,
        "classes": CLASSES,
        "pixels": "imagenet",
        "versions": report.versions,
    }
    for package in ("bitat_tf", "tensorflow", "numpy"):
        assert report.versions[package] == version(package)
    assert json.loads(json.dumps(report.to_dict()))["verdict"] == "same"


def test_facts_of_other_files(tmp_path, pictures):
    partly = network()
    partly.get_layer("dense").set_binary()
    to_tflite(partly, tmp_path / "partly.tflite", allow_partial=True, verify=False)
    facts = read(tmp_path / "partly.tflite").facts
    assert (facts["float_layers"], facts["expected_binary"], facts["converter"]) == (["binary"], 1, "direct")
    assert (facts["classes"], facts["pixels"]) == ([], None)
    to_tflite(binary_network(), tmp_path / "int8.tflite", calibration=pictures, verify=False)
    facts = read(tmp_path / "int8.tflite").facts
    assert (facts["int8"], facts["name"]) == (True, "small")


def test_one_flipped_byte_is_seen(tmp_path):
    path = tmp_path / "model.tflite"
    to_tflite(binary_network(), path, verify=False)
    content = path.read_bytes()
    generator = np.random.default_rng(0)
    places = {0, 3, 4, len(content) - 1, *generator.integers(0, len(content), 300).tolist()}
    seal = content.index(b"bitat_tf sha256 ")
    places |= {seal, seal + 7, seal + 16, seal + 79, seal + 80}
    for place in sorted(places):
        damaged = bytearray(content)
        damaged[place] ^= 1 << int(generator.integers(8))
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"model\.tflite: expected "):
            read(path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"classes": ["a", "b"]}, "must name the 3 outputs of the model. Received: 2 names"),
        ({"classes": "abc"}, "must be a sequence of names. Received: 'abc'"),
        ({"classes": [1, 2, 3]}, r"must be a sequence of names. Received: \[1, 2, 3\]"),
        ({"pixels": "0..2"}, "`pixels` must be one of .*Received: pixels='0..2'"),
        ({"pixels": "bytes"}, "`pixels` must be one of .*Received: pixels='bytes'"),
    ],
)
def test_unusable_descriptions(arguments, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        to_tflite(binary_network(), tmp_path / "model.tflite", **arguments)
    assert list(tmp_path.iterdir()) == []


SLOWLY = pytest.param("float32", marks=pytest.mark.slow, id="binary in float32")
DTYPES = [pytest.param(None, id="binary in mixed precision"), SLOWLY]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["mixed_float16", pytest.param("mixed_bfloat16", marks=pytest.mark.slow)])
def test_mixed_precision_is_exported_in_float32(name, dtype, tmp_path, pictures):
    with policy(name):
        model = binary_network(dtype=dtype)
        assert {str(weight.dtype) for weight in model.weights} <= {"float32", "bool", "int32"}
        labels = pictures.mean(axis=(1, 2)).argmax(axis=1)
        model.compile(keras.optimizers.Adam(1e-3), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        loss = model.fit(pictures, labels, epochs=1, verbose=0).history["loss"]
        assert np.isfinite(loss).all()
        plain = to_plain_network(model)
        assert {layer.compute_dtype for layer in plain.layers} == {"float32"}
        report = to_tflite(model, tmp_path / "model.tflite", pictures, minimum_agreement=0.7)
        int8 = to_tflite(model, tmp_path / "int8.tflite", pictures, minimum_agreement=0.7, calibration=pictures)
        assert keras.config.dtype_policy().name == name  # the user's stays
    # The same weights in float32 do what the file does: of the file only the network's own roundings can differ.
    expected = plain.predict(pictures, verbose=0)
    found = run_tflite((tmp_path / "model.tflite").read_bytes(), pictures)
    different = np.abs(found - expected).max(axis=1) > 1e-3 * np.abs(expected).max()
    assert different.mean() < 0.1
    assert report.fused_binary == int8.fused_binary == 2
    assert int8.int8
    assert all(tensor.type != "float16" for one in inspect(tmp_path / "model.tflite").operators for tensor in one.outputs)


def test_binary_layers_of_mixed_precision_are_those_of_float32(tmp_path):
    with policy("mixed_float16"):
        model = binary_network()
        model.save(tmp_path / "mixed.keras")
    # Under another policy than that in which it was made.
    loaded = keras.models.load_model(tmp_path / "mixed.keras")
    assert loaded.get_layer("binary").compute_dtype == "float16"
    x = np.random.default_rng(0).normal(size=(16, 8, 8, 3)).astype(np.float32)
    assert np.array_equal(loaded.predict(x, verbose=0), model.predict(x, verbose=0))
    layer = loaded.get_layer("binary")
    assert layer.latent_kernel.dtype == np.float32
    pixels = np.random.default_rng(1).choice([-1.0, 1.0], (4, 8, 8, 32)).astype(np.float16)
    expected = BinaryConv2D(32, 3, padding="same", use_bias=False)
    expected.build((None, 8, 8, 32))
    expected.set_weights(layer.get_weights())
    # Sums of 288 signs are exact; the scale of 11 bits is not.
    assert np.allclose(layer(pixels).numpy(), expected(pixels.astype(np.float32)).numpy(), rtol=4e-3, atol=2e-2)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_schedule_runs_in_mixed_precision(dtype, pictures):
    with policy("mixed_float16"):
        model = network(dtype=dtype)
        labels = pictures.mean(axis=(1, 2)).argmax(axis=1)
        model.compile(keras.optimizers.Adam(1e-3), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        callback = SequentialBinarization(pictures, Schedule(0.5, 0.5, 1), verbose=0)
        epochs = callback.total_epochs(model)
        history = model.fit(pictures, labels, epochs=epochs, batch_size=16, callbacks=[callback], verbose=0).history
    assert np.isfinite(history["loss"]).all()
    assert [layer.state for layer in binary_layers(model)] == ["binary"] * 2
    for layer in binary_layers(model):
        assert layer.disentangled_state.reference.dtype in ("float32", "float64")
        assert np.isfinite(layer.disentangled_state.reference.numpy()).all()
