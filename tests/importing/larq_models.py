"""Networks that Larq itself saves, in a process of its own, as Larq needs Keras 2: `python larq_models.py FOLDER`.

Beside the files stand their inputs and outputs, and what Larq says of the weights: `NAME.npz`.
"""

import os
import sys

import numpy as np

INPUTS = 16


def pictures(lq, keras):
    """Return a network with every kind of layer that is imported."""
    layers, quantizers = keras.layers, lq.quantizers
    clipped = {"use_bias": False, "kernel_constraint": "weight_clip"}
    x = inputs = keras.Input((12, 12, 3))
    x = lq.layers.QuantConv2D(8, 3, padding="same", kernel_quantizer="ste_sign", name="first", **clipped)(x)
    x = shortcut = layers.BatchNormalization()(x)
    by_name = {"input_quantizer": "ste_sign", "kernel_quantizer": "magnitude_aware_sign"}
    x = lq.layers.QuantConv2D(8, 3, padding="same", pad_values=1.0, name="one_padded", **by_name, **clipped)(x)
    x = layers.add([layers.BatchNormalization()(x), shortcut])
    objects = {"input_quantizer": quantizers.ApproxSign(), "kernel_quantizer": quantizers.SteSign(clip_value=1.3)}
    with lq.context.metrics_scope(["flip_ratio"]):
        clip = lq.constraints.WeightClip(1.3)
        x = lq.layers.QuantConv2D(64, 3, 2, "same", name="strided", kernel_constraint=clip, activation="hard_tanh", **objects)(
            x
        )
    x = layers.Activation(lq.activations.hard_tanh, name="tanh")(layers.BatchNormalization()(x))
    objects = {"input_quantizer": quantizers.SwishSign(3.0), "kernel_quantizer": quantizers.MagnitudeAwareSign(0.9)}
    x = lq.layers.QuantConv2D(16, (3, 1), name="valid", activation="relu", groups=2, **objects)(x)
    x = layers.BatchNormalization()(x)
    x = lq.layers.QuantDepthwiseConv2D(
        3, padding="same", name="depthwise", input_quantizer="ste_sign", depthwise_quantizer=quantizers.SteTern(0.1)
    )(x)
    x = quantizers.SteSign(name="signs")(layers.BatchNormalization()(x))
    x = lq.layers.QuantSeparableConv2D(
        8, 3, padding="same", name="separable", depthwise_quantizer="ste_sign", pointwise_quantizer="magnitude_aware_sign"
    )(x)
    inside = keras.Input((4, 6, 8))
    y = lq.layers.QuantConv2D(12, 1, name="inside", input_quantizer="swish_sign", kernel_quantizer="approx_sign")(inside)
    inner = keras.Model(inside, layers.BatchNormalization()(y), name="inner")
    x = layers.GlobalAveragePooling2D()(inner(x))
    x = lq.layers.QuantDense(
        16, name="binary_dense", input_quantizer="approx_sign", kernel_quantizer="ste_sign", use_bias=False
    )(x)
    x = layers.BatchNormalization()(x)
    x = layers.add([x, layers.Dense(16, lq.quantizers.SteSign(), name="then_signs")(x)])
    return keras.Model(inputs, layers.Dense(4, "softmax")(x), name="pictures")


def sequence(lq, keras):
    """Return a sequential network, as Larq's guide has it."""
    quantized = {"input_quantizer": "ste_sign", "kernel_quantizer": "ste_sign", "kernel_constraint": "weight_clip"}
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            lq.layers.QuantConv2D(16, 3, kernel_quantizer="ste_sign", kernel_constraint="weight_clip", use_bias=False),
            keras.layers.MaxPooling2D(2),
            keras.layers.BatchNormalization(scale=False),
            keras.layers.Flatten(),
            lq.layers.QuantDense(32, use_bias=False, **quantized),
            keras.layers.BatchNormalization(scale=False),
            lq.layers.QuantDense(10, use_bias=False, **quantized),
            keras.layers.BatchNormalization(scale=False),
            keras.layers.Activation("softmax"),
        ],
        name="sequence",
    )


def refused(lq, keras):
    """Return networks of one layer that have no counterpart, by name."""

    def own(x):
        return x

    def network(layer):
        return keras.Sequential([keras.Input((6, 6, 4)), layer])

    dense, convolution = lq.layers.QuantDense, lq.layers.QuantConv2D
    return {
        "dorefa": network(convolution(4, 3, kernel_quantizer=lq.quantizers.DoReFa(2, "weights"), name="coarse")),
        "noop": network(dense(4, input_quantizer="ste_sign", kernel_quantizer=lq.quantizers.NoOp(1), name="bop")),
        "heaviside": network(lq.quantizers.SteHeaviside(name="steps")),
        "leaky": network(dense(4, activation=lq.activations.leaky_tanh, name="leaks")),
        "own": network(dense(4, input_quantizer=own, name="mine")),
        "relu": network(dense(4, input_quantizer=keras.activations.relu, name="rectified")),
        "local": network(lq.layers.QuantLocallyConnected2D(4, 3, kernel_quantizer="ste_sign", name="patches")),
    }


def main(folder):
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    import larq as lq
    import tf_keras as keras

    os.chdir(folder)
    keras.utils.set_random_seed(0)
    generator = np.random.default_rng(0)
    for model in (pictures(lq, keras), sequence(lq, keras)):
        x = generator.normal(size=(INPUTS, *model.input_shape[1:])).astype(np.float32)
        model.compile(keras.optimizers.legacy.SGD(0.1), "mse", metrics=["mae"])
        model.fit(x, generator.normal(size=(INPUTS, *model.output_shape[1:])), verbose=0)
        for weight in model.weights:  # no 0 and 1, of biases and normalizations
            values = weight.numpy() + 0.3 * generator.normal(size=weight.shape)
            weight.assign(abs(values) + 0.2 if "variance" in weight.name else values)
        for form in ("h5", "keras"):
            model.save(f"{model.name}.{form}")
        model.save(model.name, save_format="tf")
        weights = {f"latent {layer.name}": layer.get_weights()[0] for layer in model.layers if layer.get_weights()}
        with lq.context.quantized_scope(True):
            weights |= {f"kernel {layer.name}": layer.get_weights()[0] for layer in model.layers if layer.get_weights()}
        np.savez(f"{model.name}.npz", x=x, y=model.predict(x, verbose=0), **weights)
    model.save_weights("weights.h5")
    for name, model in refused(lq, keras).items():
        model.save(f"{name}.keras")


if __name__ == "__main__":
    main(*sys.argv[1:])
