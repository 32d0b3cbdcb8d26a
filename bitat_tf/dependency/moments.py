"""Moments of rows, accumulated batch by batch."""

import warnings

import numpy as np

from bitat_tf._validation import check_finite

_MIRROR_ROWS = 1024  # rows that are mirrored at once, so that no second d x d array is needed
_LARGE_BYTES = 2**30  # from here on the full covariance is announced
MEMORY_LIMIT = 2**32  # from here on it is refused, unless the caller allows more


def full_covariance_bytes(dim: int) -> int:
    """Return the memory in bytes that the full covariance of d features takes: its sums, itself, and one copy to solve with."""
    return 3 * 8 * dim * dim


def check_full_covariance(
    where: str,
    dim: int,
    memory_limit: int = MEMORY_LIMIT,
    cure: str = "Aggregate the inputs (GroupedMoments), or raise `memory_limit` if the machine has the memory.",
) -> None:
    """Warn where the full covariance of d features is expensive; refuse it where it does not fit.

    Args:
        where: Name of the public function, for the message.
        dim: Number d of features.
        memory_limit: Bytes that it may take.
        cure: What the user can do, for the message.

    Raises:
        ValueError: If it takes more than `memory_limit`.
    """
    needed = full_covariance_bytes(dim)
    cost = (
        f"the full covariance of d = {dim} inputs takes {needed / 2**30:.1f} GiB of memory, and a solve or a decomposition of "
        f"it {dim**3 / 3e12:.2g} to {9 * dim**3 / 1e12:.2g} TFLOP"
    )
    if needed > memory_limit:
        raise ValueError(f"{where}: {cost}; the limit is {memory_limit / 2**30:.1f} GiB. {cure}")
    if needed > _LARGE_BYTES:
        warnings.warn(f"{where}: {cost}.", stacklevel=3)


class InputMoments:
    """Means and second moments of the rows that a layer sees, in one streamed pass.

    A binary layer sees `x_b = sign(x + beta)` where the float layer saw `x`. Both come from the same rows:

        H = E[(x_b - E x_b)(x_b - E x_b)^T]        `covariance`
        G = E[(x_b - E x_b)(t - E t)^T]            `cross_covariance`, for targets t

    With the float rows x as targets G is that of the re-targeting; with the float layer's outputs z = x^T w it is G w, which
    is all that the re-targeting needs and m columns wide instead of d. Both are centred: the batch normalization after a
    binary layer removes every mean. Sums are kept in float64, around the first batch's means, so that a large mean costs no
    accuracy. Splitting the same rows into other batches, or merging two accumulators, gives the same result to rounding.

    Args:
        dim: Number d of features of a row.
        targets: Number of targets that come with each row; 0 (default) for none.
        memory_limit: Bytes that the full covariance may take. Default 4 GiB, which is d = 13,000. From 1 GiB (d = 6,700) on
            a warning says what it costs.

    Raises:
        ValueError: If the covariance would take more.

    Examples:
        >>> moments = InputMoments(2)
        >>> moments.update(np.array([[1.0, 1.0], [-1.0, -1.0]]))
        >>> moments.covariance
        array([[1., 1.],
               [1., 1.]])
    """

    def __init__(self, dim: int, targets: int = 0, memory_limit: int = MEMORY_LIMIT):
        check_full_covariance(type(self).__name__, dim, memory_limit)
        self.dim = dim
        self.targets = targets
        self.count = 0
        self._shift: np.ndarray | None = None
        self._target_shift: np.ndarray | None = None
        self._sum = np.zeros(dim)
        self._second = np.zeros((dim, dim))  # of it the upper triangle counts
        self._target_sum = np.zeros(targets)
        self._cross = np.zeros((dim, targets))

    def update(self, rows: np.ndarray, targets: np.ndarray | None = None) -> None:
        """Add rows.

        Args:
            rows: What the binary layer sees, shape (n, d).
            targets: What belongs to each row, shape (n, t); needed exactly if `targets` > 0.

        Raises:
            ValueError: If a shape does not fit, or a value is not finite.
        """
        # Everything is checked before anything is added: refused rows leave the moments as they were.
        rows = checked_rows(self, "rows", rows, self.dim)
        targets = self._checked_targets(targets, len(rows))
        if not len(rows):
            return
        if self._shift is None:
            self._shift = _shift(rows)
        centred = rows - self._shift.astype(rows.dtype)
        # The products are formed in the rows' own precision (float32 in practice), the sums over batches in float64.
        self._sum += centred.sum(axis=0, dtype=np.float64)
        self._second += centred.T @ centred
        if targets is not None:
            self._cross += centred.T @ self._centred_targets(targets)
        self.count += len(rows)

    def _checked_targets(self, targets: np.ndarray | None, rows: int) -> np.ndarray | None:
        if (targets is not None) != bool(self.targets):
            raise ValueError(
                f"{type(self).__name__}: targets must be given exactly if `targets` is not 0. Received: "
                f"targets={self.targets} and {'no targets' if targets is None else 'targets'}."
            )
        if targets is None:
            return None
        targets = checked_rows(self, "targets", targets, self.targets)
        if len(targets) != rows:
            raise ValueError(f"{type(self).__name__}: {rows} rows came with targets of {len(targets)} rows.")
        return targets

    def _centred_targets(self, targets: np.ndarray) -> np.ndarray:
        """Return targets around the first batch's mean, and count their sum."""
        if self._target_shift is None:
            self._target_shift = _shift(targets)
        centred = targets - self._target_shift.astype(targets.dtype)
        self._target_sum += centred.sum(axis=0, dtype=np.float64)
        return centred

    def merge(self, other: "InputMoments") -> None:
        """Add what another accumulator of the same kind has seen (another worker, another half of the data)."""
        if (type(other), other.dim, other.targets) != (type(self), self.dim, self.targets):
            raise ValueError(
                f"{type(self).__name__}: only accumulators of one kind can be merged. Received: {type(self).__name__} and "
                f"{type(other).__name__}, dim {self.dim} and {other.dim}, targets {self.targets} and {other.targets}."
            )
        if other._shift is None:
            return
        if self._shift is None:
            self._shift, self._target_shift = other._shift, other._target_shift
        move = other._shift - self._shift
        n = other.count
        self._second += other._second + np.outer(move, other._sum) + np.outer(other._sum, move) + n * np.outer(move, move)
        if self.targets:
            target_move = other._target_shift - self._target_shift  # type: ignore[operator]
            self._cross += (
                other._cross
                + np.outer(move, other._target_sum)
                + np.outer(other._sum, target_move)
                + n * np.outer(move, target_move)
            )
            self._target_sum += other._target_sum + n * target_move
        self._sum += other._sum + n * move
        self.count += n

    @property
    def mean(self) -> np.ndarray:
        """E[x_b], shape (d,)."""
        self._require_rows()
        return self._sum / self.count + self._shift  # type: ignore[operator]

    @property
    def target_mean(self) -> np.ndarray:
        """E[t], shape (t,)."""
        self._require_rows()
        return self._target_sum / self.count + (0 if self._target_shift is None else self._target_shift)

    @property
    def variance(self) -> np.ndarray:
        """The diagonal of H, shape (d,)."""
        self._require_rows()
        return np.maximum(np.diag(self._second) / self.count - (self._sum / self.count) ** 2, 0)

    @property
    def covariance(self) -> np.ndarray:
        """H, shape (d, d), symmetric and positive semidefinite to rounding."""
        self._require_rows()
        offset = self._sum / self.count
        covariance = self._second / self.count
        for start in range(0, self.dim, _MIRROR_ROWS):
            block = slice(start, start + _MIRROR_ROWS)
            covariance[block, start:] -= np.outer(offset[block], offset[start:])
            diagonal = np.triu(covariance[block, block])
            covariance[block, block] = diagonal + np.triu(diagonal, 1).T
            covariance[start + _MIRROR_ROWS :, block] = covariance[block, start + _MIRROR_ROWS :].T
        return covariance

    @property
    def cross_covariance(self) -> np.ndarray:
        """G, shape (d, t): rows are features of x_b, columns targets."""
        if not self.targets:
            raise ValueError(f"{type(self).__name__}: the cross-covariance needs targets. Received: targets=0.")
        self._require_rows()
        return self._cross / self.count - np.outer(self._sum, self._target_sum) / self.count**2

    def _require_rows(self) -> None:
        if not self.count:
            raise ValueError(
                f"{type(self).__name__}: no rows were given. Pass calibration data with at least one sample; pictures must "
                "not be smaller than the kernel."
            )


def checked_rows(owner: object, what: str, rows: np.ndarray, width: int) -> np.ndarray:
    """Return rows of shape (n, width) in a floating type of at least 32 bits; raise ValueError if they are something else."""
    where, rows = type(owner).__name__, np.asarray(rows)
    if rows.ndim != 2 or rows.shape[1] != width:
        raise ValueError(f"{where}: {what} must have shape (n, {width}). Received: {rows.shape}.")
    rows = rows.astype(np.result_type(rows, np.float32), copy=False)  # integers and float16 would overflow
    check_finite(where, "the input of a layer", rows)
    return rows


def _shift(rows: np.ndarray) -> np.ndarray:
    """Return the means of rows as float64, rounded to what can be subtracted exactly in the rows' own precision."""
    return rows.mean(axis=0, dtype=np.float64).astype(rows.dtype).astype(np.float64)
