"""Freezing what lies below a layer, in the middle of `fit`."""

from collections.abc import Callable
from typing import Any

import keras

from bitat_tf.callbacks.guard import Guard
from bitat_tf.model_graph import inbound_nodes, is_graph, layers_inside


def layers_below(model: keras.Model, layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    """Return the layers that the input of `layer` depends on, in the order of the model.

    Raises:
        ValueError: If the model is no functional or sequential model that holds the layer itself.
    """
    if not is_graph(model) or layer not in model.layers:
        raise ValueError(
            f"SequentialBinarization: freezing needs a functional or sequential model that holds layer {layer.name!r} itself, "
            f"not in a nested model. Received: a {type(model).__name__}. Use Schedule(freeze='never')."
        )
    below: set[int] = set()
    waiting = inbound_nodes(layer)
    while waiting:
        for node in waiting.pop().parent_nodes:
            if id(node.operation) not in below:
                below.add(id(node.operation))
                waiting.extend(inbound_nodes(node.operation))
    below.discard(id(layer))  # a shared layer lies below itself
    return [candidate for candidate in model.layers if id(candidate) in below]


class Freezer:
    """Trains with layers frozen, without touching what the user has set.

    Keras reads `trainable` while it traces the training step, so that a change takes effect only with a new train function.
    That without frozen layers is kept, since tracing takes long.

    Args:
        model: The compiled model. Its optimizer is built over all variables, or it would not know those that are trainable only
            later.
        guard: Through which the model's training step is called.
        freezes: Whether anything will be frozen.

    Raises:
        ValueError: If something will be, and the backend is JAX, whose training step takes all variables of the optimizer.
    """

    def __init__(self, model: keras.Model, guard: Guard, freezes: bool = True):
        if freezes and keras.backend.backend() == "jax":
            raise ValueError(
                "SequentialBinarization: on JAX Keras cannot freeze layers in the middle of fit. Received: a Schedule that "
                "freezes what lies below a layer. Use replace(schedule, freeze='never'), or KERAS_BACKEND=tensorflow."
            )
        self._model = model
        self._guard = guard
        self._frozen: list[keras.layers.Layer] = []

    def freeze(self, layers: list[keras.layers.Layer]) -> None:
        """Freeze exactly `layers` (all others are as the user set them), from the next step on."""
        if layers == self._frozen:
            return
        if not self._frozen:
            self._unfrozen = self._guard.step
        self._frozen = layers
        if layers:
            self._model.make_train_function(force=True)
            self._guard.step = _FrozenStep(self._model.train_function, layers)
        else:
            self._guard.step = self._unfrozen


class _FrozenStep:
    """A training step with layers frozen only while it runs: saving, or an exception, finds them as the user set them."""

    def __init__(self, step: Callable[[Any], Any], layers: list[keras.layers.Layer]):
        self._step = step
        self._layers = layers

    def __call__(self, iterator):
        parts = [part for layer in self._layers for part in (layer, *layers_inside(layer))]
        before = [(part, part.trainable) for part in parts]
        try:
            for layer in self._layers:
                layer.trainable = False
            return self._step(iterator)
        finally:
            for part, trainable in before:
                part.trainable = trainable
