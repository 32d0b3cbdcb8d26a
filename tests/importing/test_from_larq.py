"""`from_larq`: networks that Larq has saved, in a process of its own, and what becomes of them."""

import json
import os
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from engines import needs_one

import bitat_tf
from bitat_tf import quantizers, workflow
from bitat_tf.importing import keras2, keras2_child, keras2_model
from bitat_tf.layers import BinaryConv2D, BinaryDense, binary_layers

pytestmark = pytest.mark.skipif(
    find_spec("larq") is None or find_spec("tf_keras") is None, reason="There is no Larq, or no tf_keras."
)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Return a folder of networks that Larq has saved, with inputs, outputs and weights of some."""
    folder = tmp_path_factory.mktemp("saved")
    command = [sys.executable, Path(__file__).parent / "larq_models.py", folder]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with h5py.File(folder / "sequence.h5") as file, h5py.File(folder / "earlier.h5", "w") as earlier:
        for name, value in file.attrs.items():
            earlier.attrs[name] = value
        file.copy("model_weights", earlier)
        earlier.attrs["model_config"] = json.dumps(as_before(json.loads(file.attrs["model_config"])))
    return folder


def as_before(value):
    """Return a configuration in the form of Keras before 2.13 and of Larq before 0.10."""
    if isinstance(value, list):
        return [as_before(inner) for inner in value]
    if not isinstance(value, dict):
        return value
    new = {name: as_before(inner) for name, inner in value.items() if name not in ("module", "registered_name", "build_config")}
    if str(value.get("class_name")).startswith("Quant"):
        new["config"]["metrics"] = ["flip_ratio"]
        if new["config"]["input_quantizer"]:
            new["config"]["input_quantizer"] = "ste_sign"
    return new


@pytest.fixture(scope="module")
def read(saved, tmp_path_factory):
    """Return a function that reads one of the files, each once; where it runs, there is no Larq."""
    models, folder = {}, tmp_path_factory.mktemp("without_larq")
    (folder / "larq.py").write_text("raise ImportError('there is none')")

    def from_file(name):
        if name not in models:
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("PYTHONPATH", os.fspath(folder))
                models[name] = bitat_tf.from_larq(saved / name)
        return models[name]

    return from_file


def arrays_of(saved, model):
    return dict(np.load(saved / f"{model.name}.npz"))


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    ["pictures.h5", *(pytest.param(one, marks=pytest.mark.slow) for one in ("pictures.keras", "pictures", "earlier.h5"))],
)
def test_outputs_are_those_of_larq(name, read, saved):
    model = read(name)
    arrays = arrays_of(saved, model)
    found = model.predict(arrays["x"], verbose=0)
    np.testing.assert_allclose(found, arrays["y"], rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(found.argmax(axis=-1), arrays["y"].argmax(axis=-1))
    assert len({*found.argmax(axis=-1)}) > 1  # the network says something
    assert {layer.state for layer in binary_layers(model)} == {"binary"}
    assert not model.compiled


@pytest.mark.slow
def test_layers_become_what_is_documented(read):
    model = read("pictures.h5")
    kinds = {layer.name: type(layer) for layer in [*model.layers, *model.get_layer("inner").layers]}
    L = keras.layers
    expected = {
        "first": L.Conv2D,
        "one_padded": BinaryConv2D,
        "strided": BinaryConv2D,
        "tanh": L.Activation,
        "valid": BinaryConv2D,
        "depthwise_input_quantizer": quantizers.SteSign,
        "depthwise": L.DepthwiseConv2D,
        "signs": quantizers.SteSign,
        "separable": L.SeparableConv2D,
        "inside": BinaryConv2D,
        "binary_dense": BinaryDense,
        "then_signs": L.Dense,
        "then_signs_activation": quantizers.SteSign,
    }
    assert {name: kinds[name] for name in expected} == expected
    layers = {name: model.get_layer(name) for name in ("one_padded", "strided", "valid")}
    assert [layer.pad_values for layer in layers.values()] == [1, 0, 0]
    of_inputs, of_kernels = ([getattr(layer, f"{what}_quantizer") for layer in layers.values()] for what in ("input", "kernel"))
    assert [type(quantizer).__name__ for quantizer in of_inputs] == ["SteSign", "ApproxSign", "SwishSign"]
    assert [type(quantizer).__name__ for quantizer in of_kernels] == ["MagnitudeAwareSign", "SteSign", "MagnitudeAwareSign"]
    assert [of_inputs[2].beta, *(quantizer.clip_value for quantizer in of_kernels)] == [3, 1, 1.3, 0.9]
    assert layers["strided"].activation is model.get_layer("tanh").activation is quantizers.hard_tanh
    assert all(layer.kernel_constraint is None for layer in layers.values())
    assert (layers["valid"].groups, layers["strided"].strides, layers["one_padded"].use_bias) == (2, (2, 2), False)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["pictures.h5", "pictures"])
def test_binary_layers_have_the_latent_weights_and_others_the_quantized_ones(name, read, saved):
    model = read(name)
    arrays = arrays_of(saved, model)
    binary = binary_layers(model)
    compared = set()
    for layer in model.layers:
        kind = "latent" if layer in binary else "kernel"
        if f"{kind} {layer.name}" in arrays and not isinstance(layer, keras.Model):
            np.testing.assert_array_equal(layer.get_weights()[0], arrays[f"{kind} {layer.name}"])
            compared.add(layer.name)
    assert {"first", "one_padded", "strided", "valid", "depthwise", "separable", "binary_dense", "then_signs"} <= compared
    assert {*np.unique(model.get_layer("first").get_weights()[0])} == {-1, 1}


@pytest.mark.slow
def test_it_is_saved_and_read_by_keras_3(read, saved, tmp_path):
    model = read("pictures.h5")
    model.save(tmp_path / "new.keras")
    again = workflow.load_model(tmp_path / "new.keras")
    x = arrays_of(saved, model)["x"]
    np.testing.assert_array_equal(again.predict(x, verbose=0), model.predict(x, verbose=0))


@needs_one
@pytest.mark.slow
@pytest.mark.parametrize("name", ["pictures.h5", "earlier.h5"])
def test_it_is_exported(name, read, saved, tmp_path):
    model = read(name)
    report = bitat_tf.export.to_tflite(model, tmp_path / "new.tflite", arrays_of(saved, model)["x"], minimum_agreement=1.0)
    assert report.fused_binary == report.expected_binary == len(binary_layers(model))


@pytest.mark.slow
def test_it_trains_on(read):
    model = keras.models.clone_model(read("earlier.h5"))
    model.set_weights(read("earlier.h5").get_weights())
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(64, *model.input_shape[1:])).astype(np.float32), generator.integers(0, 10, 64)
    before = binary_layers(model)[0].latent_kernel
    model.compile(keras.optimizers.Adam(1e-2), "sparse_categorical_crossentropy")
    losses = model.fit(x, y, epochs=8, verbose=0).history["loss"]
    assert losses[-1] < 0.8 * losses[0]
    assert not np.array_equal(binary_layers(model)[0].latent_kernel, before)
    assert {layer.state for layer in binary_layers(model)} == {"binary"}


@pytest.mark.slow
def test_the_command_takes_the_same_files(saved, tmp_path, call):
    code, out, error = call("import", saved / "sequence.keras", tmp_path / "new.keras")
    assert (code, error) == (0, "")
    assert "holds sequence with 5,246 parameters, 2 binary layers." in out
    model = workflow.load_model(tmp_path / "new.keras")
    assert [layer.state for layer in binary_layers(model)] == ["binary"] * 2
    arrays = arrays_of(saved, model)
    np.testing.assert_allclose(model.predict(arrays["x"], verbose=0), arrays["y"], rtol=1e-5, atol=1e-6)


REFUSED = {
    "dorefa.keras": "layer coarse has DoReFa as a quantizer, for which bitat_tf has nothing. Replace it",
    "noop.keras": "layer bop has NoOp as a quantizer, for which bitat_tf has nothing",
    "heaviside.keras": "layer steps has SteHeaviside of Larq, for which bitat_tf has nothing",
    "leaky.keras": "layer leaks has leaky_tanh of Larq, for which bitat_tf has nothing",
    "own.keras": "layer mine has own as a quantizer, for which bitat_tf has nothing",
    "relu.keras": "layer rectified has relu as a quantizer",
    "local.keras": "layer patches has QuantLocallyConnected2D of Larq",
    "module.keras": "function is said to be of evil. Expected: classes of Keras and Larq",
    "nested.keras": "function is said to be of evil",
    "weights.h5": "it holds weights only: build the model",
}
CHECK = f"""
import os, sys
sys.path[0] = {os.fspath(Path(keras2_child.__file__).parent)!r}
os.environ["TF_USE_LEGACY_KERAS"] = "1"
import tf_keras, file_sizes, keras2_file, larq_stand_ins
for name in sys.argv[2:]:
    path = os.path.join(sys.argv[1], name)
    try:
        keras2_file.check(keras2_file.configuration(path, file_sizes.kind_of(path)), tf_keras, larq_stand_ins)
    except keras2_file.Unusable as error:
        print(error)
    else:
        print(name, "passed")
"""


@pytest.mark.slow
def test_what_has_no_counterpart_is_named(saved):
    """Looked at by the child's check, all in one process, as each starts TensorFlow."""
    function = {"module": "evil", "class_name": "function", "config": "relu", "registered_name": "relu"}
    dense = {"module": "keras.layers", "class_name": "Dense", "registered_name": None}
    compiled = {"optimizer": "sgd", "loss": function}
    model = {"module": "keras", "class_name": "Sequential", "registered_name": "Sequential"}
    inner = {**model, "config": {"name": "inner", "layers": []}, "compile_config": compiled}
    for name, layer in {
        "module.keras": {**dense, "config": {"name": "d", "units": 1, "activation": function}},
        "nested.keras": inner,
    }.items():
        with zipfile.ZipFile(saved / name, "w") as archive:
            whole = {**model, "config": {"name": "s", "layers": [layer]}, "compile_config": {"loss": function}}
            archive.writestr("config.json", json.dumps(whole))
    done = subprocess.run([sys.executable, "-c", CHECK, saved, *REFUSED], capture_output=True, text=True, check=False)
    found = dict(zip(REFUSED, done.stdout.splitlines(), strict=True))
    assert {name: text[: len(REFUSED[name])] for name, text in found.items()} == REFUSED


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("dorefa.keras", ValueError, "from_larq: .*dorefa.keras cannot be imported: layer coarse has DoReFa as a quantizer"),
        ("missing.h5", FileNotFoundError, "from_larq: there is no .*missing.h5. Check the path. Expected: a .keras or .h5"),
    ],
)
def test_errors_are_of_one_line(name, kind, message, saved):
    with pytest.raises(kind, match=message) as raised:
        bitat_tf.from_larq(saved / name)
    assert "\n" not in str(raised.value)


NOT_MADE = {
    "pads with 1, which is imported of a QuantConv2D with 1-bit input and kernel only": (
        "QuantConv2D",
        {"filters": 3, "kernel_size": 3, "padding": "same", "pad_values": 1.0, "input_quantizer": "ste_sign"},
    ),
    "layer around holds q \\(QuantDense\\), which is imported outside of other layers only": (
        "TimeDistributed",
        {
            "name": "around",
            "layer": {"class_name": "QuantDense", "config": {"name": "q", "units": 3, "input_quantizer": "ste_sign"}},
        },
    ),
    "layer q \\(LSTM\\) has SteSign inside": ("LSTM", {"units": 3, "activation": "ste_sign"}),
}


@pytest.mark.parametrize("message", NOT_MADE)
def test_layers_that_would_give_other_outputs_are_not_made(message):
    kind, arguments = NOT_MADE[message]
    entry = {"class_name": kind, "config": {"name": "q", **arguments}}
    with pytest.raises(ValueError, match=message):
        keras2_model.model_of("Sequential", {"name": "s", "layers": [entry]})


def test_outputs_may_differ_by_what_rounding_does_to_those_of_keras_2():
    inputs = keras.Input((2,))
    model = keras.Model(inputs, quantizers.SteSign()(inputs))
    x = np.array([[1e-9, 1.0], [1.0, -1.0]], np.float32)
    y = np.sign(x)
    turned = y * np.array([[-1, 1], [1, 1]])  # what a sign of nearly 0 may become
    keras2._compare(model, {"input 0": x, "output 0": turned, "shaken output 0": y})
    with pytest.raises(ValueError, match="its outputs differ by 2 from those of Keras 2"):
        keras2._compare(model, {"input 0": x, "output 0": turned, "shaken output 0": turned})
