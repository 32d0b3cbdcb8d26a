"""A model built anew: the same network in everything that can be seen, but for what was replaced."""

import keras
import numpy as np
import pytest

from bitat_tf.model_graph import (
    CallGraph,
    Names,
    Substitute,
    inbound_nodes,
    is_graph,
    layers_inside,
    rebuilt,
    set_own_trainable,
)
from tests.random_networks import RandomNetwork

L = keras.layers


def outputs_of(model, x):
    return [np.asarray(output) for output in keras.tree.flatten(model(x, training=False))]


def flags(model):
    layers = [layer for layer in layers_inside(model) if not isinstance(layer, L.InputLayer)]  # of which it means nothing
    return [(layer.name, layer.trainable) for layer in [model, *layers]]


def freeze_some(model, generator):
    """Freeze layers and nested models at random, and let some within frozen models train."""
    for layer in layers_inside(model):
        if generator.random() < 0.3:
            layer.trainable = bool(generator.random() < 0.3)


@pytest.mark.parametrize("seed", range(8))
def test_a_copy_of_a_random_network_is_the_same_network(seed):
    network = RandomNetwork(seed)
    model = network.build()
    freeze_some(model, network.random)
    x = network.inputs(model)
    copy = rebuilt(model)
    for expected, found in zip(outputs_of(model, x), outputs_of(copy, x), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert [call.path for call in CallGraph(copy).calls] == [call.path for call in CallGraph(model).calls]
    # A layer that has several calls has as many in the copy.
    assert calls_of_each_layer(copy) == calls_of_each_layer(model)
    assert sorted(flags(copy)) == sorted(flags(model))
    assert {id(weight) for weight in copy.weights}.isdisjoint({id(weight) for weight in model.weights})
    trained = [{weight.path for weight in one.trainable_weights} for one in (model, copy)]
    assert trained[0] == trained[1]


def calls_of_each_layer(model):
    layers = [call.layer for call in CallGraph(model).calls]
    return [[number for number, other in enumerate(layers) if other is layer] for layer in layers]


def test_nested_models_stay_nested_and_take_pictures_of_other_sizes():
    inner_inputs = keras.Input((None, None, 3))
    inner = keras.Model(inner_inputs, L.Conv2D(3, 3, name="conv")(inner_inputs), name="inner")
    inputs = keras.Input((9, 9, 3))
    model = keras.Model(inputs, inner(inner(inputs)))
    copy = rebuilt(model)
    assert copy.output_shape == (None, 5, 5, 3)
    assert [layer.name for layer in copy.layers[1:]] == ["inner"]
    assert len(inbound_nodes(copy.layers[1])) == len(inbound_nodes(inner))


def test_structures_of_inputs_and_outputs_and_names_stay():
    first, second = keras.Input((3,), name="first"), keras.Input((3,), name="second")
    a, b = L.Dense(2, name="a")(first), L.Dense(2, name="b")(second)
    model = keras.Model({"first": first, "second": second}, {"sum": a + b, "both": [a, b]}, name="net")
    copy = rebuilt(model)
    x = {"first": np.ones((2, 3)), "second": np.zeros((2, 3))}
    keras.tree.map_structure(np.testing.assert_array_equal, copy(x), model(x))
    assert (copy.name, [tensor.name for tensor in copy.inputs]) == ("net", ["first", "second"])


def test_losses_of_layers_come_along():
    inputs = keras.Input((3,))
    x = L.ActivityRegularization(l2=0.1)(L.Dense(2, kernel_regularizer="l2")(inputs))
    model = keras.Model(inputs, x)
    copy = rebuilt(model)
    x = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    model(x), copy(x)
    np.testing.assert_allclose(sorted(map(float, copy.losses)), sorted(map(float, model.losses)), rtol=1e-6)
    assert len(copy.losses) == 2


def test_a_step_of_ones_own_comes_along():
    class Doubled(keras.Model):
        def train_step(self, data):
            return {"loss": 2.0}

    class WithArguments(Doubled):
        def __init__(self, inputs, outputs, factor, **keywords):
            super().__init__(inputs, outputs, **keywords)
            self.factor = factor

    inputs = keras.Input((3,))
    assert type(rebuilt(Doubled(inputs, L.Dense(2)(inputs)))) is Doubled
    # Nobody knows its arguments.
    assert not isinstance(rebuilt(WithArguments(inputs, L.Dense(2)(inputs), 3)), WithArguments)
    assert not isinstance(rebuilt(keras.Sequential([inputs, L.Dense(2)])), keras.Sequential)


def test_what_is_computed_in_half_precision_is_computed_in_float32():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        inner = keras.Sequential([keras.Input((4,)), L.Dense(3), L.ReLU()])
        inputs = keras.Input((4,))
        model = keras.Model(inputs, inner(inputs) * 2.0)
        copy = rebuilt(model, in_float32=True)
        assert keras.config.dtype_policy().name == "mixed_float16"  # of the user
    finally:
        keras.config.set_dtype_policy("float32")
    assert {layer.compute_dtype for layer in layers_inside(copy)} == {"float32"}
    assert {rebuilt(model).layers[1].layers[1].compute_dtype} == {"float16"}
    x = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    np.testing.assert_allclose(copy(x), model(x), atol=1e-2)


def chain():
    inner = keras.Sequential([keras.Input((4,)), L.Dense(4, name="dense"), L.ReLU(name="relu")], name="inner")
    inputs = keras.Input((4,), name="image")
    return keras.Model(inputs, L.Dense(2, name="last")(inner(inner(inputs))))


def test_every_layer_is_asked_once():
    model, asked = chain(), []
    rebuilt(model, lambda layer: asked.append(layer.name))
    assert sorted(asked) == sorted(layer.name for layer in layers_inside(model))


def test_a_layer_of_the_same_weights_in_the_place_of_another():
    model = chain()

    def with_tanh(layer):
        return L.Dense(4, "tanh", name="new") if layer.name == "dense" else None

    copy = rebuilt(model, with_tanh)
    x = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    values = x
    for _ in range(2):
        kernel, bias = model.get_layer("inner").get_layer("dense").get_weights()
        values = np.maximum(np.tanh(values @ kernel + bias), 0)
    kernel, bias = model.get_layer("last").get_weights()
    np.testing.assert_allclose(copy(x), values @ kernel + bias, rtol=1e-5, atol=1e-6)
    assert [call.path for call in CallGraph(copy).calls] == ["inner/new", "inner/relu"] * 2 + ["last"]


def test_a_substitute_makes_what_it_likes_and_takes_weights_when_all_is_built():
    model, new = chain(), []
    names = Names(layers_inside(model))

    def two_layers(layer):
        if layer.name != "dense":
            return None
        first = L.Dense(4, name="dense")
        return Substitute(
            lambda inputs: L.Activation("tanh", name=names.free("act"))(first(inputs)),
            lambda: new.append((first.built, first.set_weights(layer.get_weights()))),
        )

    copy = rebuilt(model, two_layers)
    assert new == [(True, None)]
    assert [call.path for call in CallGraph(copy).calls][:3] == ["inner/dense", "inner/act", "inner/relu"]
    np.testing.assert_array_equal(
        copy.get_layer("inner").get_layer("dense").kernel, model.get_layer("inner").get_layer("dense").kernel
    )


def test_a_substitute_of_an_input_layer_stands_before_all_others():
    model = chain()
    copy = rebuilt(model, lambda layer: Substitute(lambda inputs: inputs * 2.0) if layer.name == "image" else None)
    x = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    np.testing.assert_allclose(copy(x), model(2 * x), rtol=1e-6)
    assert [tensor.name for tensor in copy.inputs] == ["image"]


def test_calls_are_made_one_by_one():
    relu, inputs = L.ReLU(name="relu"), keras.Input((4,))
    model = keras.Model(inputs, relu(L.Dense(4, name="middle")(relu(inputs))))
    first = next(call.node for call in CallGraph(model).calls if call.layer is relu)

    def make_call(call):
        outputs = call.outputs()
        if call.node.operation.name == "middle":
            outputs = outputs + call.inputs_of(first)[0]  # around both, from before the first call of the ReLU
        return outputs

    copy = rebuilt(model, make_call=make_call)
    x = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    middle = model.get_layer("middle")
    np.testing.assert_allclose(copy(x), np.maximum(middle(np.maximum(x, 0)) + x, 0), rtol=1e-6)
    np.testing.assert_array_equal(rebuilt(model)(x), model(x))


def test_names():
    names = Names([L.ReLU(name="x"), L.ReLU(name="x_2")])
    assert [names.free(name) for name in ("x", "x", "y", "y")] == ["x_3", "x_4", "y", "y_2"]


def test_only_the_flag_of_the_model_itself_is_set():
    model = chain()
    model.get_layer("inner").get_layer("dense").trainable = False
    for trainable in (False, True):
        set_own_trainable(model, trainable)
        assert model.trainable is trainable
        assert dict(flags(model)[1:]) == {"inner": True, "dense": False, "relu": True, "last": True}


def test_models_without_a_graph_are_refused():
    class Subclassed(keras.Model):
        pass

    assert not is_graph(Subclassed())
    with pytest.raises(ValueError, match="only functional and sequential models can be built anew. Received: a Subclassed"):
        rebuilt(Subclassed())
