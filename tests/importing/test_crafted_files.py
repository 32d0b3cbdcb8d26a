"""Files that are no models of Keras 2, or would take all time or memory: refused before Keras 2 has them."""

import json
import zipfile

import h5py
import keras
import numpy as np
import pytest

from bitat_tf.importing import import_model
from bitat_tf.layers import BinaryConv2D, RPReLU, binary_layers
from bitat_tf.workflow import load_model


def crafted(path, config, padding=0):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", json.dumps(config) + " " * padding)
        archive.writestr("metadata.json", json.dumps({"keras_version": "2.15.0"}))
    return path


def test_a_layer_that_reads_itself(tmp_path):
    layer = {
        "class_name": "ReLU",
        "module": "keras.layers",
        "name": "loop",
        "config": {"name": "loop"},
        "registered_name": None,
    }
    config = {
        "name": "m",
        "layers": [{**layer, "inbound_nodes": [[["loop", 0, 0, {}]]]}],
        "input_layers": [],
        "output_layers": [],
    }
    model = {"class_name": "Functional", "module": "keras", "config": config, "registered_name": "Functional"}
    with pytest.raises(ValueError, match=r"loop.keras cannot be imported: layer loop reads its own output, or that"):
        import_model(crafted(tmp_path / "loop.keras", model), tmp_path / "new.keras")


def test_more_than_the_file_explains(tmp_path):
    path = crafted(tmp_path / "bomb.keras", {}, padding=33 * 2**20)
    with pytest.raises(ValueError, match=r"bomb.keras cannot be imported: config.json in it takes 33.0 MB. .*any_size=True"):
        import_model(path, tmp_path / "new.keras")
    with pytest.raises(ValueError, match=r"bomb.keras cannot be imported: (?!config.json in it)"):  # it holds no model
        import_model(path, tmp_path / "new.keras", any_size=True)


def network(seed):
    keras.utils.set_random_seed(seed)
    layers = [keras.layers.Conv2D(8, 3), BinaryConv2D(8, 3), keras.layers.BatchNormalization(), RPReLU()]
    return keras.Sequential([keras.Input((8, 8, 3)), *layers, keras.layers.Flatten(), keras.layers.Dense(2)])


@pytest.mark.parametrize("name", ["best.h5", "best.weights.h5"])
def test_hdf5_of_keras_3_is_told_ways_that_work(name, tmp_path, monkeypatch):
    """As `ModelCheckpoint` writes it. The lines of the message are run as they stand."""
    monkeypatch.chdir(tmp_path)
    trained, model = network(0), network(1)
    binary_layers(trained)[0].set_binary()
    trained.save_weights(name) if "weights" in name else trained.save(name)
    x = np.random.default_rng(0).normal(size=(4, 8, 8, 3)).astype(np.float32)
    expected = trained.predict(x, verbose=0)
    with pytest.raises(ValueError, match=f"{name} is an HDF5 file, the old format of Keras") as error:
        load_model(name)
    message = str(error.value)
    lines = f"model.load_weights('{name}'); model.save('model.keras')"
    assert f"build the same network, and then {lines}" in message
    exec(lines, {"model": model})
    np.testing.assert_array_equal(load_model("model.keras").predict(x, verbose=0), expected)
    assert [layer.state for layer in binary_layers(model)] == ["binary"]
    if name == "best.h5":
        line = f"keras.models.load_model('{name}', compile=False).save('model.keras')"
        assert line in message
        exec(line, {"keras": keras})
        np.testing.assert_array_equal(load_model("model.keras").predict(x, verbose=0), expected)
        with pytest.raises(
            ValueError, match=f"import: expected a model of Keras 2. Received: {name}, of Keras 3. Keras 3.*{name}"
        ):
            import_model(name, "new.keras")
        with pytest.raises(ValueError, match="Received: model.keras, of Keras 3 already. Use it as it is"):
            import_model("model.keras", "new.keras")


def test_hdf5_of_others(tmp_path):
    with h5py.File(tmp_path / "old.h5", "w") as file:
        file.attrs["model_config"] = "{}"
    with pytest.raises(ValueError, match=r"old.h5 is an HDF5 file.*`bitat-tf import .*old.h5 NEW.keras` makes one of it"):
        load_model(tmp_path / "old.h5")
    content = (tmp_path / "old.h5").read_bytes()
    (tmp_path / "cut.h5").write_bytes(content[:40])
    with pytest.raises(ValueError, match=r"cut.h5 is an HDF5 file.*It is damaged. Copy or save it again"):
        load_model(tmp_path / "cut.h5")
