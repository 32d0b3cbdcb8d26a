"""Closed forms in the metric of a layer's input (ours; derived from Q_ours, see docs/method.md)."""

import numpy as np
from scipy.linalg import solve

from bitat_tf._validation import check_number


def optimal_scale(binary: np.ndarray, reference: np.ndarray, covariance: np.ndarray | None = None) -> np.ndarray:
    """Return the scale of each output channel that makes `reference - scale * binary` smallest in the metric.

        alpha* = (b^T C w) / (b^T C b), at least 0

    Args:
        binary: b, shape (d, m), entries -1 and +1.
        reference: w, shape (d, m).
        covariance: C, shape (d, d). None for the identity, where alpha* = b^T w / d (Eq. 2: mean|w| for b = sign(w)).

    Returns:
        The scales, shape (m,). 0 where b is invisible to the metric or points away from w.

    Examples:
        >>> optimal_scale(np.array([[1.0], [-1.0]]), np.array([[0.5], [-1.5]]))
        array([1.])
    """
    seen = binary if covariance is None else covariance @ binary
    return scale_from_products(np.sum(reference * seen, axis=0), np.sum(binary * seen, axis=0))


def scale_from_products(product: np.ndarray, norm: np.ndarray) -> np.ndarray:
    """Return the best scales, shape (m,), from b^T C w and b^T C b of each output channel; see `optimal_scale`."""
    return np.maximum(np.divide(product, norm, out=np.zeros_like(product, float), where=norm > 0), 0)


def retarget(
    covariance: np.ndarray,
    cross_covariance: np.ndarray,
    kernel: np.ndarray,
    damping: float = 0.01,
) -> np.ndarray:
    """Return reference weights for a layer that sees x_b where it was trained on x.

        w_ref = (H + eps I)^-1 G w          (centred H = E[x_b x_b^T], G = E[x_b x^T])

    the solution of min_q E||x^T w - x_b^T q||^2, for which that error is (w_ref - q)^T H (w_ref - q) + const.

    Args:
        covariance: H, shape (d, d).
        cross_covariance: G, shape (d, d).
        kernel: w, shape (d, m).
        damping: eps as a share of H's mean diagonal. Above 0, also for singular H (dead or constant features).

    Returns:
        w_ref, shape (d, m). `kernel` itself where the input does not vary at all.

    Raises:
        ValueError: If `damping` is not positive.
    """
    check_number("retarget", "damping", damping, exclusive=True)
    if not np.trace(covariance) > 0:
        return np.array(kernel, float)
    return ridge(covariance, cross_covariance @ kernel, damping)


def ridge(covariance: np.ndarray, target_covariance: np.ndarray, damping: float = 0.01) -> np.ndarray:
    """Return the weights that predict targets from x_b best: (H + eps I)^-1 E[x_b t^T].

    With the float layer's outputs as targets, E[x_b t^T] = G w, these are the reference weights of `retarget`.

    Args:
        covariance: H, shape (d, d).
        target_covariance: E[x_b t^T], centred, shape (d, t).
        damping: eps as a share of H's mean diagonal, > 0.

    Returns:
        Weights of shape (d, t); zeros where the input does not vary at all.

    Raises:
        ValueError: If `damping` is not positive.
    """
    check_number("ridge", "damping", damping, exclusive=True)
    level = np.trace(covariance) / len(covariance)
    if not level > 0:
        return np.zeros_like(target_covariance, float)
    damped = np.array(covariance, float)
    damped[np.diag_indices_from(damped)] += damping * level
    return solve(damped, target_covariance, assume_a="pos", overwrite_a=True, check_finite=False)


def ridge_from_rows(rows: np.ndarray, targets: np.ndarray, damping: float = 0.01) -> np.ndarray:
    """Return what `ridge` gives for the moments of rows, without d x d numbers: for fewer rows than features.

        (X^T X / n + eps I)^-1 X^T T / n = X^T (X X^T + n eps I)^-1 T         (X, T centred)

    Args:
        rows: x_b, shape (n, d).
        targets: t, shape (n, t).
        damping: eps as a share of the mean variance of the features, > 0.

    Returns:
        Weights of shape (d, t); zeros where the rows do not vary at all.

    Raises:
        ValueError: If `damping` is not positive.
    """
    check_number("ridge_from_rows", "damping", damping, exclusive=True)
    rows = np.array(rows, float)
    rows -= rows[:1].copy()  # so that constant features become exactly 0
    rows -= np.mean(rows, axis=0)
    targets = np.asarray(targets, float) - np.mean(targets, axis=0, dtype=float)
    gram = rows @ rows.T
    trace = np.trace(gram)
    if not trace > 0:
        return np.zeros((rows.shape[1], targets.shape[1]))
    gram[np.diag_indices_from(gram)] += damping * trace / rows.shape[1]  # n eps
    return rows.T @ solve(gram, targets, assume_a="pos", overwrite_a=True, check_finite=False)


def latent_weights(reference: np.ndarray, binary: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Return latent weights with given signs whose mean magnitude is a given scale.

    The deployed scale of an output channel is the mean magnitude of its latent weights; with the best scale in the metric
    the binary layer's output is as near to the reference's as the signs allow, so that the batch normalization above it finds
    what it knows. The magnitudes are those of the reference, so that training flips first what the reference is unsure of.

    Args:
        reference: w_ref, shape (d, m).
        binary: b, shape (d, m).
        scale: One scale an output channel, shape (m,). Where it is 0 the magnitudes stay as they are.

    Returns:
        Latent weights of shape (d, m).

    Examples:
        >>> latent_weights(np.array([[1.0], [-3.0]]), np.array([[1.0], [1.0]]), np.array([4.0]))
        array([[2.],
               [6.]])
    """
    magnitude = np.abs(reference)
    # A weight of 0 would lose a sign of -1.
    magnitude = np.maximum(magnitude, 1e-6 * magnitude.mean(axis=0) + np.finfo(np.float32).tiny)
    mean = magnitude.mean(axis=0)
    return binary * magnitude * np.where(scale > 0, scale / mean, 1.0)
