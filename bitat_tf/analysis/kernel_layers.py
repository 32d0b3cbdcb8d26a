"""The layers of any Keras network that are dense layers on patches, and what goes into them."""

import contextlib
from collections.abc import Callable, Iterator

import keras
import numpy as np
from keras import ops

from bitat_tf.dependency import PatchGeometry, PatchMoments
from bitat_tf.layers import BinaryLayer
from bitat_tf.model_graph import layers_inside

_DENSE = PatchGeometry()


def kernel_layers(model: keras.Model) -> list[keras.layers.Layer]:
    """Return the convolutions and dense layers whose outputs see all input channels, nested models included, each once.

    Depthwise and grouped convolutions are left out: their inputs have a covariance for each group, not a single one.
    """
    return [layer for layer in layers_inside(model) if _has_kernel(layer)]


def _has_kernel(layer: keras.layers.Layer) -> bool:
    if isinstance(layer, keras.layers.Dense):
        return True
    other_kinds = keras.layers.DepthwiseConv2D, keras.layers.Conv2DTranspose, keras.layers.SeparableConv2D
    if not isinstance(layer, keras.layers.Conv2D) or isinstance(layer, other_kinds):
        return False
    return layer.groups == 1 and layer.data_format == "channels_last"


def geometry_of(layer: keras.layers.Layer) -> PatchGeometry:
    """Return which features of its input a kernel sees in the float network (Eq. 14)."""
    if isinstance(layer, BinaryLayer):
        return layer.geometry(binary=False)
    if isinstance(layer, keras.layers.Dense):
        return _DENSE
    return PatchGeometry(layer.kernel_size, layer.strides, layer.dilation_rate, layer.padding)


def kernel_matrix(layer: keras.layers.Layer) -> np.ndarray:
    """Return the kernel as a matrix of shape (d, m), features in the order of the patches, float64."""
    if isinstance(layer, BinaryLayer):
        return layer.latent_kernel_matrix.astype(float)
    kernel = layer.kernel.numpy()
    return kernel.reshape(-1, kernel.shape[-1]).astype(float)


def input_covariance(layer: keras.layers.Layer, batches: list[np.ndarray]) -> np.ndarray:
    """Return the centred covariance C of what the float layer's kernel sees, shape (d, d)."""
    geometry = geometry_of(layer)
    dim = len(kernel_matrix(layer))
    moments = PatchMoments(geometry, dim // geometry.taps)
    for batch in batches:
        images = layer.input_images(batch, binary=False) if isinstance(layer, BinaryLayer) else batch
        images = ops.convert_to_numpy(images)
        if images.ndim != 4:  # of a dense layer: rows are pictures of one pixel
            images = images.reshape(-1, 1, 1, images.shape[-1])
        moments.update(images)
    return moments.covariance


@contextlib.contextmanager
def before_first_call(
    layers: list[keras.layers.Layer], function: Callable[[keras.layers.Layer, np.ndarray], None]
) -> Iterator[None]:
    """Call `function(layer, inputs)` with what reaches each layer, before the layer computes its output of it.

    The model has to be called eagerly, `model(inputs)`. A layer that is used in several places is seen in the first.
    """
    for layer in layers:
        layer.call = _intercepted(layer, layer.call, function)
    try:
        yield
    finally:
        for layer in layers:
            del layer.call  # the attribute of the object: the method of its class is there again


def _intercepted(layer: keras.layers.Layer, call: Callable, function: Callable) -> Callable:
    seen = False

    def intercepted(inputs, *arguments, **keywords):
        nonlocal seen
        if not seen:
            seen = True
            function(layer, ops.convert_to_numpy(inputs))
        return call(inputs, *arguments, **keywords)

    return intercepted
