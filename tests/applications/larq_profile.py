"""What `larq.models.ModelProfile` counts in a network, counted in the same way on models of Keras 3.

Larq's rules: a kernel under a quantizer has its bits, every other weight 32; a batch normalization with scale keeps two of its
four vectors; a multiply-accumulate for every weight of a kernel at every pixel of the output.
"""

import math

import keras

from bitat_tf.layers import binary_layers, device_weights


class Profile:
    """Counts over a functional model without nested models.

    Attributes:
        weights: Number of weights by their bits.
        macs: Number of multiply-accumulates of a sample, by the bits of the kernel.
        keras_count: Number of all weights, without those that only training needs.
    """

    def __init__(self, model):
        self.weights, self.macs = {1: 0, 32: 0}, {1: 0, 32: 0}
        self.keras_count = sum(math.prod(weight.shape) for weight in device_weights(model))
        binary = {id(layer) for layer in binary_layers(model)}
        for layer in model.layers:
            count = sum(math.prod(weight.shape) for weight in device_weights(layer))
            if isinstance(layer, keras.layers.BatchNormalization) and layer.scale:
                count //= 2
            kernel = getattr(layer, "kernel", None)
            if isinstance(layer, keras.layers.DepthwiseConv2D):
                kernel = layer.kernel
            size = 0 if kernel is None else math.prod(kernel.shape)
            bits = 1 if id(layer) in binary else 32
            self.weights[bits] += size
            self.weights[32] += count - size
            pixels = 1 if isinstance(layer, keras.layers.Dense) or kernel is None else math.prod(layer.output.shape[1:3])
            self.macs[bits] += size * pixels

    @property
    def memory(self):
        """Bits of all weights."""
        return self.weights[1] + 32 * self.weights[32]
