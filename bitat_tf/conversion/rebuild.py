"""A functional model built anew, layer call by layer call, with other layers in some places."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from bitat_tf._keras import keras, tf
from bitat_tf.conversion.replacement import Replacement
from bitat_tf.conversion.shortcuts import add_shortcut
from bitat_tf.layers import RPReLU
from bitat_tf.model_graph import call_arguments, copy_layer, copy_weights, is_graph, layer_nodes
from bitat_tf.regularizers import DisentangledRegularizer


@dataclass(frozen=True)
class Changes:
    """What is different in the new model.

    Attributes:
        binary: `id` of the layers that are replaced by binary ones.
        rprelu: `id` of the layers, or layers with an activation, whose ReLU becomes an RPReLU.
        shortcuts: `id` of the node that a shortcut starts before, by `id` of the node that it ends after.
        regularizer: Of the binary layers.
        momentum: The most that a batch normalization has; None for any.
    """

    binary: frozenset[int]
    rprelu: frozenset[int] = frozenset()
    shortcuts: Mapping[int, int] = field(default_factory=dict)
    regularizer: DisentangledRegularizer | None = None
    momentum: float | None = None


class Rebuilder:
    """Builds a model anew. Layers are copied once, so that shared ones stay shared, within nested models too.

    Args:
        changes: What is different.
    """

    def __init__(self, changes: Changes):
        self._changes = changes
        self._layers: dict[int, keras.layers.Layer | Replacement] = {}
        self._originals: dict[int, keras.layers.Layer] = {}
        self._inputs_of_node: dict[int, Any] = {}
        self._names: set[str] = set()
        self._binary_names: set[str] = set()

    def rebuild(self, model: keras.Model) -> keras.Model:
        """Return the new model, with the weights of the old one."""
        replaced = {id(layer) for layer in model._flatten_layers() if self._is_replaced(layer)}
        self._names = {layer.name for layer in model._flatten_layers(include_self=False) if id(layer) not in replaced}
        new = self._build(model)
        for key, layer in self._layers.items():
            if isinstance(layer, Replacement):
                layer.copy_weights()
            elif not is_graph(layer):
                copy_weights(self._originals[key], layer)
        return new

    def _build(self, model: keras.Model) -> keras.Model:
        inputs = [keras.layers.InputLayer.from_config(tensor.node.layer.get_config()).output for tensor in model.inputs]
        edges = {str(id(tensor)): new for tensor, new in zip(model.inputs, inputs, strict=True)}
        losses = []
        for node in layer_nodes(model):
            outputs = self._call(node, edges)
            edges.update(zip(node.flat_output_ids, tf.nest.flatten(outputs), strict=True))
            if type(node.layer).__name__ == "AddLoss":  # Keras' own layer for `model.add_loss(tensor)`
                losses.append(edges[node.flat_input_ids[0]])
        outputs = [edges[str(id(tensor))] for tensor in model.outputs]
        structure = model._nested_inputs, model._nested_outputs
        packed = [tf.nest.pack_sequence_as(old, new) for old, new in zip(structure, (inputs, outputs), strict=True)]
        new = keras.Model(*packed, name=model.name)
        for loss in losses:
            new.add_loss(loss)
        if not model.trainable:
            new.trainable = False
        return new

    def _call(self, node: Any, edges: Mapping[str, Any]) -> Any:
        arguments, keywords = call_arguments(node, edges)
        inputs = self._inputs_of_node[id(node)] = edges[node.flat_input_ids[0]]
        if self._is_replaced(node.layer):
            outputs = self._rprelu(node.layer.name)(inputs)
        else:
            layer = self._layer(node.layer)
            outputs = layer(*arguments, **keywords)
            if id(node.layer) in self._changes.rprelu:
                outputs = self._rprelu(f"{node.layer.name}_rprelu")(outputs)
        start = self._changes.shortcuts.get(id(node))
        if start is not None:
            outputs = add_shortcut(self._inputs_of_node[start], outputs, node.layer.name, self._name)
        return outputs

    def _layer(self, layer: keras.layers.Layer) -> Callable:
        """Return what takes the place of a layer."""
        if id(layer) not in self._layers:
            self._originals[id(layer)] = layer
            self._layers[id(layer)] = self._new_layer(layer)
        return self._layers[id(layer)]

    def _new_layer(self, layer: keras.layers.Layer) -> keras.layers.Layer | Replacement:
        linear = id(layer) in self._changes.rprelu
        if is_graph(layer):
            return self._build(layer)
        if id(layer) in self._changes.binary:
            name = self._name(layer.name) if layer.name in self._binary_names else layer.name
            self._binary_names.add(name)
            return Replacement(layer, self._changes.regularizer, linear, name, self._name)
        copy = copy_layer(layer)
        if isinstance(copy, keras.layers.BatchNormalization) and self._changes.momentum is not None:
            copy.momentum = min(copy.momentum, self._changes.momentum)
        if linear:
            copy.activation = keras.activations.linear
        return copy

    def _is_replaced(self, layer: keras.layers.Layer) -> bool:
        """Return whether a layer is a ReLU that an RPReLU of its name takes the place of."""
        return id(layer) in self._changes.rprelu and isinstance(layer, (keras.layers.ReLU, keras.layers.Activation))

    def _rprelu(self, name: str) -> RPReLU:
        return RPReLU(slope_initializer=0.0, name=self._name(name))

    def _name(self, name: str) -> str:
        """Return a name that no other layer has; a layer that is called twice gets several layers after it."""
        unique, number = name, 1
        while unique in self._names:
            number += 1
            unique = f"{name}_{number}"
        self._names.add(unique)
        return unique
