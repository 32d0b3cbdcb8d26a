"""What a `.keras` file can make Keras call and import: exploits do nothing but meet our error, ordinary operators load."""

import json
import sys
import zipfile

import h5py
import keras
import numpy as np
import pytest
from keras import ops

from bitat_tf.workflow import load_model
from bitat_tf.workflow.keras_objects import is_operator


@pytest.fixture
def crafted(tmp_path):
    """Return a function that saves a network of one operator, changes the operator's entry, and returns the file."""

    def craft(change):
        inputs = keras.Input((4,), name="input")
        keras.Model(inputs, keras.layers.Dense(2)(keras.ops.absolute(inputs))).save(tmp_path / "good.keras")
        with zipfile.ZipFile(tmp_path / "good.keras") as archive:
            content = {name: archive.read(name) for name in archive.namelist()}
        config = json.loads(content["config.json"])
        (entry,) = [layer for layer in config["config"]["layers"] if layer["class_name"] == "Absolute"]
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


def call(*arguments, **options):
    """Return what Keras writes of a call."""
    return {"args": [*arguments], "kwargs": options}


# As Keras writes the output of the input layer, the first argument of the operator.
TENSOR = {
    "class_name": "__keras_tensor__",
    "config": {"shape": [None, 4], "dtype": "float32", "keras_history": ["input", 0, 0]},
}


OPERATORS = {
    ("keras.utils", "get_file"): lambda folder: call("fetched", origin=f"file://{folder}/good.keras", cache_dir=str(folder)),
    ("keras.src.utils.file_utils", "get_file"): lambda folder: call("fetched", origin=f"file://{folder}/good.keras"),
    ("keras.models", "load_model"): lambda folder: call(f"{folder}/good.keras"),
    ("keras.saving", "load_model"): lambda folder: call(f"{folder}/good.keras"),
    ("keras.config", "enable_unsafe_deserialization"): lambda folder: call(),
    ("keras.activations", "deserialize"): lambda folder: call("relu"),
    ("keras.preprocessing.image", "load_img"): lambda folder: call(f"{folder}/good.keras"),
    ("keras", "Function"): lambda folder: call("text"),
    ("keras", "Operation"): lambda folder: call("text"),
    ("keras.ops", "map"): lambda folder: call("text"),
    ("keras.src.ops.core", "Map"): lambda folder: call({"class_name": "function", "module": "builtins", "config": "relu"}),
    ("keras.src.ops.core", "VectorizedMap"): lambda folder: call("text"),
    ("keras.src.ops.core", "Cond"): lambda folder: call(True),
    ("keras.src.ops.linalg", "JVP"): lambda folder: call("text"),
    ("keras.src.ops.function", "Function"): lambda folder: call("text"),
    ("keras.src.ops.numpy", "Operation"): lambda folder: call("text"),
    ("keras.src.ops.numpy", "standardize_dtype"): lambda folder: call("text"),
    ("keras.src.ops.missing", "Absolute"): lambda folder: call("text"),
    ("tensorflow", "load_op_library"): lambda folder: call(f"{folder}/evil.so"),
    ("tensorflow.io", "write_file"): lambda folder: call(f"{folder}/written", contents="text"),
    ("os", "makedirs"): lambda folder: call(f"{folder}/made"),
    ("builtins", "print"): lambda folder: call("text"),
}


@pytest.mark.parametrize("operator", OPERATORS)
def test_operators_that_reach_beyond_the_network(operator, refused, tmp_path):
    module, kind = operator
    node = OPERATORS[operator](tmp_path)
    held = "(operators that are not called|code, which is not run|classes or functions that are not known)"

    def change(entry, inbound):
        entry.update(module=module, class_name=kind, registered_name=kind, inbound_nodes=inbound)

    refused(lambda entry: change(entry, [node]), f"holds {held}")
    refused(lambda entry: change(entry, [call(TENSOR, *node["args"], **node["kwargs"])]), f"holds {held}.*{kind}")
    assert not is_operator({"module": module, "class_name": kind})


def test_what_keras_calls_without_the_check(crafted, monkeypatch):
    """That the files of these tests would do what is said of them: Keras, alone, calls an operator with constants."""
    absolute = type(keras.Model(inputs := keras.Input((4,)), keras.ops.absolute(inputs)).operations[-1])
    called, real = [], absolute.call
    monkeypatch.setattr(absolute, "call", lambda self, x: called.append(x) or real(self, x))
    path = crafted(lambda entry: entry.update(inbound_nodes=[call(1.0)]))
    with pytest.raises(ValueError, match="holds operators"):
        load_model(path)
    assert called == []
    with pytest.raises(Exception, match=r"Layer node index|list index|failed to be resolved|disconnected"):
        keras.models.load_model(path, compile=False, safe_mode=True)
    assert called == [1.0]


@pytest.mark.parametrize(
    "nodes",
    [
        [call([1.0, 2.0])],
        [call(1.0, x=2.0)],
        [call({"class_name": "__numpy__", "config": {"value": TENSOR, "dtype": "float32"}})],  # looks like a layer's output
        [call(TENSOR), call(1.0)],
        [call()],
        [[["input", 0, 0, {}]]],  # the form of Keras 2, in which Keras takes arguments as they are
        {"a": call(1.0)},
    ],
)
def test_layers_are_called_with_outputs_of_layers(nodes, refused):
    """Also harmless ones: Keras writes no such calls."""
    refused(lambda entry: entry.update(inbound_nodes=nodes), r"absolute \(Absolute, on constants alone\)")
    layer = {"module": "keras.layers", "class_name": "Activation", "registered_name": None, "inbound_nodes": nodes}
    config = {"name": "other", "activation": "relu"}
    refused(lambda entry: entry.update(layer, config=config), r"on constants alone\)")


def lambda_entry(name):
    return {"class_name": "__lambda__", "config": {"value": "4wEAAAAA"}, "name": name}


REFUSED = {
    "operator of Keras 2": ({"class_name": "TFOpLambda", "config": {"function": "io.write_file"}}, "code"),
    "slice of Keras 2": ({"class_name": "SlicingOpLambda", "config": {"function": "__operators__.getitem"}}, "code"),
    "class method": ({"class_name": "ClassMethod", "config": {"cls_symbol": "io.gfile.GFile", "method_name": "x"}}, "code"),
    "method": ({"class_name": "InstanceMethod", "config": {"attr_name": "__reduce__"}}, "code"),
    "attribute": ({"class_name": "InstanceProperty", "config": {"attr_name": "__class__"}}, "code"),
    "graph": ({"class_name": "TensorFlowOpLayer", "config": {"node_def": "", "name": "x"}}, "code"),
    "lambda": ({"class_name": "Lambda", "config": {"function": lambda_entry("x"), "name": "x"}}, "code"),
    "lambda as registered": ({"class_name": "RSign", "registered_name": "bitat_tf>Lambda"}, "code"),
    "lambda inside": ({"class_name": "Activation", "config": {"activation": lambda_entry("x")}}, "code"),
    "lambda in arguments": ({"inbound_nodes": [call(TENSOR, y=lambda_entry("x"))]}, "code"),
    "function of JAX": ({"class_name": "JaxLayer", "module": "keras.layers", "registered_name": None, "config": {}}, "code"),
    "module of PyTorch": ({"class_name": "TorchModuleWrapper", "config": {"module": "4w=="}}, "code"),
    "SavedModel": ({"class_name": "TFSMLayer", "config": {"filepath": "folder"}}, "code"),
    "operator without a name": ({"module": "keras.src.ops.numpy", "class_name": None, "registered_name": None}, "operators"),
    "operator under another name": (
        {"module": "keras.src.ops.numpy", "class_name": "Absolute", "registered_name": "Map", "config": {}},
        "operators",
    ),
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
            entry.pop("registered_name", None)
        if where == "entry":
            entry.update(other)
        elif where == "arguments":
            entry["inbound_nodes"] = [call(TENSOR, y=other)]
        else:
            entry.setdefault(where, {})["deep"] = [{"x": other}]

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


ORDINARY = {
    "arithmetic": lambda x: -(2 - x * 2 + 1) / 3 + x**2 - 1 / (x * x + 1) + x // 1 + x % 2,
    "comparison": lambda x: ops.cast(ops.logical_or((x > 0) & ~(x < 1), ops.equal(x, 0.5)), "float32"),
    "slice": lambda x: x[:, :, :, :2] + x[:, ::2, 1:3, -1:][:, :1, :1] + x[..., :1],
    "relu": lambda x: ops.relu(x) + ops.leaky_relu(x) + ops.silu(x) + ops.relu6(x),
    "concat": lambda x: ops.concatenate([x, ops.average_pool(x, 3, 1, "same"), x * 0 + np.ones((1, 8, 8, 4), "float32")], -1),
    "mean": lambda x: ops.mean(x, axis=(1, 2)) + ops.max(x, axis=[1, 2]) + ops.sum(x, (1, 2)),
    "resize": lambda x: ops.image.resize(x, (4, 4)) + ops.image.resize(x, (4, 4), interpolation="nearest"),
    "math": lambda x: ops.tanh(x) + ops.sqrt(ops.abs(x)) + ops.exp(x) + ops.rsqrt(ops.square(x) + 1) + ops.sign(x),
    "shapes": lambda x: ops.transpose(ops.reshape(x, (-1, 64, 4)), (0, 2, 1)),
    "parts": lambda x: ops.stack(ops.split(x, 2, axis=-1), axis=1)[:, 0] + ops.stack(ops.unstack(x, axis=-1)[:2], axis=-1),
    "padding": lambda x: ops.pad(ops.expand_dims(ops.squeeze(x[:, :, :, :1], -1), -1), [[0, 0], [1, 1], [0, 0], [0, 0]]),
    "matrices": lambda x: ops.matmul(x, ops.transpose(x, (0, 1, 3, 2))) + ops.einsum("bijc,bikc->bijk", x, x),
    "choice": lambda x: ops.where(x > 0, x, ops.zeros_like(x)) + ops.clip(x, 0, 1) + ops.take(x, [0, 1, 2, 3], axis=3),
    "blocks": lambda x: ops.tile(x[:, :, :, :1], [1, 1, 1, 4]) + ops.repeat(x[:, :, :, :1], 4, axis=3),
    "convolution": lambda x: ops.conv(x, np.ones((1, 1, 4, 3), "float32"), 1, "same"),
    "constant first": lambda x: ops.add(1.0, x) + ops.maximum(0.0, x) + ops.stop_gradient(x),
    "normalization": lambda x: ops.transpose(ops.normalize(keras.activations.gelu(x), -1), (0, 2, 1, 3)),
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
