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
    """Sets `trainable` of layers while `fit` runs, and gives the user's settings back at the end.

    Keras reads `trainable` when it traces the training step, so that a change takes effect only with a new train function.
    The optimizer is built over all variables first, or it would not know those that are trainable only later.
    """

    def __init__(self, model: keras.Model):
        self._model = model
        self._trainable = [(layer, layer.trainable) for layer in model._flatten_layers(include_self=False)]
        self.frozen: tuple[str, ...] = ()
        optimizer = model.optimizer
        if hasattr(optimizer, "build"):
            optimizer.build(model.trainable_variables)

    def freeze(self, layers: list[keras.layers.Layer]) -> None:
        """Freeze exactly `layers` (and leave all others as the user set them)."""
        names = tuple(layer.name for layer in layers)
        if names == self.frozen:
            return
        for layer, trainable in self._trainable:
            layer.trainable = trainable
        for layer in layers:
            layer.trainable = False
        self.frozen = names
        self._model.make_train_function(force=True)
