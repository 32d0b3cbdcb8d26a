"""The network without any schedule state: a plain Larq network (with `RSign` and `RPReLU`)."""

import keras
import larq as lq
import tensorflow as tf

from bitat_tf._validation import check_model
from bitat_tf.export.padding import trimmed_paddings
from bitat_tf.layers import BinaryConv2D, BinaryDense, BinaryLayer, binary_layers
from bitat_tf.model_graph import CallGraph, Substitute, float32_config, rebuilt
from bitat_tf.quantizers import revive_dead_channels


@keras.saving.register_keras_serializable(package="bitat_tf")
class PointwiseQuantDense(lq.layers.QuantDense):
    """Larq's `QuantDense`, computed as a 1x1 convolution: larq-compute-engine has a binary kernel for that one only."""

    def call(self, inputs):
        """Return the dense layer's output."""
        # The reshape comes before the sign: between sign and convolution it would keep the two from being fused.
        channels = inputs.shape[-1]
        pixels = self.input_quantizer(tf.reshape(inputs, (-1, 1, 1, channels)))
        with lq.context.quantized_scope(True):
            kernel = tf.reshape(tf.convert_to_tensor(self.kernel), (1, 1, channels, self.units))
        outputs = tf.nn.conv2d(pixels, kernel, 1, "VALID")
        if self.use_bias:
            outputs = tf.nn.bias_add(outputs, self.bias)
        outputs = self.activation(outputs)
        return tf.reshape(outputs, (-1, *inputs.shape[1:-1], self.units))


@keras.saving.register_keras_serializable(package="bitat_tf")
class InputActivation(keras.layers.Activation):
    """Activation in the place of an input quantizer.

    Larq cannot load layers and functions of Keras in that place, only its own and registered ones. It has no `precision`:
    Larq counts the input as float.
    """


def to_plain_larq(model: keras.Model, allow_partial: bool = False) -> keras.Model:
    """Return a copy of a binarized model that is a plain Larq network, with the same outputs.

    `BinaryConv2D` becomes `larq.layers.QuantConv2D`, `BinaryDense` a `QuantDense` computed as a 1x1 convolution; layers
    that are still float become Larq layers without quantizers, that is, float Keras layers, with their `float_activation`
    before the kernel. Nothing of the schedule remains. The copy is of float32, layers of mixed precision in the model too.

    Args:
        model: A functional or sequential model.
        allow_partial: Whether binary layers that are not binarized yet may stay float.

    Raises:
        ValueError: If the model is neither functional nor sequential, has no binary layers, or some are not binarized and
            `allow_partial` is False.
        TypeError: If it is no Keras 2 model.
    """
    check_model(model, "to_plain_larq")
    layers = binary_layers(model)
    if not layers:
        raise ValueError(
            f"to_plain_larq: model {model.name!r} has no binary layers. Build it with bitat_tf.layers.BinaryConv2D or "
            "BinaryDense; a float model is converted with tf.lite.TFLiteConverter."
        )
    missing = [f"{layer.name} ({layer.state})" for layer in layers if layer.state != "binary"]
    if missing and not allow_partial:
        raise ValueError(
            f"to_plain_larq: every binary layer must be binarized. Received: {len(missing)} of {len(layers)} that are not: "
            f"{', '.join(missing[:10])}{', ...' if len(missing) > 10 else ''}. Finish the schedule, call `layer.set_binary()`, "
            "or pass allow_partial=True to leave them float."
        )
    paddings = trimmed_paddings(model)

    def plain_layer(layer: keras.layers.Layer) -> keras.layers.Layer | Substitute | None:
        if isinstance(layer, BinaryLayer):
            plain = _plain_layer(layer)
            return Substitute(plain, lambda: _copy_weights(layer, plain))
        if id(layer) in paddings:
            return keras.layers.ZeroPadding2D.from_config({**layer.get_config(), "padding": paddings[id(layer)]})
        return None

    return rebuilt(model, plain_layer, in_float32=True)


def _plain_layer(layer: BinaryLayer) -> keras.layers.Layer:
    input_is_binary, kernel_is_binary = bool(layer.input_is_binary.numpy()), bool(layer.kernel_is_binary.numpy())
    config = float32_config(layer.get_config())
    # Regularizers act on training only, and the constraint's warning of Larq is about training too.
    for name in ("disentangled_regularizer", "kernel_regularizer", "bias_regularizer", "activity_regularizer"):
        config.pop(name, None)
    activation = config.pop("float_activation")
    if not input_is_binary:
        config["input_quantizer"] = None if activation is None else InputActivation(activation)
        config.update({"pad_values": 0.0} if isinstance(layer, BinaryConv2D) else {})
    quantizer = config.pop("kernel_quantizer")
    if isinstance(layer, BinaryConv2D):
        plain = lq.layers.QuantConv2D.from_config(config)
    elif isinstance(layer, BinaryDense):
        dense = PointwiseQuantDense if input_is_binary else lq.layers.QuantDense
        plain = dense.from_config(config)
    else:
        raise TypeError(f"to_plain_larq: no plain form is known of layer {layer.name!r} of type {type(layer).__name__}.")
    if kernel_is_binary:
        plain.kernel_quantizer = lq.quantizers.get_kernel_quantizer(quantizer)
    return plain


def _copy_weights(layer: BinaryLayer, plain: keras.layers.Layer) -> None:
    kernel = layer.latent_kernel.numpy()
    plain.kernel.assign(revive_dead_channels(kernel) if layer.kernel_is_binary.numpy() else kernel)
    if layer.use_bias:
        plain.bias.assign(layer.bias)
    if layer.input_is_binary.numpy():
        plain.input_quantizer.set_weights(layer.input_quantizer.get_weights())


def count_binary_operators(plain: keras.Model) -> int:
    """Return how many binary convolutions a plain Larq network computes: a layer counts as often as it is called."""
    kinds = (lq.layers.QuantConv2D, PointwiseQuantDense)
    layers = [call.layer for call in CallGraph(plain).calls if isinstance(call.layer, kinds)]
    return sum(
        all(getattr(quantizer, "precision", None) == 1 for quantizer in (layer.input_quantizer, layer.kernel_quantizer))
        for layer in layers
    )
