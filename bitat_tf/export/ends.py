"""The inputs and outputs of a model: their names, and the structure that the model takes and gives them in."""

from collections.abc import Sequence
from typing import Any

import keras

from bitat_tf.model_graph import free_name, functional_of, input_layer


def input_names(model: keras.Model) -> list[str]:
    """Return the names of a model's inputs, in the order of `model.inputs`.

    Args:
        model: A functional or sequential model.

    Examples:
        >>> inputs = [keras.Input((2,), name="left"), keras.Input((2,), name="right")]
        >>> input_names(keras.Model(inputs, keras.layers.Add()(inputs)))
        ['left', 'right']
    """
    return _names(functional_of(model).input, [input_layer(tensor).name for tensor in model.inputs])


def output_names(model: keras.Model) -> list[str]:
    """Return the names of a model's outputs, in the order of `model.outputs`: of a dictionary its keys, else of the layers.

    Args:
        model: A functional or sequential model.

    Examples:
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="logits")])
        >>> output_names(model)
        ['logits']
    """
    return _names(functional_of(model).output, [input_layer(tensor).name for tensor in model.outputs])


def as_model_takes(model: keras.Model, arrays: Sequence[Any]) -> Any:
    """Return arrays for the inputs, in the order of `model.inputs`, in the structure that the model is called with."""
    return keras.tree.pack_sequence_as(functional_of(model).input, list(arrays))


def _names(structure: Any, own: Sequence[str]) -> list[str]:
    if isinstance(structure, dict) and len(structure) == len(own):
        return sorted(structure)  # the order in which Keras flattens it
    taken: set[str] = set()
    return [free_name(name, taken) for name in own]
