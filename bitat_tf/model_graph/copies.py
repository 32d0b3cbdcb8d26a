"""Copies of layers and of their weights."""

import contextlib
import copy
from collections.abc import Iterator
from typing import Any

import keras

from bitat_tf.model_graph.calls import LayerCall, call_on
from bitat_tf.model_graph.nodes import layers_inside

_OTHER = ("float16", "bfloat16", "mixed_float16", "mixed_bfloat16", "float64")  # precisions that the device does not get


def copy_layer(layer: Any, in_float32: bool = False) -> Any:
    """Return a new layer of the same configuration, without weights; or an operator like a given one.

    Args:
        layer: The layer.
        in_float32: Whether the copy computes in float32, whatever precision the layer has.

    Raises:
        ValueError: If the layer cannot be made again from its configuration.
    """
    if not isinstance(layer, keras.layers.Layer):
        operator = copy.copy(layer)  # it has no weights; its calls are those of the model that it stands in
        operator._inbound_nodes, operator._outbound_nodes = [], []
        return operator
    if type(layer) is keras.layers.Lambda:
        # Not through its configuration, which holds a Python lambda as code that Keras refuses to load.
        base = keras.layers.Layer.get_config(layer)
        base = float32_config(base) if in_float32 else base
        return keras.layers.Lambda(layer.function, layer._output_shape, layer.mask, layer.arguments, **base)
    try:
        config = config_with_activation(layer)
        return type(layer).from_config(float32_config(config) if in_float32 else config)
    except (TypeError, ValueError, NotImplementedError, KeyError, AttributeError) as error:
        reason = " ".join(str(error).strip().split("\n\n")[0].split())  # Keras goes on with an example of a class
        raise ValueError(
            f"layer {layer.name!r} of type {type(layer).__name__} cannot be copied from its configuration ({reason}). Give the "
            "class a get_config that returns all arguments of its constructor."
        ) from error


def config_with_activation(layer: keras.layers.Layer) -> dict:
    """Return the configuration of a layer, an activation function in it as it is: one of the user's own has no name to load."""
    config = layer.get_config()
    activation = getattr(layer, "activation", None)
    if "activation" in config and callable(activation) and not isinstance(activation, keras.layers.Layer):
        config["activation"] = activation
    return config


def float32_config(config: Any) -> Any:
    """Return a configuration in which the layer, and the layers and quantizers inside of it, compute in float32."""
    if isinstance(config, dict):
        return {
            key: "float32" if key == "dtype" and _policy_name(value) in _OTHER else float32_config(value)
            for key, value in config.items()
        }
    if isinstance(config, list):
        return [float32_config(value) for value in config]
    return config


def _policy_name(value: Any) -> str | None:
    if isinstance(value, dict):  # a policy, as Keras saves it
        value = value.get("config", {}).get("name")
    return getattr(value, "name", value)


@contextlib.contextmanager
def float32_policy() -> Iterator[None]:
    """Let new layers and models be of float32, whatever policy of mixed precision the user has set."""
    policy = keras.config.dtype_policy()
    if policy.name == "float32":
        yield
        return
    keras.config.set_dtype_policy("float32")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(policy)


def in_float32(call: LayerCall) -> Any:
    """Return the layer of a call, or a copy of one that computes in another precision, which the device does not get."""
    layer = call.layer
    dtype = getattr(layer, "compute_dtype", None)  # an operator computes in the precision of what it is given
    if dtype in (None, "float32") or not keras.backend.is_float_dtype(dtype):
        return layer
    with float32_policy():
        copy = copy_layer(layer, in_float32=True)
        if layer.weights:
            given = [keras.backend.standardize_dtype(tensor.dtype) for tensor in call.node.input_tensors]
            kinds = ["float32" if keras.backend.is_float_dtype(kind) else kind for kind in given]
            tensors = [keras.KerasTensor(shape, kind) for shape, kind in zip(call.input_shapes, kinds, strict=True)]
            call_on(call, tensors, copy, at_inference=True)
        copy_weights(layer, copy)
    return copy


def copy_weights(layer: keras.layers.Layer, copy: keras.layers.Layer) -> None:
    """Give a built copy of a layer the layer's weights, what is frozen inside of it, and what follows from the weights."""
    if not isinstance(layer, keras.layers.Layer):  # an operator
        return
    # First: the order of Keras' list of weights depends on which layers inside are trainable.
    for part, own in zip(layers_inside(layer), layers_inside(copy), strict=True):
        own.trainable = part.trainable
    copy.trainable = layer.trainable
    copy.set_weights(layer.get_weights())
    for part in (copy, *layers_inside(copy)):
        finalize = getattr(part, "finalize_state", None)  # of layers that compute constants from adapted weights
        if finalize is not None and part.weights:
            finalize()


def set_own_trainable(layer: keras.layers.Layer, trainable: bool) -> None:
    """Freeze a layer or model, or let it train again, and leave the flags of the layers inside of it as they are."""
    inside = [(part, part.trainable) for part in layers_inside(layer)]  # a model before its layers, whose flags it sets
    layer.trainable = trainable
    for part, own in inside:
        part.trainable = own
