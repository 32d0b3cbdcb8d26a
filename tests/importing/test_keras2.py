"""`bitat-tf import`: models that Keras 2 has saved, in a process of its own, and what becomes of them."""

import os
import subprocess
import sys
from importlib.util import find_spec

import keras
import numpy as np
import pytest

from bitat_tf import workflow

pytestmark = pytest.mark.skipif(find_spec("tf_keras") is None, reason="There is no tf_keras.")

# Layers whose arguments or weights have changed since, shared and nested ones; and what is refused.
SAVE = """
import os, sys
os.environ["TF_USE_LEGACY_KERAS"] = "1"
import numpy as np, tf_keras as keras
from tf_keras import layers
os.chdir(sys.argv[1])
keras.utils.set_random_seed(0)

def network():
    x = inputs = keras.Input((16, 16, 3))
    x = layers.Rescaling(1 / 255)(x)
    x = layers.Conv2D(8, 3, padding="same", activation="relu", kernel_regularizer="l2")(x)
    x = layers.BatchNormalization(moving_mean_initializer="ones")(x)
    x = layers.LeakyReLU(0.1)(layers.DepthwiseConv2D(3)(x))
    x = layers.PReLU(shared_axes=[1, 2], alpha_initializer=keras.initializers.RandomNormal())(layers.SeparableConv2D(8, 3)(x))
    shared = layers.Conv2D(8, 3, padding="same")
    x = layers.Add()([x, shared(shared(x))])
    x = layers.Conv2DTranspose(4, 2)(layers.MultiHeadAttention(2, 3)(x, x))
    inner = keras.Sequential([keras.Input((4,)), layers.Dense(5), layers.LayerNormalization()], name="inner")
    x = layers.Dropout(0.5)(inner(layers.GlobalAveragePooling2D()(x)))
    return keras.Model(inputs, layers.Dense(3, "softmax")(x), name="old")

def sequence():
    return keras.Sequential([keras.Input((5, 3)), layers.Bidirectional(layers.LSTM(4)), layers.Dense(2)])

class Own(layers.Layer):
    pass

def one(layer):
    return keras.Sequential([keras.Input((4,)), layers.Dense(3), layer])

inputs = keras.Input((4,))
models = {"network": network(), "sequence": sequence(), "own": one(Own()), "code": one(layers.Lambda(lambda x: x, name="code"))}
models["operator"] = keras.Model(inputs, layers.Dense(2)(inputs * 2.0))
models["float16"] = one(layers.Dense(2, dtype="mixed_float16"))
for name, model in models.items():
    model.save(name + ".keras")
    model.save(name + ".h5")
models["network"].save("saved", save_format="tf")
models["network"].save_weights("weights.h5")
for name in ("network", "sequence"):
    x = np.random.default_rng(0).normal(size=(3, *models[name].input_shape[1:])).astype("float32")
    np.savez(name + ".npz", x, models[name].predict(x, verbose=0))
"""


@pytest.fixture(scope="module")
def old(tmp_path_factory):
    """Return a folder of models that Keras 2 has saved, with inputs and outputs of some."""
    folder = tmp_path_factory.mktemp("old")
    result = subprocess.run([sys.executable, "-c", SAVE, str(folder)], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return folder


@pytest.mark.parametrize(
    "file", ["network.keras", *(pytest.param(one, marks=pytest.mark.slow) for one in ("network.h5", "saved", "sequence.keras"))]
)
def test_models_of_keras_2_give_the_same_outputs(file, old, tmp_path, call):
    path, name = old / file, "sequence" if file.startswith("sequence") else "network"
    code, out, error = call("import", path, tmp_path / "new.keras")
    assert (code, error) == (0, "")
    model = workflow.load_model(tmp_path / "new.keras")
    assert f"holds {model.name} with {model.count_params():,} parameters." in out
    x, y = np.load(old / f"{name}.npz").values()
    np.testing.assert_allclose(model.predict(x, verbose=0), y, atol=1e-5)
    assert {weight.name for layer in model.layers for weight in layer.trainable_weights}
    model.compile("sgd", "mse")
    model.fit(x, y, verbose=0)  # it trains


@pytest.mark.slow
def test_mixed_precision_stays(old, tmp_path, call):
    assert call("import", old / "float16.keras", tmp_path / "new.keras")[0] == 0
    assert keras.models.load_model(tmp_path / "new.keras").layers[-1].dtype_policy.name == "mixed_float16"


REFUSED = {
    "own.keras": "Own is no class of Keras' own",
    "own.h5": "Own is no class of Keras' own",
    "code.keras": r"layer code \(Lambda\) holds Python code",
    "code.h5": r"layer code \(Lambda\) holds Python code",
    "operator.keras": r"layer tf.math.multiply \(TFOpLambda\) calls an operator of TensorFlow",
    "weights.h5": "it holds weights only",
    "network.npz": "cannot be imported: it is a zip archive. Expected: HDF5, or a name that ends with .keras",
    "missing.h5": "there is no .*missing.h5. Check the path",
    ".": "it is no SavedModel of Keras",
}


# Each starts TensorFlow and Keras 2.
FAST = ("own.h5", "network.npz", "missing.h5")


@pytest.mark.parametrize("name", [one if one in FAST else pytest.param(one, marks=pytest.mark.slow) for one in REFUSED])
def test_what_cannot_be_imported_is_said_in_one_line(name, old, tmp_path, call):
    code, out, error = call("import", old / name, tmp_path / "new.keras")
    assert (code, out) == (2, "")
    assert error.startswith("bitat-tf: import: ")
    assert error.count("\n") == 1
    with pytest.raises((ValueError, OSError), match=REFUSED[name]):
        raise ValueError(error)
    assert [*tmp_path.iterdir()] == []


@pytest.mark.slow
def test_a_file_that_is_there_stays(old, tmp_path, call):
    new = tmp_path / "new.keras"
    new.write_text("mine")
    code, _, error = call("import", old / "float16.h5", new)
    assert (code, new.read_text()) == (2, "mine")
    assert "is there already. Nothing was changed. Pass --overwrite" in error
    assert call("import", old / "float16.h5", new, "--overwrite")[0] == 0
    assert "must be a .keras file" in call("import", old / "float16.h5", tmp_path / "new.h5")[2]


@pytest.mark.slow
def test_without_keras_2_the_cure_is_named(old, tmp_path, call, monkeypatch):
    (tmp_path / "tf_keras.py").write_text("raise ModuleNotFoundError(name='tf_keras')")
    monkeypatch.setenv("PYTHONPATH", os.fspath(tmp_path))
    code, _, error = call("import", old / "float16.keras", tmp_path / "new.keras")
    assert code == 2
    assert "Received: a Python without tf_keras. Install it: pip install tf_keras." in error
