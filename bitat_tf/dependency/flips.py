"""Binary weights that no single flip of a sign can improve (ours)."""

from dataclasses import dataclass

import numpy as np

from bitat_tf._validation import check_finite, check_number

_BLOCK = 128  # features whose flips are decided before the products of all others are brought up to date
_GAIN = 1e-9  # what a flip must gain, as a share of what is explained already: above the rounding of the sums


@dataclass(frozen=True)
class Curvature:
    """The covariance C of a layer's input, given as itself or, for fewer rows than features, as C = F^T F.

    Attributes:
        covariance: C, shape (d, d); or None.
        factor: F, shape (n, d), as the centred rows over sqrt(n); or None.

    Raises:
        ValueError: Unless exactly one of the two is given.

    Examples:
        >>> rows = np.array([[1.0, 2.0], [-1.0, -2.0]])
        >>> by_factor, by_matrix = Curvature(factor=rows), Curvature(rows.T @ rows)
        >>> bool(np.all(by_factor.times(np.eye(2)) == by_matrix.times(np.eye(2))))
        True
    """

    covariance: np.ndarray | None = None
    factor: np.ndarray | None = None

    def __post_init__(self):
        if (self.covariance is None) == (self.factor is None):
            raise ValueError("Curvature: pass either `covariance` or `factor`.")

    @property
    def dim(self) -> int:
        """Number d of features."""
        array = self.factor if self.covariance is None else self.covariance
        return array.shape[1]  # type: ignore[union-attr]

    @property
    def total(self) -> float:
        """Tr C."""
        return float(np.trace(self.covariance) if self.factor is None else np.sum(self.factor**2))  # type: ignore[arg-type]

    def times(self, weights: np.ndarray) -> np.ndarray:
        """C @ weights, shape (d, m)."""
        return self.covariance @ weights if self.factor is None else self.factor.T @ (self.factor @ weights)

    def block(self, features: slice) -> np.ndarray:
        """C between the features of a slice."""
        if self.factor is None:
            return self.covariance[features, features]  # type: ignore[index]
        return self.factor[:, features].T @ self.factor[:, features]

    def image(self, weights: np.ndarray) -> np.ndarray:
        """What `rows_times` needs of weights of shape (d, m): a copy of them, or F @ weights."""
        return np.array(weights, float) if self.factor is None else self.factor @ weights

    def rows_times(self, features: slice, image: np.ndarray) -> np.ndarray:
        """C[features] @ weights, from the image of the weights."""
        rows = self.factor.T if self.covariance is None else self.covariance  # type: ignore[union-attr]
        return rows[features] @ image

    def move(self, image: np.ndarray, features: slice, change: np.ndarray) -> None:
        """Bring an image up to date with a change of the weights of some features."""
        if self.factor is None:
            image[features] += change
        else:
            image += self.factor[:, features] @ change


def flip_descent(binary: np.ndarray, reference: np.ndarray, curvature: Curvature, max_sweeps: int = 100) -> np.ndarray:
    """Flip signs as long as a flip lowers Q_ours, each output channel at its own best scale.

    At the best scale Q_ours of a channel is `w^T C w - p^2 / n` with p = b^T C w and n = b^T C b. Flipping b_j gives

        p' = p - 2 b_j (C w)_j,     n' = n - 4 b_j (C b)_j + 4 C_jj,

    so that the gain of a flip, with the scale fitted anew, is exact and costs O(1). The features are visited in order, and all
    output channels decide at once; a flip is made where it lowers Q_ours. It ends when a whole sweep made none: no single
    flip lowers Q_ours of any channel.

    Args:
        binary: b to start from, shape (d, m), entries -1 and +1; sign(w_ref) as a rule.
        reference: w_ref, shape (d, m).
        curvature: C.
        max_sweeps: Sweeps after which it stops in any case.

    Returns:
        b of shape (d, m). A channel whose start points away from w_ref (p < 0) starts from -b.

    Raises:
        ValueError: If a shape does not fit, or `binary` holds other values than -1 and +1.

    Examples:
        >>> covariance = np.array([[1.0, 0.9], [0.9, 1.0]])
        >>> flip_descent(np.array([[1.0], [-1.0]]), np.array([[1.0], [-0.1]]), Curvature(covariance))
        array([[1.],
               [1.]])
    """
    check_number("flip_descent", "max_sweeps", max_sweeps, minimum=1)
    binary, reference = np.array(binary, float), np.asarray(reference, float)
    check_finite("flip_descent", "`reference`", reference)
    shape_fits = binary.ndim == 2 and binary.shape == reference.shape and len(binary) == curvature.dim
    if not shape_fits or not np.all(np.abs(binary) == 1):
        raise ValueError(
            f"flip_descent: `binary` must hold -1 and +1 in the shape (d, m) of `reference`, with the {curvature.dim} features "
            f"of the curvature. Received: binary of shape {binary.shape}, reference of shape {reference.shape}."
        )
    pull = curvature.times(reference)
    away = np.sum(binary * pull, axis=0) < 0
    binary[:, away] *= -1
    active = np.arange(binary.shape[1])
    for _ in range(int(max_sweeps)):
        flipped = _sweep(binary, pull, curvature, active)
        active = active[flipped]  # a channel that made no flip in a whole sweep is finished
        if not len(active):
            break
    return binary


def _sweep(binary: np.ndarray, pull: np.ndarray, curvature: Curvature, channels: np.ndarray) -> np.ndarray:
    """Visit every feature once, changing `binary`; return which of the channels made a flip."""
    image, target = curvature.image(binary[:, channels]), pull[:, channels]
    signs = binary[:, channels]
    product, norm = np.sum(signs * target, axis=0), np.sum(signs * curvature.times(signs), axis=0)
    floor = 1e-12 * curvature.total  # below, b is invisible to the metric
    now = _explained(product, norm, floor)
    flipped = np.zeros(len(channels), bool)
    for start in range(0, len(signs), _BLOCK):
        block = slice(start, start + _BLOCK)
        gram, seen, here = curvature.block(block), curvature.rows_times(block, image), signs[block]
        before = here.copy()
        for feature, sign in enumerate(here):
            new_product = product - 2 * sign * target[start + feature]
            new_norm = norm - 4 * sign * seen[feature] + 4 * gram[feature, feature]
            then = _explained(new_product, new_norm, floor)
            better = np.flatnonzero(then > now * (1 + _GAIN))
            if len(better):
                seen[:, better] -= 2 * np.outer(gram[:, feature], sign[better])
                here[feature, better] *= -1
                product[better], norm[better], now[better] = new_product[better], new_norm[better], then[better]
                flipped[better] = True
        curvature.move(image, block, here - before)
    binary[:, channels] = signs
    return flipped


def _explained(product: np.ndarray, norm: np.ndarray, floor: float) -> np.ndarray:
    """How much of w^T C w a channel explains at its best scale, which is at least 0."""
    return np.divide(np.maximum(product, 0) ** 2, norm, out=np.zeros_like(product), where=norm > floor)
