"""The graph of a Keras model: its layer calls, the kinds of its layers, and the model built anew with other layers in it.

For the package's own use: other rooms import from here, and Keras' own graph is read nowhere else.

| module | what it holds |
|---|---|
| `nodes` | what Keras knows of each layer call; the one place that reads Keras' own graph |
| `calls` | `CallGraph`: all layer calls of a model, nested models opened up, and what is connected to what |
| `kinds` | `relu_bounds`, `activation_of`: what layers compute, however they are written |
| `copies` | copies of layers and of their weights |
| `rebuild` | `rebuilt`: a model built anew with other layers in places; `Names`, which are new in a model |
"""

from bitat_tf.model_graph.calls import CallGraph, LayerCall, call_on, free_name
from bitat_tf.model_graph.copies import (
    config_with_activation,
    copy_layer,
    copy_weights,
    float32_config,
    float32_policy,
    in_float32,
    set_own_trainable,
)
from bitat_tf.model_graph.kinds import RELU, ReLUBounds, activation_of, relu_bounds
from bitat_tf.model_graph.nodes import (
    Shape,
    call_arguments,
    fixed_batch_size,
    functional_of,
    inbound_nodes,
    input_keys,
    input_layer,
    is_graph,
    layer_nodes,
    layer_uses,
    layers_inside,
    operations_inside,
    output_keys,
    shapes_at,
    tensor_keys,
)
from bitat_tf.model_graph.rebuild import Names, NewCall, Substitute, rebuilt

__all__ = [
    "RELU",
    "CallGraph",
    "LayerCall",
    "Names",
    "NewCall",
    "ReLUBounds",
    "Shape",
    "Substitute",
    "activation_of",
    "call_arguments",
    "call_on",
    "config_with_activation",
    "copy_layer",
    "copy_weights",
    "float32_config",
    "fixed_batch_size",
    "float32_policy",
    "free_name",
    "functional_of",
    "in_float32",
    "inbound_nodes",
    "input_keys",
    "input_layer",
    "is_graph",
    "layer_nodes",
    "layer_uses",
    "layers_inside",
    "operations_inside",
    "output_keys",
    "rebuilt",
    "relu_bounds",
    "set_own_trainable",
    "shapes_at",
    "tensor_keys",
]
