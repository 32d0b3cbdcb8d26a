"""Shortcuts around binary layers, as in Bi-Real Net: what a sign loses of its input gets past it."""

import keras

from bitat_tf.model_graph import CallGraph, LayerCall, Names, input_keys, output_keys, shapes_at

Sizes = tuple[int, ...]  # the batch first, whose size does not matter

_MOST_COPIES = 4  # as where a residual network's bottleneck widens


def end_of_layer(graph: CallGraph, call: LayerCall) -> LayerCall:
    """Return the call that a shortcut around a layer is added after: its batch normalization, if nothing else uses it."""
    consumers = graph.consumers(call)
    if len(consumers) != 1 or graph.is_output(call) or not isinstance(consumers[0].layer, keras.layers.BatchNormalization):
        return call
    # A normalization outside of a nested model, or in its next call, takes the tensor under another name.
    within = set(output_keys(call.node)) & set(input_keys(consumers[0].node))
    return consumers[0] if within else call


def describe_shortcut(graph: CallGraph, call: LayerCall) -> tuple[bool, str]:
    """Return whether there can be a shortcut around a call, and what it is, or why there is none."""
    source = call.inputs[0]
    # As the model that the layer stands in knows them: it is there that the shortcut is built.
    (given, *_), (wanted, *_) = shapes_at(call.node)
    for consumer in graph.consumers(end_of_layer(graph, call)):
        if isinstance(consumer.layer, keras.layers.Add) and any(other is source for other in consumer.inputs):
            return False, "none: there is one already"
    if None in (*given[1:], *wanted[1:]):
        return False, "none: the size of its pictures is not known"
    if wanted[-1] % given[-1] or wanted[-1] > _MOST_COPIES * given[-1]:
        return False, f"none: {given[-1]} channels become {wanted[-1]}"
    if len(given) != 4:
        same = given[1:-1] == wanted[1:-1]
        return same, _copies(given, wanted) if same else "none: its output has another shape"
    stride = pooling_of(given, wanted)
    if stride is None:
        return False, f"none: {given[1]}x{given[2]} pixels become {wanted[1]}x{wanted[2]}"
    return True, ("average pooling, " if stride != (1, 1) else "") + _copies(given, wanted)


def _copies(given: Sizes, wanted: Sizes) -> str:
    times = wanted[-1] // given[-1]
    return "identity" if times == 1 else f"its input {times} times"


def pooling_of(given: Sizes, wanted: Sizes) -> tuple[int, int] | None:
    """Return the strides with which average pooling ("same") makes pictures of one size those of another, or None."""
    strides = []
    for before, after in zip(given[1:3], wanted[1:3], strict=True):
        stride = -(-before // after)
        if -(-before // stride) != after:
            return None
        strides.append(stride)
    return strides[0], strides[1]


def add_shortcut(inputs, outputs, name: str, names: Names):
    """Return `outputs` plus the shortcut from `inputs`, both symbolic tensors that `describe_shortcut` found to fit.

    Args:
        inputs: What goes into the binary layer.
        outputs: What comes out of it, or of the normalization after it.
        name: What the names of the new layers begin with.
        names: Of the model.
    """
    given, wanted = tuple(inputs.shape), tuple(outputs.shape)
    stride = pooling_of(given, wanted) if len(given) == 4 else (1, 1)
    if stride != (1, 1):
        inputs = keras.layers.AveragePooling2D(stride, padding="same", name=names.free(f"{name}_shortcut_pool"))(inputs)
    times = wanted[-1] // given[-1]
    if times > 1:
        inputs = keras.layers.Concatenate(name=names.free(f"{name}_shortcut_copies"))([inputs] * times)
    return keras.layers.Add(name=names.free(f"{name}_shortcut"))([outputs, inputs])
