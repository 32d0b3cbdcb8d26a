"""What all networks share: arguments, classifier and pooling, weights files, preprocessing, names, errors."""

import importlib
import inspect
import re

import keras
import numpy as np
import pytest
import tensorflow as tf

from bitat_tf import applications
from bitat_tf.applications import preprocess_input
from bitat_tf.layers import binary_layers
from bitat_tf.regularizers import DisentangledRegularizer

BINARY = ["ReActNetA", "ReActNet18", "BiRealNet18", "BiRealNet34", "RealToBinNet18", "MeliusNet22", "QuickNet"]
FLOAT = ["MobileNetV1", "MobileNetV2"]
SHAPE = (32, 32, 3)
# A binary one and a float one: the others take their arguments in the same way.
QUICK = ("BiRealNet18", "MobileNetV1")
NETWORKS = [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in BINARY + FLOAT]


def pixels(count=3, shape=SHAPE):
    return np.random.default_rng(0).uniform(0, 255, (count, *shape)).astype(np.float32)


def build(network, /, **arguments):
    return getattr(applications, network)(**{"input_shape": SHAPE, "classes": 5, "width": 0.125, **arguments})


@pytest.mark.parametrize("name", BINARY + FLOAT)
def test_signatures_are_the_same(name):
    parameters = inspect.signature(getattr(applications, name)).parameters
    defaults = {
        "input_shape": (224, 224, 3),
        "classes": 1000,
        "weights": None,
        "width": 1.0,
        "include_top": True,
        "pooling": None,
        "include_preprocessing": True,
        "classifier_activation": None,
        "disentangled_regularizer": None,
        "name": name.lower() if name != "ReActNetA" else "reactnet_a",
    }
    if name in FLOAT:
        del defaults["disentangled_regularizer"]
    assert {key: parameter.default for key, parameter in parameters.items()} == defaults
    assert list(parameters) == list(defaults)


@pytest.mark.parametrize("name", NETWORKS)
def test_classifier_pooling_weights_file_and_preprocessing(name, tmp_path):
    x = pixels()
    top = build(name, classifier_activation="softmax", name="mine")
    assert (top.name, top.output_shape) == ("mine", (None, 5))
    np.testing.assert_allclose(np.sum(top(x), axis=1), 1, atol=1e-5)

    # Without it: what it pools.
    feature_map = keras.Model(top.input, top.get_layer("pool").input)
    maps = feature_map(x).numpy()
    *weights, kernel, bias = top.get_weights()
    np.testing.assert_allclose(tf.nn.softmax(maps.mean((1, 2)) @ kernel + bias), top(x), atol=1e-4)
    average = build(name, include_top=False, pooling="avg")
    average.set_weights(weights)
    np.testing.assert_allclose(average(x), maps.mean((1, 2)), atol=1e-4)

    # Weights of the same network from a file.
    average.save_weights(tmp_path / "w.weights.h5")
    path = tmp_path / "w.weights.h5"
    maximum = build(name, include_top=False, pooling="max", weights=path, include_preprocessing=False)
    np.testing.assert_allclose(maximum(preprocess_input(x)), maps.max((1, 2)), atol=1e-3)

    # Explicit names: a second network of the process has them too, and the classifier's are the same everywhere.
    names = [layer.name for layer in top.layers]
    assert [layer.name for layer in average.layers] == names[:-1]
    assert names[-2:] == ["pool", "logits"]
    assert [layer.name for layer in maximum.layers] == [name for name in names[:-1] if name != "rescaling"]
    assert not [
        name for name in names if re.fullmatch(r"(\w*conv2d|batch_normalization|add|re_lu|concatenate|input)(_\d+)?", name)
    ]


@pytest.mark.parametrize("name", NETWORKS)
def test_odd_pictures_of_one_channel(name):
    model = build(name, input_shape=(45, 96, 1), include_top=False)
    # Up to 96 pixels the stem keeps the size; what comes after it halves the picture 3 or 4 times: 45, 23, 12, 6, 3. Two
    # networks drop the odd pixel, QuickNet by its pooling, MobileNetV1 by its padding: 45, 22, 11, 5, 2.
    assert first_convolution(model).output.shape[1:3] == (45, 96)
    sides = {"ReActNetA": (3, 6), "MobileNetV2": (3, 6), "MobileNetV1": (2, 6), "QuickNet": (5, 12)}
    assert model(pixels(2, (45, 96, 1))).shape[1:3] == sides.get(name, (6, 12))


@pytest.mark.parametrize("name", NETWORKS)
def test_stem_reduces_larger_pictures(name):
    given = DisentangledRegularizer(num_groups=16, residual=False)
    model = build(
        name, input_shape=(48, 97, 3), include_top=False, **({"disentangled_regularizer": given} if name in BINARY else {})
    )
    assert first_convolution(model).output.shape[1:3] == (24, 49)
    names = [layer.name for layer in model.layers]
    assert ("stem_pool" in names) == (name not in ("ReActNetA", "QuickNet", *FLOAT))
    # A regularizer holds the statistics of one layer: each has a copy.
    own = [layer.disentangled_regularizer for layer in binary_layers(model)]
    assert len({id(regularizer) for regularizer in [given, *own]}) == len(own) + 1
    assert all(regularizer.get_config() == given.get_config() for regularizer in own)
    assert given.state is None


def first_convolution(model):
    return next(layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D))


def test_preprocess_input():
    x = np.array([[0, 51, 255]], np.uint8)
    np.testing.assert_allclose(preprocess_input(x), [[-1, -0.6, 1]], atol=1e-6)
    assert preprocess_input(x).dtype == np.float32
    assert x.dtype == np.uint8  # stays as it is
    scaled = preprocess_input(tf.constant(x))
    assert tf.is_tensor(scaled)
    np.testing.assert_allclose(scaled, preprocess_input(x), atol=1e-6)
    # Keras' networks that want [-1, 1] scale in the same way.
    np.testing.assert_allclose(
        keras.applications.mobilenet_v2.preprocess_input(pixels()), preprocess_input(pixels()), atol=1e-6
    )


@pytest.mark.parametrize("module", ["birealnet", "meliusnet", "mobilenet", "quicknet", "reactnet", "realtobinnet"])
def test_every_module_has_preprocess_input(module):
    assert importlib.import_module(f"bitat_tf.applications.{module}").preprocess_input is preprocess_input


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"width": 0}, r": `width` must be a finite number >=? [\d.]+. Received: width=0"),
        ({"width": float("nan")}, "Received: width=nan"),
        ({"classes": 1}, ": `classes` must be a finite number >= 2. Received: classes=1"),
        ({"pooling": "mean"}, ": `pooling` must be one of None, 'avg', 'max'. Received: pooling='mean'"),
        ({"input_shape": (None, None, 3)}, r"with known sizes.*Received: input_shape=\(None, None, 3\)"),
        ({"input_shape": (32, 32)}, r"must be \(height, width, channels\)"),
        ({"weights": "imagenet"}, ": `weights` must be None or the path of a weights file. Received: 'imagenet'"),
        ({"input_shape": (4, 4, 3)}, "[Uu]se larger pictures"),
    ],
)
@pytest.mark.parametrize("name", BINARY + FLOAT)
def test_bad_arguments(name, arguments, message):
    with pytest.raises(ValueError, match=message) as error:
        build(name, **arguments)
    assert str(error.value).startswith("ReActNet" if name == "ReActNetA" else f"{name}:")


def test_a_mobilenet_without_filters_is_an_error():
    with pytest.raises(ValueError, match=r"MobileNetV1: `width` must be a finite number >= 0.03125. Received: width=0.03"):
        build("MobileNetV1", width=0.03)
