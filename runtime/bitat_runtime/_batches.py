"""Checks samples against the inputs of a file and cuts them into batches."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from bitat_runtime._details import TensorDetails

Sample: TypeAlias = "np.ndarray | Sequence[np.ndarray] | Mapping[str, np.ndarray]"
Samples: TypeAlias = "Sample | Iterator[Sample]"


def batches(samples: Samples, inputs: Sequence[TensorDetails], size: int) -> Iterator[list[np.ndarray]]:
    """Yield batches of at most `size` samples: one array for each input.

    Args:
        samples: An array with the samples along its first axis; for several inputs a list of arrays in the file's order, or
            a mapping of names to arrays; or an iterator over single samples, each of them without the axis of the batch.
        inputs: The inputs of the file.
        size: Samples in a batch; the last one may have fewer.

    Raises:
        TypeError: The samples are of another kind, or an array has another dtype than its input.
        ValueError: Arrays are missing, too many, of different lengths, or of another shape than their inputs.
    """
    if isinstance(samples, np.ndarray | list | tuple | Mapping):
        arrays = _arrays_of(samples, inputs)
        lengths = {details.name: len(array) if array.ndim else 0 for details, array in zip(inputs, arrays, strict=True)}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"The inputs have different numbers of samples: {lengths}. Expected one number.")
        for details, array in zip(inputs, arrays, strict=True):
            _check(details, array)
        for start in range(0, next(iter(lengths.values())), size):
            yield [array[start : start + size] for array in arrays]
    elif isinstance(samples, Iterator):
        while chunk := [_arrays_of(sample, inputs) for sample in itertools.islice(samples, size)]:
            for sample in chunk:
                for details, array in zip(inputs, sample, strict=True):
                    _check(details, array[np.newaxis])
            yield [np.stack(arrays) for arrays in zip(*chunk, strict=True)]
    else:
        raise TypeError(
            f"samples are of the type {type(samples).__name__}. Expected an array with the samples along its first axis, a "
            "list or a dict of such arrays for several inputs, or an iterator over single samples."
        )


def _arrays_of(samples: Any, inputs: Sequence[TensorDetails]) -> list[np.ndarray]:
    names = [details.name for details in inputs]
    if isinstance(samples, Mapping):
        found = {}
        for key, value in samples.items():
            matches = [d.name for d in inputs if key == d.name] or [d.name for d in inputs if key == d.short_name]
            if len(matches) != 1:
                raise ValueError(f"The samples have {key!r}, which names no input of the file. Expected arrays for {names}.")
            found[matches[0]] = value
        if missing := [name for name in names if name not in found]:
            raise ValueError(f"The inputs {missing} have no samples. Received {list(samples)}, expected {names}.")
        arrays = [found[name] for name in names]
    elif isinstance(samples, np.ndarray | np.generic):
        arrays = [samples]
    elif isinstance(samples, list | tuple):
        arrays = list(samples)
    else:
        raise TypeError(f"A sample is of the type {type(samples).__name__}. Expected an array, or a list or dict of them.")
    if len(arrays) != len(inputs):
        hint = " For a list of samples of one input, pass numpy.stack(samples)." if len(inputs) == 1 else ""
        raise ValueError(f"Received {len(arrays)} arrays, expected {len(inputs)}: one for each input, {names}.{hint}")
    for details, array in zip(inputs, arrays, strict=True):
        if not isinstance(array, np.ndarray | np.generic):
            raise TypeError(f"The input {details.name} was given a {type(array).__name__}. Expected a numpy array.")
    return [np.asarray(array) for array in arrays]


def _check(details: TensorDetails, array: np.ndarray) -> None:
    """Raise an error if an array, with the axis of the batch, does not suit its input."""
    if not details.shape:
        raise ValueError(f"The input {details.name} is a single number and has no axis for samples: predict cannot feed it.")
    expected = details.shape[1:]
    sizes_fit = all(want in (-1, got) for want, got in zip(expected, array.shape[1:], strict=False))
    if array.ndim != len(details.shape) or not sizes_fit:
        hint = ""
        if array.shape == expected:
            hint = " For a single sample, pass samples[numpy.newaxis]."
        sizes = ", ".join("any size" if n == -1 else str(n) for n in ("samples", *expected))
        raise ValueError(f"The input {details.name} was given the shape {array.shape}. Expected ({sizes}).{hint}")
    if array.dtype != details.dtype:
        hint = f"samples.astype(numpy.{details.dtype.name})"
        if details.scale is not None:
            hint = (
                f"quantized numbers: numpy.clip(numpy.round(samples / {details.scale!r}) + {details.zero_point}, "
                f"{np.iinfo(details.dtype).min}, {np.iinfo(details.dtype).max}).astype(numpy.{details.dtype.name})"
            )
        raise TypeError(f"The input {details.name} was given {array.dtype} numbers. Expected {details.dtype}: pass {hint}.")


def padded(arrays: Sequence[np.ndarray], size: int) -> list[np.ndarray]:
    """Return the arrays with their last samples repeated until there are `size`."""
    return [np.concatenate([a, np.repeat(a[-1:], size - len(a), axis=0)]) if len(a) < size else a for a in arrays]
