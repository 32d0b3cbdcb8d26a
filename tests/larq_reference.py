"""What Larq itself computes, in a process of its own, as Larq needs Keras 2: `python larq_reference.py REQUEST.npz ANSWER.npz`.

The request holds `x`, an array; the answer holds for every quantizer its values on `x` and the gradient of their sum, weighted
by `upstream`; and, for `kernel` and `pictures`, what a quantized layer gives.
"""

import os
import sys

import numpy as np

QUANTIZERS = {
    "ste_sign": ("SteSign", {}),
    "ste_sign_unclipped": ("SteSign", {"clip_value": None}),
    "ste_sign_narrow": ("SteSign", {"clip_value": 0.5}),
    "approx_sign": ("ApproxSign", {}),
    "swish_sign": ("SwishSign", {}),
    "swish_sign_10": ("SwishSign", {"beta": 10.0}),
    "magnitude_aware_sign": ("MagnitudeAwareSign", {}),
    "ste_tern": ("SteTern", {}),
    "ste_tern_twn": ("SteTern", {"ternary_weight_networks": True}),
}
"""The class and the arguments of each, in Larq and in `bitat_tf.quantizers`."""


def main(request, answer):
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    import larq as lq
    import tensorflow as tf

    given = np.load(request)
    x, upstream = tf.Variable(given["x"]), tf.constant(given["upstream"])
    found = {}
    for name, (kind, arguments) in QUANTIZERS.items():
        with tf.GradientTape() as tape:
            values = getattr(lq.quantizers, kind)(**arguments)(x)
            total = tf.reduce_sum(values * upstream)
        found[name], found[f"{name}_gradient"] = values.numpy(), tape.gradient(total, x).numpy()
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(lq.activations.hard_tanh(x) * upstream)
    found["hard_tanh"], found["hard_tanh_gradient"] = lq.activations.hard_tanh(x).numpy(), tape.gradient(total, x).numpy()
    for padding in ("same", "valid"):
        layer = lq.layers.QuantConv2D(
            given["kernel"].shape[-1],
            given["kernel"].shape[:2],
            strides=2,
            padding=padding,
            pad_values=1.0,
            use_bias=False,
            input_quantizer="approx_sign",
            kernel_quantizer="magnitude_aware_sign",
            kernel_constraint="weight_clip",
        )
        pictures = tf.Variable(given["pictures"])
        layer(pictures)
        layer.set_weights([given["kernel"]])
        with tf.GradientTape() as tape:
            outputs = layer(pictures)
            total = tf.reduce_sum(tf.square(outputs))
        by_kernel, by_pictures = tape.gradient(total, [layer.trainable_weights[0], pictures])
        found[f"layer_{padding}"] = outputs.numpy()
        found[f"layer_{padding}_by_kernel"], found[f"layer_{padding}_by_pictures"] = by_kernel.numpy(), by_pictures.numpy()
    np.savez(answer, **found)


if __name__ == "__main__":
    main(*sys.argv[1:])
