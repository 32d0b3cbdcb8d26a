"""How the output of a block changes with the output of one of its layers: J^T v, on each backend."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from bitat_tf.layers import BinaryLayer
from bitat_tf.model_graph import rebuilt


def jacobian_product(model: keras.Model, layer: BinaryLayer, block: str) -> Callable[[Any, np.random.Generator], np.ndarray]:
    """Return the function (batch, generator) -> J^T v with random signs v, J = d block output / d layer output.

    The model is taken in two parts: what comes before the layer's output, and what comes after it, whose gradient is taken with
    the inputs of the model held fixed.

    Args:
        model: A functional or sequential model.
        layer: A layer of it that is called once.
        block: Name of the layer whose output is y.
    """
    copy = rebuilt(model)  # parts of a model add calls to its layers, which are the user's
    output, end = copy.get_layer(layer.name).output, copy.get_layer(block).output
    before, after = keras.Model(copy.inputs, output), keras.Model([output, *copy.inputs], end)
    product = {"tensorflow": _on_tensorflow, "jax": _on_jax}.get(keras.backend.backend(), _on_torch)(before, after)

    def pull_back(batch: Any, generator: np.random.Generator) -> np.ndarray:
        inputs = keras.tree.flatten(batch)
        shape = (len(inputs[0]), *end.shape[1:])
        if None in shape:
            shape = after.compute_output_shape([tensor.shape for tensor in (before(inputs), *inputs)])
        signs = generator.choice(np.array([-1, 1], np.float32), shape)
        return ops.convert_to_numpy(product(inputs, signs))

    return pull_back


def _on_tensorflow(before: keras.Model, after: keras.Model) -> Callable:
    import tensorflow as tf  # only here: other backends need none

    @tf.function(reduce_retracing=True)
    def product(inputs, signs):
        outputs = before(inputs, training=False)
        with tf.GradientTape() as tape:
            tape.watch(outputs)
            block_outputs = after([outputs, *inputs], training=False)
        return tape.gradient(block_outputs, outputs, output_gradients=tf.cast(signs, block_outputs.dtype))

    return product


def _on_jax(before: keras.Model, after: keras.Model) -> Callable:
    import jax

    def product(inputs, signs):
        outputs = before(inputs, training=False)
        block_outputs, transposed = jax.vjp(lambda z: after([z, *inputs], training=False), outputs)
        return transposed(signs.astype(block_outputs.dtype))[0]

    return product


def _on_torch(before: keras.Model, after: keras.Model) -> Callable:
    def product(inputs, signs):
        outputs = before(inputs, training=False).detach().requires_grad_(True)
        block_outputs = after([outputs, *inputs], training=False)
        block_outputs.backward(ops.convert_to_tensor(signs))
        return outputs.grad

    return product
