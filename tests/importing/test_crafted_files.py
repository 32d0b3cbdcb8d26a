"""Files of Keras 2 that would take all time or memory: refused before Keras 2 has them."""

import json
import zipfile

import pytest

from bitat_tf.importing import import_model


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
