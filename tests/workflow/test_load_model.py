"""Loading of files that the user brings: what is loaded, and what every unusable file is told."""

import json
import os
import shutil
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest

import bitat_tf
from bitat_tf.workflow import load_model

RAN = []


def save(model, path):
    model.save(path)
    return path


def small(*layers):
    return keras.Sequential([keras.Input((8, 8, 1)), *layers, keras.layers.Flatten(), keras.layers.Dense(3)])


def change(path, **members):
    """Write a file's archive anew, with other contents of the members named; None leaves one out."""
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    content.update({name.replace("_json", ".json").replace("__", "."): text for name, text in members.items()})
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in content.items():
            if text is not None:
                archive.writestr(name, text)
    return path


def test_models_come_back_as_they_were(tmp_path):
    inputs = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(32, 3, kernel_regularizer="l2", kernel_constraint="max_norm")(inputs)
    x = keras.ops.relu(x * 2.0) + keras.layers.LeakyReLU()(x)  # operators
    x = bitat_tf.layers.BinaryConv2D(32, 3, input_quantizer="ste_sign", float_activation="hard_tanh", use_bias=False)(x)
    x = bitat_tf.quantizers.SteTern()(x)
    x = bitat_tf.layers.BinaryConv2D(8, 3)(bitat_tf.layers.RPReLU()(x))
    x = keras.layers.Dense(3, activation=keras.activations.gelu)(keras.layers.TimeDistributed(keras.layers.Dense(4))(x))
    model = keras.Model(inputs, x)
    model.compile(loss=_evil)  # a loss of one's own is not loaded, and does no harm
    loaded = load_model(save(model, tmp_path / "model.keras"))
    data = np.random.default_rng(0).normal(size=(3, 8, 8, 1))
    np.testing.assert_allclose(loaded.predict(data, verbose=0), model.predict(data, verbose=0), rtol=1e-6)
    assert not loaded.compiled


@pytest.mark.parametrize("name", ["EfficientNetV2B0", "MobileNetV3Small"])
def test_networks_of_keras_applications_pass(name):
    """Of every kind of object that these configurations name, without the seconds that loading takes."""
    from bitat_tf.workflow.keras_file import check_config

    model = getattr(keras.applications, name)(input_shape=(32, 32, 3), weights=None, classes=4)
    check_config("file", json.loads(json.dumps(keras.saving.serialize_keras_object(model))))


def test_registered_classes_pass(tmp_path):
    @keras.saving.register_keras_serializable(package="test_load_model")
    class Known(keras.layers.Layer):
        pass

    assert type(load_model(save(small(Known()), tmp_path / "model.keras")).layers[0]) is Known


def test_classes_and_functions_that_are_not_known_are_all_named(tmp_path):
    class MyLayer(keras.layers.Layer):
        pass

    class Other(keras.layers.Layer):
        pass

    def my_activation(x):
        return x

    path = save(small(MyLayer(), Other(), keras.layers.Activation(my_activation)), tmp_path / "model.keras")
    with pytest.raises(ValueError, match="classes or functions that are not known here") as error:
        load_model(path)
    for part in ("MyLayer", "Other", "my_activation", "register_keras_serializable", "bitat_tf.binarize"):
        assert part in str(error.value)


def _evil(x, outputs=None):
    RAN.append(1)
    return x


@pytest.mark.parametrize("function", [lambda x: RAN.append(1) or x, _evil])
def test_code_in_a_file_is_not_run(function, tmp_path):
    path = save(small(keras.layers.Lambda(function, name="scale_it")), tmp_path / "model.keras")
    RAN.clear()
    with pytest.raises(ValueError, match=r"holds code, which is not run: scale_it \(Lambda\)\. Replace Lambda layers") as error:
        load_model(path)
    assert "bitat_tf.check" in str(error.value)
    assert not RAN


def test_nothing_is_imported_because_a_file_names_it(tmp_path, monkeypatch):
    """Keras would import any module and call any function that the configuration names."""
    (tmp_path / "evil_module.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    path = save(small(keras.layers.Activation("relu", name="harmless")), tmp_path / "model.keras")
    with zipfile.ZipFile(path) as archive:
        config = json.loads(archive.read("config.json"))
    entry = next(layer for layer in config["config"]["layers"] if layer["config"]["name"] == "harmless")
    for other in (
        {"module": "evil_module", "class_name": "Activation", "registered_name": None},
        {"module": "keras.src.utils.file_utils", "class_name": "get_file", "registered_name": None},
        {"module": "keras.utils", "class_name": "get_file", "registered_name": None},
        {"module": "keras.src.utils.file_utils", "class_name": "Missing", "registered_name": "get_file"},
        {"module": "keras.layers", "class_name": "Dense", "registered_name": "Lambda"},
        {"config": {"name": "harmless", "activation": {"class_name": "function", "config": "system", "module": "os"}}},
        {"config": {"name": "harmless", "activation": {"class_name": "function", "config": "eval", "module": "builtins"}}},
        {"class_name": "TFOpLambda", "config": {"name": "harmless", "function": "io.write_file"}},
        {"module": "keras.src.ops.core", "class_name": "Map", "registered_name": "Map"},
    ):
        kept = dict(entry)
        entry.update(other)
        with pytest.raises(ValueError, match="holds (code|operators|classes or functions)"):
            load_model(change(path, config_json=json.dumps(config)))
        entry.clear()
        entry.update(kept)
    load_model(change(path, config_json=json.dumps(config)))


def test_what_is_no_keras_file(tmp_path):
    good = save(small(), tmp_path / "good.keras")
    (tmp_path / "folder.keras").mkdir()
    (tmp_path / "saved_model").mkdir()
    (tmp_path / "saved_model" / "saved_model.pb").write_bytes(b"")
    (tmp_path / "empty.keras").write_bytes(b"")
    (tmp_path / "random.keras").write_bytes(np.random.default_rng(0).bytes(5000))
    (tmp_path / "cut.keras").write_bytes(good.read_bytes()[:-3000])
    (tmp_path / "model.tflite").write_bytes(b"TFL3")
    small().save(tmp_path / "old.h5")
    shutil.copy(tmp_path / "old.h5", tmp_path / "old.keras")
    damaged = bytearray(good.read_bytes())
    damaged[len(damaged) // 2] ^= 255
    (tmp_path / "damaged.keras").write_bytes(damaged)
    for name, kind, message in [
        ("missing.keras", FileNotFoundError, r"there is no file .*missing.keras. Check the path. Expected: a model of Keras 3"),
        ("good.keras/below", OSError, "there is no file"),
        ("folder.keras", IsADirectoryError, "is a folder. Expected: a .keras file"),
        ("saved_model", IsADirectoryError, r"is a SavedModel folder.*`bitat-tf import .*saved_model NEW.keras`"),
        ("empty.keras", ValueError, "is empty. Expected: a zip archive"),
        ("random.keras", ValueError, "is no .keras file. Expected: a zip archive"),
        ("cut.keras", ValueError, r"is cut short \(its end is missing\).*Copy or save it again"),
        ("damaged.keras", ValueError, "is damaged.*Copy or save it again"),
        ("model.tflite", ValueError, "must be a .keras file. Received: .*model.tflite"),
        (
            "old.h5",
            ValueError,
            r"is an HDF5 file, the old format of Keras .*Keras 3.* wrote it, as ModelCheckpoint",
        ),
        ("old.keras", ValueError, "is an HDF5 file"),
    ]:
        with pytest.raises(kind, match=message):
            load_model(tmp_path / name)


def test_archives_that_hold_no_model(tmp_path):
    good = save(small(), tmp_path / "good.keras")
    for number, (members, message) in enumerate(
        [
            ({"config_json": None}, "is a zip archive without config.json"),
            ({"model__weights__h5": None}, "is a zip archive without model.weights.h5"),
            ({"config_json": "{"}, "config.json in it is no JSON"),
            ({"config_json": "[1]"}, "is a zip archive without a configuration"),
            (
                {"config_json": '{"module": "keras.layers", "class_name": "Dense", "config": {}}'},
                "Keras 3.* cannot make a model of",
            ),
            ({"model__weights__h5": b"nothing"}, r"is not loaded: its weights are damaged \(.*Copy or save it again"),
            (
                {"metadata_json": '{"keras_version": "2.15.0"}'},
                r"was saved by Keras 2.15.0. Expected: Keras 3. `bitat-tf import .*.keras NEW.keras` makes one of it.$",
            ),
        ]
    ):
        path = tmp_path / f"{number}.keras"
        shutil.copy(good, path)
        with pytest.raises(ValueError, match=message):
            load_model(change(path, **members))


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
@pytest.mark.parametrize("closed", ["inside", "inside/model.keras"])
def test_files_that_may_not_be_read(closed, tmp_path):
    (tmp_path / "inside").mkdir()
    path = save(small(), tmp_path / "inside" / "model.keras")
    (tmp_path / closed).chmod(0)
    try:
        with pytest.raises(PermissionError, match="is not readable.*Give yourself the right to read it"):
            load_model(path)
    finally:
        (tmp_path / closed).chmod(0o700)


def test_a_file_that_the_system_refuses(tmp_path, monkeypatch):
    def refuse(self, *arguments):
        raise PermissionError(13, "Permission denied")

    path = save(small(), tmp_path / "model.keras")
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(PermissionError, match=r"model.keras is not readable \(Permission denied\)"):
        load_model(path)
