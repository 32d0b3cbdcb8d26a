"""Statistics of a layer's input: its metric, and reference weights."""

import math
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from keras import ops

from bitat_tf._validation import check_finite
from bitat_tf.dependency import (
    Curvature,
    GroupedMoments,
    Metric,
    PatchMoments,
    group_inputs,
    reduce_inputs,
    reduction_matrix,
    ridge,
    ridge_from_rows,
)
from bitat_tf.dependency.moments import MEMORY_LIMIT, check_full_covariance, full_covariance_bytes
from bitat_tf.dependency.patch_moments import FEW_CHANNELS
from bitat_tf.layers import BinaryLayer
from bitat_tf.model_graph import CallGraph, is_graph

_SIGNAL_ROWS = 1024  # rows that k-means sees; the signals of the input dimensions
_ROW_BYTES = 40  # for each number of a row that is kept: as it came, in float64, centred, and in the solver


def has_statistics(layer: BinaryLayer) -> bool:
    """Return whether the input of a layer has a single covariance: no grouped convolution, which has one a group."""
    return getattr(layer, "groups", 1) == 1


def check_statistics_possible(
    where: str,
    layers: list[BinaryLayer],
    cure: str = "Use groups=1, or make these layers binary yourself (`layer.set_binary()`) and name the others in `order`.",
) -> None:
    """Raise ValueError for layers whose input has no single covariance.

    Args:
        where: Name of the public function, for the message.
        layers: The layers.
        cure: What the user can do, for the message.
    """
    grouped = [layer.name for layer in layers if not has_statistics(layer)]
    if grouped:
        raise ValueError(
            f"{where}: the statistics are of convolutions whose outputs see all input channels. Received: layers with "
            f"groups > 1: {', '.join(grouped)}. {cure}"
        )


@dataclass(frozen=True)
class LayerStatistics:
    """What the binarization of a layer starts from.

    Attributes:
        metric: How much an error of the weights changes the layer's output; over k groups where d > k.
        reference: w_ref, shape (d, m).
        curvature: The whole covariance C; None where only that of the groups was formed.
        mean: Mean of the binary layer's input, shape (d,); None as above.
        target_mean: Mean of the targets, shape (m,); None without re-targeting.
    """

    metric: Metric
    reference: np.ndarray
    curvature: Curvature | None = None
    mean: np.ndarray | None = None
    target_mean: np.ndarray | None = None


def channel_means(inputs: Iterable[np.ndarray]) -> np.ndarray:
    """Return the mean of each input channel, shape (channels,)."""
    count, total = 0, np.zeros(())
    for batch in map(ops.convert_to_numpy, inputs):
        values = batch.reshape(-1, batch.shape[-1])
        sums = values.sum(axis=0, dtype=np.float64)
        if not np.isfinite(sums).all():  # then a value is not: only now are all of them looked at
            check_finite("channel_means", "the input of a layer", values)
        count += len(values)
        total = total + sums
    return total / count


def _images(layer: BinaryLayer, batch: np.ndarray, binary: bool) -> np.ndarray:
    return ops.convert_to_numpy(ops.cast(layer.input_images(batch, binary), "float32"))


def float_outputs(layer: BinaryLayer, inputs: np.ndarray) -> np.ndarray:
    """Return what the float layer makes of its inputs, without bias and activation, as rows of shape (n, m)."""
    geometry = layer.geometry(binary=False)
    images = _images(layer, inputs, binary=False)
    channels = images.shape[-1]
    kernel = layer.latent_kernel.astype(np.float32).reshape(*geometry.kernel_size, channels, -1)
    if channels < FEW_CHANNELS:  # TensorFlow's convolution of one channel is wrong for some strides
        return geometry.patches(images) @ kernel.reshape(-1, kernel.shape[-1])
    outputs = ops.conv(geometry.pad(images), kernel, geometry.strides, "valid", "channels_last", geometry.dilation_rate)
    return ops.convert_to_numpy(outputs).reshape(-1, outputs.shape[-1])


def layer_statistics(
    layer: BinaryLayer,
    inputs: Iterable[np.ndarray],
    retargeted: bool = True,
    seed: int = 0,
    targets: Iterable[np.ndarray] | None = None,
    memory_limit: int = MEMORY_LIMIT,
) -> LayerStatistics:
    """Measure the input of a layer as the binary layer sees it.

    Re-targeted, the reference weights are those with which the binary input predicts the targets best. They need the full
    d x d covariance, or, where there are far fewer rows than features, the rows themselves. Where the binary layer sees the
    same everywhere there is no covariance, and a warning says so.

    Args:
        layer: The layer; its thresholds and its latent kernel are used as they are.
        inputs: Batches of the layer's input; iterated up to twice.
        retargeted: Whether w_ref is re-targeted to the binary input. Without it w_ref is the latent kernel, and for
            d > k only moments of the k groups are formed.
        seed: Seed of the grouping.
        targets: One array of rows (n, m) for each batch: what the layer's output should be. Default: what the float layer makes
            of the same inputs.
        memory_limit: Bytes that the statistics may take.

    Raises:
        ValueError: If an input is not finite, or the statistics take more than `memory_limit`.
    """
    statistics = _layer_statistics(layer, _checked(inputs), retargeted, seed, targets, memory_limit)
    if not statistics.metric.importance.any():
        warnings.warn(
            f"The binary input of layer {layer.name!r} is the same everywhere in the calibration data: it has no covariance, "
            "its Q_rel is NaN, and the disentangled loss leaves it alone. Pass training inputs that differ, of every class, "
            "as in `x_train[:512]`; if they do, the network below the layer gives the same for all of them.",
            stacklevel=2,
        )
    return statistics


def _layer_statistics(
    layer: BinaryLayer,
    inputs: "_CheckedInputs",
    retargeted: bool,
    seed: int,
    targets: Iterable[np.ndarray] | None,
    memory_limit: int,
) -> LayerStatistics:
    kernel = layer.latent_kernel_matrix.astype(float)
    regularizer = layer.disentangled_regularizer
    dim = len(kernel)
    groups, rows = np.arange(dim, dtype=np.int32), dim
    if dim > regularizer.num_groups:
        signals, rows = _signals(layer, inputs, seed)
        groups = group_inputs(signals, regularizer.num_groups, seed)
        if not retargeted:
            return LayerStatistics(layer_metric(layer, inputs, groups), kernel)
    pairs: Iterable[tuple[np.ndarray, np.ndarray | None]]
    if not retargeted:
        pairs = ((batch, None) for batch in inputs)
    elif targets is None:
        pairs = ((batch, float_outputs(layer, batch)) for batch in inputs)
    else:
        pairs = zip(inputs, targets, strict=True)
    if _rows_are_kept(rows, dim):
        _check_rows("layer_statistics", rows, dim, "Use fewer calibration inputs, or raise `memory_limit`.", memory_limit)
        return _from_rows(layer, pairs, groups)

    moments = _moments(layer, pairs, retargeted, memory_limit)
    covariance = moments.covariance
    total = float(np.trace(covariance))
    reference = ridge(covariance, moments.cross_covariance) if retargeted and total > 0 else kernel
    grouped = covariance
    if dim > regularizer.num_groups:
        reduction = reduction_matrix(groups)
        grouped = reduction @ covariance @ reduction.T
    metric = Metric.from_covariance(grouped, groups, total, regularizer.residual)
    return LayerStatistics(metric, reference, Curvature(covariance), moments.mean, moments.target_mean if retargeted else None)


def layer_metric(layer: BinaryLayer, inputs: Iterable[np.ndarray], groups: np.ndarray) -> Metric:
    """Return the metric of a layer's input over given groups (each input its own for the full form).

    For d > k it forms no d x d numbers.
    """
    inputs = _checked(inputs)
    if int(groups.max()) + 1 == len(groups):
        pairs = ((batch, None) for batch in inputs)
        return Metric.from_covariance(_moments(layer, pairs, False, MEMORY_LIMIT).covariance, groups)
    moments = GroupedMoments(layer.geometry(binary=True), groups)
    for batch in inputs:
        moments.update(_images(layer, batch, binary=True))
    return Metric.from_covariance(moments.covariance, groups, moments.total, layer.disentangled_regularizer.residual)


class _CheckedInputs:
    """Batches of a layer's input, which are checked in the first pass through all of them."""

    def __init__(self, inputs: Iterable[np.ndarray]):
        self._inputs = inputs
        self._checked = False

    def __iter__(self) -> Iterator[np.ndarray]:
        for batch in map(ops.convert_to_numpy, self._inputs):
            if not self._checked:
                check_finite("layer_statistics", "the input of a layer", batch)
            yield batch
        self._checked = True


def _checked(inputs: Iterable[np.ndarray]) -> _CheckedInputs:
    return inputs if isinstance(inputs, _CheckedInputs) else _CheckedInputs(inputs)


def check_memory(
    where: str, model: Any, layers: list[BinaryLayer], samples: int, cure: str, memory_limit: int = MEMORY_LIMIT
) -> None:
    """Raise ValueError, or warn, where the re-targeting of a layer takes too much memory.

    Args:
        where: Name of the public function, for the message.
        model: The model.
        layers: Its layers whose weights are to be re-targeted.
        samples: Number of calibration samples.
        cure: What the user can do, for the message.
        memory_limit: Bytes that the statistics of a layer may take.
    """
    calls = CallGraph(model).calls if is_graph(model) else []
    for layer in layers:
        dim = len(layer.latent_kernel_matrix)
        shapes = [call.output_shapes[0] for call in calls if call.layer is layer]
        known = bool(shapes) and all(None not in shape[1:-1] for shape in shapes)  # a subclassed model has no shapes
        rows = samples * sum(math.prod(size or 1 for size in shape[1:-1]) for shape in shapes) if known else dim
        if _rows_are_kept(rows, dim):
            _check_rows(f"{where}, layer {layer.name!r}", rows, dim, cure, memory_limit)
        else:
            check_full_covariance(f"{where}, layer {layer.name!r}", dim, memory_limit, cure)


def _rows_are_kept(rows: int, dim: int) -> bool:
    """Whether the rows themselves take less memory than their covariance."""
    return _ROW_BYTES * rows * dim < full_covariance_bytes(dim)


def _check_rows(where: str, rows: int, dim: int, cure: str, memory_limit: int) -> None:
    needed = _ROW_BYTES * rows * dim
    if needed > memory_limit:
        raise ValueError(
            f"{where}: {rows} rows of {dim} inputs take {needed / 2**30:.1f} GiB of memory; the limit is "
            f"{memory_limit / 2**30:.1f} GiB. {cure}"
        )


def _moments(layer: BinaryLayer, pairs, retargeted: bool, memory_limit: int) -> PatchMoments:
    geometry = layer.geometry(binary=True)
    dim, units = layer.latent_kernel_matrix.shape
    moments = PatchMoments(geometry, dim // geometry.taps, units if retargeted else 0, memory_limit)
    for batch, targets in pairs:
        moments.update(_images(layer, batch, binary=True), targets)
    return moments


def _from_rows(layer: BinaryLayer, pairs, groups: np.ndarray) -> LayerStatistics:
    """Statistics of far fewer rows than features: the rows take less memory than the covariance."""
    parts = [(layer.input_rows(batch, binary=True), targets) for batch, targets in pairs]
    rows, outputs = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    del parts
    check_finite("layer_statistics", "the targets of a layer", outputs)
    mean = rows.mean(axis=0, dtype=np.float64)
    factor = (rows - mean) / np.sqrt(len(rows))
    total = float(np.sum(np.square(factor)))
    reference = ridge_from_rows(rows, outputs) if total > 0 else layer.latent_kernel_matrix.astype(float)
    reduced = reduce_inputs(groups, factor)
    metric = Metric.from_covariance(reduced.T @ reduced, groups, total, layer.disentangled_regularizer.residual)
    return LayerStatistics(metric, reference, Curvature(factor=factor), mean, outputs.mean(axis=0, dtype=np.float64))


def _signals(layer: BinaryLayer, inputs: Iterable[np.ndarray], seed: int) -> tuple[np.ndarray, int]:
    """Return a sample of the rows that the binary layer sees, shape (up to _SIGNAL_ROWS, d), and the number of all rows."""
    generator = np.random.default_rng(seed)
    geometry = layer.geometry(binary=True)
    sample, keys, count = np.zeros((0, len(layer.latent_kernel_matrix)), np.float32), np.zeros(0), 0
    for batch in inputs:
        # Every row draws a key, and the smallest keys of all the data stay: a uniform sample of a stream of unknown length.
        images = _images(layer, batch, binary=True)
        drawn = generator.random(len(images) * int(np.prod(geometry.output_size(*images.shape[1:3]))))
        count += len(drawn)
        chosen = np.argsort(drawn)[:_SIGNAL_ROWS]
        keys = np.concatenate([keys, drawn[chosen]])
        sample = np.concatenate([sample, geometry.patches_at(images, chosen)])
        kept = np.argsort(keys)[:_SIGNAL_ROWS]
        sample, keys = sample[kept], keys[kept]
    return sample, count
