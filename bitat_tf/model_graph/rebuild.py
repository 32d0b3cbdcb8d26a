"""A functional or sequential model built anew, call by call: layers copied, or others in their places, with the weights."""

import contextlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import keras

from bitat_tf.model_graph.calls import free_name
from bitat_tf.model_graph.copies import copy_layer, copy_weights, float32_policy, set_own_trainable
from bitat_tf.model_graph.nodes import (
    FUNCTIONAL,
    call_arguments,
    functional_of,
    input_keys,
    input_layer,
    is_graph,
    layer_nodes,
    output_keys,
    tensor_keys,
)

_CONSTRUCTORS = (keras.Model.__init__, FUNCTIONAL.__init__)


@dataclass(frozen=True)
class Substitute:
    """What stands in the place of a layer, if it is more than one layer of the same weights.

    Attributes:
        function: Called once for each call of the layer, with the arguments that the layer was called with; returns what stands
            for the layer's outputs.
        take_weights: Called once, after the whole model is built, to copy the weights of the layer; None if nothing is copied.
    """

    function: Callable[..., Any]
    take_weights: Callable[[], None] | None = None


class Names:
    """The names of a model's layers, so that new layers get names of their own.

    Args:
        layers: Layers whose names are taken.

    Examples:
        >>> names = Names([keras.layers.ReLU(name="relu")])
        >>> names.free("relu"), names.free("relu"), names.free("add")
        ('relu_2', 'relu_3', 'add')
    """

    def __init__(self, layers: Iterable[keras.layers.Layer]):
        self._taken = {layer.name for layer in layers}

    def free(self, wanted: str) -> str:
        """Return `wanted`, with a number where a layer has that name; it is taken from now on."""
        return free_name(wanted, self._taken)


@dataclass(frozen=True)
class NewCall:
    """A layer call of the old model, which is about to be made in the new one.

    Attributes:
        node: Keras' node of the call in the old model.
        function: What stands in the layer's place: its copy, or what `replace` gave.
        tensors: Tensors of the new model that exist so far, by the keys of those of the old model.
    """

    node: Any
    function: Callable[..., Any]
    tensors: Mapping[str, Any]

    def outputs(self) -> Any:
        """Make the call and return its outputs."""
        arguments, keywords = call_arguments(self.node, self.tensors)
        return self.function(*arguments, **keywords)

    def inputs_of(self, node: Any) -> list[Any]:
        """Return the tensors of the new model that stand for what an earlier call of the old one takes."""
        return [self.tensors[key] for key in input_keys(node)]


def _copied(layer: keras.layers.Layer) -> None:
    """Replace nothing."""


def rebuilt(
    model: keras.Model,
    replace: Callable[[keras.layers.Layer], keras.layers.Layer | Substitute | None] = _copied,
    make_call: Callable[[NewCall], Any] = NewCall.outputs,
    *,
    in_float32: bool = False,
) -> keras.Model:
    """Return a copy of a model, with its weights, in which other layers may stand in the places of some.

    Shared layers stay shared, nested models nested, and called as often as before. Names, structures of inputs and outputs,
    and what is frozen are as in the model. It is not changed, and the copy is not compiled.

    Args:
        model: A functional or sequential model.
        replace: Asked once for every layer in the model and in its nested models, for these themselves, and for input layers.
            It returns None for a copy; a layer of the same weights, which are copied into it; or a `Substitute`. For an input
            layer the substitute's function gets the new input, and what it returns reaches the layers after it.
        make_call: Makes each call, for what concerns one call of a layer; returns its outputs. Default: as in the old model.
        in_float32: Whether everything computes in float32, layers of mixed precision in the model too.

    Returns:
        A functional model; of the class of `model` if that is a subclass with the constructor of `keras.Model`.

    Raises:
        ValueError: If the model is neither functional nor sequential, or a layer cannot be copied from its configuration.

    Examples:
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, "relu", name="a"), keras.layers.ReLU(name="b")])
        >>> def without_relu(layer):
        ...     return Substitute(lambda inputs: inputs) if isinstance(layer, keras.layers.ReLU) else None
        >>> copy = rebuilt(model, without_relu)
        >>> [layer.name for layer in copy.layers[1:]]
        ['a']
        >>> bool(np.allclose(copy(np.ones((2, 4))), model(np.ones((2, 4)))))
        True
    """
    if not is_graph(model):
        raise ValueError(
            f"rebuilt: only functional and sequential models can be built anew. Received: a {type(model).__name__}. Build the "
            "model with keras.Model(inputs, outputs)."
        )
    builder = _Builder(replace, make_call, in_float32)
    with float32_policy() if in_float32 else contextlib.nullcontext():
        new = builder.build(model)
    builder.take_weights()
    return new


class _Builder:
    """Builds a model and its nested ones, and remembers what stands in each layer's place, so that it is made once."""

    def __init__(self, replace: Callable, make_call: Callable, in_float32: bool):
        self._replace = replace
        self._make_call = make_call
        self._in_float32 = in_float32
        self._made: dict[int, tuple[keras.layers.Layer, keras.layers.Layer | Substitute]] = {}  # by id of the old layer
        self._models: list[tuple[keras.Model, keras.Model]] = []

    def build(self, model: keras.Model) -> keras.Model:
        inputs = [keras.layers.InputLayer.from_config(input_layer(tensor).get_config()).output for tensor in model.inputs]
        tensors = {}
        for key, old, new in zip(tensor_keys(model.inputs), model.inputs, inputs, strict=True):
            substitute = self._replace(input_layer(old))
            tensors[key] = new if substitute is None else substitute.function(new)
        for node in layer_nodes(model):
            outputs = self._make_call(NewCall(node, self._in_place_of(node.operation), tensors))
            tensors.update(zip(output_keys(node), keras.tree.flatten(outputs), strict=True))
        outputs = [tensors[key] for key in tensor_keys(model.outputs)]
        inner = functional_of(model)
        structures = inner.input, inner.output
        packed = [keras.tree.pack_sequence_as(old, new) for old, new in zip(structures, (inputs, outputs), strict=True)]
        kind = type(model) if type(model).__init__ in _CONSTRUCTORS else keras.Model
        new = kind(*packed, name=model.name)
        self._models.append((model, new))
        return new

    def _in_place_of(self, layer: keras.layers.Layer) -> Callable[..., Any]:
        if id(layer) not in self._made:
            new = self._replace(layer)
            if new is None:
                new = self.build(layer) if is_graph(layer) else copy_layer(layer, self._in_float32)
            self._made[id(layer)] = layer, new
        new = self._made[id(layer)][1]
        return new.function if isinstance(new, Substitute) else new

    def take_weights(self) -> None:
        """Copy all weights, and what is frozen: models first that others are nested in, since they freeze what is in them."""
        for model, new in reversed(self._models):
            set_own_trainable(new, model.trainable)
        built = {id(new) for _, new in self._models}
        for layer, new in self._made.values():
            if isinstance(new, Substitute):
                if new.take_weights is not None:
                    new.take_weights()
            elif id(new) not in built:
                copy_weights(layer, new)
