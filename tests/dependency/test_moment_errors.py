"""What `InputMoments` refuses, and that it changes nothing then."""

import numpy as np
import pytest

from bitat_tf.dependency.moments import InputMoments


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("batch", [0, 1])
@pytest.mark.parametrize("where", ["rows", "targets"])
def test_values_that_are_not_finite_are_refused(bad, batch, where):
    moments = InputMoments(4, targets=4)
    rows, targets = np.random.default_rng(0).normal(size=(2, 10, 4))
    for _ in range(batch):
        moments.update(rows, targets)
    broken = {"rows": rows.copy(), "targets": targets.copy()}
    broken[where][3, 2] = bad
    with pytest.raises(ValueError, match=r"(?i)finite|nan|inf"):
        moments.update(**broken)


@pytest.mark.parametrize("shape", [(5, 3), (5, 5), (4,), (2, 5, 4), (5, 0)])
def test_wrong_shapes_are_refused(shape):
    with pytest.raises(ValueError, match=r"InputMoments: rows must have shape \(n, 4\)"):
        InputMoments(4).update(np.ones(shape))
    with pytest.raises(ValueError, match=r"InputMoments: targets must have shape \(n, 4\)"):
        InputMoments(6, targets=4).update(np.ones((5, 6)), np.ones(shape))


def test_targets_must_be_as_many_as_rows():
    with pytest.raises(ValueError, match=r"5 rows came with targets of 6 rows"):
        InputMoments(4, targets=3).update(np.ones((5, 4)), np.ones((6, 3)))


def test_targets_exactly_where_they_were_announced():
    with pytest.raises(ValueError, match="exactly if `targets` is not 0. Received: targets=0 and targets"):
        InputMoments(4).update(np.ones((5, 4)), np.ones((5, 4)))
    with pytest.raises(ValueError, match="exactly if `targets` is not 0. Received: targets=2 and no targets"):
        InputMoments(4, targets=2).update(np.ones((5, 4)))
    with pytest.raises(ValueError, match="needs targets. Received: targets=0"):
        _ = InputMoments(4).cross_covariance


@pytest.mark.parametrize("other", [InputMoments(3), InputMoments(4, targets=4)])
def test_only_accumulators_of_one_kind_merge(other):
    with pytest.raises(ValueError, match=f"one kind.*dim 4 and {other.dim}, targets 0 and {other.targets}"):
        InputMoments(4).merge(other)


@pytest.mark.parametrize("name", ["mean", "target_mean", "variance", "covariance", "cross_covariance"])
@pytest.mark.parametrize("empty_batch", [False, True])
def test_no_rows_is_an_error(name, empty_batch):
    moments = InputMoments(2, targets=2)
    if empty_batch:
        moments.update(np.zeros((0, 2)), np.zeros((0, 2)))
    with pytest.raises(ValueError, match="no rows"):
        getattr(moments, name)


def test_refused_rows_leave_the_moments_as_they_were():
    rows = np.array([[1.0], [-1.0]])
    moments = InputMoments(1, targets=1)
    with pytest.raises(ValueError, match="must be finite"):
        moments.update(rows, np.array([[np.nan], [1.0]]))
    moments.update(rows, rows)
    for targets, message in [
        (np.array([[np.nan], [1.0]]), "must be finite"),
        (np.ones((3, 1)), "2 rows came with targets of 3"),
    ]:
        with pytest.raises(ValueError, match=message):
            moments.update(5 * rows, targets)
    assert moments.count == 2
    np.testing.assert_array_equal([moments.mean, moments.target_mean], [[0.0], [0.0]])
    np.testing.assert_allclose(moments.cross_covariance, [[1.0]])
    np.testing.assert_allclose(moments.covariance, [[1.0]])
