"""MeliusNet: dense blocks that add features, improvement blocks that mend the newest ones."""

import keras

from bitat_tf._validation import channel_count
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

__all__ = ["ChannelSlice", "MeliusNet22", "preprocess_input"]

_BLOCKS = (4, 5, 4, 4)  # pairs of a dense and an improvement block in each section
_TRANSITIONS = (160, 224, 256)  # filters between the sections
_GROWTH = 64  # new features of a dense block, and what an improvement block mends
_CLIP = 1.3  # where the gradient of the sign ends, as in the authors' code


@keras.saving.register_keras_serializable(package="bitat_tf")
class ChannelSlice(keras.layers.Layer):
    """The channels from `start` to `stop` of the input, as `x[..., start:stop]`.

    A layer of its own, so that a network with it can be cloned, saved and searched for shortcuts like one of Keras' layers.

    Args:
        start, stop: As in a Python slice; None for the first or the last channel.
        **kwargs: Keyword arguments of a Keras layer.

    Input shape:
        (batch, ..., channels), channels last, of known size.

    Output shape:
        As the input, with the chosen channels.

    Examples:
        >>> np.asarray(ChannelSlice(-1, None)(np.array([[1.0, 2.0, 3.0]])))
        array([[3.]], dtype=float32)
    """

    def __init__(self, start: int | None, stop: int | None, **kwargs):
        super().__init__(**kwargs)
        self.start = start
        self.stop = stop

    def call(self, inputs):
        """Return inputs[..., start:stop]."""
        return inputs[..., self.start : self.stop]

    def compute_output_shape(self, input_shape):
        """Return the shape of the chosen channels."""
        chosen = range(channel_count(input_shape, "ChannelSlice"))[self.start : self.stop]
        return (*input_shape[:-1], len(chosen))

    def get_config(self):
        """Return the arguments of the constructor."""
        return {**super().get_config(), "start": self.start, "stop": self.stop}


def MeliusNet22(  # noqa: N802 (the name of a model, as in keras.applications)
    input_shape: tuple[int, int, int] = (224, 224, 3),
    classes: int = 1000,
    weights: Weights = None,
    width: float = 1.0,
    include_top: bool = True,
    pooling: str | None = None,
    include_preprocessing: bool = True,
    classifier_activation: str | None = None,
    disentangled_regularizer: DisentangledRegularizer | None = None,
    name: str = "meliusnet22",
) -> keras.Model:
    """Build a MeliusNet-22, whose 34 3x3 convolutions are `BinaryConv2D`, in float state.

    A dense block appends 64 channels to its input, x <- [x, bconv(sign(BN(x)))]; the improvement block after it adds a second
    such convolution to these 64. Four sections of 4, 5, 4 and 4 pairs; between them batch normalization, max pooling, ReLU
    and a real 1x1 convolution to 160, 224 and 256 channels. The stem is three real 3x3 convolutions, the second and third in
    4 and 8 groups. While a layer is float, min(max(x, -1), 1) stands in the place of its sign. First and last layer and the
    transitions stay float.

    Args:
        input_shape: (height, width, channels) of the pictures. Up to 96 pixels the stem keeps their size (stride 1, no
            pooling), above it makes them four times smaller (stride 2, then max pooling).
        classes: Number of classes, >= 2.
        weights: None, or the path of a file of weights (`model.save_weights`) of the same network.
        width: Multiplier of all filters and of the 64 new channels, > 0; results are rounded to multiples of 8, at least 8.
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
        >>> model = MeliusNet22((16, 16, 3), classes=10, width=0.125)
        >>> len(bitat_tf.layers.binary_layers(model)), model.output_shape
        (34, (None, 10))

    References:
        - [MeliusNet: Can Binary Neural Networks Achieve MobileNet-level Accuracy?](https://arxiv.org/abs/2001.05936)
    """
    check_arguments("MeliusNet22", input_shape, classes, weights, width, pooling)
    inputs, x = image_input(input_shape, include_preprocessing)
    x = _stem(x, input_shape, width)
    growth = scaled_filters(_GROWTH, width)
    for section, count in enumerate(_BLOCKS, 1):
        for number in range(1, count + 1):
            name_of_block = f"section_{section}_block_{number}"
            x = _dense_block(x, growth, f"{name_of_block}_dense", disentangled_regularizer)
            x = _improvement_block(x, growth, f"{name_of_block}_improvement", disentangled_regularizer)
        if section < len(_BLOCKS):
            transition = f"section_{section}_transition"
            check_reducible("MeliusNet22", x, input_shape, transition)
            x = _transition(x, scaled_filters(_TRANSITIONS[section - 1], width), transition)
    x = batch_normalization(name="head_bn")(x)
    x = keras.layers.ReLU(name="head_relu")(x)
    return build_model(inputs, x, classes, weights, include_top, pooling, classifier_activation, name)


def _stem(x, input_shape: tuple[int, int, int], width: float):
    small = keeps_resolution(input_shape)
    for number, (filters, groups) in enumerate(((32, 1), (32, 4), (64, 8)), 1):
        strides = 2 if number == 1 and not small else 1
        x = float_convolution(scaled_filters(filters, width), 3, strides, name=f"stem_conv_{number}", groups=groups)(x)
        x = batch_normalization(name=f"stem_bn_{number}")(x)
        x = keras.layers.ReLU(name=f"stem_relu_{number}")(x)
    if small:
        return x
    check_reducible("MeliusNet22", x, input_shape, "stem_pool")
    return keras.layers.MaxPooling2D(2, padding="same", name="stem_pool")(x)


def _new_features(x, growth: int, name: str, regularizer: DisentangledRegularizer | None):
    y = batch_normalization(name=f"{name}_bn")(x)
    quantizer = SteSign(clip_value=_CLIP)
    return binary_convolution(growth, 3, 1, f"{name}_conv", regularizer, quantizer, float_activation="hard_tanh")(y)


def _dense_block(x, growth: int, name: str, regularizer: DisentangledRegularizer | None):
    y = _new_features(x, growth, name, regularizer)
    return keras.layers.Concatenate(name=f"{name}_concat")([x, y])


def _improvement_block(x, growth: int, name: str, regularizer: DisentangledRegularizer | None):
    # The sum over the newest channels alone, not over all with zeros for the old ones: the shortcut is one that
    # `find_blocks` sees, and the device adds `growth` channels instead of all.
    y = _new_features(x, growth, name, regularizer)
    old = ChannelSlice(None, -growth, name=f"{name}_old")(x)
    new = ChannelSlice(-growth, None, name=f"{name}_new")(x)
    new = keras.layers.Add(name=f"{name}_add")([new, y])
    return keras.layers.Concatenate(name=f"{name}_concat")([old, new])


def _transition(x, filters: int, name: str):
    x = batch_normalization(name=f"{name}_bn")(x)
    x = keras.layers.MaxPooling2D(2, padding="same", name=f"{name}_pool")(x)
    x = keras.layers.ReLU(name=f"{name}_relu")(x)
    return float_convolution(filters, 1, 1, name=f"{name}_conv")(x)
