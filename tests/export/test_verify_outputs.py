"""`verify` and `to_tflite` on files of networks that give something else than one class a picture."""

import keras
import numpy as np
import pytest

from bitat_tf.data import load_digits
from bitat_tf.export import to_tflite, verify
from bitat_tf.layers import BinaryConv2D, RPReLU, binary_layers

L = keras.layers


def pictures(count=40):
    return np.random.default_rng(0).normal(size=(count, 8, 8, 3)).astype(np.float32)


def body(inputs):
    x = L.BatchNormalization()(L.Conv2D(32, 3, padding="same", name="stem")(inputs))
    x = BinaryConv2D(32, 3, padding="same", use_bias=False)(x)
    return RPReLU()(L.BatchNormalization()(x))


def binary(inputs, outputs):
    model = keras.Model(inputs, outputs)
    for layer in binary_layers(model):
        layer.set_binary()
    return model


def four_heads(batch_size=None):
    """Return a network that says what is on a picture, where, how old it is and in which box: four outputs, four kinds."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 3), batch_size)
    x = body(inputs)
    pooled = L.GlobalAveragePooling2D()(x)
    outputs = [L.Dense(3, "softmax", name="kind")(pooled), L.Conv2D(1, 1, activation="sigmoid", name="mask")(x)]
    return binary(inputs, [*outputs, L.Dense(1, name="age")(pooled), L.Dense(4, name="box")(pooled)])


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    path = tmp_path_factory.mktemp("outputs") / "model.tflite"
    report = to_tflite(four_heads(), path, pictures(), {"kind": np.arange(40) % 3, "mask": None, "age": None, "box": None})
    return path, report


def test_each_output_is_judged_by_what_it_is(exported):
    path, written = exported
    kinds = {"kind": "top-1 (labels)", "mask": "decisions at 0.5 (sigmoid)", "age": "values", "box": "values or top-1"}
    assert {one.name: str(one.measure) for one in written.outputs} == kinds
    assert written.verdict == "same"
    assert written.accuracy == written.outputs[0].accuracy == written.keras_accuracy
    assert written.outputs[1].accuracy is None
    mask = np.random.default_rng(1).integers(0, 2, (40, 8, 8))
    report = verify(four_heads(), path, pictures(), [np.eye(3)[np.arange(40) % 3], mask, None, None])
    assert (report.ok, report.verdict, report.inside.compared_layers) == (True, "same", 1)
    expected = four_heads().predict(pictures(), verbose=0)
    assert report.outputs[0].keras_accuracy == np.mean(expected[0].argmax(axis=1) == np.arange(40) % 3)
    assert report.outputs[1].keras_accuracy == np.mean((expected[1][..., 0] > 0.5) == mask)
    assert str(report).count("output          ") == 4
    assert "inside          not compared: only the outputs were" in str(verify(four_heads(), path, pictures(), traced=0))


CHANGES = {
    "kind": lambda layer: layer.kernel.assign(-layer.kernel),
    "mask": lambda layer: layer.kernel.assign(-layer.kernel),
    "age": lambda layer: layer.bias.assign([1.0]),
    "box": lambda layer: layer.bias.assign([0, 0, 1.0, 0]),
}


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name != "mask")) for name in CHANGES])
def test_the_output_that_is_another_one_is_named(name, exported):
    model = four_heads()
    CHANGES[name](model.get_layer(name))
    report = verify(model, exported[0], pictures())
    assert (report.ok, report.verdict) == (False, "different")
    found = {one.name: one.verdict for one in report.outputs}
    assert found == {**dict.fromkeys(CHANGES, "same"), name: "different"}
    assert "\ndifferent       " in str(report)
    assert str(report).endswith("The file does something else than the model.")


@pytest.mark.slow
def test_a_model_of_batches_of_one_size(exported, tmp_path):
    path = tmp_path / "of_batches.tflite"
    assert to_tflite(four_heads(batch_size=16), path, pictures()).verdict == "same"
    for model, file in ((four_heads(batch_size=16), exported[0]), (four_heads(), path)):
        report = verify(model, file, pictures())
        assert (report.ok, report.outputs[0].samples, report.inside.compared_layers) == (True, 40, 1)


@pytest.mark.slow
def test_several_inputs_in_the_order_of_the_model(tmp_path):
    """Two pictures of one size: a file that takes them the other way round would not be seen by its shapes."""
    keras.utils.set_random_seed(0)
    after, before = keras.Input((8, 8, 3), name="zebra"), keras.Input((8, 8, 3), name="ape")
    x = L.Concatenate()([body(L.Subtract()([after, before])), L.Conv2D(4, 1)(after)])
    outputs = [L.Dense(1, name="second")(L.Flatten()(x)), L.Dense(1, name="first")(L.GlobalAveragePooling2D()(x))]
    model = binary([after, before], outputs)
    data = {"zebra": pictures(), "ape": pictures()[::-1]}
    assert to_tflite(model, tmp_path / "model.tflite", data).verdict == "same"
    report = verify(model, tmp_path / "model.tflite", [data["zebra"], data["ape"]])
    assert (report.ok, [one.name for one in report.outputs]) == (True, ["second", "first"])
    turned = binary([before, after], outputs)
    assert verify(turned, tmp_path / "model.tflite", data).ok  # the names tell
    model.get_layer("first").bias.assign([1.0])
    found = verify(model, tmp_path / "model.tflite", data).outputs
    assert [one.verdict for one in found] == ["same", "different"]


def test_a_file_that_was_not_run_has_no_verdict(tmp_path):
    report = to_tflite(four_heads(), tmp_path / "model.tflite", verify=False)
    assert (report.verdict, report.outputs, report.ran_in) == ("no verdict", (), "")
    assert str(report).endswith("The file was not compared with the model.")


def test_what_the_data_cannot_tell(tmp_path):
    """A head that has died gives the same for all pictures: the file may be written, and is not said to be right."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 3))
    model = binary(inputs, L.Dense(1, "sigmoid", kernel_initializer="zeros", name="there")(L.Flatten()(body(inputs))))
    written = to_tflite(model, tmp_path / "model.tflite", pictures())
    assert written.verdict == written.to_dict()["verdict"] == "no verdict"
    report = verify(model, tmp_path / "model.tflite", pictures())
    assert (report.ok, report.verdict, report.inside.ok) == (False, "no verdict", True)
    for text in map(str, (written, report)):
        assert (
            "no verdict      The model gives the same output for all samples, as a file would that ignores them. Give" in text
        )
        assert text.endswith("No verdict: these data cannot tell whether the file does what the model does.")
    # A file of which something is known to be wrong is different, whatever the data cannot tell of the rest.
    model.get_layer("stem").bias.assign_add(np.ones(32))
    assert verify(model, tmp_path / "model.tflite", pictures()).verdict == "different"


@pytest.mark.slow
def test_int8_ranges_from_pictures_that_are_much_too_dark(tmp_path):
    """The file does not do what the network did, odd or even; one with ranges that fit does."""
    data = load_digits()
    pixels, odd = data.train_images / np.float32(255), data.train_labels % 2
    inputs = keras.Input((8, 8, 1))
    model = binary(inputs, L.Dense(1, "sigmoid", name="odd")(L.Flatten()(body(inputs))))
    model.compile(keras.optimizers.Adam(3e-3), "binary_crossentropy")
    model.fit(pixels, odd, epochs=4, verbose=0)
    test, labels = data.test_images / np.float32(255), data.test_labels % 2
    for name, images in (("light", pixels[:256]), ("dark", pixels[:256] / 50)):
        to_tflite(model, tmp_path / f"{name}.tflite", test, calibration=images, minimum_agreement=0)
    light, dark = (verify(model, tmp_path / f"{name}.tflite", test, labels) for name in ("light", "dark"))
    assert light.keras_accuracy > 0.9
    assert (light.verdict, light.accuracy > light.keras_accuracy - 0.03) == ("same", True)
    assert (dark.verdict, dark.accuracy < light.accuracy - 0.2) == ("different", True)
    assert dark.outputs[0].largest_difference > 0.3
    assert "The decisions must be the same on 90.0% of the samples. Received: on " in str(dark)
    with pytest.raises(
        ValueError, match="to_tflite: the file must give what the Keras model gives. The decisions must be the same"
    ):
        to_tflite(model, tmp_path / "again.tflite", test, calibration=pixels[:256] / 50)
    assert not (tmp_path / "again.tflite").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"labels": [np.arange(39) % 3, None, None, None]}, r"class indices of shape \(40,\).*Received: shape \(39,\)"),
        ({"labels": np.arange(40) % 3}, r"`labels` must be a list of 4 arrays, one for each output \(kind, mask, age, box\)"),
        ({"labels": [None, None, np.linspace(0, 1, 40), None]}, "leave the targets of a regression out"),
        (
            {"minimum_agreement": 90},
            "`minimum_agreement` must be a finite number >= 0 and <= 1. Received: minimum_agreement=90",
        ),
        ({"maximum_difference": -1.0}, "`maximum_difference` must be a finite number >= 0"),
    ],
)
def test_unusable_arguments(arguments, message, exported):
    with pytest.raises(ValueError, match=f"^verify: .*{message}"):
        verify(four_heads(), exported[0], pictures(), **arguments)
