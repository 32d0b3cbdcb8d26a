"""What a `.keras` file can make Keras call and import: exploits do nothing but meet our error, ordinary operators load."""

import json
import re
import sys
import zipfile

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf

from bitat_tf.workflow import load_model
from bitat_tf.workflow.keras_objects import is_operator


@pytest.fixture
def crafted(tmp_path):
    """Return a function that saves a network of one operator, changes the operator's entry, and returns the file."""

    def craft(change):
        inputs = keras.Input((4,), name="input")
        keras.Model(inputs, keras.layers.Dense(2)(tf.math.abs(inputs))).save(tmp_path / "good.keras")
        with zipfile.ZipFile(tmp_path / "good.keras") as archive:
            content = {name: archive.read(name) for name in archive.namelist()}
        config = json.loads(content["config.json"])
        (entry,) = [layer for layer in config["config"]["layers"] if layer["class_name"] == "TFOpLambda"]
        change(entry)
        with zipfile.ZipFile(tmp_path / "evil.keras", "w") as archive:
            for name, text in {**content, "config.json": json.dumps(config)}.items():
                archive.writestr(name, text)
        return tmp_path / "evil.keras"

    return craft


@pytest.fixture
def refused(crafted, tmp_path, monkeypatch):
    """Return a function that asserts that a file is refused by us, before Keras gets it, and leaves nothing behind."""

    def refuse(change, message):
        path = crafted(change)
        reached = []
        before = sorted(tmp_path.rglob("*"))
        with monkeypatch.context() as patch:
            patch.setattr(keras.models, "load_model", lambda *arguments, **options: reached.append(arguments))
            with pytest.raises(ValueError, match=message):
                load_model(path)
        assert not reached
        assert sorted(tmp_path.rglob("*")) == before

    return refuse


def constant(value, **options):
    return [["_CONSTANT_VALUE", -1, value, options]]


OPERATORS = {
    "load_op_library": lambda folder: constant(f"{folder}/evil.so"),
    "load_library": lambda folder: constant(f"{folder}/evil.so"),
    "io.write_file": lambda folder: constant(f"{folder}/written", contents="text"),
    "raw_ops.WriteFile": lambda folder: constant(f"{folder}/written", contents="text"),
    "compat.v1.gfile.MakeDirs": lambda folder: constant(f"{folder}/made"),
    "profiler.experimental.start": lambda folder: constant(f"{folder}/profile"),
    "keras.utils.get_file": lambda folder: constant("fetched", origin=f"file://{folder}/good.keras", cache_dir=str(folder)),
    "keras.models.load_model": lambda folder: constant(f"{folder}/good.keras"),
    "keras.__internal__.enable_unsafe_deserialization": lambda folder: [[]],
    "keras.activations.deserialize": lambda folder: constant({"class_name": "__lambda__"}),
    "print": lambda folder: constant("text", output_stream=f"file://{folder}/printed"),
    "function": lambda folder: constant("text"),
    "nn.fixed_unigram_candidate_sampler": lambda folder: constant("text", vocab_file=f"{folder}/good.keras"),
    "linalg.LinearOperatorIdentity": lambda folder: constant(4),
}


@pytest.mark.parametrize("kind", ["TFOpLambda", "SlicingOpLambda"])
@pytest.mark.parametrize("operator", OPERATORS)
def test_operators_that_reach_beyond_the_network(operator, kind, refused, tmp_path):
    nodes = OPERATORS[operator](tmp_path)
    real = ["input", 0, 0, {"y": ["_CONSTANT_VALUE", -1, "path"]}]

    def change(entry, inbound):
        entry.update(class_name=kind, registered_name=kind, inbound_nodes=inbound)
        entry["config"]["function"] = operator

    refused(lambda entry: change(entry, nodes), r"holds (operators of TensorFlow that are not called.*|code.*)")
    refused(
        lambda entry: change(entry, [[real]]), rf"holds operators of TensorFlow .* \({re.escape(operator)}\)\. Expected: ari"
    )
    assert not is_operator(operator)


def test_the_exploit_without_the_check(crafted, tmp_path):
    """That the files of these tests would do what is said of them: Keras, alone, writes the file."""

    def change(entry):
        entry.update(class_name="SlicingOpLambda", registered_name="SlicingOpLambda")
        entry["config"]["function"] = "io.write_file"
        entry["inbound_nodes"] = constant(f"{tmp_path}/written", contents="text")

    path = crafted(change)
    with pytest.raises(ValueError, match="operators of TensorFlow"):
        load_model(path)
    assert not (tmp_path / "written").exists()
    with pytest.raises(Exception, match="_keras_history|object has no attribute|Graph disconnected|KeyError|list index"):
        keras.models.load_model(path, compile=False, safe_mode=True)
    assert (tmp_path / "written").read_text() == "text"


@pytest.mark.parametrize(
    "nodes",
    [
        constant([1.0, 2.0]),
        [[["_CONSTANT_VALUE", -1, 1.0, {}], ["_CONSTANT_VALUE", -1, 2.0, {}]]],
        constant(["input", 0, 0]),  # a constant that looks like a layer's output
        [[]],
        {"a": constant(1.0)},
    ],
)
def test_layers_are_called_with_outputs_of_layers(nodes, refused):
    """Also harmless ones: Keras writes no such calls."""
    refused(lambda entry: entry.update(inbound_nodes=nodes), r"tf\.math\.abs \(math\.abs, on constants alone\)")
    if nodes != [[]]:
        layer = {"module": "keras.layers", "class_name": "Activation", "registered_name": None, "inbound_nodes": nodes}
        config = {"name": "other", "activation": "relu"}
        refused(lambda entry: entry.update(layer, config=config), r"on constants alone\)")


def lambda_entry(name):
    return {"class_name": "__lambda__", "config": {"value": "4wEAAAAA"}, "name": name}


REFUSED = {
    "class method": ({"class_name": "ClassMethod", "config": {"cls_symbol": "io.gfile.GFile", "method_name": "x"}}, "code"),
    "method": ({"class_name": "InstanceMethod", "config": {"attr_name": "__reduce__"}}, "code"),
    "attribute": ({"class_name": "InstanceProperty", "config": {"attr_name": "__class__"}}, "code"),
    "graph": ({"class_name": "TensorFlowOpLayer", "config": {"node_def": "", "name": "x"}}, "code"),
    "lambda": ({"class_name": "Lambda", "config": {"function": ["4w=="], "name": "x"}}, "code"),
    "lambda as registered": ({"class_name": "RSign", "registered_name": "bitat_tf>Lambda"}, "code"),
    "lambda inside": ({"class_name": "Activation", "config": {"activation": lambda_entry("x")}}, "code"),
    "lambda in arguments": ({"inbound_nodes": [[["input", 0, 0, {"y": lambda_entry("x")}]]]}, "code"),
    "SavedModel": ({"class_name": "TFSMLayer", "config": {"filepath": "folder"}}, "code"),
    "operator without layer": ({"class_name": "Dense", "config": {"function": "io.write_file"}}, "operators"),
    "no operator": ({"config": {"name": "x"}}, "operators"),
    "operator that is no text": ({"config": {"name": "x", "function": ["math.abs"]}}, "operators"),
    "vocabulary": ({"class_name": "StringLookup", "config": {"vocabulary": "/etc/hostname"}}, "classes or functions"),
    "type": (
        {"class_name": "__typespec__", "spec_name": "Spec", "module": "evil_module", "config": [], "registered_name": None},
        "classes or functions",
    ),
    "type without a module": ({"class_name": "__typespec__", "spec_name": "Spec", "config": []}, "classes or functions"),
    "module of Keras that is not imported": (
        {"class_name": "Dense", "module": "keras.evil_module", "registered_name": None, "config": {}},
        "classes or functions",
    ),
    "alias": ({"class_name": "Dense", "module": "keras.layers", "registered_name": "bitat_tf>RSign"}, "classes or functions"),
    "function as class": ({"class_name": "get_file", "module": "keras.utils", "registered_name": None}, "classes or functions"),
    "class in another one": ({"class_name": "Dense.from_config", "module": "keras.layers"}, "classes or functions"),
    "older form": ({"class_name": "deserialize", "config": {"config": "x"}}, "classes or functions"),
    "no text": ({"class_name": ["Dense"], "config": {}}, "classes or functions"),
    "activation": ({"class_name": "Dense", "config": {"activation": "deserialize"}}, "classes or functions"),
    "function": (
        {"class_name": "Dense", "config": {"activation": {"class_name": "function", "config": "get", "module": "builtins"}}},
        "classes or functions",
    ),
    "module of a function": (
        {"class_name": "Dense", "config": {"x": {"class_name": "function", "config": "relu", "module": "evil_module"}}},
        "classes or functions",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.parametrize("where", ["entry", "config", "build_config", "arguments"])
def test_what_else_keras_would_import_make_or_call(case, where, refused, tmp_path, monkeypatch):
    (tmp_path / "evil_module.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    other, message = REFUSED[case]

    def change(entry):
        if "module" not in other and "class_name" in other:
            entry.pop("module")
            entry.pop("registered_name")
        if where == "entry":
            entry.update(other)
        elif where == "arguments":
            entry["inbound_nodes"] = [[["input", 0, 0, {"y": {"class_name": "TFOpLambda", **other}}]]]
        else:
            entry.setdefault(where, {})["deep"] = [{"x": {"class_name": "TFOpLambda", **other}}]

    refused(change, f"holds {message}")
    assert "evil_module" not in sys.modules


def test_nesting_without_end_is_refused(crafted):
    nodes = []
    for _ in range(900):
        nodes = [nodes]
    with pytest.raises(ValueError, match="evil.keras (is damaged|holds operators)"):
        load_model(crafted(lambda entry: entry.update(inbound_nodes=nodes)))


def test_weights_are_in_hdf5(crafted, tmp_path):
    """NumPy's archives can hold pickled objects, which are code."""
    path = crafted(lambda entry: None)
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in content.items():
            archive.writestr(name.replace("weights.h5", "weights.npz"), text)
    with pytest.raises(ValueError, match=r"without model.weights.h5"):
        load_model(path)


@pytest.mark.parametrize("kind", ["link", "raw", "virtual"])
def test_weights_of_other_files_are_not_read(kind, crafted, tmp_path):
    path = crafted(lambda entry: None)
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["secret"] = np.ones((4, 2), "float32")
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    (tmp_path / "weights.h5").write_bytes(content["model.weights.h5"])
    with h5py.File(tmp_path / "weights.h5", "r+") as weights:
        group = weights["layers/dense/vars"] if "layers" in weights else weights["_layer_checkpoint_dependencies/dense/vars"]
        del group["0"]
        if kind == "link":
            group["0"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "secret")
        elif kind == "raw":
            group.create_dataset("0", (4, 2), "float32", external=[(str(tmp_path / "other.h5"), 0, 32)])
        else:
            layout = h5py.VirtualLayout((4, 2), "float32")
            layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "secret", (4, 2))
            group.create_virtual_dataset("0", layout)
    content["model.weights.h5"] = (tmp_path / "weights.h5").read_bytes()
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in content.items():
            archive.writestr(name, text)
    with pytest.raises(ValueError, match=r"takes weights from other files, which are not read: .*dense/vars/0"):
        load_model(path)


# Without `...` and tf.einsum: Keras itself cannot save the one, nor load the other.
ORDINARY = {
    "arithmetic": lambda x: -(2 - x * 2 + 1) / 3 + x**2 - 1 / (x * x + 1) + x // 1 + x % 2,
    "comparison": lambda x: tf.cast((x > 0) & ~(x < 1) | tf.equal(x, 0.5), "float32"),
    "slice": lambda x: x[:, :, :, :2] + x[:, ::2, 1:3, -1:][:, :1, :1],
    "mask": lambda x: tf.boolean_mask(x, [True, False, True, True], axis=3),
    "relu": lambda x: tf.nn.relu(x) + tf.nn.leaky_relu(x) + tf.nn.silu(x) + tf.nn.relu6(x),
    "concat": lambda x: tf.concat([x, tf.nn.avg_pool2d(x, 3, 1, "SAME"), x * 0 + tf.ones((1, 8, 8, 4))], -1),
    "mean": lambda x: tf.reduce_mean(x, axis=(1, 2)) + tf.reduce_max(x, axis=[1, 2]) + tf.reduce_sum(x, (1, 2)),
    "resize": lambda x: tf.image.resize(x, (4, 4)) + tf.image.resize(x, (4, 4), method="nearest"),
    "math": lambda x: tf.math.tanh(x) + tf.sqrt(tf.abs(x)) + tf.exp(x) + tf.math.rsqrt(tf.square(x) + 1) + tf.sign(x),
    "shapes": lambda x: tf.transpose(tf.reshape(x, (tf.shape(x)[0], -1, 4)), (0, 2, 1)),
    "parts": lambda x: tf.stack(tf.split(x, 2, axis=-1), axis=1)[:, 0] + tf.stack(tf.unstack(x, axis=-1)[:2], axis=-1),
    "padding": lambda x: tf.pad(tf.expand_dims(tf.squeeze(x[:, :, :, :1], -1), -1), [[0, 0], [1, 1], [0, 0], [0, 0]]),
    "matrices": lambda x: tf.matmul(x, x, transpose_b=True) + tf.linalg.matmul(x, tf.transpose(x, (0, 1, 3, 2))),
    "choice": lambda x: tf.where(x > 0, x, tf.zeros_like(x)) + tf.clip_by_value(x, 0, 1) + tf.gather(x, [0, 1, 2, 3], axis=3),
    "blocks": lambda x: tf.nn.depth_to_space(tf.nn.space_to_depth(x, 2), 2) + tf.tile(x[:, :, :, :1], [1, 1, 1, 4]),
    "convolution": lambda x: tf.nn.conv2d(x, np.ones((1, 1, 4, 3), "float32"), 1, "SAME"),
    "constant first": lambda x: tf.add(1.0, x) + tf.maximum(0.0, x) + tf.stop_gradient(tf.identity(x)),
    "backend": lambda x: keras.backend.permute_dimensions(
        keras.backend.l2_normalize(keras.activations.gelu(x), -1), (0, 2, 1, 3)
    ),
    "preprocessing": lambda x: keras.applications.mobilenet_v2.preprocess_input(x),
    "layers": lambda x: keras.layers.TimeDistributed(keras.layers.Dense(3, "gelu"))(keras.layers.Add()([x, x * 2])),
}


@pytest.mark.parametrize("case", ORDINARY)
def test_ordinary_operators_load(case, tmp_path):
    inputs = keras.Input((8, 8, 4))
    nested = keras.Model(inner := keras.Input((8, 8, 4)), ORDINARY[case](inner))
    model = keras.Model(inputs, [ORDINARY[case](inputs), nested(inputs)])
    model.save(tmp_path / "model.keras")
    data = np.random.default_rng(0).normal(size=(2, 8, 8, 4)).astype("float32")
    expected = model.predict(data, verbose=0)
    for ours, theirs in zip(load_model(tmp_path / "model.keras").predict(data, verbose=0), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
