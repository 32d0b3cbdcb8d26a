"""The single measurements. Each takes whether to run at toy size (for a test that it runs) and returns plain values."""

import warnings
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import bitat_tf
from benchmarks.measure import THREADS, measure
from bitat_tf.calibration import Calibration, LayerInputs, layer_statistics
from bitat_tf.calibration.statistics import float_outputs
from bitat_tf.dependency import (
    GroupedMoments,
    PatchGeometry,
    PatchMoments,
    disentangle,
    flip_descent,
    group_inputs,
)
from bitat_tf.layers import BinaryLayer, binary_layers


def set_threads() -> None:
    """Let TensorFlow use as many threads as the page says; before anything is computed."""
    tf.config.threading.set_intra_op_parallelism_threads(THREADS)
    tf.config.threading.set_inter_op_parallelism_threads(THREADS)


GEOMETRY = PatchGeometry((3, 3), padding="same", pad_value=1.0)


def sign_images(number: int, size: int, channels: int) -> np.ndarray:
    """Return pictures of signs whose neighbours and channels are correlated, as a binary layer's input is."""
    generator = np.random.default_rng(0)
    mixing = generator.normal(size=(16, channels)).astype(np.float32)
    images = np.empty((number, size, size, channels), np.float32)
    for image in images:  # one after the other: the data are to be all that is held before a measurement
        hidden = generator.normal(size=(size + 1, size + 1, 16)).astype(np.float32)
        hidden = hidden[1:, 1:] + hidden[:-1, 1:] + hidden[1:, :-1]
        image[:] = np.where(hidden @ mixing + 3 * generator.normal(size=image.shape) >= 0, 1, -1)
    return images


def grouped_statistics(images: np.ndarray, groups: int) -> np.ndarray:
    """K-means on a sample of patches, then C_k of all of them."""
    rows = len(images) * images.shape[1] * images.shape[2]
    sample = GEOMETRY.patches_at(images, np.random.default_rng(0).choice(rows, min(1024, rows), replace=False))
    moments = GroupedMoments(GEOMETRY, group_inputs(sample, groups))
    moments.update(images)
    return moments.covariance


def full_statistics(images: np.ndarray) -> np.ndarray:
    """C of all patches."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        moments = PatchMoments(GEOMETRY, images.shape[-1])
    moments.update(images)
    return moments.covariance


def patches_and_cov(images: np.ndarray) -> np.ndarray:
    """The obvious way: all patches, then `numpy.cov`."""
    return np.cov(GEOMETRY.patches(images), rowvar=False, bias=True)


def _statistics(function: Callable, channels: int, size: int, images: int) -> Callable[[bool], dict[str, Any]]:
    def case(tiny: bool) -> dict[str, Any]:
        data = sign_images(4, 4, 32) if tiny else sign_images(images, size, channels)
        function(data[:2])  # starts the threads
        return {**measure(lambda: function(data)), "inputs": 9 * data.shape[-1], "data_mib": data.nbytes / 2**20}

    return case


def _disentangle(size: int) -> Callable[[bool], dict[str, Any]]:
    def case(tiny: bool) -> dict[str, Any]:
        dim = 16 if tiny else size
        rows = np.random.default_rng(0).normal(size=(dim + 10, dim))
        covariance = rows.T @ rows
        return {**measure(lambda: disentangle(covariance), 5 if dim <= 512 else 1), "inputs": dim}

    return case


def full_refused(tiny: bool) -> dict[str, Any]:
    """What is said of the full covariance: a warning for d = 9,216, an error for d = 25,088 (VGG16's first dense layer)."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        bitat_tf.dependency.moments.check_full_covariance("PatchMoments", 9216)
    try:
        PatchMoments(PatchGeometry(), 25088)
    except ValueError as error:
        return {"warning": str(caught[0].message), "error": str(error)}
    raise RuntimeError("the full covariance of d = 25,088 was not refused")


def flips(tiny: bool) -> dict[str, Any]:
    """Flip descent for d = 1,152, m = 128."""
    channels, units = (8, 4) if tiny else (128, 128)
    covariance = full_statistics(sign_images(64, 8, channels))
    reference = np.random.default_rng(0).normal(size=(9 * channels, units))
    curvature = bitat_tf.dependency.Curvature(covariance)
    return measure(lambda: flip_descent(np.where(reference >= 0, 1.0, -1.0), reference, curvature), 3)


def network_flips(tiny: bool) -> dict[str, Any]:
    """Q_rel of every layer of a network that was trained on the digits: sign(w_ref), and flips."""
    data = bitat_tf.data.load_digits(seed=0)
    keras.utils.set_random_seed(0)
    blocks = ((64, 1), (128, 2), (128, 1))
    model = bitat_tf.applications.ReActNet(data.image_shape, data.num_classes, width=0.25 if tiny else 1.0, blocks=blocks)
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    model.fit(data.train_images, data.train_labels, epochs=1 if tiny else 15, verbose=0)
    pictures = data.train_images[: 64 if tiny else 1024].astype(np.float32)
    binary: list[keras.Model] = []
    result: dict[str, Any] = measure(lambda: binary.append(bitat_tf.binarize_post_training(model, pictures, verbose=0)))
    calibration = Calibration(pictures, binary[0], "benchmark")
    result["layers"] = []
    for layer in binary_layers(binary[0]):
        real = LayerInputs(model, model.get_layer(layer.name), Calibration(pictures, model, "benchmark"))
        targets = [float_outputs(model.get_layer(layer.name), batch) for batch in real]
        statistics = layer_statistics(layer, LayerInputs(binary[0], layer, calibration), targets=targets)
        errors = [
            _q_rel(statistics.reference, np.where(weights >= 0, 1.0, -1.0), statistics.curvature)
            for weights in (statistics.reference, layer.latent_kernel_matrix)
        ]
        result["layers"].append({"layer": layer.name, "sign": errors[0], "flips": errors[1]})
    return result


def _q_rel(reference: np.ndarray, binary: np.ndarray, curvature: bitat_tf.dependency.Curvature) -> float:
    """Q_rel in the whole covariance, each output channel at its best scale."""
    seen = curvature.times(binary)
    explained = np.sum(reference * seen, axis=0) ** 2 / np.sum(binary * seen, axis=0)
    energy = np.sum(reference * curvature.times(reference))
    return float(1 - np.sum(explained) / energy)


def training_step(tiny: bool) -> dict[str, Any]:
    """A training step of a ReActNet with the loss of one layer active, next to one without disentangled losses."""
    layer_names = ["block_1_conv3x3"] if tiny else ["block_3_conv3x3", "block_8_conv3x3", "block_13_conv3x3"]
    without = _ReActNetStep(tiny, losses=False)
    with_losses = _ReActNetStep(tiny, losses=True)
    without.run()  # traced again once there are two models
    repeats = 1 if tiny else 15
    result: dict[str, Any] = {"layers": []}
    for name in layer_names:
        layer = with_losses.model.get_layer(name)
        activate(layer)
        times = np.array([[measure(without.run)["seconds"], measure(with_losses.run)["seconds"]] for _ in range(repeats)])
        layer.disentangled_state.strength.assign(0.0)
        medians = np.median(times, axis=0)
        result["layers"].append(
            {
                "layer": name,
                "inputs": layer.disentangled_state.dim,
                "outputs": layer.disentangled_state.units,
                "without": medians[0],
                "with": medians[1],
                "ratio": float(np.median(times[:, 1] / times[:, 0])),
            }
        )
    times = np.array([[measure(without.run)["seconds"], measure(with_losses.run)["seconds"]] for _ in range(repeats)])
    result["inactive_ratio"] = float(np.median(times[:, 1] / times[:, 0]))
    return result


class _ReActNetStep:
    """One training step on 32x32 pictures, batch 64."""

    def __init__(self, tiny: bool, losses: bool):
        keras.utils.set_random_seed(0)
        small = {"width": 0.25, "blocks": ((64, 1),)} if tiny else {}
        self.model = bitat_tf.applications.ReActNet((32, 32, 3), 100, **small)
        self.model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        generator = np.random.default_rng(0)
        batch = 2 if tiny else 64
        self.pictures = tf.constant(generator.uniform(0, 255, (batch, 32, 32, 3)), tf.float32)
        self.labels = tf.constant(generator.integers(0, 100, batch))
        for layer in binary_layers(self.model):
            layer.set_binary()
            if not losses:
                layer.kernel.regularizer = None
        for _ in range(3):  # the first traces the step, the next ones fill the caches of memory
            self.run()

    def run(self) -> None:
        self.model.train_on_batch(self.pictures, self.labels)


def activate(layer: BinaryLayer, strength: float = 1.0) -> None:
    """Give a layer statistics (of random directions: they cost what others cost) and switch its loss on."""
    state = layer.disentangled_state
    generator = np.random.default_rng(0)
    groups = min(state.dim, state.num_groups)
    directions = np.linalg.qr(generator.normal(size=(groups, groups)))[0]
    labels = np.concatenate([np.arange(groups), generator.integers(0, groups, state.dim - groups)]).astype(np.int32)
    metric = bitat_tf.dependency.Metric(labels, np.linspace(2, 0.1, groups), directions, 0.5 if groups < state.dim else 0.0)
    state.assign(metric, layer.latent_kernel_matrix)
    state.strength.assign(strength)


CASES: dict[str, Callable[[bool], dict[str, Any]]] = {
    "statistics-groups": _statistics(lambda images: grouped_statistics(images, 256), 512, 14, 1024),
    "statistics-full": _statistics(full_statistics, 512, 14, 1024),
    "statistics-numpy": _statistics(patches_and_cov, 512, 14, 1024),
    "wide-groups": _statistics(lambda images: grouped_statistics(images, 256), 1024, 7, 1024),
    "wide-full": _statistics(full_statistics, 1024, 7, 1024),
    "wide-refused": full_refused,
    "disentangle-256": _disentangle(256),
    "disentangle-4608": _disentangle(4608),
    "training-step": training_step,
    "flips": flips,
    "network-flips": network_flips,
}
