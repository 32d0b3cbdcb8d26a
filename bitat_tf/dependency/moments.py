"""Moments of a layer's input, accumulated batch by batch."""

import numpy as np

from bitat_tf._validation import check_finite


class InputMoments:
    """Means and second moments of the rows that a layer sees, in one streamed pass.

    A binary layer sees `x_b = sign(x + beta)` where the float layer saw `x`. Both come from the same rows:

        H = E[(x_b - E x_b)(x_b - E x_b)^T]        `covariance`
        G = E[(x_b - E x_b)(x - E x)^T]            `cross_covariance`

    Both are centred: the batch normalization after a binary layer removes every mean. Sums are kept in float64, around
    the first batch's means, so that a large mean costs no accuracy. Splitting the same rows into other batches, or
    merging two accumulators, gives the same result to rounding.

    Args:
        dim: Number of features d of a row.
        cross: Whether the float rows are given too, and G is wanted.

    Example:
        >>> moments = InputMoments(2)
        >>> moments.update(np.array([[1.0, 1.0], [-1.0, -1.0]]))
        >>> moments.covariance
        array([[1., 1.],
               [1., 1.]])
    """

    def __init__(self, dim: int, cross: bool = False):
        self.dim = dim
        self.cross = cross
        self.count = 0
        self._shift: np.ndarray | None = None
        self._cross_shift: np.ndarray | None = None
        self._sum = np.zeros(dim)
        self._second = np.zeros((dim, dim))
        self._cross_sum = np.zeros(dim)
        self._cross_second = np.zeros((dim, dim)) if cross else None

    def update(self, binary: np.ndarray, real: np.ndarray | None = None) -> None:
        """Add rows.

        Args:
            binary: What the binary layer sees, shape (n, d).
            real: What the float layer saw, shape (n, d); needed exactly if `cross`.

        Raises:
            ValueError: If a shape does not fit, or a value is not finite.
        """
        if (real is not None) != self.cross:
            raise ValueError(f"InputMoments: real rows must be given exactly if cross=True. Received: cross={self.cross}.")
        # Everything is checked before anything is added: refused rows leave the moments as they were.
        binary = self._checked(binary)
        real = None if real is None else self._checked(real)
        if real is not None and len(real) != len(binary):
            raise ValueError(f"InputMoments: {len(binary)} binary rows came with {len(real)} real rows.")
        if not len(binary):
            return
        if self._shift is None:
            self._shift = _shift(binary)
            self._cross_shift = None if real is None else _shift(real)
        centred = binary - self._shift.astype(binary.dtype)
        # The products are formed in the rows' own precision (float32 in practice), the sums over batches in float64.
        self._sum += centred.sum(axis=0, dtype=np.float64)
        self._second += centred.T @ centred
        if real is not None:
            real_centred = real - self._cross_shift.astype(real.dtype)  # type: ignore[union-attr]
            self._cross_sum += real_centred.sum(axis=0, dtype=np.float64)
            self._cross_second += centred.T @ real_centred
        self.count += len(binary)

    def merge(self, other: "InputMoments") -> None:
        """Add what another accumulator of the same kind has seen (another worker, another half of the data)."""
        if (other.dim, other.cross) != (self.dim, self.cross):
            raise ValueError(
                f"InputMoments: only accumulators of one kind can be merged. Received: dim {self.dim} and {other.dim}, "
                f"cross {self.cross} and {other.cross}."
            )
        if other._shift is None:
            return
        if self._shift is None:
            self._shift, self._cross_shift = other._shift, other._cross_shift
        move = other._shift - self._shift
        move_real = other._cross_shift - self._cross_shift if self.cross else 0.0  # type: ignore[operator]
        n = other.count
        self._second += other._second + np.outer(move, other._sum) + np.outer(other._sum, move) + n * np.outer(move, move)
        if self.cross:
            self._cross_second += (  # type: ignore[operator]
                other._cross_second
                + np.outer(move, other._cross_sum)
                + np.outer(other._sum, move_real)
                + n * np.outer(move, move_real)
            )
            self._cross_sum += other._cross_sum + n * move_real
        self._sum += other._sum + n * move
        self.count += n

    @property
    def mean(self) -> np.ndarray:
        """E[x_b], shape (d,)."""
        self._require_rows()
        return self._sum / self.count + self._shift  # type: ignore[operator]

    @property
    def covariance(self) -> np.ndarray:
        """H, shape (d, d), symmetric and positive semidefinite to rounding."""
        self._require_rows()
        offset = self._sum / self.count
        covariance = self._second / self.count - np.outer(offset, offset)
        return (covariance + covariance.T) / 2

    @property
    def cross_covariance(self) -> np.ndarray:
        """G, shape (d, d): rows are features of x_b, columns features of x."""
        if self._cross_second is None:
            raise ValueError("InputMoments: the cross-covariance needs cross=True.")
        self._require_rows()
        return self._cross_second / self.count - np.outer(self._sum, self._cross_sum) / self.count**2

    def _require_rows(self) -> None:
        if not self.count:
            raise ValueError("InputMoments: no rows were given. Pass calibration data with at least one sample.")

    def _checked(self, rows: np.ndarray) -> np.ndarray:
        rows = np.asarray(rows)
        if rows.ndim != 2 or rows.shape[1] != self.dim:
            raise ValueError(f"InputMoments: rows must have shape (n, {self.dim}). Received: {rows.shape}.")
        rows = rows.astype(np.result_type(rows, np.float32), copy=False)  # integers and float16 would overflow
        check_finite("InputMoments", "the input of a layer", rows)
        return rows


def _shift(rows: np.ndarray) -> np.ndarray:
    """Return the means of rows as float64, rounded to what can be subtracted exactly in the rows' own precision."""
    return rows.mean(axis=0, dtype=np.float64).astype(rows.dtype).astype(np.float64)
