"""Calibration data, and what they become on their way to a layer."""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from bitat_tf._keras import keras, tf
from bitat_tf._validation import check_finite
from bitat_tf.layers import BinaryLayer

_BATCH_SIZE = 64
_CACHE_BYTES = 2**30


class Calibration:
    """Calibration data: checked in the first pass through all of them, streamed as often as wanted.

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
        self._checked = False
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
            if not self._checked:
                self._check(inputs)
            empty = False
            yield inputs
        if empty:
            raise ValueError(self._empty)
        self._checked = True

    def _check(self, inputs: Any) -> None:
        for tensor in tf.nest.flatten(inputs):
            if tensor.dtype.is_floating:
                check_finite(self._where, "calibration data", tensor.numpy())
        expected = self._model.inputs
        if expected and len(expected) == 1 and isinstance(inputs, tf.Tensor):
            if not expected[0].shape.is_compatible_with(inputs.shape):
                raise ValueError(
                    f"{self._where}: calibration batches must have the shape of the model's input, {expected[0].shape}. "
                    f"Received: {inputs.shape}. Prepare them exactly as the training data; a dataset must be batched."
                )


class NetworkTrace:
    """A network traced once, for what reaches each of its binary layers: a trace for each layer would be one of all layers.

    Args:
        model: The model.
        layers: Binary layers of it. What reaches others is not to be had.

    Examples:
        >>> model = bitat_tf.applications.ReActNet((8, 8, 1), 4, width=0.25, blocks=((64, 1),))
        >>> layers = bitat_tf.layers.binary_layers(model)
        >>> inputs_of_second = NetworkTrace(model, layers).inputs_of(layers[1])
        >>> [tuple(inputs.shape) for inputs in inputs_of_second(tf.zeros((2, 8, 8, 1)))]
        [(2, 8, 8, 8)]
    """

    def __init__(self, model: keras.Model, layers: Sequence[BinaryLayer]):
        self._layers = list(layers)

        @tf.function(reduce_retracing=True)
        def all_inputs(batch):
            found: list[list[tf.Tensor]] = [[] for _ in self._layers]
            with contextlib.ExitStack() as stack:
                for layer, calls in zip(self._layers, found, strict=True):
                    stack.enter_context(layer.listening(calls.append))
                model(batch, training=False)
            return found

        self._all_inputs = all_inputs

    def inputs_of(self, layer: BinaryLayer) -> Callable[[Any], list[tf.Tensor]]:
        """Return the function from a batch of the network's inputs to the inputs of each call of the layer."""
        position = self._layers.index(layer)

        @tf.function(reduce_retracing=True)
        def layer_inputs(batch):
            return self._all_inputs(batch)[position]  # what the layer's input does not need is pruned from the graph

        return layer_inputs


class LayerInputs:
    """What reaches a layer in the current network, in batches; every iteration goes through all calibration data.

    The first iteration computes it from the calibration data, and keeps it where it fits, so that further ones cost nothing.
    The network below the layer must not change while it is in use.

    Args:
        model: The model.
        layer: A binary layer of it; used in several places, it gives the inputs of each.
        calibration: The data: a `Calibration`, or batches of it.
        cache_bytes: What may be kept in memory. Default 1 GiB; above, every iteration computes the inputs again.
        trace: A trace of `model` for several layers, this one among them. Default: one for this layer.
    """

    def __init__(
        self,
        model: keras.Model,
        layer: BinaryLayer,
        calibration: Iterable[Any],
        cache_bytes: int = _CACHE_BYTES,
        trace: NetworkTrace | None = None,
    ):
        self._calibration = calibration
        self._cache_bytes = cache_bytes
        self._kept: list[tf.Tensor] | None = None
        self._compute = (trace or NetworkTrace(model, [layer])).inputs_of(layer)

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
