"""The networks that are exported and timed, with random weights, and the statistics that make them like trained ones."""

from collections.abc import Callable

import keras
import numpy as np

from bitat_tf import applications
from bitat_tf.applications.reactnet import REACTNET_A_BLOCKS, STEM_FILTERS
from bitat_tf.conversion import binarize
from bitat_tf.layers import BinaryConv2D, RPReLU, binary_layers

L = keras.layers


def paired_reactnet_a(size: int, width: float, classes: int) -> keras.Model:
    """Return ReActNet-A as its authors built it: two parallel 1x1 convolutions where the filters double, 31 binary layers."""

    def unit(x, shortcut, name, filters, kernel, stride=1):
        y = BinaryConv2D(filters, kernel, stride, padding="same", use_bias=False, name=f"{name}_conv")(x)
        return L.Add(name=f"{name}_add")([shortcut, L.BatchNormalization(name=f"{name}_bn")(y)])

    filters = max(8, int(STEM_FILTERS * width))
    x = inputs = keras.Input((size, size, 3), name="image")
    x = L.Rescaling(1 / 127.5, -1.0, name="rescaling")(x)
    x = L.Conv2D(filters, 3, 2 if size > 96 else 1, padding="same", use_bias=False, name="stem_conv")(x)
    x = L.BatchNormalization(name="stem_bn")(x)
    previous = STEM_FILTERS
    for number, (wanted, stride) in enumerate(REACTNET_A_BLOCKS, 1):
        name = f"block_{number}"
        shortcut = L.AveragePooling2D(stride, padding="same", name=f"{name}_pool")(x) if stride > 1 else x
        x = RPReLU(name=f"{name}_rprelu3x3")(unit(x, shortcut, f"{name}_3x3", filters, 3, stride))
        if wanted == previous:
            x = unit(x, x, f"{name}_1x1", filters, 1)
        else:
            x = L.Concatenate(name=f"{name}_pair")([unit(x, x, f"{name}_1x1_{half}", filters, 1) for half in "ab"])
            filters, previous = 2 * filters, wanted
        x = RPReLU(name=f"{name}_rprelu1x1")(x)
    x = L.Dense(classes, name="logits")(L.GlobalAveragePooling2D(name="pool")(x))
    return keras.Model(inputs, x, name="reactnet_a_paired")


def convolutions(size: int, width: float, classes: int) -> keras.Model:
    """Return 3x3 convolutions, normalizations and ReLUs, with MobileNetV1's filters and strides, after `binarize`."""
    x = inputs = keras.Input((size, size, 3), name="image")
    x = L.Rescaling(1 / 127.5, -1.0, name="rescaling")(x)
    blocks = [(STEM_FILTERS, 2 if size > 96 else 1), *REACTNET_A_BLOCKS]  # which are MobileNetV1's
    for number, (filters, stride) in enumerate(blocks):
        filters = max(8, int(filters * width))
        x = L.Conv2D(filters, 3, stride, padding="same", use_bias=False, name=f"conv_{number}")(x)
        x = L.ReLU(name=f"relu_{number}")(L.BatchNormalization(name=f"bn_{number}")(x))
    outputs = L.Dense(classes, name="logits")(L.GlobalAveragePooling2D(name="pool")(x))
    return binarize(keras.Model(inputs, outputs, name="convolutions"), verbose=0)


def _application(name: str, **options) -> Callable[[int, float, int], keras.Model]:
    def build(size: int, width: float, classes: int) -> keras.Model:
        model = getattr(applications, name)((size, size, 3), classes, width=width)
        return model if binary_layers(model) else binarize(model, verbose=0, **options)

    return build


NETWORKS: dict[str, Callable[[int, float, int], keras.Model]] = {
    "ReActNet-A, pairs": paired_reactnet_a,
    "ReActNetA": _application("ReActNetA"),
    "ReActNet18": _application("ReActNet18"),
    "BiRealNet18": _application("BiRealNet18"),
    "BiRealNet34": _application("BiRealNet34"),
    "RealToBinNet18": _application("RealToBinNet18"),
    "MeliusNet22": _application("MeliusNet22"),
    "QuickNet": _application("QuickNet"),
    "MobileNetV1": _application("MobileNetV1"),
    "MobileNetV2": _application("MobileNetV2"),
    "Conv-BN-ReLU": convolutions,
}
"""Networks by name, for the size of the pictures, a multiplier of the filters and the number of classes."""


def build(name: str, size: int = 224, width: float = 1.0, classes: int = 1000) -> keras.Model:
    """Return one of `NETWORKS`, binary, the same in every process."""
    keras.utils.set_random_seed(0)
    return randomize(NETWORKS[name](size, width, classes))


def randomize(model: keras.Model) -> keras.Model:
    """Give a network random statistics, shifts, slopes and thresholds, so that none vanishes as 0 or 1, and make it binary."""
    generator = np.random.default_rng(0)
    for weight in model.weights:
        name = weight.name.split("/")[-1]
        if name.startswith(("moving_variance", "gamma")):
            weight.assign(generator.uniform(0.5, 1.5, weight.shape))
        elif name.startswith(("moving_mean", "beta", "shift", "threshold")):
            weight.assign(generator.normal(0, 0.3, weight.shape))
        elif name.startswith("alpha"):
            weight.assign(generator.uniform(0.1, 0.4, weight.shape))
    for layer in binary_layers(model):
        layer.set_binary()
    return model
