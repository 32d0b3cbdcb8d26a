"""Statistics of a layer's input in the current network, from calibration data."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from bitat_tf._keras import keras, tf
from bitat_tf._validation import check_finite
from bitat_tf.dependency import InputMoments, Metric, group_inputs, reduce_inputs, reduction_matrix, retarget
from bitat_tf.layers import BinaryLayer

_BATCH_SIZE = 64
_CHUNK_VALUES = 2**25  # rows are taken in pieces of at most this many values (128 MiB), however large the pictures are
_SIGNAL_ROWS = 1024  # rows that k-means sees; the signals of the input dimensions


class Calibration:
    """Calibration data: checked once, streamed as often as wanted.

    Args:
        data: An array of inputs, shape (n, ...), or a finite tf.data.Dataset of batches of `x`, `(x, y)` or `(x, y, weight)`.
        model: The model that the data will go through.
        where: Name of the public function, for messages.

    Raises:
        ValueError: If the data are empty, endless, not finite, or of a shape that the model does not take.
        TypeError: If the data are neither an array nor a dataset.
    """

    def __init__(self, data: Any, model: keras.Model, where: str):
        self._where = where
        self._model = model
        if isinstance(data, tf.data.Dataset):
            if data.cardinality().numpy() == tf.data.INFINITE_CARDINALITY:
                raise ValueError(f"{where}: the calibration dataset is endless. Limit it, as in `calibration.take(16)`.")
            self._batches = data
        elif isinstance(data, (np.ndarray, tf.Tensor)):
            if len(data) == 0:
                raise ValueError(self._empty)
            self._batches = tf.data.Dataset.from_tensor_slices(data).batch(_BATCH_SIZE)
        else:
            raise TypeError(
                f"{where}: calibration data must be an array of inputs or a tf.data.Dataset of batches. "
                f"Received: {type(data).__name__}. A few hundred training inputs are enough, as in `x_train[:512]`."
            )

    @property
    def _empty(self) -> str:
        return f"{self._where}: the calibration data are empty. Pass a few hundred training inputs, as in `x_train[:512]`."

    def __iter__(self) -> Iterator[Any]:
        empty = True
        for batch in self._batches:
            inputs = batch[0] if isinstance(batch, tuple) else batch
            for tensor in tf.nest.flatten(inputs):
                if tensor.dtype.is_floating:
                    check_finite(self._where, "calibration data", tensor.numpy())
            self._check_shape(inputs)
            empty = False
            yield inputs
        if empty:
            raise ValueError(self._empty)

    def _check_shape(self, inputs: Any) -> None:
        expected = self._model.inputs
        if expected and len(expected) == 1 and isinstance(inputs, tf.Tensor):
            if not expected[0].shape.is_compatible_with(inputs.shape):
                raise ValueError(
                    f"{self._where}: calibration batches must have the shape of the model's input, {expected[0].shape}. "
                    f"Received: {inputs.shape}. Prepare them exactly as the training data; a dataset must be batched."
                )


Stream = Callable[[], Iterator[tf.Tensor]]


def input_stream(model: keras.Model, layer: BinaryLayer, calibration: Calibration) -> Stream:
    """Return a function that yields the inputs of `layer` once through the data, in pieces small enough for their patches."""

    @tf.function(reduce_retracing=True)
    def layer_inputs(batch):
        found: list[tf.Tensor] = []
        with layer.listening(found.append):
            model(batch, training=False)  # what the layer's input does not need is pruned from the graph
        return found

    dim = int(np.prod(layer.kernel.shape[:-1]))

    def stream() -> Iterator[tf.Tensor]:
        for batch in calibration:
            for inputs in layer_inputs(batch):
                rows = int(np.prod(inputs.shape[1:-1]))
                size = max(_CHUNK_VALUES // (rows * dim), 1)
                for start in range(0, len(inputs), size):
                    yield inputs[start : start + size]

    return stream


def check_statistics_possible(where: str, layers: list[BinaryLayer]) -> None:
    """Raise ValueError for layers whose input has no single covariance."""
    grouped = [layer.name for layer in layers if getattr(layer, "groups", 1) != 1]
    if grouped:
        raise ValueError(
            f"{where}: the statistics are of convolutions whose outputs see all input channels. Received: layers with "
            f"groups > 1: {', '.join(grouped)}. Use groups=1, or make these layers binary yourself (`layer.set_binary()`) and "
            "name the others in `order`."
        )


@dataclass(frozen=True)
class LayerStatistics:
    """What a stage starts from: the metric of the layer's input, and reference weights w_ref of shape (d, m)."""

    metric: Metric
    reference: np.ndarray


def channel_means(stream: Stream) -> np.ndarray:
    """Return the mean of each input channel, shape (channels,)."""
    count, total = 0, np.zeros(())
    for inputs in stream():
        values = inputs.numpy().reshape(-1, inputs.shape[-1])
        check_finite("SequentialBinarization", "the input of a layer", values)
        count += len(values)
        total = total + values.sum(axis=0, dtype=np.float64)
    return total / count


def layer_statistics(layer: BinaryLayer, stream: Stream, retargeted: bool = True, seed: int = 0) -> LayerStatistics:
    """Measure the input of a layer as the binary layer sees it.

    Args:
        layer: The layer; its thresholds and its latent kernel are used as they are.
        stream: Called for each pass over the layer's inputs.
        retargeted: Whether w_ref is re-targeted to the binary input, which needs the full d x d moments. Without it and
            with d > k, only moments of the k groups are formed.
        seed: Seed of the grouping.
    """
    kernel = layer.latent_kernel_matrix.astype(float)
    regularizer = layer.disentangled_regularizer
    dim = len(kernel)
    groups = np.arange(dim, dtype=np.int32)
    if dim > regularizer.num_groups:
        groups = group_inputs(_signals(layer, stream, seed), regularizer.num_groups, seed)

    if dim > regularizer.num_groups and not retargeted:
        moments = InputMoments(int(groups.max()) + 1)
        count, total, squares = 0, np.zeros(dim), np.zeros(dim)
        for inputs in stream():
            rows = layer.input_rows(inputs, binary=True).numpy()
            moments.update(reduce_inputs(groups, rows))
            count += len(rows)
            total += rows.sum(axis=0, dtype=np.float64)
            squares += np.square(rows).sum(axis=0, dtype=np.float64)
        trace = float(np.sum(squares / count - (total / count) ** 2))
        return LayerStatistics(Metric.from_covariance(moments.covariance, groups, trace, regularizer.residual), kernel)

    moments = InputMoments(dim, cross=retargeted)
    for inputs in stream():
        real = layer.input_rows(inputs, binary=False).numpy() if retargeted else None
        moments.update(layer.input_rows(inputs, binary=True).numpy(), real)
    covariance = moments.covariance
    reference = retarget(covariance, moments.cross_covariance, kernel) if retargeted else kernel
    grouped = covariance
    if dim > regularizer.num_groups:
        reduction = reduction_matrix(groups)
        grouped = reduction @ covariance @ reduction.T
    metric = Metric.from_covariance(grouped, groups, float(np.trace(covariance)), regularizer.residual)
    return LayerStatistics(metric, reference)


def _signals(layer: BinaryLayer, stream: Stream, seed: int) -> np.ndarray:
    """Return a sample of the rows that the binary layer sees, shape (up to _SIGNAL_ROWS, d)."""
    generator = np.random.default_rng(seed)
    sample, keys = np.zeros((0, len(layer.latent_kernel_matrix)), np.float32), np.zeros(0)
    for inputs in stream():
        # Every row draws a key, and the smallest keys of all the data stay: a uniform sample of a stream of unknown length.
        rows = layer.input_rows(inputs, binary=True).numpy()
        keys = np.concatenate([keys, generator.random(len(rows))])
        kept = np.argsort(keys)[:_SIGNAL_ROWS]
        sample, keys = np.concatenate([sample, rows])[kept], keys[kept]
    return sample
