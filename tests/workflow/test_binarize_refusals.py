"""What `bitat-tf binarize` refuses, before anything is written, and what it makes of a model's inputs and outputs."""

import re

import keras
import numpy as np
import pytest

import bitat_tf
from bitat_tf.data import load_digits
from bitat_tf.layers import BinaryConv2D, binary_layers
from bitat_tf.workflow import BinarizeConfig, Job, RunFolder, TrainConfig
from bitat_tf.workflow.binarize import LoadedNetwork, _check_post_training
from bitat_tf.workflow.model_format import check_classes, gives_probabilities
from bitat_tf.workflow.pixels import PIXELS, taking_pixels

imagenet_utils = keras.applications.imagenet_utils


def picture_model(shape=(8, 8, 1), outputs=10, **options):
    layers = [keras.layers.Conv2D(8, 3, padding="same"), keras.layers.Conv2D(8, 3, name="middle")]
    inputs = keras.Input(shape, **options)
    return keras.Sequential([inputs, *layers, keras.layers.GlobalMaxPool2D(), keras.layers.Dense(outputs)])


def integers():
    layers = [keras.layers.Rescaling(1 / 255), *picture_model().layers]
    return keras.Sequential([keras.Input((8, 8, 1), dtype="uint8"), *layers])


def grouped():
    layers = [keras.layers.Conv2D(64, 3), keras.layers.Conv2D(64, 3, groups=2, name="grouped"), keras.layers.Flatten()]
    return keras.Sequential([keras.Input((8, 8, 1)), *layers, keras.layers.Dense(10)])


def two_inputs():
    inputs = [keras.Input((8, 8, 1)), keras.Input((8, 8, 1))]
    return keras.Model(inputs, picture_model()(keras.layers.Add()(inputs)))


def ternary():
    layer = bitat_tf.layers.BinaryConv2D(8, 3, kernel_quantizer="ste_tern", name="ternary")
    layers = [keras.layers.Conv2D(8, 3), keras.layers.Conv2D(8, 1), layer, keras.layers.Flatten(), keras.layers.Dense(10)]
    return keras.Sequential([keras.Input((8, 8, 1)), *layers])


def not_a_number():
    model = picture_model()
    model.layers[0].bias.assign(np.full(8, np.nan))
    return model


def shared():
    x = keras.layers.Conv2D(8, 3)(inputs := keras.Input((8, 8, 1)))
    layer = keras.layers.Conv2D(8, 3, padding="same", name="twice")
    x = layer(layer(x))
    return keras.Model(inputs, keras.layers.Dense(10)(keras.layers.Flatten()(x)))


REFUSED = {
    "sizes": (
        lambda: picture_model((None, None, 1)),
        [],
        r"Received: input shape \(None, None, 1\).*keras.Input\(\(96, 96, 1\)\)",
    ),
    "batch": (lambda: picture_model(batch_size=4), [], "must take batches of any size. Received: batches of 4"),
    "integers": (integers, [], "must take float32 pixels. Received: uint8"),
    "colors": (lambda: picture_model((8, 8, 3)), [], "digits are pictures of 8x8x1. Received: a model of 8x8x3"),
    "channels": (lambda: picture_model((8, 8, 4)), [], r"gray \(1 channel\) or RGB \(3\)"),
    "vectors": (lambda: keras.Sequential([keras.Input((64,)), keras.layers.Dense(10)]), [], r"Received: input shape \(64,\)"),
    "classes": (lambda: picture_model(outputs=7), [], r"one output for each class of the data, 10 \(0, 1,.*shape \(7,\)"),
    "inputs": (two_inputs, [], "Received: 2 inputs and 1 outputs"),
    "layers": (picture_model, ["--skip", "middle"], "no layer of model .* can be made binary"),
    "pattern": (picture_model, ["--skip", "none*"], r"no convolution or dense layer of the model has: 'none\*'"),
    "check": (ternary, [], r"would not be binary on the device, or could not be exported. ternary: .*Nothing was trained"),
    "nan": (not_a_number, [], "the outputs of the model must be finite"),
    "groups": (grouped, ["--post-training"], "layers with groups > 1: grouped. Leave --post-training out"),
    "shared": (shared, ["--post-training"], "layers that are used several times: twice. Leave --post-training out"),
    "shortcuts": (picture_model, ["--shortcuts", "--epochs", "0"], "--shortcuts changes what the network computes"),
    "epochs": (picture_model, ["--epochs", "-1"], "binarize: `epochs` must be a finite number >= 0"),
    "scaling": (picture_model, ["--pixels", "imagenet"], "--pixels imagenet is for pictures of 3 channels"),
    "subset": (picture_model, ["--subset", "20"], "binarize: --subset: only for folders of images"),
    "options": (picture_model, ["--post-training", "--strength", "2"], "--strength: only for a binarization with training"),
    "both": (picture_model, ["--resume", "--overwrite"], "Received: both"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_done_is_said_before_anything_is_written(case, untrained, tmp_path, call):
    build, options, message = REFUSED[case]
    code, _, error = call("binarize", untrained(build()), "--data", "digits", "--out", tmp_path / "run", *options)
    assert code == 2
    assert error.startswith("bitat-tf: ")
    assert "Traceback" not in error
    assert re.search(message, error, re.DOTALL), error
    assert not (tmp_path / "run").exists()


def test_models_and_data_must_be_named(untrained, tmp_path, call):
    path = untrained(picture_model())
    for arguments, message in [
        ([], "MODEL.keras and --data digits|DIR must be given"),
        ([path], "--data digits|DIR must be given"),
        ([path, "--data", tmp_path / "none"], "there is no directory"),
        ([tmp_path / "none.keras", "--data", "digits"], "there is no file"),
        ([tmp_path, "--data", "digits"], "is a folder"),
    ]:
        code, _, error = call("binarize", *arguments, "--out", tmp_path / "run")
        assert code == 2
        assert message in error
        assert not (tmp_path / "run").exists()


def test_a_disk_that_is_full_at_the_start_leaves_a_run_to_overwrite(untrained, tmp_path, monkeypatch, call):
    def full(path, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("bitat_tf.workflow.run_folder.write_bytes", full)
    out = tmp_path / "run"
    code, _, error = call("binarize", untrained(picture_model()), "--data", "digits", "--out", out)
    assert code == 2
    assert "No space left on device" in error
    code, _, error = call("binarize", "--out", out, "--resume")
    assert code == 2
    assert "source.keras, is missing. Start the run anew with --overwrite" in error
    RunFolder(out).check_free(overwrite=True)


@pytest.mark.parametrize("pixels", PIXELS)
def test_scaling_inside_the_network_is_that_of_keras(pixels):
    shape = (4, 4, 3)
    model = keras.Sequential([keras.Input(shape, name="picture"), keras.layers.Flatten(name="pixels")])
    images = np.random.default_rng(0).integers(0, 256, (5, *shape)).astype(np.uint8)
    expected = {
        "0..255": images,
        "0..1": images / 255,
        "-1..1": imagenet_utils.preprocess_input(images.astype(np.float32), mode="tf"),
        "imagenet": imagenet_utils.preprocess_input(images.astype(np.float32), mode="torch"),
        "caffe": imagenet_utils.preprocess_input(images.astype(np.float32), mode="caffe"),
    }[pixels]
    scaled = taking_pixels(model, pixels)
    assert [tensor.name for tensor in scaled.inputs] == ["picture"]
    np.testing.assert_allclose(scaled.predict(images, verbose=0), expected.reshape(5, -1), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(PIXELS[pixels](images), expected, rtol=1e-4, atol=1e-4)


def test_gray_models_get_gray_pictures_and_squares_only(pictures, untrained):
    def images_for(shape):
        path = untrained(picture_model(shape, 3))
        return LoadedNetwork(BinarizeConfig.for_data(str(pictures), model=str(path)), path).load_images()

    assert images_for((10, 10, 1)).image_shape == (10, 10, 1)
    assert images_for((10, 10, 3)).image_shape == (10, 10, 3)
    with pytest.raises(ValueError, match="made square. Received: a model of 10x12"):
        images_for((10, 12, 3))


def same_names(kinds):
    """Return a network of two nested models, each with a layer "conv"."""
    x = inputs = keras.Input((8, 8, 1))
    for name in ("a", "b"):
        inner = keras.Input((8, 8, 4 if name == "b" else 1))
        x = keras.Model(inner, kinds(4, 3, padding="same", use_bias=False, name="conv")(inner), name=name)(x)
    return keras.Model(inputs, keras.layers.Dense(10)(keras.layers.Flatten()(x)))


def test_layers_of_one_name_are_no_shared_layer():
    model = same_names(BinaryConv2D)
    assert [layer.name for layer in binary_layers(model)] == ["conv", "conv"]
    _check_post_training(model)


def test_what_the_schedule_refuses_is_found_before_training():
    class Source:
        from_logits = True
        load_images = staticmethod(load_digits)

        def build(self, images):
            return same_names(BinaryConv2D)

    with pytest.raises(ValueError, match=r"every binary layer needs a name of its own. Received: several layers named"):
        Job(TrainConfig.for_data("digits"), Source())
    Job(BinarizeConfig.for_data("digits", model="model.keras", post_training=True), Source())


def test_one_sigmoid_is_told_how_to_become_two_outputs():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, "sigmoid")])
    with pytest.raises(ValueError, match=r"Dense\(2, 'softmax'\) of kernel \(-w/2, w/2\)"):
        check_classes(model, ["cat", "dog"])
    kernel, bias = model.layers[0].get_weights()
    two = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, "softmax")])
    two.set_weights([np.hstack([-kernel / 2, kernel / 2]), np.hstack([-bias / 2, bias / 2])])
    check_classes(two, ["cat", "dog"])
    data = np.random.default_rng(0).normal(size=(5, 4))
    np.testing.assert_allclose(two.predict(data, verbose=0)[:, 1:], model.predict(data, verbose=0), rtol=1e-5)


@pytest.mark.parametrize(
    ("last", "probabilities"),
    [
        (lambda x: x, False),
        (keras.activations.softmax, True),  # an operator, as tf.nn.softmax is
        (keras.layers.Softmax(), True),
        (keras.layers.Activation("sigmoid"), True),
        (lambda x: keras.layers.Activation("linear")(keras.layers.Softmax()(x)), True),
        (keras.layers.ReLU(), False),
    ],
)
def test_logits_and_probabilities_are_told_apart(last, probabilities):
    inputs = keras.Input((4,))
    model = keras.Model(inputs, last(keras.layers.Dense(3)(inputs)))
    outputs = model.predict(np.random.default_rng(0).normal(size=(20, 4)), verbose=0)
    assert gives_probabilities(model, outputs) is probabilities
