"""The graph of a Keras model: its layer calls, the kinds of its layers, and the model built anew with other layers in it.

| module | what it holds |
|---|---|
| `calls` | `CallGraph`: all layer calls of a functional or sequential model, what is connected to what, and their shapes |
| `copies` | copies of layers and of their weights |
"""

from bitat_tf.model_graph.calls import (
    CallGraph,
    LayerCall,
    Shape,
    call_again,
    call_all,
    call_arguments,
    free_name,
    is_graph,
    layer_nodes,
    layer_uses,
    make_names_unique,
)
from bitat_tf.model_graph.copies import config_with_activation, copy_layer, copy_weights, float32_config, float32_policy

__all__ = [
    "CallGraph",
    "LayerCall",
    "Shape",
    "call_again",
    "call_all",
    "call_arguments",
    "config_with_activation",
    "copy_layer",
    "copy_weights",
    "float32_config",
    "float32_policy",
    "free_name",
    "is_graph",
    "layer_nodes",
    "layer_uses",
    "make_names_unique",
]
