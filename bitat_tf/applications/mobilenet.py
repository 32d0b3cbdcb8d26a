"""MobileNets: Keras' own float networks, with the arguments and the treatment of small pictures of the others."""

from collections.abc import Callable

import keras

from bitat_tf.applications._building import (
    Weights,
    build_model,
    check_arguments,
    image_input,
    keeps_resolution,
    preprocess_input,
)
from bitat_tf.model_graph import rebuilt

__all__ = ["MobileNetV1", "MobileNetV2", "preprocess_input"]

_MINIMUM = 32  # pixels, Keras' own limit: the networks halve pictures up to five times


def MobileNetV1(  # noqa: N802 (the name of a model, as in keras.applications)
    input_shape: tuple[int, int, int] = (224, 224, 3),
    classes: int = 1000,
    weights: Weights = None,
    width: float = 1.0,
    include_top: bool = True,
    pooling: str | None = None,
    include_preprocessing: bool = True,
    classifier_activation: str | None = None,
    name: str = "mobilenetv1",
) -> keras.Model:
    """Build a MobileNet, a float network: `keras.applications.MobileNet` up to its last feature map, with our classifier.

    It is the network that ReActNet-A follows, and a float one to compare with.

    Args:
        input_shape: (height, width, channels) of the pictures, at least 32x32. Up to 96 pixels the first convolution has
            stride 1, above stride 2.
        classes: Number of classes, >= 2.
        weights: None, or the path of a file of weights (`model.save_weights`) of the same network.
        width: Multiplier of all filters (Keras' `alpha`), >= 1/32, so that the first layer has a filter.
        include_top: Whether the network ends with the classifier. Without it the output is the last feature map.
        pooling: "avg" or "max" pools the feature map where there is no classifier; None (default) leaves it.
        include_preprocessing: Whether the network takes pixels from 0 to 255 and scales them to [-1, 1] itself.
        classifier_activation: Activation of the last layer. Default None: logits.
        name: Name of the model.

    Returns:
        A `keras.Model`, not compiled.

    Raises:
        ValueError: If a value is out of range, or the pictures are too small.

    Examples:
        >>> MobileNetV1((32, 32, 3), width=0.25, include_top=False).output_shape
        (None, 2, 2, 256)

    References:
        - [MobileNets: Efficient Convolutional Neural Networks for Mobile Vision
            Applications](https://arxiv.org/abs/1704.04861)
    """
    check_arguments("MobileNetV1", input_shape, classes, weights, width, pooling, minimum_width=1 / 32)
    base = _keras_network("MobileNetV1", keras.applications.MobileNet, "conv1", input_shape, width, include_preprocessing)
    return build_model(base.inputs[0], base.outputs[0], classes, weights, include_top, pooling, classifier_activation, name)


def MobileNetV2(  # noqa: N802
    input_shape: tuple[int, int, int] = (224, 224, 3),
    classes: int = 1000,
    weights: Weights = None,
    width: float = 1.0,
    include_top: bool = True,
    pooling: str | None = None,
    include_preprocessing: bool = True,
    classifier_activation: str | None = None,
    name: str = "mobilenetv2",
) -> keras.Model:
    """Build a MobileNetV2, a float network: `keras.applications.MobileNetV2` up to its last feature map, with our classifier.

    Args:
        input_shape: (height, width, channels) of the pictures, at least 32x32. Up to 96 pixels the first convolution has
            stride 1, above stride 2.
        classes: Number of classes, >= 2.
        weights: None, or the path of a file of weights (`model.save_weights`) of the same network.
        width: Multiplier of the filters (Keras' `alpha`), > 0; the last convolution keeps its 1280 below 1.
        include_top: Whether the network ends with the classifier. Without it the output is the last feature map.
        pooling: "avg" or "max" pools the feature map where there is no classifier; None (default) leaves it.
        include_preprocessing: Whether the network takes pixels from 0 to 255 and scales them to [-1, 1] itself.
        classifier_activation: Activation of the last layer. Default None: logits.
        name: Name of the model.

    Returns:
        A `keras.Model`, not compiled.

    Raises:
        ValueError: If a value is out of range, or the pictures are too small.

    Examples:
        >>> MobileNetV2((32, 32, 3), width=0.25, include_top=False).output_shape
        (None, 2, 2, 1280)

    References:
        - [MobileNetV2: Inverted Residuals and Linear Bottlenecks](https://arxiv.org/abs/1801.04381)
    """
    check_arguments("MobileNetV2", input_shape, classes, weights, width, pooling)
    base = _keras_network("MobileNetV2", keras.applications.MobileNetV2, "Conv1", input_shape, width, include_preprocessing)
    return build_model(base.inputs[0], base.outputs[0], classes, weights, include_top, pooling, classifier_activation, name)


def _keras_network(
    where: str,
    build: Callable[..., keras.Model],
    first_layer: str,
    input_shape: tuple[int, int, int],
    width: float,
    include_preprocessing: bool,
) -> keras.Model:
    """Return Keras' network without classifier; for small pictures its first convolution does not reduce them."""
    if min(input_shape[:2]) < _MINIMUM:
        raise ValueError(
            f"{where}: pictures must have at least {_MINIMUM}x{_MINIMUM} pixels. Received: input_shape={input_shape}. "
            "Use larger pictures, or another network."
        )
    inputs, x = image_input(input_shape, include_preprocessing)
    network = build(input_shape=input_shape, input_tensor=x, alpha=width, include_top=False, weights=None)
    if not keeps_resolution(input_shape):
        return network

    def without_strides(layer: keras.layers.Layer) -> keras.layers.Layer | None:
        changed = {**layer.get_config(), "strides": (1, 1)}
        return type(layer).from_config(changed) if layer.name == first_layer else None

    return rebuilt(network, without_strides)
