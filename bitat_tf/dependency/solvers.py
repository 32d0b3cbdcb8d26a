"""Closed forms in the metric of a layer's input (ours; derived from Q_ours, see docs/method.md)."""

import numpy as np


def optimal_scale(binary: np.ndarray, reference: np.ndarray, covariance: np.ndarray | None = None) -> np.ndarray:
    """Return the scale of each output channel that makes `reference - scale * binary` smallest in the metric.

        alpha* = (b^T C w) / (b^T C b), at least 0

    Args:
        binary: b, shape (d, m), entries -1 and +1.
        reference: w, shape (d, m).
        covariance: C, shape (d, d). None for the identity, where alpha* = b^T w / d (Eq. 2: mean|w| for b = sign(w)).

    Returns:
        The scales, shape (m,). 0 where b is invisible to the metric or points away from w.

    Example:
        >>> optimal_scale(np.array([[1.0], [-1.0]]), np.array([[0.5], [-1.5]]))
        array([1.])
    """
    seen = binary if covariance is None else covariance @ binary
    norm = np.sum(binary * seen, axis=0)
    product = np.sum(reference * seen, axis=0)
    return np.maximum(np.divide(product, norm, out=np.zeros_like(product, float), where=norm > 0), 0)


def retarget(covariance: np.ndarray, cross_covariance: np.ndarray, kernel: np.ndarray, damping: float = 0.01) -> np.ndarray:
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
    if not damping > 0:
        raise ValueError(f"retarget: `damping` must be positive. Received: damping={damping!r}.")
    level = np.trace(covariance) / len(covariance)
    if not level > 0:
        return np.array(kernel, float)
    damped = np.array(covariance, float)
    damped[np.diag_indices_from(damped)] += damping * level
    return np.linalg.solve(damped, cross_covariance @ kernel)
