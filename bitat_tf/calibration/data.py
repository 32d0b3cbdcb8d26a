"""Calibration data, and what they become on their way to a layer."""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from bitat_tf._tracing import TracedNetwork
from bitat_tf._validation import check_finite
from bitat_tf.layers import BinaryLayer
from bitat_tf.model_graph import fixed_batch_size

_BATCH_SIZE = 64
_CACHE_BYTES = 2**30


class Calibration:
    """Calibration data: checked in the first pass through all of them, streamed as often as wanted, as arrays.

    Args:
        data: An array of inputs, shape (n, ...); or something finite that can be iterated again, of batches of `x`, `(x, y)` or
            `(x, y, weight)`: a tf.data.Dataset, a keras.utils.PyDataset, a list of batches, a DataLoader.
        model: The model that the data will go through.
        where: Name of the public function, for messages.

    Raises:
        ValueError: If the data are empty, endless, not finite, or of a shape that the model does not take.
        TypeError: If the data are neither an array nor batches that can be iterated again.
    """

    def __init__(self, data: Any, model: keras.Model, where: str):
        self._where = where
        self._model = model
        self._checked = False
        if isinstance(data, np.ndarray) or ops.is_tensor(data):
            array = ops.convert_to_numpy(data)
            if len(array) == 0:
                raise ValueError(self._empty)
            size = fixed_batch_size(model) or _BATCH_SIZE
            data = [array[start : start + size] for start in range(0, len(array), size)]
        elif not isinstance(data, Iterable) or isinstance(data, (Iterator, str, bytes, dict)):
            raise TypeError(
                f"{where}: calibration data must be an array of inputs, or batches of them that can be iterated again, such as "
                f"a tf.data.Dataset. Received: {type(data).__name__}. A few hundred training inputs are enough, as in "
                "`x_train[:512]`."
            )
        if _is_endless(data):
            raise ValueError(f"{where}: the calibration dataset is endless. Limit it, as in `calibration.take(16)`.")
        self._batches = data

    @property
    def _empty(self) -> str:
        return f"{self._where}: the calibration data are empty. Pass a few hundred training inputs, as in `x_train[:512]`."

    def __iter__(self) -> Iterator[Any]:
        empty = True
        for batch in self._batches:
            inputs = batch[0] if isinstance(batch, tuple) else batch
            inputs = keras.tree.map_structure(ops.convert_to_numpy, inputs)
            if not self._checked:
                self._check(inputs)
            empty = False
            yield inputs
        if empty:
            raise ValueError(self._empty)
        self._checked = True

    def _check(self, inputs: Any) -> None:
        for array in keras.tree.flatten(inputs):
            if np.issubdtype(array.dtype, np.floating):
                check_finite(self._where, "calibration data", array)
        expected = getattr(self._model, "inputs", None)  # of a subclassed model they are not known
        if expected and len(expected) == 1 and isinstance(inputs, np.ndarray):
            shape = tuple(expected[0].shape)
            fits = len(shape) == inputs.ndim and all(
                size in (None, given) for size, given in zip(shape, inputs.shape, strict=True)
            )
            if not fits:
                raise ValueError(
                    f"{self._where}: calibration batches must have the shape of the model's input, {shape}. Received: "
                    f"{inputs.shape}. Prepare them exactly as the training data; a dataset must be batched."
                )


def _is_endless(data: Any) -> bool:
    cardinality = getattr(data, "cardinality", None)  # of a tf.data.Dataset: -1 stands for endless
    return cardinality is not None and int(cardinality()) == -1


class NetworkTrace:
    """A network traced once for each of its binary layers whose input is asked for; what is above that layer is not computed.

    Args:
        model: The model.
        layers: Binary layers of it. What reaches others is not to be had.

    Examples:
        >>> model = bitat_tf.applications.ReActNet((8, 8, 1), 4, width=0.25, blocks=((64, 1),))
        >>> layers = bitat_tf.layers.binary_layers(model)
        >>> inputs_of_second = NetworkTrace(model, layers).inputs_of(layers[1])
        >>> [tuple(inputs.shape) for inputs in inputs_of_second(np.zeros((2, 8, 8, 1)))]
        [(2, 8, 8, 8)]
    """

    def __init__(self, model: keras.Model, layers: Sequence[BinaryLayer]):
        self._layers = list(layers)

        def all_inputs(batch):
            found: list[list[Any]] = [[] for _ in self._layers]
            with contextlib.ExitStack() as stack:
                for layer, calls in zip(self._layers, found, strict=True):
                    stack.enter_context(layer.listening(calls.append))
                model(batch, training=False)
            return found

        self._all_inputs = TracedNetwork(model, all_inputs)

    def inputs_of(self, layer: BinaryLayer) -> Callable[[Any], list[Any]]:
        """Return the function from a batch of the network's inputs to the inputs of each call of the layer."""
        return self._all_inputs.part(self._layers.index(layer))


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
        self._kept: list[np.ndarray] | None = None
        self._compute = (trace or NetworkTrace(model, [layer])).inputs_of(layer)

    def __iter__(self) -> Iterator[np.ndarray]:
        if self._kept is not None:
            yield from self._kept
            return
        kept: list[np.ndarray] | None = []
        size = 0
        for batch in self._calibration:
            for inputs in map(ops.convert_to_numpy, self._compute(batch)):
                size += inputs.nbytes
                if kept is not None and size <= self._cache_bytes:
                    kept.append(inputs)
                else:
                    kept = None
                yield inputs
        self._kept = kept
