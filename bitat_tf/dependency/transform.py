"""The transform (s, V) and the errors of a binarized layer.

Notation, as in the paper: w_ref are reference weights of shape (d, m), one column an output channel; b = sign(w) with
sign(0) = +1; alpha one scale per output channel; C the centred covariance of the layer's input, shape (d, d).
"""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from bitat_tf.dependency.grouping import reduce_inputs
from bitat_tf.dependency.solvers import optimal_scale, scale_from_products


def disentangle(covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the importance vector s and the orthonormal V with C = V diag(s^2) V^T, by PCA (Eq. 4).

    Args:
        covariance: C, shape (k, k), symmetric.

    Returns:
        s of shape (k,), descending and >= 0, and V of shape (k, k), whose columns are the principal directions. The
        disentangled weights are w~ = V^T w.

    Examples:
        >>> s, V = disentangle(np.diag([1.0, 4.0]))
        >>> s
        array([2., 1.])
    """
    values, vectors = np.linalg.eigh(covariance)
    order = np.argsort(values)[::-1]
    return np.sqrt(np.maximum(values[order], 0)), vectors[:, order]


@dataclass(frozen=True)
class Metric:
    """How much an error of the weights changes a layer's output: s and V, possibly of k groups of input dimensions.

    Attributes:
        groups: Group of each input dimension, shape (d,). All different for the full form.
        importance: s, shape (k,), descending.
        directions: V, shape (k, k).
        residual: Weight of an error inside the groups, (tr C - tr C_k) / (d - k). 0 for the full and the literal form.
        sensitivity: M = E[J^T J] of the output channels, shape (m, m): how much the output of the block that the layer
            belongs to feels their errors (cross-layer dependency, ours). None for the identity.
    """

    groups: np.ndarray
    importance: np.ndarray
    directions: np.ndarray
    residual: float
    sensitivity: np.ndarray | None = None

    @classmethod
    def from_covariance(cls, covariance: np.ndarray, groups: np.ndarray, total: float | None = None, residual: bool = True):
        """Build the metric of grouped inputs.

        Args:
            covariance: C_k = P C P^T, shape (k, k).
            groups: Group of each input dimension, shape (d,), groups 0..k-1.
            total: tr C, needed for the residual where k < d.
            residual: Whether errors inside a group count (ours). False gives the paper's literal form, which is
                blind to errors that cancel inside a group.
        """
        importance, directions = disentangle(covariance)
        dim, k = len(groups), len(covariance)
        inside = 0.0
        if residual and k < dim:
            if total is None:
                raise ValueError("Metric: the residual term needs `total`, the trace of the full covariance.")
            inside = max(total - float(np.trace(covariance)), 0.0) / (dim - k)
        return cls(np.asarray(groups, np.int32), importance, directions, inside)

    @property
    def transform(self) -> np.ndarray:
        """diag(s) V^T, shape (k, k)."""
        return self.importance[:, None] * self.directions.T

    def apply(self, error: np.ndarray) -> np.ndarray:
        """Map an error of shape (d, m) to rows whose squares sum to e^T C e per output channel: shape (k or k + d, m)."""
        grouped = reduce_inputs(self.groups, error.T).T
        seen = self.transform @ grouped
        if self.residual == 0:
            return seen
        counts = np.sqrt(np.bincount(self.groups))
        inside = error - (grouped / counts[:, None])[self.groups]
        return np.concatenate([seen, np.sqrt(self.residual) * inside])

    def inner(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Return a^T C b for the columns a, b of arrays of shape (d, m), shape (m,).

        P P^T = I, so that the part inside the groups is ||e||^2 - ||P e||^2 and needs no array of its own.
        """
        grouped = [reduce_inputs(self.groups, weights.T).T for weights in (first, second)]
        seen = [self.transform @ weights for weights in grouped]
        product = np.sum(seen[0] * seen[1], axis=0)
        if self.residual == 0:
            return product
        return product + self.residual * (np.sum(first * second, axis=0) - np.sum(grouped[0] * grouped[1], axis=0))

    def norm(self, error: np.ndarray) -> float:
        """Return tr(E^T C E M) of an error of shape (d, m): Q_ours of E = w_ref - alpha b."""
        if self.sensitivity is None:
            return max(float(np.sum(self.inner(error, error))), 0.0)
        seen = self.apply(error)
        return max(float(np.sum((seen.T @ seen) * self.sensitivity)), 0.0)

    def optimal_scale(self, binary: np.ndarray, reference: np.ndarray) -> np.ndarray:
        """Return the best scale of each output channel by itself, (b^T C w) / (b^T C b), at least 0; 0 where b is invisible.

        Also under a sensitivity M: it is the scale that a batch normalization after the layer restores.
        """
        return scale_from_products(self.inner(binary, reference), self.inner(binary, binary))


def q_orig(reference: np.ndarray, binary: np.ndarray, scale: np.ndarray | None = None) -> float:
    """Eq. 2: Q_orig = ||w_ref - alpha b||^2, at the given scale or, without one, at the best one."""
    scale = optimal_scale(binary, reference) if scale is None else scale
    return float(np.sum((reference - scale * binary) ** 2))


def q_ours(reference: np.ndarray, binary: np.ndarray, metric: Metric, scale: np.ndarray | None = None) -> float:
    """Eq. 6 without l1: Q_ours = ||diag(s) V^T P (w_ref - alpha b)||^2 plus the residual, at the given or the best scale.

    With all d groups this is tr[(w_ref - alpha b)^T C (w_ref - alpha b)], the expected squared change of the output; with a
    sensitivity M it is tr[(w_ref - alpha b)^T C (w_ref - alpha b) M], that of the block's output.
    """
    scale = metric.optimal_scale(binary, reference) if scale is None else scale
    return metric.norm(reference - scale * binary)


@dataclass(frozen=True)
class QuantizationErrors:
    """The errors of one binarized layer: Q_orig, Q_ours, Q_rel = Q_ours / tr(w_ref^T C w_ref), ratio Q_ours / Q_orig."""

    q_orig: float
    q_ours: float
    q_rel: float

    @property
    def q_ratio(self) -> float:
        """Q_ours / Q_orig (Fig. 8 right); NaN for Q_orig = 0."""
        return self.q_ours / self.q_orig if self.q_orig else float("nan")

    def to_dict(self) -> dict[str, float]:
        """Return all four as plain values."""
        return {"q_orig": self.q_orig, "q_ours": self.q_ours, "q_rel": self.q_rel, "q_ratio": self.q_ratio}


def quantization_errors(reference: np.ndarray, binary: np.ndarray, metric: Metric) -> QuantizationErrors:
    """Return all errors of a layer, each at its own best scale (a batch normalization makes the scale free).

    Args:
        reference: w_ref, shape (d, m).
        binary: b, shape (d, m).
        metric: From the statistics of the layer's input.
    """
    reference, binary = np.asarray(reference, float), np.asarray(binary, float)
    ours = q_ours(reference, binary, metric)
    energy = metric.norm(reference)
    return QuantizationErrors(q_orig(reference, binary), ours, ours / energy if energy else float("nan"))


def network_errors(errors: Collection[QuantizationErrors]) -> QuantizationErrors:
    """Return the errors of a network: Q_orig and Q_ours summed over its layers as in Fig. 8, and the mean Q_rel.

    Args:
        errors: The errors of each layer; with none of them the sums are 0, the mean and the ratio NaN.
    """
    q_rel = float(np.mean([error.q_rel for error in errors])) if errors else float("nan")
    return QuantizationErrors(sum(error.q_orig for error in errors), sum(error.q_ours for error in errors), q_rel)
