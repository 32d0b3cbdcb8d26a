"""Whether a file gives several samples at once what it gives each of them alone.

It may mix them without a word: MUL of (n, rows, columns, c) and (n, c) takes samples for columns where there are n columns, and
adds columns where there is one; every sum over the first axis does so too. So a number of samples is tried that no tensor has
as a size, where such operators fail or change a shape, and its results are compared with those of single samples.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np

_ROUNDING = 1e-5  # of the largest value: engines may add in another order

Shapes: TypeAlias = "Mapping[int, tuple[int, ...]]"


def free_size(shapes: Shapes) -> int:
    """Return the smallest number of samples, at least 2, that is no size of a tensor; shapes by number of the tensor."""
    sizes = {size for shape in shapes.values() for size in shape}
    return next(number for number in itertools.count(2) if number not in sizes)


def unlike_samples(arrays: Sequence[np.ndarray], count: int) -> list[np.ndarray]:
    """Return random samples within the range of given ones and 0 to 1; integers that may be indices stay as they are.

    Args:
        arrays: For each input an array of samples, at least one.
        count: How many are needed.
    """
    generator = np.random.default_rng(0)
    return [_random(generator, array, count) for array in arrays]


def _random(generator: np.random.Generator, array: np.ndarray, count: int) -> np.ndarray:
    shape = (count, *array.shape[1:])
    if array.dtype.kind == "f":
        finite = array[np.isfinite(array)].astype(np.float64)
        return generator.uniform(finite.min(initial=0), finite.max(initial=1), shape).astype(array.dtype)
    if array.dtype in (np.int8, np.uint8):
        return generator.integers(array.min(initial=0), array.max(initial=1), shape, array.dtype, endpoint=True)
    return array[np.arange(count) % len(array)]


def grows_with_samples(alone: Shapes, together: Shapes, own: int, count: int) -> bool:
    """Return whether the first axis of tensors has grown, and no other, or the whole shape is the same.

    Args:
        alone: Shapes by number of the tensor, at the file's own number of samples.
        together: The same at another one.
        own: The file's own number.
        count: The other one.
    """
    return all(
        shape == (now := together[number])
        or (len(shape) == len(now) and shape[1:] == now[1:] and shape[0] * count == now[0] * own)
        for number, shape in alone.items()
    )


def same_results(alone: Sequence[np.ndarray], together: Sequence[np.ndarray]) -> bool:
    """Return whether outputs are the same: integers exactly, floats to rounding."""
    return all(
        one.shape == other.shape
        and (
            np.allclose(one, other, rtol=0, atol=_ROUNDING * float(np.abs(one).max(initial=0)), equal_nan=True)
            if one.dtype.kind == "f"
            else np.array_equal(one, other)
        )
        for one, other in zip(alone, together, strict=True)
    )
