"""`verify` tells files that do what the model does from others, and names the first signs that differ."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from engines import converted_by_lce, larq_compute_engine

from bitat_tf.export import to_plain_network, to_tflite, verify
from bitat_tf.layers import BinaryConv2D, BinaryDense, RPReLU, binary_layers

L = keras.layers


def conv(filters, kernel, name, **arguments):
    return BinaryConv2D(filters, kernel, padding="same", use_bias=False, name=name, **arguments)


def build(seed=0):
    """Return a network whose layers are named after the unit that they belong to."""
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((8, 8, 3))
    x = L.BatchNormalization(name="stem_bn")(L.Conv2D(32, 3, padding="same", name="stem_conv")(inputs))
    for unit in ("one", "two", "three"):
        y = L.BatchNormalization(name=f"{unit}_bn")(conv(32, 3, f"{unit}_conv")(x))
        x = RPReLU(name=f"{unit}_act")(L.Add(name=f"{unit}_add")([y, x]))
    x = L.Dense(10, name="head_dense")(L.GlobalAveragePooling2D(name="head_pool")(x))
    return randomized(keras.Model(inputs, x), seed)


def randomized(model, seed=0):
    generator = np.random.default_rng(seed)
    for weight in model.weights:
        name = weight.name
        if name in ("gamma", "moving_variance"):
            weight.assign(generator.uniform(0.5, 1.5, weight.shape))
        elif name in ("beta", "moving_mean", "bias", "threshold", "shift_before", "shift_after", "alpha"):
            weight.assign(generator.normal(scale=0.3, size=weight.shape))
    for layer in binary_layers(model):
        layer.set_binary()
    return model


def samples(count=24, shape=(8, 8, 3)):
    return np.random.default_rng(1).normal(size=(count, *shape)).astype(np.float32)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    path = tmp_path_factory.mktemp("verify") / "model.tflite"
    to_tflite(build(), path, verify=False)
    return path


def test_a_file_of_the_model(exported):
    model, x = build(), samples()
    y = model.predict(x, verbose=0).argmax(axis=1)
    report = verify(model, exported, x, y)
    assert report.ok
    assert not report.inside.unexplained
    (output,) = report.outputs
    assert (output.samples, report.inside.traced, report.random_data, report.keras_accuracy) == (24, 8, False, 1.0)
    assert (output.name, str(output.measure)) == ("head_dense", "top-1 (labels)")
    assert report.accuracy == output.agreement
    percentiles = [output.percentiles[percent] for percent in ("50", "90", "99", "100")]
    assert percentiles == sorted(percentiles)
    assert percentiles[-1] == output.largest_difference
    assert report.inside.compared_layers == 3
    found = json.loads(json.dumps(report.to_dict()))
    assert (found["ok"], found["verdict"], found["path"]) == (True, "same", str(exported))
    assert (found["inside"]["traced"], found["outputs"][0]["agreement"]) == (8, output.agreement)
    assert "The file does what the model does." in str(report)
    assert "accuracy        file" in str(report)


def test_without_data_and_without_traces(exported):
    report = verify(build(), exported, traced=0)
    assert (report.ok, report.random_data, report.outputs[0].samples, report.inside) == (True, True, 16, None)
    assert report.accuracy is report.keras_accuracy is None
    assert "16 random inputs" in str(report)


def flip_a_sign(model):
    kernel = model.get_layer("two_conv").weights[0]
    value = kernel.numpy()
    value[1, 1, 0, 0] *= -1
    kernel.assign(value)


def raise_(layer, weight, amount=0.5):
    def change(model):
        variable = getattr(model.get_layer(layer), weight)
        variable.assign_add(np.eye(1, len(variable.numpy()), dtype=np.float32)[0] * amount)

    return change


CHANGES = {
    "sign of a kernel": (flip_a_sign, "three_conv"),
    "bias of the stem": (raise_("stem_conv", "bias"), "one_conv"),
    "beta": (lambda model: model.get_layer("one_bn").beta.assign_add(np.full(32, 0.5)), "two_conv"),
    "slope": (lambda model: model.get_layer("three_act").prelu.alpha.assign_add(0.3 * np.ones((1, 1, 32))), "outputs"),
    "bias of the head": (raise_("head_dense", "bias"), "outputs"),
}


FAST = ("sign of a kernel", "bias of the head")


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name not in FAST)) for name in CHANGES])
def test_the_first_signs_that_differ_are_those_after_the_change(name, exported):
    change, layer = CHANGES[name]
    model = build()
    change(model)
    report = verify(model, exported, samples(), traced=3)
    assert not report.ok
    assert [found.layer for found in report.inside.unexplained] == [layer] * 3
    assert "The file does something else than the model." in str(report)
    assert (f"first at {layer}" if layer != "outputs" else "the outputs differ, and no sign before them") in str(report)
    assert not json.loads(json.dumps(report.to_dict()))["ok"]


def on_a_threshold():
    """Return a network whose first sign has its threshold at 0.25 of what the network is given."""
    inputs = keras.Input((4, 4, 32))
    identity = np.eye(32, dtype=np.float32)[None, None]
    x = L.Conv2D(32, 1, name="stem", kernel_initializer=keras.initializers.Constant(identity))(inputs)
    x = L.BatchNormalization(name="bn")(conv(32, 1, "binary")(x))
    model = keras.Model(inputs, L.Dense(5, name="head")(L.Flatten(name="flatten")(x)))
    for layer in binary_layers(model):
        layer.input_quantizer.threshold.assign(np.full(32, -0.25))
        layer.set_binary()
    return model


@pytest.mark.parametrize(("epsilon", "explained"), [(1e-6, True), pytest.param(0.01, False, marks=pytest.mark.slow)])
def test_values_on_a_threshold_are_told_from_others(epsilon, explained, tmp_path):
    model, path = on_a_threshold(), tmp_path / "model.tflite"
    x = np.random.default_rng(0).choice([-2.0, -1.0, 1.0, 2.0], (4, 4, 4, 32)).astype(np.float32)
    x[0, :2, 1, 7], x[1, 0, 0, 3] = 0.25, 0.25  # 2 values and 1 on the threshold; samples 2 and 3 have none
    to_tflite(model, path, x, verify=False)
    assert not verify(model, path, x).inside.divergences
    binary_layers(model)[0].input_quantizer.threshold.assign_sub(np.full(32, epsilon))
    report = verify(model, path, x, minimum_agreement=0.5)
    # A larger move is a fault of the layer that holds the threshold, in every sample.
    assert report.ok is explained
    if explained:
        assert sorted(found.on_threshold for found in report.inside.divergences) == [1, 2]
        assert all(found.explained for found in report.inside.divergences)
        assert "2 have the same, 2 others by values on a threshold, 0 without" in str(report)


@pytest.mark.slow
def test_files_without_a_seal_as_larq_compute_engine_writes_them(tmp_path):
    model, path = build(), tmp_path / "plain.tflite"
    path.write_bytes(converted_by_lce(to_plain_network(model)))
    assert verify(model, path, samples(), traced=4).ok
    flip_a_sign(model)
    assert [found.layer for found in verify(model, path, samples(), traced=2).inside.unexplained] == ["three_conv"] * 2


@pytest.mark.parametrize("converter", ["direct", pytest.param("larq-compute-engine", marks=pytest.mark.slow)])
def test_layers_called_twice_and_dense_layers_on_pixels(converter, tmp_path):
    if converter != "direct":
        larq_compute_engine()
    inputs = keras.Input((6, 6, 32))
    shared, activation = conv(32, 3, "shared"), RPReLU(name="shared_act")
    x = activation(L.BatchNormalization()(shared(activation(L.BatchNormalization()(shared(inputs))))))
    x = RPReLU()(BinaryDense(32, name="pixels")(x))
    model = randomized(keras.Model(inputs, L.Dense(4)(L.GlobalAveragePooling2D()(conv(16, 1, "last")(x)))))
    to_tflite(model, tmp_path / "model.tflite", converter=converter, verify=False)
    report = verify(model, tmp_path / "model.tflite", samples(6, (6, 6, 32)))
    assert (report.ok, report.inside.compared_layers) == (True, 4)


@pytest.mark.parametrize("input_type", [pytest.param("float32", marks=pytest.mark.slow), "int8"])
def test_int8_files(input_type, tmp_path):
    """In a network of random weights bits on thresholds make other outputs of most samples; none of them is a fault."""
    model, path, x = build(), tmp_path / "int8.tflite", samples(64)
    to_tflite(model, path, calibration=x, input_type=input_type, verify=False)
    report = verify(model, path, x[:16], traced=4)
    assert report.verdict != "different"
    assert (report.inside.compared_layers, report.inside.unexplained) == (3, ())
    flip_a_sign(model)
    model.get_layer("stem_conv").bias.assign_add(np.full(32, 1.0))
    report = verify(model, path, x[:16], traced=4)
    assert report.verdict == "different"
    assert [found.layer for found in report.inside.unexplained] == ["one_conv"] * 4
    model = build()
    model.get_layer("head_dense").bias.assign_add(np.full(10, 1.0))  # the same for all classes: top-1 stays
    assert verify(model, path, x[:16]).verdict == "different"


def write(path, model):
    path.write_bytes(tf.lite.TFLiteConverter.from_keras_model(model).convert())
    return path


def test_files_that_are_not_of_the_model(exported, tmp_path):
    sizes, classes = keras.Input((9, 9, 3)), keras.Input((8, 8, 3))
    other_size = write(tmp_path / "size.tflite", keras.Model(sizes, L.Conv2D(10, 3)(sizes)))
    with pytest.raises(ValueError, match=r"inputs of shape \(8, 8, 3\)\. Received: a file with inputs of shape \(9, 9, 3\)"):
        verify(build(), other_size)
    other_classes = write(tmp_path / "classes.tflite", keras.Model(classes, L.Dense(4)(L.Flatten()(classes))))
    with pytest.raises(ValueError, match=r"with outputs of shape \(10,\)\. Received: a file with outputs of shape \(4,\)"):
        verify(build(), other_classes)
    inputs = [keras.Input((8, 8, 3)), keras.Input((8, 8, 3))]
    two = write(tmp_path / "two.tflite", keras.Model(inputs, L.Conv2D(10, 3)(L.Concatenate()(inputs))))
    with pytest.raises(ValueError, match="with 1 inputs and 1 outputs. Received: a file with 2 inputs and 1 outputs"):
        verify(build(), two)
    with pytest.raises(ValueError, match="with 2 inputs and 1 outputs. Received: a file with 1 inputs and 1 outputs"):
        verify(keras.Model(inputs, conv(10, 3, "binary")(L.Concatenate()(inputs))), exported)


def test_the_float_network_in_place_of_the_binary_one(exported):
    """Its differences are no fault of the file. A network of Keras' own layers with the same outputs is compared, as before."""
    binary, before = build(), keras.models.clone_model(build())
    with pytest.raises(
        ValueError,
        match=r"verify: .*model.tflite holds 3 binary convolutions, and model .* has 3 binary layers, "
        r"all of them still in float state: it is the float network, .*binary.keras of a run",
    ):
        verify(before, exported, samples())
    plain = keras.Sequential([keras.Input((8, 8, 3)), L.GlobalAveragePooling2D(), L.Dense(10)])
    with pytest.raises(ValueError, match=r"has no binary layers: it is the float network"):
        verify(plain, exported, samples())
    assert verify(to_plain_network(binary), exported, samples()).verdict == "same"


def test_damaged_files(exported, tmp_path):
    content = bytearray(exported.read_bytes())
    content[len(content) // 2] ^= 1
    for name, damaged in (("bit", bytes(content)), ("half", bytes(content[: len(content) // 2])), ("text", b"no network")):
        (tmp_path / name).write_bytes(damaged)
        with pytest.raises(ValueError, match=rf"(?s){name}|Received"):
            verify(build(), tmp_path / name)
    with pytest.raises(OSError, match=r"missing\.tflite"):
        verify(build(), tmp_path / "missing.tflite")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"data": np.zeros((2, 8, 8, 4))}, r"`data` must have shape \(n >= 1, 8, 8, 3\)\. Received: \(2, 8, 8, 4\)"),
        ({"data": np.full((1, 8, 8, 3), np.nan)}, "must be finite. Received: 192 NaN"),
        ({"data": np.zeros((2, 8, 8, 3)), "labels": np.array([0, 10])}, r"labels must lie in 0\.\.9"),
        ({"traced": -1}, "`traced` must be at least 0. Received: -1"),
    ],
)
def test_unusable_arguments_of_verify(arguments, message, exported):
    with pytest.raises(ValueError, match=message):
        verify(build(), exported, **arguments)


def test_what_is_no_model(exported):
    with pytest.raises(TypeError, match="verify"):
        verify("model.keras", exported)


@pytest.fixture(params=["float64", "mixed_float16", "mixed_bfloat16"])
def policy(request):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(request.param)
    yield request.param
    keras.config.set_dtype_policy(before)


def test_the_rounding_of_other_precisions_is_no_fault_of_the_file(policy, tmp_path):
    model = build()
    assert model.outputs[0].dtype != "float32"
    x = np.random.default_rng(0).normal(size=(16, 8, 8, 3))
    for inputs in (x, x.astype(np.float32)):
        to_tflite(model, tmp_path / "model.tflite", inputs, minimum_agreement=0.5)
    report = verify(model, tmp_path / "model.tflite", x, minimum_agreement=0.5)
    assert report.inside.compared_layers == 3
    assert report.inside.ok
    assert report.verdict != "different"
