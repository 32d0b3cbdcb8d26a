"""Aggregation: the d input dimensions of a layer in k groups (the paper's reduction matrix P)."""

import warnings

import numpy as np
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning


def group_inputs(signals: np.ndarray, num_groups: int, seed: int = 0) -> np.ndarray:
    """Group input dimensions that behave alike, by k-means on their signals.

    Args:
        signals: A sample of a layer's input rows, shape (n, d). Every column is the signal of one dimension.
        num_groups: Number k of groups (the paper: 256, for layers with d > k).
        seed: Seed of k-means.

    Returns:
        The group of each dimension, shape (d,), integers 0..g-1 with g <= k groups in use (fewer than k only if there
        are fewer distinct signals). With k >= d every dimension is its own group, in order.

    Raises:
        ValueError: If `num_groups` is not positive, or no signals are given.
    """
    if num_groups < 1:
        raise ValueError(f"group_inputs: `num_groups` must be at least 1. Received: num_groups={num_groups}.")
    signals = np.asarray(signals, np.float32)
    if signals.ndim != 2 or 0 in signals.shape:
        raise ValueError(f"group_inputs: signals must have shape (n >= 1, d >= 1). Received: {signals.shape}.")
    dim = signals.shape[1]
    if num_groups >= dim:
        return np.arange(dim, dtype=np.int32)
    with warnings.catch_warnings():
        # Fewer distinct signals than groups: harmless, the groups in use are renumbered below.
        warnings.simplefilter("ignore", ConvergenceWarning)
        labels = KMeans(num_groups, n_init=1, max_iter=30, random_state=seed).fit_predict(signals.T)
    # Equal signals are as far from every centre; where two centres are the same, rounding would choose between them.
    _, first, kinds = np.unique(signals, axis=1, return_index=True, return_inverse=True)
    labels = labels[first][kinds.reshape(-1)]
    return np.unique(labels, return_inverse=True)[1].astype(np.int32)


def reduction_matrix(groups: np.ndarray) -> np.ndarray:
    """Return P, shape (k, d): row g holds 1/sqrt(n_g) on the n_g members of group g, so that P P^T = I.

    Examples:
        >>> reduction_matrix(np.array([0, 0, 1])).round(3)
        array([[0.707, 0.707, 0.   ],
               [0.   , 0.   , 1.   ]])
    """
    groups = np.asarray(groups)
    counts = np.bincount(groups)
    matrix = np.zeros((len(counts), len(groups)))
    matrix[groups, np.arange(len(groups))] = 1 / np.sqrt(counts[groups])
    return matrix


def reduce_inputs(groups: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return `rows @ P.T` without a dense P: rows of shape (n, d) become (n, k)."""
    groups, rows = np.asarray(groups), np.asarray(rows)
    rows = rows.astype(np.result_type(rows, np.float32), copy=False)
    order = np.argsort(groups, kind="stable")
    counts = np.bincount(groups)
    starts = np.concatenate(([0], np.cumsum(counts)[:-1]))
    return np.add.reduceat(rows[:, order], starts, axis=1) / np.sqrt(counts).astype(rows.dtype)
