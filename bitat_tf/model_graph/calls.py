"""The calls of layers in a functional or sequential model: their order, and what is connected to what."""

import inspect
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras

from bitat_tf.model_graph.nodes import (
    Shape,
    call_arguments,
    inbound_nodes,
    input_keys,
    input_layer,
    is_graph,
    layer_nodes,
    output_keys,
    shapes_at,
    tensor_keys,
)


@dataclass(frozen=True, eq=False)
class LayerCall:
    """One call of a layer, seen from the outermost model.

    Attributes:
        layer: The layer; it has several calls where it is shared, or stands in a nested model that is.
        path: Its name, after the names of the nested models around it: "backbone/conv".
        node: Keras' node of the call; a nested model that is called twice has two calls of one node.
        inputs: The calls whose outputs it takes, in order.
        input_numbers: For each of them, which of its outputs.
        input_shapes, output_shapes: Shapes of what goes in and comes out, the batch included.
    """

    layer: keras.layers.Layer
    path: str
    node: Any
    inputs: tuple["LayerCall", ...]
    input_numbers: tuple[int, ...]
    input_shapes: tuple[Shape, ...]
    output_shapes: tuple[Shape, ...]


class CallGraph:
    """All layer calls of a functional or sequential model, those of nested models in their places.

    Args:
        model: The model.

    Attributes:
        calls: The calls in the order in which Keras runs them, without the inputs of the model.
        sources: The inputs of the model, as calls.
        outputs: The calls whose outputs the model returns.
        output_numbers: For each of them, which of its outputs.

    Raises:
        ValueError: If the model is neither functional nor sequential.

    Examples:
        >>> inner = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="dense")], name="inner")
        >>> model = keras.Sequential([keras.Input((4,)), inner, keras.layers.ReLU(name="relu")])
        >>> [call.path for call in CallGraph(model).calls]
        ['inner/dense', 'relu']
    """

    def __init__(self, model: keras.Model):
        if not is_graph(model):
            raise ValueError(
                f"CallGraph: only functional and sequential models have a graph of layers. Received: a {type(model).__name__}. "
                "Build the model with keras.Model(inputs, outputs)."
            )
        self.calls: list[LayerCall] = []
        self.sources: list[LayerCall] = []
        edges = []
        for tensor in model.inputs:
            shape = tuple(tensor.shape)
            layer = input_layer(tensor)
            self.sources.append(LayerCall(layer, layer.name, inbound_nodes(layer)[0], (), (), (shape,), (shape,)))
            edges.append((self.sources[-1], 0, shape))
        returned = self._walk(model, "", edges)
        self.outputs: list[LayerCall] = [call for call, _, _ in returned]
        self.output_numbers: list[int] = [number for _, number, _ in returned]
        self._consumers: dict[int, list[LayerCall]] = defaultdict(list)
        for call in self.calls:
            for source in dict.fromkeys(call.inputs):
                self._consumers[id(source)].append(call)

    def consumers(self, call: LayerCall) -> list[LayerCall]:
        """Return the calls that take an output of `call`, each once."""
        return self._consumers[id(call)]

    def only_consumer(self, call: LayerCall) -> LayerCall | None:
        """Return the one call that takes the outputs of `call`; None if there are several, or the model returns them."""
        consumers = self.consumers(call)
        return consumers[0] if len(consumers) == 1 and not self.is_output(call) else None

    def is_output(self, call: LayerCall) -> bool:
        """Return whether the model returns an output of `call`."""
        return any(call is output for output in self.outputs)

    def _walk(self, model: keras.Model, prefix: str, sources: "list[_Edge]") -> "list[_Edge]":
        edges = dict(zip(tensor_keys(model.inputs), sources, strict=True))
        known = all(shape == tuple(tensor.shape) for tensor, (*_, shape) in zip(model.inputs, sources, strict=True))
        for node in layer_nodes(model):
            inputs = [edges[key] for key in input_keys(node)]
            if is_graph(node.operation):
                results = self._walk(node.operation, f"{prefix}{node.operation.name}/", inputs)
            else:
                input_shapes = tuple(shape for *_, shape in inputs)
                output_shapes = _output_shapes(node, input_shapes, known)
                path, below = prefix + node.operation.name, tuple(call for call, *_ in inputs)
                numbers = tuple(number for _, number, _ in inputs)
                call = LayerCall(node.operation, path, node, below, numbers, input_shapes, output_shapes)
                self.calls.append(call)
                results = [(call, number, shape) for number, shape in enumerate(output_shapes)]
            edges.update(zip(output_keys(node), results, strict=True))
        return [edges[key] for key in tensor_keys(model.outputs)]


_Edge = tuple[LayerCall, int, Shape]  # one output of a call


def call_on(
    call: LayerCall, tensors: Sequence[Any], layer: keras.layers.Layer | None = None, at_inference: bool = False
) -> Any:
    """Call a layer once more, as in `call`, on other tensors; return the outputs.

    Args:
        call: The call.
        tensors: What stands in the place of its inputs, in order.
        layer: What is called in the place of its layer. Default: that itself.
        at_inference: Whether it is called as by `model(inputs, training=False)`, which decides whatever the call was made with.
            A layer that is called by itself takes the default of its own `call`, which is `training=True` for Keras' random
            ones.
    """
    given = dict(zip(input_keys(call.node), tensors, strict=True))
    arguments, keywords = call_arguments(call.node, given)
    layer = call.layer if layer is None else layer
    if at_inference and "training" in inspect.signature(layer.call).parameters:
        keywords = {**keywords, "training": False}
    return layer(*arguments, **keywords)


def free_name(wanted: str, taken: set[str]) -> str:
    """Return a name that is not among those taken, `wanted` or that with a number, and add it to them."""
    name, number = wanted, 1
    while name in taken:
        number += 1
        name = f"{wanted}_{number}"
    taken.add(name)
    return name


def _output_shapes(node: Any, input_shapes: tuple[Shape, ...], known: bool) -> tuple[Shape, ...]:
    """Return the shapes of a call's outputs; a nested model may be given pictures of a size that it does not know itself."""
    own = tuple(shapes_at(node)[1])
    if known or all(size is not None for shape in own for size in shape[1:]):
        return own
    try:
        shapes = node.operation.compute_output_shape(input_shapes[0] if len(input_shapes) == 1 else list(input_shapes))
    except (NotImplementedError, TypeError, ValueError):  # a layer that takes more than tensors, as an operator does
        return own
    flat = list(shapes) if isinstance(shapes, list) or _is_several(shapes) else [shapes]
    return tuple(tuple(shape) for shape in flat) if len(flat) == len(own) else own


def _is_several(shapes: Any) -> bool:
    return any(isinstance(shape, (tuple, list)) for shape in shapes)
