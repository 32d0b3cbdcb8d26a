"""Small binary networks, their constants drawn, for tests of the export."""

import keras
import numpy as np
from binary_networks import BinaryNetwork
from file_against_keras import assert_close, counts, outputs_of, written

from bitat_tf.export.lowering import lower
from bitat_tf.layers import BinaryConv2D, binary_layers


def conv(filters=32, kernel=3, name=None, **arguments):
    arguments = {"padding": "same", "use_bias": False, **arguments}
    return BinaryConv2D(filters, kernel, name=name, **arguments)


def drawn(model, seed=0):
    """Give the constants of a model random values, and make its layers binary."""
    BinaryNetwork(seed).randomize(model)
    for layer in binary_layers(model):
        layer.set_binary()
    return model


def small(build, shape=(6, 6, 32), seed=0):
    """Return a binary network of one input, its constants drawn."""
    keras.utils.set_random_seed(seed)
    inputs = keras.Input(shape, name="image")
    return drawn(keras.Model(inputs, build(inputs), name="small"), seed)


def positive_gammas(model):
    for weight in model.weights:
        if weight.name.startswith("gamma"):
            weight.assign(np.abs(weight.numpy()) + 0.1)
    return model


def samples(model, count=8):
    """Return normal random numbers for each input of a model, always the same."""
    generator = np.random.default_rng(1)
    return [generator.normal(size=(count, *tensor.shape[1:])).astype(np.float32) for tensor in model.inputs]


def check(model, count=8):
    """Lower a model and hold it against Keras; return the program and the numbers of operators in its file."""
    inputs = samples(model, count)
    program = lower(model)
    expected = [np.asarray(output) for output in keras.tree.flatten(model(inputs if len(inputs) > 1 else inputs[0]))]
    assert_close(outputs_of(program, inputs), expected)
    return program, counts(written(program))
