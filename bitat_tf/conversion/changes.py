"""What `binarize` makes different while a model is built anew: binary layers, RPReLU, shortcuts, momentum."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import keras

from bitat_tf.conversion.replacement import Replacement
from bitat_tf.conversion.shortcuts import add_shortcut
from bitat_tf.layers import RPReLU
from bitat_tf.model_graph import (
    Names,
    NewCall,
    Substitute,
    config_with_activation,
    copy_layer,
    copy_weights,
    operations_inside,
    rebuilt,
    relu_bounds,
)
from bitat_tf.regularizers import DisentangledRegularizer


@dataclass(frozen=True)
class Changes:
    """What is different in the new model.

    Attributes:
        binary: `id` of the layers that are replaced by binary ones.
        rprelu: `id` of the layers, or layers with an activation, whose ReLU becomes an RPReLU.
        shortcuts: Node of the call that a shortcut starts before, by `id` of the node that it ends after.
        regularizer: Of the binary layers.
        momentum: The most that a batch normalization has; None for any.
    """

    binary: frozenset[int]
    rprelu: frozenset[int] = frozenset()
    shortcuts: Mapping[int, Any] = field(default_factory=dict)
    regularizer: DisentangledRegularizer | None = None
    momentum: float | None = None


def changed(model: keras.Model, changes: Changes) -> keras.Model:
    """Return a copy of a model, with its weights, that has the changes."""
    changing = _Changing(model, changes)
    return rebuilt(model, changing.replace, changing.make_call)


class _Changing:
    def __init__(self, model: keras.Model, changes: Changes):
        self._changes = changes
        self._names = Names(operations_inside(model))
        self._binary_names: set[str] = set()

    def replace(self, layer: keras.layers.Layer) -> keras.layers.Layer | Substitute | None:
        """Return what stands in the place of a layer; None for a copy."""
        gets_rprelu = id(layer) in self._changes.rprelu
        if id(layer) in self._changes.binary:
            binary = self._binary(layer, without_activation=gets_rprelu)
            return Substitute(_then(binary, self._rprelus(layer)) if gets_rprelu else binary, binary.take_weights)
        if gets_rprelu and relu_bounds(layer) is not None:
            return Substitute(self._rprelus(layer, layer.name))
        if gets_rprelu:
            copy = copy_layer(layer)
            copy.activation = keras.activations.linear
            return Substitute(_then(copy, self._rprelus(layer)), lambda: copy_weights(layer, copy))
        if isinstance(layer, keras.layers.BatchNormalization) and self._changes.momentum is not None:
            copy = copy_layer(layer)
            copy.momentum = min(copy.momentum, self._changes.momentum)
            return copy
        return None

    def make_call(self, call: NewCall) -> Any:
        """Make a call in the new model; return its outputs."""
        outputs = call.outputs()
        start = self._changes.shortcuts.get(id(call.node))
        if start is None:
            return outputs
        return add_shortcut(call.inputs_of(start)[0], outputs, call.node.operation.name, self._names)

    def _binary(self, layer: keras.layers.Layer, without_activation: bool) -> Replacement:
        # Within nested models, layers may share a name; a schedule tells binary layers by theirs.
        name = self._names.free(layer.name) if layer.name in self._binary_names else layer.name
        self._binary_names.add(name)
        config = {**config_with_activation(layer), "name": name, **({"activation": None} if without_activation else {})}
        return Replacement(layer, config, self._changes.regularizer, self._names)

    def _rprelus(self, layer: keras.layers.Layer, first_name: str | None = None) -> Callable:
        """Return a function that calls a new RPReLU each time: the calls of a shared ReLU may differ in their channels."""
        base = first_name or f"{layer.name}_rprelu"
        names = iter([first_name] if first_name else [])

        def call(*arguments, **keywords):
            inputs = [*arguments, *keywords.values()][0]  # an operator may take it by its name
            return RPReLU(slope_initializer=0.0, name=next(names, None) or self._names.free(base))(inputs)

        return call


def _then(first: Callable, second: Callable) -> Callable:
    return lambda *arguments, **keywords: second(first(*arguments, **keywords))
