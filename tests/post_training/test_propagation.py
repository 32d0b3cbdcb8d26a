"""Data through two copies of a network: against the networks' own outputs."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from bitat_tf.layers import BinaryLayer
from bitat_tf.model_graph import layer_uses
from bitat_tf.post_training.propagation import Flow, propagate


def chain(make_network):
    return make_network()


def branches(make_network):
    """A shortcut, a tensor used twice by one layer, an operator, a second output."""
    inputs = keras.Input((7, 7, 2))
    x = keras.layers.Conv2D(4, 3, padding="same")(inputs)
    y = keras.layers.BatchNormalization()(x)
    z = keras.layers.Concatenate()([y, y])
    z = keras.layers.Conv2D(4, 1)(z) + x * 0.5
    return keras.Model(inputs, [keras.layers.Add()([z, y]), keras.layers.Flatten()(x)])


def nested(make_network):
    inputs = keras.Input((7, 7, 2))
    inner = branches(make_network)
    first, second = inner(inputs)
    rest = keras.Sequential([keras.layers.ReLU(), keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(3)])
    return keras.Model(inputs, [rest(first), second])


@pytest.mark.parametrize("build", [chain, branches, nested])
def test_it_gives_what_both_networks_give(build, make_network, images):
    float_model = build(make_network)
    model = keras.models.clone_model(float_model)
    weights = [np.random.default_rng(0).normal(size=w.shape) for w in float_model.get_weights()]
    float_model.set_weights([w if w.dtype == bool else abs(r) for w, r in zip(float_model.get_weights(), weights, strict=True)])
    model.set_weights(float_model.get_weights())
    batches = [tf.constant(part) for part in np.split(images[0], [16, 40])]

    def change(layer, float_layer, flow):
        if isinstance(layer, BinaryLayer):
            layer.set_binary()
        assert layer.name == float_layer.name
        assert layer is not float_layer

    outputs = propagate(model, float_model, [Flow(batches, batches)], change)
    for which, network in (("real", float_model), ("current", model)):
        expected = keras.tree.flatten(network(images[0], training=False))
        for flow, tensor in zip(outputs, expected, strict=True):
            np.testing.assert_allclose(tf.concat(getattr(flow, which), 0), tensor, rtol=1e-4, atol=1e-5)
    assert outputs[0].changed == (build is chain)  # the same tensors are not computed twice


def test_a_layer_is_visited_before_it_runs_with_what_the_layers_below_give_now(make_network, images):
    float_model = make_network()
    model = keras.models.clone_model(float_model)
    model.set_weights(float_model.get_weights())
    seen = {}

    def visit(layer, float_layer, flow):
        seen[layer.name] = tf.concat(flow.current, 0).numpy()
        if isinstance(layer, BinaryLayer):
            layer.set_binary()

    batches = [tf.constant(images[0])]
    propagate(model, float_model, [Flow(batches, batches)], visit)
    for name in ("binary_2", "bn_3"):  # the network below is final when they are reached
        expected = keras.Model(model.input, model.get_layer(name).input)(images[0], training=False)
        np.testing.assert_allclose(seen[name], expected, rtol=1e-4, atol=1e-5)
    assert list(seen) == [layer.name for layer in model.layers[1:]]


def test_layer_uses_counts_every_call():
    shared = keras.layers.Dense(4, name="shared")
    inputs = keras.Input((4,))
    inner = keras.Sequential([keras.Input((4,)), shared], name="inner")
    model = keras.Model(inputs, inner(keras.layers.ReLU(name="relu")(shared(inner(inputs)))))
    assert layer_uses(model) == {"shared": 3, "relu": 1}
