"""`.keras` files that would take all time, memory or disk: refused before anything is built or unpacked."""

import io
import json
import time
import zipfile

import h5py
import keras
import numpy as np
import pytest

from bitat_tf.importing.saved_graph import check_graph
from bitat_tf.workflow import load_model


@pytest.fixture(scope="module")
def members(tmp_path_factory):
    """Return the members of the file of a network of two dense layers, "a" and "b"."""
    inputs = keras.Input((4,), name="input")
    path = tmp_path_factory.mktemp("good") / "good.keras"
    keras.Model(inputs, keras.layers.Dense(4, name="b")(keras.layers.Dense(4, name="a")(inputs))).save(path)
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture
def write(members, tmp_path):
    """Return a function that writes the file with some members changed or added."""

    def written(changed, compression=zipfile.ZIP_DEFLATED):
        path = tmp_path / "crafted.keras"
        with zipfile.ZipFile(path, "w", compression) as archive:
            for name, content in {**members, **changed}.items():
                archive.writestr(name, content)
        return path

    return written


def history(config, layer):
    (entry,) = [one for one in config["config"]["layers"] if one["name"] == layer]
    return entry["inbound_nodes"][0]["args"][0]["config"]


def layer_named(config, name, new):
    (entry,) = [one for one in config["config"]["layers"] if one["name"] == name]
    entry["name"] = entry["config"]["name"] = new


ENDLESS = {
    "itself": (lambda config: history(config, "a").update(keras_history=["a", 0, 0]), "layer a reads its own output"),
    "a later one": (lambda config: history(config, "a").update(keras_history=["b", 0, 0]), "layer [ab] reads its own output"),
    "call before the first": (
        lambda config: history(config, "b").update(keras_history=["a", -1, 0]),
        "layer b reads call -1 of a, which is not made",
    ),
    "call behind the last": (
        lambda config: history(config, "b").update(keras_history=["a", 1, 0]),
        "layer b reads call 1 of a, which is not made",
    ),
    "second call of an input": (
        lambda config: history(config, "a").update(keras_history=["input", 1, 0]),
        "layer a reads call 1 of input, which is not made",
    ),
    "no layer": (lambda config: history(config, "a").update(keras_history=["c", 0, 0]), "call 0 of c, which is not made"),
    "two of a name": (lambda config: layer_named(config, "b", "a"), "two layers of one model are named a"),
}


@pytest.mark.parametrize("case", ENDLESS)
def test_graphs_without_an_end(case, members, write, monkeypatch):
    """Up to Keras 3.13 loading does not end: whether Keras is reached is seen without waiting for it."""
    change, message = ENDLESS[case]
    config = json.loads(members["config.json"])
    change(config)
    monkeypatch.setattr(keras.models, "load_model", lambda *arguments, **options: pytest.fail("reached Keras"))
    with pytest.raises(
        ValueError, match=rf"crafted.keras is not loaded: .*{message}.*Keras writes no such model: save it again"
    ):
        load_model(write({"config.json": json.dumps(config)}))


def keras2(*layers):
    """Return a configuration as Keras 2 writes it, of (class, name, calls)."""
    entries = [
        {"class_name": kind, "name": name, "config": {"name": name, **inner}, "inbound_nodes": nodes}
        for kind, name, nodes, inner in layers
    ]
    return {"class_name": "Functional", "config": {"layers": entries, "input_layers": [], "output_layers": []}}


@pytest.mark.parametrize(
    ("calls", "message"),
    [
        ([[["in", 0, 0, {}]], [["relu", 0, 0, {}]]], None),  # reads its own first call, as in f(f(x))
        ([[["in", 0, 0, {}]], [["model", 1, 0, {}]]], None),  # 0 is the call that a model has of itself
        ([[["relu", 0, 0, {}]]], "layer relu reads its own output"),
        ([[["in", 0, 0, {"y": ["relu", 0, 0]}]]], "layer relu reads its own output"),
        ([[["model", 2, 0, {}]]], "layer relu reads call 2 of model, which is not made"),
    ],
)
def test_the_same_of_keras_2(calls, message):
    inner = keras2(("InputLayer", "in", [], {}))["config"]
    config = keras2(
        ("InputLayer", "in", [], {}), ("ReLU", "relu", calls, {}), ("Functional", "model", [[["in", 0, 0, {}]]], inner)
    )
    if message is None:
        check_graph(config)
    else:
        with pytest.raises(ValueError, match=message):
            check_graph(config)


def test_shared_layers_and_nested_models_pass(tmp_path):
    """As in A(B(A(B(x)))), where Keras has to go over the layers more than once."""
    inner = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4)], name="inner")
    outer = keras.Model(x := keras.Input((4,)), keras.layers.Dense(4)(x), name="outer")
    model = keras.Model(x := keras.Input((4,)), [outer(y := inner(outer(inner(x)))), outer(outer(y))])
    model.save(tmp_path / "model.keras")
    data = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    expected = model(data)
    for loaded, value in zip(load_model(tmp_path / "model.keras")(data), expected, strict=True):
        np.testing.assert_allclose(loaded, value, rtol=1e-6)


def nested(depth):
    """Return a configuration of models, each of which calls the one in it twice."""
    entry = {"class_name": "ReLU", "name": "layer", "config": {"name": "layer"}}
    tensor = {"class_name": "__keras_tensor__", "config": {"keras_history": ["layer", 0, 0]}}
    first = {"class_name": "__keras_tensor__", "config": {"keras_history": ["in", 0, 0]}}
    for _ in range(depth):
        entry["inbound_nodes"] = [{"args": [first], "kwargs": {}}, {"args": [tensor], "kwargs": {}}]
        layers = [{"class_name": "InputLayer", "name": "in", "config": {}, "inbound_nodes": []}, entry]
        config = {"name": "layer", "layers": layers, "input_layers": [["in", 0, 0]], "output_layers": [["layer", 2, 0]]}
        entry = {"class_name": "Functional", "name": "layer", "config": config}
    return entry


def test_models_that_call_each_other_without_end():
    check_graph(nested(14))
    with pytest.raises(ValueError, match="its models call layers 131,071 times. Expected: at most 50,000 times; .*--any-size"):
        check_graph(nested(16))
    check_graph(nested(16), limited=False)
    with pytest.raises(ValueError, match="its models call layers 3e[+]60 times"):
        check_graph(nested(200))


def test_layers_in_an_order_that_takes_a_round_for_each(tmp_path):
    x = inputs = keras.Input((4,))
    for _ in range(400):
        x = keras.layers.ReLU()(x)
    config = json.loads(keras.Model(inputs, x).to_json())["config"]
    check_graph({"class_name": "Functional", "config": config})
    config["layers"].reverse()
    with pytest.raises(ValueError, match="its models call layers 80,201 times"):
        check_graph({"class_name": "Functional", "config": config})


def weights(**options):
    """Return HDF5 with one data set."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file.create_dataset("layers/dense/vars/0", **options)
    return buffer.getvalue()


MB = 2**20
BOMBS = {
    "an asset": ({"assets/x": bytes(300 * MB)}, r"it unpacks to 300.0 MB, the file takes 0.3 MB. Expected: at most 256.0 MB"),
    "a configuration": ({"config.json": b" " * 40 * MB}, r"config.json in it takes 40.0 MB. Expected: at most 32.0 MB"),
    "weights": (
        {"model.weights.h5": weights(shape=(3 * 2**18, 2**10), dtype="float32", chunks=(1024, 1024))},
        r"its weights take 3,072.0 MB, the file takes 0.0 MB. Expected: at most 256.0 MB, or 20 times the file",
    ),
    "texts": (
        {"model.weights.h5": weights(shape=(2,), dtype=h5py.string_dtype())},
        r"layers/dense/vars/0 in its weights holds values of any length. Expected: numbers",
    ),
}


@pytest.mark.parametrize("case", BOMBS)
def test_what_files_would_unpack_to(case, write, monkeypatch):
    changed, message = BOMBS[case]
    path = write(changed)
    monkeypatch.setattr(keras.models, "load_model", lambda *arguments, **options: pytest.fail("reached Keras"))
    if "weights" not in case and case != "texts":
        monkeypatch.setattr(zipfile.ZipFile, "open", lambda *arguments, **options: pytest.fail("unpacked something"))
    started = time.monotonic()
    with pytest.raises(ValueError, match=rf"crafted.keras is not loaded: {message}"):
        load_model(path)
    assert time.monotonic() < started + 2


def test_who_means_it_says_so(members, write, call):
    path = write({"config.json": members["config.json"] + b" " * 33 * MB})
    code, _, error = call("summary", path)
    assert code == 2
    assert "if you trust the file and say so: --any-size, in Python any_size=True" in error
    code, out, error = call("summary", path, "--any-size")
    assert (code, error) == (0, "")
    assert "parameters     40" in out


def test_without_room_on_the_disk_nothing_is_unpacked(write, monkeypatch):
    path = write({"assets/x": bytes(10 * MB)})
    usage = type("Usage", (), {"free": 5 * MB})
    monkeypatch.setattr("shutil.disk_usage", lambda folder: usage)
    for any_size in (False, True):
        with pytest.raises(ValueError, match=r"it unpacks to 10.0 MB, and .* has room for 5.0 MB. Free some space there"):
            load_model(path, any_size)
    assert load_model(write({})).count_params() == 40  # nothing of it goes to the disk
