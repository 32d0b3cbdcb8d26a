"""Layers that start as float layers and become binary."""

from bitat_tf.layers.binary_conv2d import BinaryConv2D
from bitat_tf.layers.binary_dense import BinaryDense
from bitat_tf.layers.binary_layer import BinaryLayer, binary_layers, device_weights, required_binary_layers
from bitat_tf.layers.rprelu import RPReLU

__all__ = ["BinaryConv2D", "BinaryDense", "BinaryLayer", "RPReLU", "binary_layers", "device_weights", "required_binary_layers"]
