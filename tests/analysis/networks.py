"""Small networks and data for the tests of the analysis."""

import keras
import numpy as np

import bitat_tf


def pictures(count: int = 24, seed: int = 0) -> np.ndarray:
    """Return random pictures of shape (count, 6, 6, 3) whose neighbours resemble each other."""
    coarse = np.random.default_rng(seed).normal(size=(count, 3, 3, 3))
    return (coarse.repeat(2, axis=1).repeat(2, axis=2) + 0.1).astype(np.float32)


def binary_network(seed: int = 0) -> keras.Model:
    """Return a network of two binary layers in float state, without padding."""
    keras.utils.set_random_seed(seed)
    return keras.Sequential(
        [
            keras.Input((6, 6, 3)),
            bitat_tf.layers.BinaryConv2D(8, 3, use_bias=False, name="conv"),
            keras.layers.BatchNormalization(),
            keras.layers.GlobalAveragePooling2D(),
            bitat_tf.layers.BinaryDense(5, use_bias=False, name="dense"),
        ]
    )


def patches(images: np.ndarray, size: int) -> np.ndarray:
    """Return all patches of pictures, by loops: rows of size * size * channels features."""
    height, width = images.shape[1] - size + 1, images.shape[2] - size + 1
    return np.array(
        [images[n, i : i + size, j : j + size].ravel() for n in range(len(images)) for i in range(height) for j in range(width)]
    )


def covariance(rows: np.ndarray) -> np.ndarray:
    """Return the centred covariance of rows, with 1/n."""
    return np.cov(rows.astype(float), rowvar=False, bias=True)
