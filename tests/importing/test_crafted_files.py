"""Files that are no models of Keras 2, or would take all time or memory: refused before Keras 2 has them."""

import base64
import io
import json
import marshal
import subprocess
import sys
import tracemalloc
import zipfile
import zlib

import h5py
import keras
import numpy as np
import pytest

from bitat_tf.importing import from_larq, hdf5_files, import_model, keras2_child
from bitat_tf.importing.file_sizes import ARCHIVE, FOLDER, HDF5, check_file, kind_of
from bitat_tf.layers import BinaryConv2D, RPReLU, binary_layers
from bitat_tf.workflow import load_model


def hdf5(change=lambda file: None):
    """Return HDF5 to which `change` has done something."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        change(file)
    return buffer.getvalue()


def crafted(path, config, padding=0, compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("model.weights.h5", hdf5())
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


def code_in_hdf5(mark):
    """Return HDF5 with a Lambda that writes a file `mark`, as Keras 2 writes it."""
    made = base64.b64encode(marshal.dumps(compile(f"lambda x: open({str(mark)!r}, 'w') and x", "", "eval").co_consts[0]))
    function = {"function": [made.decode(), None, None], "function_type": "lambda", "output_shape": None}
    layers = [
        {"class_name": "InputLayer", "config": {"batch_input_shape": [None, 4], "dtype": "float32", "name": "in"}},
        {"class_name": "Lambda", "config": {"name": "evil", **function, "output_shape_type": "raw", "arguments": {}}},
    ]
    model = {"class_name": "Sequential", "config": {"name": "m", "layers": layers}}

    def change(file):
        file.attrs["model_config"], file.attrs["keras_version"] = json.dumps(model), "2.15.0"
        file.create_group("model_weights").attrs["layer_names"] = np.array([b"in", b"evil"])

    return hdf5(change)


@pytest.mark.parametrize("name", ["both.h5", "both.keras", "both.bin"])
def test_what_is_hdf5_and_an_archive_is_nothing(name, tmp_path):
    """The archive is harmless and was looked at; the HDF5 was loaded, and its code run."""
    mark, harmless = tmp_path / "mark", crafted(tmp_path / "harmless.keras", {"class_name": "Sequential", "config": {}})
    path = tmp_path / name
    path.write_bytes(code_in_hdf5(mark) + harmless.read_bytes())
    message = "it is a zip archive and HDF5 at once, which Keras does not write. Save the model again"
    for function in (from_larq, lambda old: import_model(old, tmp_path / "new.keras")):
        with pytest.raises(ValueError, match=f"{name} cannot be imported: {message}"):
            function(path)
    with pytest.raises(ValueError, match="both.* is an HDF5 file, the old format of Keras"):
        load_model(path)
    done = subprocess.run([sys.executable, keras2_child.__file__, path, tmp_path], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.strip()) == (2, f"UNUSABLE {message}")
    assert not mark.exists()


def test_what_keras_2_takes_a_path_for(tmp_path):
    archive = crafted(tmp_path / "model.keras", {}).read_bytes()
    stored = hdf5()
    for name, content, kind in [
        ("a.keras", archive, ARCHIVE),
        ("b.keras", stored, HDF5),
        ("c.h5", stored, HDF5),
        ("d.hdf5", stored, HDF5),
        ("e.h5", bytes(512) + stored, HDF5),
        ("f.keras", bytes(512) + hdf5() + archive, ARCHIVE),  # as it may come about in weights that are stored
        ("g.h5", archive, "it is a zip archive. Expected: HDF5, or a name that ends with .keras"),
        ("h.zip", archive, "it is a zip archive. Expected: HDF5, or"),
        ("i.h5", bytes(512) + stored + archive, "it is a zip archive and HDF5 at once"),
        ("j.bin", stored, "it is HDF5. Expected: a name that ends with .h5, .hdf5 or .keras"),
        ("k.keras", b"nothing", "it is neither a .keras archive nor HDF5"),
    ]:
        path = tmp_path / name
        path.write_bytes(content)
        if kind in (ARCHIVE, HDF5):
            assert kind_of(str(path)) == kind, name
        else:
            with pytest.raises(ValueError, match=kind):
                kind_of(str(path))
    assert kind_of(str(tmp_path)) == FOLDER


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_packing_without_a_bound_is_not_unpacked(compression, tmp_path, monkeypatch):
    path = crafted(tmp_path / "packed.keras", {}, compression=compression)
    monkeypatch.setattr(zipfile.ZipFile, "open", lambda *arguments, **options: pytest.fail("unpacked something"))
    for function in (load_model, lambda file: check_file(str(file), ARCHIVE)):
        with pytest.raises(ValueError, match=f"weights.h5 in it is packed by method {compression} of zip. Expected: stored or"):
            function(path)
    with pytest.raises(ValueError, match="packed.keras cannot be imported: model.weights.h5 in it is packed by method"):
        import_model(path, tmp_path / "new.keras")


@pytest.mark.parametrize("summed", [b"{}", b"{} "])
def test_a_member_that_unpacks_to_more_than_it_says(summed, tmp_path):
    """zipfile unpacks all of it, and takes the checksum of what it says alone."""
    path, config = tmp_path / "more.keras", zipfile.ZipInfo("config.json")
    config.compress_type = zipfile.ZIP_DEFLATED
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(config, b"{}" + b" " * 50 * 2**20)
        archive.writestr("model.weights.h5", hdf5())
        config.file_size, config.CRC = len(b"{}"), zlib.crc32(summed)
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"more.keras is damaged \((Bad CRC-32|config.json in it is not of the size)"):
        load_model(path)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 10 * 2**20
    with pytest.raises(zipfile.BadZipFile):
        check_file(str(path), ARCHIVE)


@pytest.mark.parametrize("kind", ["link", "raw", "virtual"])
@pytest.mark.parametrize("name", ["old.h5", "old.keras"])
def test_weights_of_other_files_are_not_read(name, kind, tmp_path):
    other = str(tmp_path / "other.h5")
    (tmp_path / "other.h5").write_bytes(hdf5(lambda file: file.create_dataset("secret", data=np.ones(8, "float32"))))

    def change(file):
        file.attrs["model_config"] = "{}"
        group = file.create_group("model_weights/dense")
        if kind == "link":
            group["kernel:0"] = h5py.ExternalLink(other, "secret")
        elif kind == "raw":
            group.create_dataset("kernel:0", (8,), "float32", external=[(other, 0, 32)])
        else:
            layout = h5py.VirtualLayout((8,), "float32")
            layout[:] = h5py.VirtualSource(other, "secret", (8,))
            group.create_virtual_dataset("kernel:0", layout)

    path = tmp_path / name
    path.write_bytes(hdf5(change))
    if name == "old.keras":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("config.json", "{}")
            archive.writestr("model.weights.h5", hdf5(change))
    for limited in (True, False):
        with pytest.raises(ValueError, match="it takes weights from other files, which are not read: .*dense/kernel:0"):
            check_file(str(path), kind_of(str(path)), limited)
    if (name, kind) == ("old.h5", "link"):
        with pytest.raises(ValueError, match=r"old.h5 cannot be imported: it takes weights from other files.*other.h5"):
            import_model(path, tmp_path / "new.keras")


def test_configurations_of_all_kinds_of_files_have_a_limit(tmp_path):
    text = " " * (33 * 2**20)
    path = tmp_path / "long.h5"
    path.write_bytes(hdf5(lambda file: file.attrs.update(model_config=text)))
    (tmp_path / "keras_metadata.pb").write_text(text)
    for place, kind, what in [(path, HDF5, "model_config"), (tmp_path, FOLDER, "keras_metadata.pb")]:
        with pytest.raises(ValueError, match=f"{what} takes 33.0 MB. Expected: at most 32.0 MB; larger ones if you trust"):
            check_file(str(place), kind)
        check_file(str(place), kind, limited=False)


def test_bits_that_have_turned_in_hdf5(tmp_path):
    """Whatever h5py raises for them, the file is said to be damaged, or read."""

    def change(file):
        file.attrs["model_config"], file.attrs["keras_version"] = "{}", "2.15.0"
        file.create_dataset("model_weights/dense/kernel:0", data=np.ones((4, 4), "float32"))

    good, path, generator, found = hdf5(change), tmp_path / "turned.h5", np.random.default_rng(0), []
    for _ in range(300):
        content = bytearray(good)
        for place in generator.integers(0, len(content), 4):
            content[place] ^= 1 << int(generator.integers(8))
        path.write_bytes(content)
        found.append(hdf5_files.way_out_of(path))
        try:
            check_file(str(path), HDF5)
        except ValueError as error:
            found.append(str(error))
    assert sum("It is damaged. Copy or save it again" in one for one in found) > 5
    assert sum("its weights are damaged (" in one for one in found) > 5
