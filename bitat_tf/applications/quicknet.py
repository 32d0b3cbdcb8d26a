"""QuickNet: Larq's network made for larq-compute-engine."""

import keras
import numpy as np

from bitat_tf.applications._building import (
    Weights,
    batch_normalization,
    binary_convolution,
    build_model,
    check_arguments,
    check_reducible,
    float_convolution,
    image_input,
    keeps_resolution,
    preprocess_input,
    scaled_filters,
)
from bitat_tf.quantizers import SteSign
from bitat_tf.regularizers import DisentangledRegularizer

__all__ = ["BlurInitializer", "QuickNet", "preprocess_input"]

_BLOCKS = (4, 4, 4, 4)
_FILTERS = (64, 128, 256, 512)
_CLIP = 1.25  # where the gradient of the sign ends, as in Larq Zoo


@keras.saving.register_keras_serializable(package="bitat_tf")
class BlurInitializer(keras.initializers.Initializer):
    """Kernel of a depthwise 3x3 convolution that blurs: binomial weights of sum 1 in every channel.

    Examples:
        >>> 16 * np.asarray(BlurInitializer()((3, 3, 1, 1)))[..., 0, 0]
        array([[1., 2., 1.],
               [2., 4., 2.],
               [1., 2., 1.]], dtype=float32)

    References:
        - [Making Convolutional Networks Shift-Invariant Again](https://arxiv.org/abs/1904.11486)
    """

    def __call__(self, shape, dtype=None, **kwargs):
        """Return the kernel.

        Args:
            shape: (3, 3, channels, 1).
            dtype: Its type. Default float32.
            **kwargs: Not used.

        Raises:
            ValueError: If the shape is another one.
        """
        if tuple(shape[:2]) != (3, 3):
            raise ValueError(f"BlurInitializer: the kernel must be 3x3. Received: shape={tuple(shape)}. Use kernel_size=3.")
        binomial = np.array([1.0, 2.0, 1.0]) / 4
        kernel = np.outer(binomial, binomial)[:, :, None, None]
        return keras.ops.convert_to_tensor(np.broadcast_to(kernel, shape), dtype or "float32")

    def get_config(self):
        """Return the arguments of the constructor: none."""
        return {}


def QuickNet(  # noqa: N802 (the name of a model, as in keras.applications)
    input_shape: tuple[int, int, int] = (224, 224, 3),
    classes: int = 1000,
    weights: Weights = None,
    width: float = 1.0,
    include_top: bool = True,
    pooling: str | None = None,
    include_preprocessing: bool = True,
    classifier_activation: str | None = None,
    disentangled_regularizer: DisentangledRegularizer | None = None,
    name: str = "quicknet",
) -> keras.Model:
    """Build a QuickNet of the regular size, whose 16 3x3 convolutions are `BinaryConv2D`, in float state.

    A block is y = BN(relu(bconv(sign(x)))) + x, four of them in each of four sections. Between sections: ReLU, max pooling of
    stride 1, a fixed blur of stride 2 (against aliasing), a real 1x1 convolution that doubles the filters, and batch
    normalization. The stem is a real 3x3, a depthwise 3x3 and a 1x1 convolution. First and last layer and the transitions
    stay float.

    Larq Zoo's binary kernels have no scale; ours have one per output channel, as everywhere in this package. So the ReLU is
    not fused into the binary convolution: on the device RELU, MUL and ADD follow it.

    Args:
        input_shape: (height, width, channels) of the pictures. Up to 96 pixels the stem keeps their size (stride 1 twice),
            above it makes them four times smaller (stride 2 twice).
        classes: Number of classes, >= 2.
        weights: None, or the path of a file of weights (`model.save_weights`) of the same network.
        width: Multiplier of all filters, > 0; results are rounded to multiples of 8, at least 8. The first convolution has
            a quarter of the stem's.
        include_top: Whether the network ends with the classifier. Without it the output is the last feature map.
        pooling: "avg" or "max" pools the feature map where there is no classifier; None (default) leaves it.
        include_preprocessing: Whether the network takes pixels from 0 to 255 and scales them to [-1, 1] itself.
        classifier_activation: Activation of the last layer. Default None: logits.
        disentangled_regularizer: Of every binary layer: each gets a copy of it, as it holds that layer's statistics. Default
            as in `BinaryConv2D`.
        name: Name of the model.

    Returns:
        A `keras.Model`, not compiled.

    Raises:
        ValueError: If a value is out of range, or the pictures are too small.

    Examples:
        >>> model = QuickNet((16, 16, 3), classes=10, width=0.125)
        >>> len(bitat_tf.layers.binary_layers(model)), model.output_shape
        (16, (None, 10))

    References:
        - [Larq Compute Engine: Design, Benchmark, and Deploy State-of-the-Art Binarized Neural
            Networks](https://arxiv.org/abs/2011.09398)
    """
    check_arguments("QuickNet", input_shape, classes, weights, width, pooling)
    inputs, x = image_input(input_shape, include_preprocessing)
    x = _stem(x, input_shape, width)
    for section, (blocks, filters) in enumerate(zip(_BLOCKS, _FILTERS, strict=True), 1):
        if section > 1:
            transition = f"section_{section}_transition"
            check_reducible("QuickNet", x, input_shape, transition)
            x = _transition(x, scaled_filters(filters, width), transition)
        for number in range(1, blocks + 1):
            x = _block(x, f"section_{section}_block_{number}", disentangled_regularizer)
    x = keras.layers.ReLU(name="head_relu")(x)
    return build_model(inputs, x, classes, weights, include_top, pooling, classifier_activation, name)


def _stem(x, input_shape: tuple[int, int, int], width: float):
    filters, strides = scaled_filters(_FILTERS[0], width), 1 if keeps_resolution(input_shape) else 2
    x = float_convolution(filters // 4, 3, strides, name="stem_conv_1")(x)
    x = batch_normalization(name="stem_bn_1")(x)
    x = keras.layers.ReLU(name="stem_relu")(x)
    if strides == 2:
        check_reducible("QuickNet", x, input_shape, "stem_depthwise")
    x = keras.layers.DepthwiseConv2D(3, strides, padding="same", use_bias=False, name="stem_depthwise")(x)
    # The 1x1 convolution and the normalization after it can undo any scale and shift: here they would be idle.
    x = keras.layers.BatchNormalization(momentum=0.9, scale=False, center=False, name="stem_bn_2")(x)
    x = float_convolution(filters, 1, 1, name="stem_conv_2")(x)
    return batch_normalization(name="stem_bn_3")(x)


def _block(x, name: str, regularizer: DisentangledRegularizer | None):
    y = binary_convolution(x.shape[-1], 3, 1, f"{name}_conv", regularizer, input_quantizer=SteSign(clip_value=_CLIP))(x)
    # A layer of its own, not the convolution's activation: the cross-layer dependency needs the output before it.
    y = keras.layers.ReLU(name=f"{name}_relu")(y)
    y = batch_normalization(name=f"{name}_bn")(y)
    return keras.layers.Add(name=f"{name}_add")([y, x])


def _transition(x, filters: int, name: str):
    x = keras.layers.ReLU(name=f"{name}_relu")(x)
    x = keras.layers.MaxPooling2D(2, 1, name=f"{name}_pool")(x)
    x = keras.layers.DepthwiseConv2D(
        3, 2, padding="same", depthwise_initializer=BlurInitializer(), use_bias=False, trainable=False, name=f"{name}_blur"
    )(x)
    x = float_convolution(filters, 1, 1, name=f"{name}_conv")(x)
    return batch_normalization(name=f"{name}_bn")(x)
