"""Freezing what lies below a layer, in the middle of `fit`."""

from bitat_tf._keras import keras


def layers_below(model: keras.Model, layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    """Return the layers that the input of `layer` depends on, in the order of the model.

    Raises:
        ValueError: If the model is no functional or sequential model that holds the layer itself.
    """
    if not model._is_graph_network or layer not in model.layers:
        raise ValueError(
            f"SequentialBinarization: freezing needs a functional or sequential model that holds layer {layer.name!r} itself, "
            f"not in a nested model. Received: a {type(model).__name__}. Use Schedule(freeze='never')."
        )
    below: set[int] = set()
    waiting = list(layer.inbound_nodes)
    while waiting:
        for node in waiting.pop().parent_nodes:
            if id(node.layer) not in below:
                below.add(id(node.layer))
                waiting.extend(node.layer.inbound_nodes)
    return [candidate for candidate in model.layers if id(candidate) in below]


class Freezer:
    """Sets `trainable` of layers while `fit` runs, and gives the user's settings back.

    Keras reads `trainable` when it traces the training step, so that a change takes effect only with a new train function.
    The optimizer is built over all variables first, or it would not know those that are trainable only later.
    """

    # Set on the layers that are frozen here: after an exception inside `fit` it tells them from those the user has frozen.
    _MARK = "_frozen_by_schedule"

    def __init__(self, model: keras.Model):
        self._model = model
        self._frozen: tuple[keras.layers.Layer, ...] = ()
        layers = model._flatten_layers(include_self=False)
        self._trainable = [(layer, layer.trainable or getattr(layer, self._MARK, False)) for layer in layers]
        self.release()
        optimizer = model.optimizer
        if hasattr(optimizer, "build"):
            optimizer.build(model.trainable_variables)

    def freeze(self, layers: list[keras.layers.Layer]) -> None:
        """Train with exactly `layers` frozen, and all others as the user set them, from the next step on."""
        frozen = tuple(layers)
        changed = frozen != self._frozen
        self._frozen = frozen
        self.hold()
        if changed:
            self._model.make_train_function(force=True)

    def hold(self) -> None:
        """Set `trainable` as it must be while steps run: a step may be traced again at any time."""
        self.release()
        for layer in self._frozen:
            for part in (layer, *layer._flatten_layers(include_self=False)):
                setattr(part, self._MARK, part.trainable)
            layer.trainable = False

    def release(self) -> None:
        """Give the user's settings back, so that a model saved now has them. The traced step stays as it is."""
        for layer, trainable in self._trainable:
            layer.trainable = trainable
            setattr(layer, self._MARK, False)
