"""How the costs grow with d, k, m and the number of images: measurements."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from benchmarks.cases import activate, full_statistics, grouped_statistics, sign_images
from benchmarks.measure import measure
from bitat_tf.dependency import Curvature, disentangle, flip_descent
from bitat_tf.layers import BinaryDense
from bitat_tf.regularizers import DisentangledRegularizer


def covariance_of(dim: int) -> np.ndarray:
    """Return a covariance of d correlated inputs of signs."""
    generator = np.random.default_rng(0)
    hidden = generator.normal(size=(2 * dim, 16)) @ generator.normal(size=(16, dim))
    rows = np.where(hidden + 3 * generator.normal(size=(2 * dim, dim)) >= 0, 1.0, -1.0)
    return np.cov(rows, rowvar=False, bias=True)


def flips_of(dim: int, units: int) -> Callable[[], Any]:
    """Return a run of flip descent."""
    reference = np.random.default_rng(0).normal(size=(dim, units))
    curvature = Curvature(covariance_of(dim))
    return lambda: flip_descent(np.where(reference >= 0, 1.0, -1.0), reference, curvature)


def loss_of(dim: int, groups: int, units: int) -> Callable[[], Any]:
    """Return an evaluation of the disentangled loss and its gradient."""
    layer = BinaryDense(units, disentangled_regularizer=DisentangledRegularizer(num_groups=groups))
    layer.build((None, dim))
    activate(layer)

    @tf.function
    def loss_and_gradient():
        with tf.GradientTape() as tape:
            loss = layer.losses[0]
        return loss, tape.gradient(loss, layer.kernel)

    loss_and_gradient()
    return lambda: loss_and_gradient()[0].numpy()


def sweeps(tiny: bool) -> dict[str, dict[str, tuple[list[int], Callable[[int], Callable[[], Any]]]]]:
    """Return, by what grows and what is done, the sizes and a maker of the run for a size."""
    channels, images = ([8, 16], [2, 4]) if tiny else ([64, 128, 256, 512], [64, 128, 256, 512])
    dims, units, groups = (
        ([16, 32], [2, 4], [4, 8]) if tiny else ([288, 576, 1152, 2304], [32, 64, 128, 256], [32, 64, 128, 256])
    )
    number, k = (2, 8) if tiny else (128, 256)
    pictures = sign_images(max(images), 14, channels[1])

    def by_channels(function):
        def make(dim: int):
            data = sign_images(number, 14, dim // 9)
            return lambda: function(data)

        return [9 * c for c in channels], make

    def by_images(function):
        return images, lambda n: lambda: function(pictures[:n])

    return {
        "d": {
            f"statistics, k = {k}": by_channels(lambda data: grouped_statistics(data, k)),
            "statistics, full C": by_channels(full_statistics),
            "s, V of the full C": (dims, lambda d: (lambda c: lambda: disentangle(c))(covariance_of(d))),
            f"flips, m = {units[2 % len(units)]}": (dims, lambda d: flips_of(d, units[2 % len(units)])),
            f"loss, k = {k}": ([9 * c for c in channels], lambda d: loss_of(d, k, units[-1])),
        },
        "k": {
            "statistics": (groups, lambda size: lambda: grouped_statistics(pictures[:number], size)),
            "s, V": (groups, lambda size: (lambda c: lambda: disentangle(c))(covariance_of(size))),
            "loss": (groups, lambda size: loss_of(9 * channels[-1], size, units[-1])),
        },
        "m": {
            f"flips, d = {dims[1]}": (units, lambda m: flips_of(dims[1], m)),
            f"loss, k = {k}": (units, lambda m: loss_of(9 * channels[-1], k, m)),
        },
        "images": {
            f"statistics, k = {k}": by_images(lambda data: grouped_statistics(data, k)),
            "statistics, full C": by_images(full_statistics),
        },
    }


def run(tiny: bool) -> list[dict[str, Any]]:
    """Return one row for each sweep: axis, name, sizes, seconds, slope."""
    rows = []
    for axis, operations in sweeps(tiny).items():
        for name, (sizes, make) in operations.items():
            seconds = []
            for size in sizes:
                keras.backend.clear_session()
                function = make(size)
                function()  # starts threads, fills caches
                once = measure(function)["seconds"]
                seconds.append(once if once > 1 else measure(function, 5)["seconds"])
            slope = float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])
            rows.append({"axis": axis, "name": name, "sizes": sizes, "seconds": seconds, "slope": slope})
    return rows
