"""Closed forms: the best scale against a grid search, the re-targeted weights against least squares."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitat_tf.dependency.solvers import optimal_scale, retarget

SEEDS = st.integers(0, 10_000)
TINY = 1e-12


def sign(values):
    return np.where(values >= 0, 1.0, -1.0)


def random_covariance(rng, dim, rank=None):
    rows = rng.normal(size=(dim, rank or dim + 2))
    return rows @ rows.T / dim


def random_layer(seed, dim=5, outputs=3):
    """b, w and C of a layer; b is the sign of w, so that the best scale is mostly positive."""
    rng = np.random.default_rng(seed)
    reference = rng.normal(size=(dim, outputs))
    return sign(reference), reference, random_covariance(rng, dim)


def correlated_rows(seed, n=300, dim=5):
    """What the binary layer sees and what the float layer saw, full rank, with means; and a kernel."""
    rng = np.random.default_rng(seed)
    real = rng.normal(size=(n, dim)) + 0.5 * rng.normal(size=(n, 1)) + rng.normal(size=dim)
    return sign(real - 0.4 - rng.normal(size=dim) * 0.3), real, rng.normal(size=(dim, 3))


def centre(rows):
    return rows - rows.mean(axis=0)


def covariances(binary, real):
    """H and G by their definitions."""
    return centre(binary).T @ centre(binary) / len(binary), centre(binary).T @ centre(real) / len(binary)


def output_error(binary, real, kernel, candidate):
    """E||x^T w - x_b^T q||^2 of centred rows, row by row."""
    errors = (np.sum((x @ kernel - x_b @ candidate) ** 2) for x, x_b in zip(centre(real), centre(binary), strict=True))
    return sum(errors) / len(binary)


def metric_error(reference, binary, scale, covariance):
    """(w - alpha b)^T C (w - alpha b), one column at a time."""
    errors = (reference - scale * binary).T
    return np.array([error @ covariance @ error for error in errors])


@settings(deadline=None, max_examples=30)
@given(seed=SEEDS, euclidean=st.booleans())
def test_no_scale_of_a_fine_grid_is_better(seed, euclidean):
    binary, reference, covariance = random_layer(seed)
    scale = optimal_scale(binary, reference, None if euclidean else covariance)
    metric = np.eye(len(covariance)) if euclidean else covariance
    grid = np.linspace(0, 5, 5001)
    table = np.array([metric_error(reference, binary, alpha, metric) for alpha in grid])
    assert scale.shape == (3,)
    assert np.all(metric_error(reference, binary, scale, metric) <= table.min(axis=0) + 1e-12)
    np.testing.assert_allclose(scale, grid[table.argmin(axis=0)], atol=0.5001e-3)


@settings(deadline=None, max_examples=30)
@given(seed=SEEDS)
def test_scale_equals_the_closed_form_column_by_column(seed):
    binary, reference, covariance = random_layer(seed)
    pairs = list(zip(binary.T, reference.T, strict=True))
    expected = [max(b @ covariance @ w / (b @ covariance @ b), 0) for b, w in pairs]
    np.testing.assert_allclose(optimal_scale(binary, reference, covariance), expected, atol=1e-12)


@settings(deadline=None, max_examples=30)
@given(seed=SEEDS)
def test_without_a_metric_the_best_scale_of_the_sign_is_the_mean_magnitude(seed):
    binary, reference, _ = random_layer(seed)
    np.testing.assert_allclose(optimal_scale(binary, reference), np.abs(reference).mean(axis=0), atol=1e-12)


@settings(deadline=None, max_examples=20)
@given(seed=SEEDS, factor=st.floats(0.01, 100))
def test_scale_follows_the_weights_and_ignores_the_unit_of_the_metric(seed, factor):
    binary, reference, covariance = random_layer(seed)
    scale = optimal_scale(binary, reference, covariance)
    np.testing.assert_allclose(optimal_scale(binary, factor * reference, covariance), factor * scale, rtol=1e-9)
    np.testing.assert_allclose(optimal_scale(binary, reference, factor * covariance), scale, rtol=1e-9)


def test_scale_is_zero_for_weights_that_point_away():
    binary, reference, covariance = random_layer(0)
    towards = optimal_scale(binary, reference, covariance)
    assert np.all(towards > 0)
    np.testing.assert_array_equal(optimal_scale(-binary, reference, covariance), np.zeros(3))
    mixed = optimal_scale(binary * [1, -1, 1], reference, covariance)
    np.testing.assert_allclose(mixed, towards * [1, 0, 1])
    np.testing.assert_array_equal(optimal_scale(-binary, reference), np.zeros(3))


def test_scale_is_zero_where_nothing_is_visible():
    binary, reference, covariance = random_layer(0)
    np.testing.assert_array_equal(optimal_scale(binary, reference, 0 * covariance), np.zeros(3))
    # The metric sees only x_0 + x_1, in which b = (1, -1) cancels.
    scale = optimal_scale(np.array([[1.0, 1.0], [-1.0, 1.0]]), np.array([[2.0, 2.0], [1.0, 1.0]]), np.ones((2, 2)))
    np.testing.assert_allclose(scale, [0, 1.5])


@settings(deadline=None, max_examples=30)
@given(seed=SEEDS)
def test_retarget_is_least_squares_on_centred_rows(seed):
    binary, real, kernel = correlated_rows(seed)
    expected = np.linalg.lstsq(centre(binary), centre(real) @ kernel, rcond=None)[0]
    np.testing.assert_allclose(retarget(*covariances(binary, real), kernel, TINY), expected, atol=1e-8)


@settings(deadline=None, max_examples=20)
@given(seed=SEEDS)
def test_output_error_is_the_metric_of_the_retargeted_weights_plus_a_constant(seed):
    binary, real, kernel = correlated_rows(seed)
    covariance, cross = covariances(binary, real)
    reference = retarget(covariance, cross, kernel, TINY)
    rng = np.random.default_rng(seed)
    candidates = [np.zeros_like(kernel), kernel, sign(kernel), *(rng.normal(size=(4, *kernel.shape)))]
    constants = [
        output_error(binary, real, kernel, q) - np.trace((reference - q).T @ covariance @ (reference - q)) for q in candidates
    ]
    np.testing.assert_allclose(constants, output_error(binary, real, kernel, reference), atol=1e-7)
    assert constants[0] > 1e-3, "the case must have a part that no weights can reach"


@settings(deadline=None, max_examples=20)
@given(seed=SEEDS, damping=st.sampled_from([0.01, 0.1, 1.0]))
def test_damping_is_a_ridge_in_units_of_the_mean_diagonal(seed, damping):
    binary, real, kernel = correlated_rows(seed)
    covariance, cross = covariances(binary, real)
    reference = retarget(covariance, cross, kernel, damping)
    # The same ridge regression, written as least squares with extra rows.
    n, dim = binary.shape
    ridge = np.sqrt(n * damping * np.mean(np.diag(covariance))) * np.eye(dim)
    rows, targets = (
        np.vstack([centre(binary), ridge]),
        np.vstack([centre(real) @ kernel, np.zeros_like(kernel)]),
    )
    np.testing.assert_allclose(reference, np.linalg.lstsq(rows, targets, rcond=None)[0], atol=1e-9)
    np.testing.assert_allclose(retarget(7 * covariance, 7 * cross, kernel, damping), reference, atol=1e-9)


def test_default_damping_is_one_percent():
    binary, real, kernel = correlated_rows(0)
    moments = covariances(binary, real)
    np.testing.assert_array_equal(retarget(*moments, kernel), retarget(*moments, kernel, 0.01))
    assert not np.allclose(retarget(*moments, kernel), retarget(*moments, kernel, 0.02), rtol=1e-4)


@settings(deadline=None, max_examples=20)
@given(seed=SEEDS)
def test_the_same_input_gives_the_kernel_back_as_damping_vanishes(seed):
    _, real, kernel = correlated_rows(seed)
    covariance = covariances(real, real)[0]
    errors = [np.abs(retarget(covariance, covariance, kernel, eps) - kernel).max() for eps in (1e-1, 1e-3, 1e-5, 1e-9)]
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > 1e-3
    assert errors[-1] < 1e-6


def test_dead_constant_and_double_features_give_finite_weights():
    binary, real, kernel = correlated_rows(0)
    binary[:, 1], binary[:, 2], binary[:, 4] = 0, 1, binary[:, 3]
    covariance, cross = covariances(binary, real)
    assert np.linalg.matrix_rank(covariance) == 2
    reference = retarget(covariance, cross, kernel)
    assert np.all(np.isfinite(reference))
    np.testing.assert_allclose(reference[[1, 2]], 0, atol=1e-12)  # nothing to be gained from these
    np.testing.assert_allclose(reference[3], reference[4], atol=1e-9)
    # Least squares picks the solution of smallest norm, the limit of vanishing damping.
    expected = np.linalg.lstsq(centre(binary), centre(real) @ kernel, rcond=None)[0]
    np.testing.assert_allclose(retarget(covariance, cross, kernel, 1e-8), expected, atol=1e-6)


def test_fewer_rows_than_features_give_finite_weights():
    binary, real, kernel = correlated_rows(0, n=3)
    reference = retarget(*covariances(binary, real), kernel)
    assert np.all(np.isfinite(reference))
    assert np.abs(reference).max() < 100


def test_an_input_that_does_not_vary_gives_a_copy_of_the_kernel():
    kernel = np.array([[1, -2], [3, 4]])
    reference = retarget(np.zeros((2, 2)), np.zeros((2, 2)), kernel)
    np.testing.assert_array_equal(reference, kernel)
    reference[0, 0] = 9
    assert kernel[0, 0] == 1


@pytest.mark.parametrize("damping", [0, -0.01, float("nan")])
def test_damping_must_be_positive(damping):
    with pytest.raises(ValueError, match=f"`damping` must be positive.*damping={damping}"):
        retarget(np.eye(2), np.eye(2), np.ones((2, 1)), damping)
