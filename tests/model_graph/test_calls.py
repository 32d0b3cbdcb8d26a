"""The graph of layer calls: order, nested models, shared layers, shapes."""

import keras
import numpy as np
import pytest

from bitat_tf.model_graph import CallGraph, copy_layer, copy_weights, is_graph, layer_nodes, layer_uses

L = keras.layers


def model_with_everything():
    inner_input = keras.Input((None, None, 4))
    inner = keras.Model(inner_input, L.Conv2D(4, 3, name="conv")(inner_input), name="inner")
    inputs = keras.Input((9, 9, 4), name="image")
    shared = L.ReLU(name="relu")
    x = shared(inner(shared(inner(inputs))))
    y = L.Cropping2D(2, name="crop")(inputs)
    return keras.Model(inputs, [L.Add(name="add")([x, y]), x])


def test_calls_are_in_order_with_nested_ones_in_their_places():
    graph = CallGraph(model_with_everything())
    paths = [call.path for call in graph.calls]
    assert sorted(paths) == sorted(["inner/conv", "relu", "inner/conv", "relu", "crop", "add"])
    seen = {id(source) for source in graph.sources}
    for call in graph.calls:  # every call after those that it depends on
        assert {id(source) for source in call.inputs} <= seen
        seen.add(id(call))
    assert [call.path for call in graph.outputs] == ["add", "relu"]
    assert graph.is_output(graph.outputs[1])
    assert [source.path for source in graph.sources] == ["image"]


def test_the_shapes_in_a_nested_model_are_those_of_the_call():
    graph = CallGraph(model_with_everything())
    shapes = [call.output_shapes[0] for call in graph.calls if call.path == "inner/conv"]
    assert shapes == [(None, 7, 7, 4), (None, 5, 5, 4)]


def test_consumers():
    graph = CallGraph(model_with_everything())
    (source,) = graph.sources
    assert sorted(call.path for call in graph.consumers(source)) == ["crop", "inner/conv"]
    last_relu = graph.outputs[1]
    assert [call.path for call in graph.consumers(last_relu)] == ["add"]
    inputs = keras.Input((3,))
    twice = CallGraph(keras.Model(inputs, L.Add(name="add")([inputs, inputs])))
    assert [call.path for call in twice.consumers(twice.sources[0])] == ["add"]


def test_uses_and_nodes():
    model = model_with_everything()
    assert dict(layer_uses(model)) == {"relu": 2, "conv": 2, "crop": 1, "add": 1}
    assert len(list(layer_nodes(model))) == 6
    assert is_graph(model)
    assert not is_graph(L.ReLU())


def test_a_model_without_a_graph_is_an_error():
    class Subclassed(keras.Model):
        pass

    with pytest.raises(ValueError, match="only functional and sequential models have a graph.*Received: a Subclassed"):
        CallGraph(Subclassed())


def test_copies_of_layers():
    layer = L.Normalization()
    layer.adapt(np.random.default_rng(0).normal(2, 3, (100, 4)).astype(np.float32))
    copy = copy_layer(layer)
    x = np.ones((2, 4), np.float32)
    copy(x)
    copy_weights(layer, copy)
    np.testing.assert_allclose(copy(x), layer(x), rtol=1e-6)
    assert copy is not layer

    class NoConfig(L.Layer):
        def __init__(self, function):
            super().__init__(name="odd")
            self.function = function

    with pytest.raises(ValueError, match="layer 'odd' of type NoConfig cannot be copied.*get_config that returns all"):
        copy_layer(NoConfig(abs))
