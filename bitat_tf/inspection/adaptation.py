"""What cannot adapt to binary layers: frozen layers.

They come from transfer learning, where a trained backbone is to stay as it is. A binary layer computes something else than the
float one did, so that it, and every layer that it feeds, has to adapt: weights, and statistics of batch normalizations. Layers
that no binary layer feeds get the inputs that they always got, and stay as the user has frozen them. (A call with
`training=False` in the graph of a model holds nothing back: Keras 3 passes on how the model is called.)
"""

from collections.abc import Callable, Sequence, Set

import keras

from bitat_tf.layers import BinaryLayer
from bitat_tf.model_graph import CallGraph, is_graph, layers_inside

_SHOWN = 5


def layers_that_must_train(
    graph: CallGraph, is_binary: Callable[[keras.layers.Layer], bool] = lambda layer: isinstance(layer, BinaryLayer)
) -> set[int]:
    """Return the `id` of the binary layers of a network, and of all layers that their outputs reach."""
    reached: set[int] = set()
    for call in graph.calls:
        if is_binary(call.layer) or any(id(source) in reached for source in call.inputs):
            reached.add(id(call))
    return {id(call.layer) for call in graph.calls if id(call) in reached}


def frozen_layers(model: keras.Model, must_train: Set[int], prefix: str = "") -> list[str]:
    """Return the paths of the layers that must train and are frozen."""
    found = []
    for layer in dict.fromkeys(model.layers):
        if is_graph(layer):
            found += frozen_layers(layer, must_train, f"{prefix}{layer.name}/")
        elif id(layer) in must_train and layer.weights and not layer.trainable:
            found.append(prefix + layer.name)
    if not found and not model.trainable and holds(model, must_train):
        return [prefix.rstrip("/") or model.name]  # frozen as a whole, whatever its layers are
    return found


def notes(model: keras.Model, must_train: Set[int]) -> tuple[str, ...]:
    """Return what is to be said of layers that are unfrozen, in sentences."""
    frozen = frozen_layers(model, must_train)
    said = "layers that were frozen (trainable=False) are trained now, since binary weights have to find their place"
    return (f"{said}: {listed(frozen)}.",) if frozen else ()


def holds(layer: keras.layers.Layer, must_train: Set[int]) -> bool:
    """Return whether a layer, or one inside of it, must train."""
    return any(id(part) in must_train for part in (layer, *layers_inside(layer)))


def listed(paths: Sequence[str]) -> str:
    """Return the first names of a list, and how many more there are."""
    return ", ".join(paths[:_SHOWN]) + (f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else "")
