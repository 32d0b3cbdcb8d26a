"""Calibration data, and what they become on their way to a layer."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from bitat_tf._keras import keras, tf
from bitat_tf._validation import check_finite
from bitat_tf.layers import BinaryLayer

_BATCH_SIZE = 64
_CACHE_BYTES = 2**30


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


class LayerInputs:
    """What reaches a layer in the current network, in batches; every iteration goes through all calibration data.

    The first iteration computes it from the calibration data, and keeps it where it fits, so that further ones cost nothing.
    The network below the layer must not change while it is in use.

    Args:
        model: The model.
        layer: A binary layer of it; used in several places, it gives the inputs of each.
        calibration: The data: a `Calibration`, or batches of it.
        cache_bytes: What may be kept in memory. Default 1 GiB; above, every iteration computes the inputs again.
    """

    def __init__(self, model: keras.Model, layer: BinaryLayer, calibration: Iterable[Any], cache_bytes: int = _CACHE_BYTES):
        self._calibration = calibration
        self._cache_bytes = cache_bytes
        self._kept: list[tf.Tensor] | None = None

        @tf.function(reduce_retracing=True)
        def layer_inputs(batch):
            found: list[tf.Tensor] = []
            with layer.listening(found.append):
                model(batch, training=False)  # what the layer's input does not need is pruned from the graph
            return found

        self._compute = layer_inputs

    def __iter__(self) -> Iterator[tf.Tensor]:
        if self._kept is not None:
            yield from self._kept
            return
        kept: list[tf.Tensor] | None = []
        size = 0
        for batch in self._calibration:
            for inputs in self._compute(batch):
                size += int(np.prod(inputs.shape)) * inputs.dtype.size
                if kept is not None and size <= self._cache_bytes:
                    kept.append(inputs)
                else:
                    kept = None
                yield inputs
        self._kept = kept
