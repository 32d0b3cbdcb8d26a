"""Networks from transfer learning: what is frozen would keep binary layers from training; `training=False` does not."""

import keras
import numpy as np
import pytest

from bitat_tf import binarize, plan_binarization
from bitat_tf.layers import RPReLU, binary_layers

L = keras.layers
FROZEN = "layers that were frozen (trainable=False) are trained now, since binary weights have to find their place: "


def backbone():
    """Return a stem that stays float, and two blocks that become binary."""
    layers = [L.Conv2D(4, 3, name="stem"), L.BatchNormalization(name="stem_bn"), L.ReLU(name="stem_relu")]
    for number in (1, 2):
        layers += [L.Conv2D(4, 3, name=f"conv_{number}"), L.BatchNormalization(name=f"bn_{number}")]
    return keras.Sequential([keras.Input((8, 8, 3)), *layers, L.Dropout(0.2, name="dropout")], name="backbone")


def transferred(frozen=True):
    """Return a classifier on a frozen backbone, as Keras' guide to transfer learning builds it."""
    base, inputs = backbone(), keras.Input((8, 8, 3))
    base.trainable = not frozen
    x = L.GlobalAveragePooling2D()(base(inputs, training=False))
    return keras.Model(inputs, L.Dense(3, name="top")(x), name="transferred")


def pictures(count=16):
    return np.random.default_rng(0).normal(1, 2, (count, 8, 8, 3)).astype(np.float32)


def test_batch_normalizations_after_binary_layers_follow_the_training():
    model, x = transferred(), pictures()
    model(x, training=True)
    np.testing.assert_array_equal(model.get_layer("backbone").get_layer("bn_1").moving_mean, np.zeros(4))  # it is frozen
    binary = binarize(model, momentum=0.0, verbose=0)
    np.testing.assert_allclose(binary(x, training=False), model(x, training=False), atol=1e-5)
    binary(x, training=True)
    inner = binary.get_layer("backbone")
    stem = inner.get_layer("stem_relu")(inner.get_layer("stem_bn")(inner.get_layer("stem")(x)))
    # With momentum 0 the moving mean is that of the batch.
    expected = inner.get_layer("conv_1")(stem).numpy().mean(axis=(0, 1, 2))
    np.testing.assert_allclose(inner.get_layer("bn_1").moving_mean, expected, rtol=1e-4, atol=1e-5)
    # What lies below all binary layers gets what it always got, and stays as it is.
    np.testing.assert_array_equal(inner.get_layer("stem_bn").moving_mean, np.zeros(4))


def test_what_is_at_or_above_binary_layers_trains_and_what_is_below_does_not():
    model = transferred()
    binary = binarize(model, activation="rprelu", verbose=0)
    trained = {part for weight in binary.trainable_weights for part in weight.path.split("/")}
    assert {"conv_1", "bn_1", "conv_2", "bn_2", "top", "stem_relu"} <= trained
    assert not trained & {"stem", "stem_bn"}
    assert isinstance(binary.get_layer("backbone").get_layer("stem_relu"), RPReLU)
    assert not model.get_layer("backbone").trainable  # the model that was given is as it was
    assert not any(layer.trainable for layer in model.get_layer("backbone").layers)
    before = [layer.latent_kernel_matrix for layer in binary_layers(binary)]
    binary.compile(keras.optimizers.SGD(0.1), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    binary.fit(pictures(), np.arange(16) % 3, verbose=0)
    assert all((one != layer.latent_kernel_matrix).any() for one, layer in zip(before, binary_layers(binary), strict=True))


def test_it_is_said(capsys):
    model = transferred()
    (frozen,) = plan_binarization(model).notes
    assert frozen == FROZEN + "backbone/conv_1, backbone/bn_1, backbone/conv_2, backbone/bn_2."
    assert FROZEN in str(plan_binarization(model))
    binarize(model)
    printed = " ".join(capsys.readouterr().out.split())
    assert FROZEN in printed


def test_nothing_is_said_where_nothing_is_frozen(capsys):
    inputs = keras.Input((8, 8, 3))
    model = keras.Model(inputs, L.Dense(3)(L.GlobalAveragePooling2D()(backbone()(inputs))))
    assert plan_binarization(model).notes == ()
    model.get_layer("backbone").get_layer("stem").trainable = False  # below: it stays, and there is nothing to say
    assert plan_binarization(model).notes == ()
    assert not binarize(model, verbose=0).get_layer("backbone").get_layer("stem").trainable


def test_long_lists_are_cut():
    model = transferred()
    model.trainable = False
    assert plan_binarization(model).notes[0] == (
        FROZEN + "backbone/conv_1, backbone/bn_1, backbone/conv_2, backbone/bn_2, top."
    )
    x = inputs = keras.Input((8, 8, 3))
    for number in range(9):
        x = L.Conv2D(4, 1, name=f"conv_{number}", trainable=False)(x)
    assert plan_binarization(keras.Model(inputs, x)).notes == (FROZEN + "conv_1, conv_2, conv_3, conv_4, conv_5 and 3 more.",)


@pytest.mark.parametrize("training", [True, False])
def test_a_call_with_training_false_holds_nothing_back(training):
    """Keras 3 passes on how the model is called, whatever `training` a layer in it was called with."""
    model = transferred(frozen=False)
    assert plan_binarization(model).notes == ()
    for network in (model, binarize(model, momentum=0.0, verbose=0)):
        network(pictures(), training=training)
        assert (network.get_layer("backbone").get_layer("bn_2").moving_mean.numpy() != 0).all() == training


def test_only_the_model_itself_is_frozen():
    """Its layers were set to train after it was frozen: Keras trains none of them."""
    model = transferred(frozen=False)
    base = model.get_layer("backbone")
    base.trainable = False
    for layer in base.layers:
        layer.trainable = True
    assert plan_binarization(model).notes[0] == FROZEN + "backbone."
    binary = binarize(model, verbose=0)
    assert {"conv_1", "bn_2", "stem"} <= {part for weight in binary.trainable_weights for part in weight.path.split("/")}


def test_a_saved_network(tmp_path):
    transferred().save(tmp_path / "transferred.keras")
    model = keras.models.load_model(tmp_path / "transferred.keras")
    assert plan_binarization(model).notes[0].startswith(FROZEN + "backbone/conv_1")
    binary = binarize(model, momentum=0.0, verbose=0)
    binary.save(tmp_path / "binary.keras")
    loaded = keras.models.load_model(tmp_path / "binary.keras")
    loaded(pictures(), training=True)
    assert (loaded.get_layer("backbone").get_layer("bn_1").moving_mean.numpy() != 0).all()


def test_layers_that_are_frozen_inside_of_a_layer_stay_frozen():
    inputs = keras.Input((6, 4))
    both = L.Bidirectional(L.LSTM(4), name="both")
    model = keras.Model(inputs, L.Dense(2)(both(L.Dense(4, name="middle")(L.Dense(4)(inputs)))))
    both.forward_layer.trainable = False
    binary = binarize(model, verbose=0)
    assert not binary.get_layer("both").forward_layer.trainable
    assert binary.get_layer("both").backward_layer.trainable
