"""`binarize`: the outputs of the float model, the layers that were asked for, and the reasons for all others."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from bitat_tf import binarize, binarize_post_training, check, plan_binarization
from bitat_tf.callbacks import Schedule, SequentialBinarization
from bitat_tf.conversion.replacement import full_kernel
from bitat_tf.export import to_tflite
from bitat_tf.layers import BinaryConv2D, BinaryDense, RPReLU, binary_layers
from bitat_tf.model_graph import CallGraph
from bitat_tf.regularizers import DisentangledRegularizer

L = keras.layers


def convolutional(activation="relu"):
    return keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            L.Conv2D(8, 3, padding="same", name="first"),
            L.ReLU(name="relu"),
            L.Conv2D(8, 3, padding="same", activation=activation, kernel_regularizer="l2", name="block_conv"),
            L.BatchNormalization(name="block_bn"),
            L.DepthwiseConv2D(3, padding="same", depth_multiplier=2, name="depthwise"),
            L.Conv2D(16, 1, name="pointwise"),
            L.Flatten(name="flatten"),
            L.Dense(8, activation="relu", name="dense"),
            L.Dense(4, activation="softmax", name="last"),
        ],
        name="net",
    )


def pictures(model, count=4, seed=0):
    shape = model.input_shape[1:]
    return np.random.default_rng(seed).normal(size=(count, *shape)).astype(np.float32)


def names(model):
    return [layer.name for layer in binary_layers(model)]


def same_outputs(model, other, x=None):
    x = pictures(model) if x is None else x
    for expected, found in zip(keras.tree.flatten(model(x)), keras.tree.flatten(other(x)), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_a_trained_network_keeps_its_outputs_and_is_not_changed():
    model = convolutional()
    before = model.get_weights()
    binary = binarize(model, verbose=0)
    assert names(binary) == ["block_conv", "pointwise", "dense"]
    same_outputs(model, binary)
    assert [layer.name for layer in binary.layers[1:]] == [layer.name for layer in model.layers]
    assert {layer.state for layer in binary_layers(binary)} == {"float"}
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
    # A copy: training the one does not touch the other.
    binary.get_layer("first").kernel.assign(binary.get_layer("first").kernel.numpy() + 1)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
    assert isinstance(binary.get_layer("block_conv").kernel_regularizer, keras.regularizers.L2)
    assert binary.name == "net"
    assert not binary.compiled


@pytest.mark.parametrize(
    ("skip", "expected"),
    [
        ("block_conv", ["pointwise", "dense"]),
        ("*e", ["block_conv"]),  # pointwise, dense, depthwise
        (lambda layer: isinstance(layer, L.Dense), ["block_conv", "pointwise"]),
        (["block_*", lambda layer: layer.name == "dense"], ["pointwise"]),
        ([], ["block_conv", "pointwise", "dense"]),
    ],
)
def test_skip(skip, expected):
    model = convolutional()
    binary = binarize(model, skip, verbose=0)
    assert names(binary) == expected
    same_outputs(model, binary)


def test_first_and_last():
    model = convolutional()
    binary = binarize(model, first_and_last=True, verbose=0)
    assert names(binary) == ["first", "block_conv", "pointwise", "dense", "last"]
    same_outputs(model, binary)


def test_the_plan_lists_every_layer_with_reason_and_cure():
    plan = plan_binarization(convolutional(), skip="dense")
    assert [(layer.layer, layer.action) for layer in plan.layers] == [
        ("first", "float"), ("block_conv", "binary"), ("depthwise", "float"), ("pointwise", "binary"), ("dense", "float"),
        ("last", "float"),
    ]  # fmt: skip
    reasons = {layer.layer: (layer.reason, layer.cure) for layer in plan.kept_float}
    assert reasons["dense"][0] == "skipped, as you asked"
    assert "the first layer of the network" in reasons["first"][0]
    assert "first_and_last=True" in reasons["last"][1]
    assert reasons["depthwise"] == (
        "a depthwise convolution has no binary kernel on the device",
        "Pass depthwise='expand' to binarize, for a full convolution.",
    )
    text = str(plan)
    assert "net: 2 layers can become binary, 4 stay float" in text
    assert all(layer.layer in text for layer in plan.kept_float)
    assert json.loads(json.dumps(plan.to_dicts()))[1] == {
        "layer": "block_conv", "kind": "Conv2D", "action": "binary", "reason": "", "cure": "", "shortcut": "", "argument": None,
    }  # fmt: skip
    named = {layer.layer: layer.argument and (layer.argument.name, layer.argument.value) for layer in plan.layers}
    assert named["first"] == named["last"] == ("first_and_last", True)
    assert named["depthwise"] == ("depthwise", "expand")
    assert named["dense"] is named["pointwise"] is None


def test_the_layers_that_stay_float_are_printed(capsys):
    binarize(convolutional())
    assert "3 layers can become binary, 3 stay float" in capsys.readouterr().out
    binarize(convolutional(), verbose=0)
    assert capsys.readouterr().out == ""


ODD = {
    "transposed": (lambda: L.Conv2DTranspose(4, 3, padding="same"), "transposed convolution", "UpSampling2D"),
    "groups of few channels": (lambda: L.Conv2D(8, 3, groups=2), "its groups have 4 channels", "groups=1"),
    "separable": (lambda: L.SeparableConv2D(4, 3), "a separable convolution is a depthwise one", "expand"),
    "time distributed": (lambda: L.TimeDistributed(L.Dense(3)), "inside a TimeDistributed", "Conv2D and Dense"),
    "subclass": (lambda: Own(4, 3), "Own is a layer of its own kind", "BinaryConv2D"),
    "another type": (lambda: L.Conv2D(4, 3, dtype="float64"), "computes in float64", "float32"),
}


@keras.saving.register_keras_serializable(package="tests")
class Own(L.Conv2D):
    """A layer that could compute anything."""


@pytest.mark.parametrize("case", ODD)
def test_layers_that_stay_float(case):
    layer, reason, cure = ODD[case]
    inputs = keras.Input((8, 8, 3))
    x = L.Conv2D(8, 1, name="first")(inputs)
    x = L.Conv2D(8, 1, name="binary")(x)
    odd = layer()
    x = L.Dense(4, name="last")(L.Flatten()(odd(x)))
    model = keras.Model(inputs, x)
    binary = binarize(model, verbose=0)
    assert names(binary) == ["binary"]
    same_outputs(model, binary)
    (entry,) = [entry for entry in plan_binarization(model).kept_float if entry.layer == odd.name]
    assert reason in entry.reason
    assert cure in entry.cure


@pytest.mark.parametrize("kind", [L.Conv1D, L.SeparableConv1D, L.Conv3D, L.LSTM])
def test_other_dimensions_and_recurrent_layers_stay_float(kind):
    shape = {L.Conv3D: (4, 4, 4, 2)}.get(kind, (8, 3))
    layer = kind(4) if kind is L.LSTM else kind(4, 2)
    inputs = keras.Input(shape)
    x = L.Dense(4, name="middle")(L.Dense(4)(L.Flatten()(layer(inputs))))
    model = keras.Model(inputs, L.Dense(2)(x))
    binary = binarize(model, verbose=0)
    assert "middle" in names(binary)
    assert layer.name in [entry.layer for entry in plan_binarization(model).kept_float]
    same_outputs(model, binary)


def test_groups_of_32_channels_become_binary():
    model = keras.Sequential(
        [keras.Input((4, 4, 64)), L.Conv2D(64, 1), L.Conv2D(64, 3, groups=2, name="grouped"), L.Conv2D(2, 1)]
    )
    binary = binarize(model, verbose=0)
    assert names(binary) == ["grouped"]
    same_outputs(model, binary)


def test_expanded_depthwise_convolutions_compute_the_same():
    model = convolutional()
    binary = binarize(model, depthwise="expand", verbose=0)
    assert names(binary) == ["block_conv", "depthwise", "pointwise", "dense"]
    same_outputs(model, binary)
    layer = binary.get_layer("depthwise")
    assert (layer.filters, tuple(layer.kernel.shape)) == (16, (3, 3, 8, 16))


def test_the_full_kernel_of_a_depthwise_one():
    # Written out by hand: output channel c * multiplier + q sees input channel c alone.
    depthwise = np.random.default_rng(0).normal(size=(3, 3, 4, 2))
    full = full_kernel(depthwise)
    for channel in range(4):
        for other in range(4):
            for number in range(2):
                expected = depthwise[:, :, channel, number] if other == channel else np.zeros((3, 3))
                np.testing.assert_array_equal(full[:, :, other, channel * 2 + number], expected)


@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize("strides", [1, 2])
def test_expanded_separable_convolutions(use_bias, strides):
    separable = L.SeparableConv2D(
        6, 3, strides, padding="same", depth_multiplier=2, activation="relu", use_bias=use_bias, name="separable"
    )
    model = keras.Sequential([keras.Input((8, 8, 3)), L.Conv2D(4, 1), separable, L.Conv2D(2, 1)])
    if use_bias:
        separable.bias.assign(np.arange(6.0) - 3)
    binary = binarize(model, depthwise="expand", verbose=0)
    assert names(binary) == ["separable_depthwise", "separable"]
    same_outputs(model, binary)


RELUS = {
    "layer": L.ReLU,
    "activation": lambda: L.Activation("relu"),
    "function of TensorFlow": lambda: L.Activation(tf.nn.relu),
    "operator": lambda: keras.ops.relu,
    "operator with its argument named": lambda: lambda x: keras.ops.relu(x=x),
    "function of Keras": lambda: keras.activations.relu,
}


@pytest.mark.parametrize("kind", RELUS)
def test_rprelu_starts_as_the_relu_before_a_binary_layer(kind):
    inputs = keras.Input((8, 8, 3))
    x = L.MaxPooling2D()(RELUS[kind]()(L.Conv2D(8, 3)(inputs)))
    x = L.ReLU()(L.Conv2D(8, 1, activation="relu", name="binary")(x))
    model = keras.Model(inputs, L.Conv2D(4, 1)(x))
    binary = binarize(model, activation="rprelu", verbose=0)
    # After the binary layer no other one comes: its own ReLU and the one above it stay.
    (rprelu,) = [layer for layer in binary.layers if isinstance(layer, RPReLU)]
    assert rprelu.name == CallGraph(model).calls[1].layer.name
    np.testing.assert_array_equal(rprelu.prelu.alpha, np.zeros((1, 1, 8)))
    same_outputs(model, binary)


def test_activations_inside_of_layers_become_rprelu():
    layers = [L.Conv2D(8, 3, activation="relu", name="first"), L.Conv2D(8, 1, activation="relu", name="one")]
    layers += [L.BatchNormalization(), L.Conv2D(8, 1, activation="tanh", name="two"), L.Conv2D(8, 1, name="three"), L.ReLU(6.0)]
    model = keras.Sequential([keras.Input((8, 8, 3)), *layers, L.Conv2D(8, 1, name="four"), L.Conv2D(4, 1)])
    binary = binarize(model, activation="rprelu", verbose=0)
    # tanh is no ReLU, and ReLU6 no RPReLU.
    assert [layer.name for layer in binary.layers if isinstance(layer, RPReLU)] == ["first_rprelu", "one_rprelu"]
    assert binary.get_layer("first").activation is keras.activations.linear
    same_outputs(model, binary)


def test_shared_relus_get_slopes_for_every_place():
    inputs = keras.Input((8, 8, 3))
    relu = L.ReLU(name="relu")
    x = relu(L.Conv2D(4, 1)(inputs))
    x = relu(L.Conv2D(6, 1)(x))
    model = keras.Model(inputs, L.Conv2D(2, 1)(L.Conv2D(5, 1)(x)))
    binary = binarize(model, activation="rprelu", verbose=0)
    slopes = {layer.name: layer.prelu.alpha.shape[-1] for layer in binary.layers if isinstance(layer, RPReLU)}
    assert slopes == {"relu": 4, "relu_2": 6}
    same_outputs(model, binary)


def test_shortcuts_add_the_input_as_in_bi_real_net():
    inputs = keras.Input((8, 8, 3))
    x = L.Conv2D(4, 1, name="first")(inputs)
    x = L.BatchNormalization(name="bn_1")(L.Conv2D(4, 3, padding="same", name="same")(x))
    x = L.BatchNormalization(name="bn_2")(L.Conv2D(8, 3, strides=2, padding="same", name="wider")(x))
    x = L.Conv2D(6, 1, name="narrower")(x)
    model = keras.Model(inputs, L.Conv2D(2, 1, name="last")(x))
    binary = binarize(model, shortcuts=True, verbose=0)
    found = {entry.layer: entry.shortcut for entry in plan_binarization(model, shortcuts=True).binary}
    assert found == {
        "same": "identity",
        "wider": "average pooling, its input 2 times",
        "narrower": "none: 8 channels become 6",
    }
    # The formula, by hand, from the float layers of the original.
    layer = model.get_layer
    first = layer("first")(pictures(model))
    one = layer("bn_1")(layer("same")(first)) + first
    pooled = tf.nn.avg_pool2d(one, 2, 2, "SAME")
    two = layer("bn_2")(layer("wider")(one)) + tf.concat([pooled, pooled], axis=-1)
    expected = layer("last")(layer("narrower")(two))
    np.testing.assert_allclose(binary(pictures(model)), expected, rtol=1e-4, atol=1e-5)


def test_a_shortcut_that_is_there_is_not_added_again():
    inputs = keras.Input((8, 8, 3))
    x = L.Conv2D(4, 1)(inputs)
    y = L.BatchNormalization()(L.Conv2D(4, 3, padding="same", name="conv")(x))
    model = keras.Model(inputs, L.Conv2D(2, 1)(L.Add()([x, y])))
    (entry,) = plan_binarization(model, shortcuts=True).binary
    assert entry.shortcut == "none: there is one already"
    same_outputs(model, binarize(model, shortcuts=True, verbose=0))


def two_inputs():
    first, second = keras.Input((8, 8, 3), name="first_input"), keras.Input((8, 8, 3), name="second_input")
    inner_input = keras.Input((8, 8, 4))
    inner_conv = L.Conv2D(4, 3, padding="same", name="inner_conv")(inner_input)
    inner = keras.Model(inner_input, [L.ReLU()(inner_conv), L.MaxPooling2D()(inner_conv)], name="inner")
    stem = L.Conv2D(4, 1, name="stem")
    shared = L.Conv2D(4, 3, padding="same", name="shared")
    a, small = inner(shared(stem(first)))
    b = shared(stem(second))
    joined = L.Concatenate()([a, b * 2.0 + 1.0])
    out = L.Dense(3, name="out")(L.Dense(8, name="dense")(L.Flatten()(joined)))
    return keras.Model({"one": first, "two": second}, {"classes": out, "map": L.Conv2D(2, 1, name="map")(small)})


def test_nested_models_shared_layers_several_inputs_and_outputs_and_operators():
    model = two_inputs()
    x = {name: np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype(np.float32) for name in ("one", "two")}
    binary = binarize(model, verbose=0)
    assert sorted(names(binary)) == ["dense", "inner_conv", "shared"]
    expected, found = model(x), binary(x)
    assert list(found) == ["classes", "map"]
    for name in expected:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-4, atol=1e-5)
    shared = binary.get_layer("shared")
    assert sum(call.layer is shared for call in CallGraph(binary).calls) == 2
    assert check(binary).binary_layers.count("shared") == 2


def test_a_nested_model_that_is_called_twice_stays_shared():
    inner = keras.Sequential([keras.Input((8, 8, 4)), L.Conv2D(4, 3, padding="same", name="conv"), L.ReLU()], name="inner")
    inputs = keras.Input((8, 8, 3))
    model = keras.Model(inputs, L.Conv2D(2, 1)(inner(inner(L.Conv2D(4, 1)(inputs)))))
    binary = binarize(model, activation="rprelu", verbose=0)
    assert names(binary) == ["conv"]
    assert [call.path for call in CallGraph(binary).calls].count("inner/conv") == 2
    same_outputs(model, binary)


def test_state_that_follows_from_weights_is_carried_over():
    normalization = L.Normalization(name="normalization")
    normalization.adapt(np.random.default_rng(0).normal(3, 5, (50, 8, 8, 3)).astype(np.float32))
    model = keras.Sequential([keras.Input((8, 8, 3)), normalization, L.Conv2D(4, 1), L.Conv2D(4, 1), L.Conv2D(2, 1)])
    same_outputs(model, binarize(model, verbose=0))


def test_python_lambdas_are_carried_over():
    model = keras.Sequential(
        [keras.Input((8, 8, 3)), L.Conv2D(4, 1), L.Lambda(lambda x: x * 2), L.Conv2D(4, 1), L.Conv2D(2, 1)]
    )
    same_outputs(model, binarize(model, verbose=0))


def test_every_layer_gets_a_copy_of_the_regularizer():
    given = DisentangledRegularizer(num_groups=7)
    own = [
        layer.disentangled_regularizer
        for layer in binary_layers(binarize(convolutional(), disentangled_regularizer=given, verbose=0))
    ]
    assert [regularizer.num_groups for regularizer in own] == [7, 7, 7]
    assert len({id(regularizer) for regularizer in [given, *own]}) == 4


class NoConfig(L.Layer):
    """A layer that cannot be made again."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def call(self, inputs):
        return self.function(inputs)


class Subclassed(keras.Model):
    """A model without a graph."""

    def __init__(self):
        super().__init__()
        self.dense = L.Dense(2)

    def call(self, inputs):
        return self.dense(inputs)


def test_models_that_cannot_be_converted():
    with pytest.raises(TypeError, match="binarize: expected a keras.Model. Received: 3"):
        binarize(3)
    model = Subclassed()
    model(tf.zeros((1, 3)))
    with pytest.raises(ValueError, match="must be functional or sequential. Received: a subclassed one, Subclassed"):
        binarize(model)
    with pytest.raises(ValueError, match="has no weights yet"):
        binarize(keras.Sequential([L.Dense(3)]))
    middle = [NoConfig(keras.ops.abs), L.Conv2D(4, 1)]
    with pytest.raises(ValueError, match="layer 'no_config' of type NoConfig cannot be copied from its configuration"):
        binarize(keras.Sequential([keras.Input((8, 8, 3)), L.Conv2D(4, 1), *middle, L.Conv2D(2, 1)]), verbose=0)
    with pytest.raises(ValueError, match="no layer of model 'small' can be made binary.*a: the first layer .*b: the last"):
        binarize(keras.Sequential([keras.Input((3,)), L.Dense(3, name="a"), L.Dense(3, name="b")], name="small"))
    with pytest.raises(ValueError, match="no layer of model 'none' can be made binary. Received: no layer with a kernel"):
        binarize(keras.Sequential([keras.Input((3,)), L.BatchNormalization()], name="none"))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"skip": "blok_*"}, ValueError, "no convolution or dense layer of the model has: 'blok_[*]'.*first, block_conv"),
        ({"skip": [3]}, TypeError, "`skip` must be a name or pattern, a function of a layer, or a list of those. Received: 3"),
        ({"momentum": 1.5}, ValueError, "`momentum` must be a finite number >= 0 and <= 1. Received: momentum=1.5"),
        ({"activation": "prelu"}, ValueError, "`activation` must be one of 'keep', 'rprelu'. Received: activation='prelu'"),
        ({"depthwise": "full"}, ValueError, "`depthwise` must be one of 'keep', 'expand'. Received: depthwise='full'"),
    ],
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        binarize(convolutional(), verbose=0, **arguments)


def test_layers_that_are_binary_already_are_taken_over():
    layers = [L.Conv2D(8, 1), BinaryConv2D(8, 1, name="ours"), L.Conv2D(8, 1, name="new"), L.Conv2D(2, 1)]
    model = keras.Sequential([keras.Input((8, 8, 3)), *layers])
    model.get_layer("ours").set_binary()
    binary = binarize(model, verbose=0)
    assert [(layer.name, layer.state) for layer in binary_layers(binary)] == [("ours", "binary"), ("new", "float")]
    same_outputs(model, binary)


def test_from_a_float_network_to_a_verified_file(tmp_path):
    """The whole way of a user: train in float, binarize, train with the schedule, save, load, export."""
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 4, 64)
    x = (generator.normal(size=(64, 8, 8, 3)) + labels[:, None, None, None]).astype(np.float32)
    model = convolutional()
    loss = keras.losses.SparseCategoricalCrossentropy()
    model.compile("adam", loss, metrics=["accuracy"])
    model.fit(x, labels, epochs=2, verbose=0)
    binary = binarize(model, activation="rprelu", depthwise="expand", verbose=0)
    np.testing.assert_allclose(binary.predict(x, verbose=0), model.predict(x, verbose=0), atol=1e-5)
    binary.compile(keras.optimizers.Adam(1e-3), loss, metrics=["accuracy"])
    bitat = SequentialBinarization(x, Schedule(0.5, 0.5, 1), verbose=0)
    binary.fit(x, labels, batch_size=16, epochs=bitat.total_epochs(binary), callbacks=[bitat], verbose=0)
    assert {layer.state for layer in binary_layers(binary)} == {"binary"}
    binary.save(tmp_path / "binary.keras")
    loaded = keras.models.load_model(tmp_path / "binary.keras")
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), binary.predict(x, verbose=0))
    report = to_tflite(loaded, tmp_path / "model.tflite", x, labels, minimum_agreement=0.5)
    assert report.fused_binary == report.expected_binary == len(check(loaded).binary_layers) == 4


def test_without_training(tmp_path):
    model = convolutional()
    x = pictures(model, 64)
    binary = binarize_post_training(binarize(model, verbose=0), x, verbose=0)
    assert [type(layer) for layer in binary_layers(binary)] == [BinaryConv2D, BinaryConv2D, BinaryDense]
    assert {layer.state for layer in binary_layers(binary)} == {"binary"}
    assert np.isfinite(binary.predict(x, verbose=0)).all()


def small(*middle, shape=(8, 8, 3), end=None):
    return keras.Sequential([keras.Input(shape), L.Conv2D(4, 1, name="first"), *middle, end or L.Conv2D(2, 1, name="last")])


def test_what_is_frozen_inside_of_a_layer_keeps_its_weights_and_stays_frozen():
    inputs = keras.Input((6, 4))
    bidirectional = L.Bidirectional(L.LSTM(4), name="both")
    x = bidirectional(inputs)
    bidirectional.forward_layer.trainable = False
    model = keras.Model(inputs, L.Dense(2)(L.Dense(4)(L.Dense(4)(x))))
    binary = binarize(model, verbose=0)
    same_outputs(model, binary)
    assert not binary.get_layer("both").forward_layer.trainable
    assert binary.get_layer("both").backward_layer.trainable


def test_activation_functions_of_the_users_own():
    model = small(L.Conv2D(4, 3, activation=lambda x: x * keras.ops.sigmoid(1.7 * x)), L.Conv2D(4, 1, name="plain"))
    model = keras.Sequential([keras.Input((8, 8, 3)), L.Conv2D(4, 1, activation=lambda x: x + 1), *model.layers[1:]])
    same_outputs(model, binarize(model, verbose=0))


def test_rprelu_passes_masks_on():
    inputs = keras.Input((6,))
    x = L.Dense(4, activation="relu")(L.Embedding(10, 4, mask_zero=True)(inputs))
    x = L.GlobalAveragePooling1D()(L.ReLU()(L.Dense(4)(x)))
    model = keras.Model(inputs, L.Dense(2)(L.Dense(4)(x)))
    x = np.array([[1, 2, 3, 0, 0, 0], [4, 5, 0, 0, 0, 0]])
    same_outputs(model, binarize(model, activation="rprelu", verbose=0), x)


class ShiftedReLU(L.ReLU):
    """A ReLU that is none."""

    def call(self, inputs):
        return super().call(inputs) + 1


def test_subclasses_of_relu_are_left_alone():
    model = small(ShiftedReLU(), L.Conv2D(4, 1))
    binary = binarize(model, activation="rprelu", verbose=0)
    assert not any(isinstance(layer, RPReLU) for layer in binary.layers)
    same_outputs(model, binary)


class Doubled(keras.Model):
    """A functional model with a `call` of its own."""

    def call(self, inputs, training=None, mask=None):
        return 2 * super().call(inputs, training, mask)


def test_functional_models_with_a_call_of_their_own_are_not_looked_into():
    inputs = keras.Input((8, 8, 4))
    own = Doubled(inputs, L.Conv2D(4, 1, name="inside")(inputs))
    with pytest.raises(ValueError, match="Received: a subclassed one, Doubled"):
        binarize(own)


def test_binary_layers_of_one_name_in_nested_models_get_names_of_their_own():
    def tower(name):
        return keras.Sequential([keras.Input((8, 8, 4)), L.Conv2D(4, 1, name="conv")], name=name)

    inputs = keras.Input((8, 8, 3))
    model = keras.Model(inputs, L.Conv2D(2, 1)(tower("b")(tower("a")(L.Conv2D(4, 1)(inputs)))))
    binary = binarize(model, verbose=0)
    assert names(binary) == ["conv", "conv_2"]
    same_outputs(model, binary)
    assert SequentialBinarization(pictures(model)).total_epochs(binary) > 0


def test_new_layers_get_names_that_are_free():
    layers = [L.SeparableConv2D(4, 3, padding="same", name="x"), L.BatchNormalization(name="x_depthwise")]
    layers += [L.Conv2D(4, 3, padding="same", name="conv"), L.BatchNormalization(name="bn"), L.ReLU(name="bn_shortcut")]
    model = small(*layers)
    same_outputs(model, binarize(model, depthwise="expand", verbose=0))
    found = [layer.name for layer in binarize(model, depthwise="expand", shortcuts=True, verbose=0).layers]
    assert {"x_depthwise", "x_depthwise_2", "bn_shortcut", "bn_shortcut_2"} <= set(found)
    assert "conv_shortcut" in [
        layer.name for layer in binarize(small(L.Conv2D(4, 1, name="conv")), shortcuts=True, verbose=0).layers
    ]


def test_shortcuts_where_the_normalization_comes_first_and_the_model_twice():
    inner = [keras.Input((8, 8, 4)), L.BatchNormalization(name="bn"), L.Conv2D(4, 3, padding="same", name="conv")]
    block = keras.Sequential(inner, name="block")
    inputs = keras.Input((8, 8, 3))
    model = keras.Model(inputs, L.Conv2D(2, 1, name="last")(block(block(L.Conv2D(4, 1, name="first")(inputs)))))
    binary = binarize(model, shortcuts=True, verbose=0)
    x = model.get_layer("first")(pictures(model))
    for _ in range(2):
        normal = block.get_layer("bn")(x)
        x = block.get_layer("conv")(normal) + normal
    np.testing.assert_allclose(binary(pictures(model)), model.get_layer("last")(x), rtol=1e-4, atol=1e-5)


def test_activity_regularizers_see_what_they_saw():
    model = small(L.Conv2D(4, 1, activation="relu", activity_regularizer="l2", name="conv"), L.Conv2D(4, 1))
    binary = binarize(model, activation="rprelu", verbose=0)
    x = pictures(model)
    model(x), binary(x)
    np.testing.assert_allclose(float(binary.losses[0]), float(model.losses[0]), rtol=1e-5)


@pytest.mark.parametrize(("momentum", "expected"), [(0.9, [0.5, 0.9]), (None, [0.5, 0.99]), (0.0, [0.0, 0.0])])
def test_batch_normalizations_follow_faster(momentum, expected):
    model = small(L.BatchNormalization(momentum=0.5), L.Conv2D(4, 1), L.BatchNormalization())
    binary = binarize(model, momentum=momentum, verbose=0)
    found = [layer.momentum for layer in binary.layers if isinstance(layer, L.BatchNormalization)]
    assert found == expected
    assert [layer.momentum for layer in model.layers if isinstance(layer, L.BatchNormalization)] == [0.5, 0.99]
    same_outputs(model, binary)


def test_lambdas_keep_their_type():
    model = small(L.Lambda(lambda x: x * 2, dtype="float64", name="lambda"), L.Conv2D(4, 1, name="middle"))
    assert binarize(model, verbose=0).get_layer("lambda").compute_dtype == "float64"


def test_skip_by_any_path_of_a_shared_layer_and_only_asked_about_what_would_become_binary():
    shared = L.Conv2D(4, 1, name="shared")
    towers = [keras.Sequential([keras.Input((8, 8, 4)), shared], name=name) for name in "ab"]
    inputs = keras.Input((8, 8, 3))
    model = keras.Model(inputs, L.Conv2D(2, 1)(L.Conv2D(4, 1, name="other")(towers[1](towers[0](L.Conv2D(4, 1)(inputs))))))
    assert names(binarize(model, "b/shared", verbose=0)) == ["other"]
    asked = []
    binarize(convolutional(), lambda layer: asked.append(layer.name), verbose=0)
    assert asked == ["block_conv", "pointwise", "dense"]


@pytest.mark.parametrize("skip", [3, [L.Dense(3)], L.Dense(3), [None]])
def test_skip_of_another_kind(skip):
    with pytest.raises(TypeError, match="`skip` must be a name or pattern, a function of a layer, or a list.*Received"):
        binarize(convolutional(), skip)


def test_a_regularizer_of_another_kind():
    with pytest.raises(TypeError, match="must be a bitat_tf.regularizers.DisentangledRegularizer. Received: <"):
        binarize(convolutional(), disentangled_regularizer=keras.regularizers.L2(1.0))
