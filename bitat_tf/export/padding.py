"""Zero padding that larq-compute-engine folds into a convolution with strides must not pad more than the convolution reads."""

from collections.abc import Mapping

import keras

from bitat_tf.model_graph import CallGraph, LayerCall

_CONVOLUTIONS = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D, keras.layers.SeparableConv2D)

Padding = tuple[tuple[int, int], tuple[int, int]]


def trimmed_paddings(model: keras.Model) -> Mapping[int, Padding]:
    """Return what is left of each `ZeroPadding2D` before a convolution with strides without the rows that it never reads.

    Where pictures of even size are padded by ((1, 1), (1, 1)) and convolved with a 3x3 kernel and strides 2, the last row and
    column are not read. larq-compute-engine 0.16 takes the two for a convolution with padding "same" all the same, which pads
    at the other side ((0, 1), (0, 1)), and the file computes something else. Without what is not read it keeps the padding as
    it is.

    Args:
        model: A functional or sequential model.

    Returns:
        Paddings by `id` of the layer; layers that pad as much as is read are not among them.
    """
    graph = CallGraph(model)
    found: dict[int, set[Padding]] = {}
    for call in graph.calls:
        if isinstance(call.layer, keras.layers.ZeroPadding2D):
            found.setdefault(id(call.layer), set()).add(_trimmed(graph, call))
    layers = {id(call.layer): call.layer for call in graph.calls}
    # A layer that is called several times keeps its padding unless all calls agree.
    agreed = {key: paddings.pop() for key, paddings in found.items() if len(paddings) == 1}
    return {key: padding for key, padding in agreed.items() if padding != layers[key].padding}


def _trimmed(graph: CallGraph, call: LayerCall) -> Padding:
    padding, consumers = call.layer.padding, graph.consumers(call)
    if len(consumers) != 1 or graph.is_output(call):
        return padding
    layer = consumers[0].layer
    if not isinstance(layer, _CONVOLUTIONS) or isinstance(layer, keras.layers.Conv2DTranspose):
        return padding
    if layer.padding != "valid" or layer.data_format != "channels_last":
        return padding
    trimmed = []
    for (before, after), size, kernel, stride, dilation in zip(
        padding, call.output_shapes[0][1:3], layer.kernel_size, layer.strides, layer.dilation_rate, strict=True
    ):
        unread = 0 if size is None else (size - (kernel - 1) * dilation - 1) % stride
        trimmed.append((before, after - min(after, unread)))
    return trimmed[0], trimmed[1]
