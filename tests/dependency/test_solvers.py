"""Closed forms: the best scale against a grid search, ridge and re-targeted weights against least squares."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitat_tf.dependency.solvers import latent_weights, optimal_scale, retarget, ridge, ridge_from_rows

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


def least_squares(rows, targets, damping):
    """Ridge regression as least squares with an extra row a feature."""
    level = len(rows) * damping * rows.var(axis=0).mean()
    rows = np.vstack([centre(rows), np.sqrt(level) * np.eye(rows.shape[1])])
    return np.linalg.lstsq(rows, np.vstack([centre(targets), np.zeros((rows.shape[1], targets.shape[1]))]), rcond=None)[0]


@st.composite
def regressions(draw):
    """Rows of any shape with means, some of their features dead, constant or double; targets; a damping."""
    n, dim, outputs = draw(st.integers(1, 12)), draw(st.integers(1, 12)), draw(st.integers(1, 3))
    rng = np.random.default_rng(draw(SEEDS))
    rows, targets = rng.normal(size=(n, dim)) + rng.normal(size=dim), rng.normal(size=(n, outputs)) + 5
    for feature in range(dim):
        kind = draw(st.sampled_from(["free", "free", "sign", "dead", "constant", "double"]))
        if kind == "sign":
            rows[:, feature] = sign(rows[:, feature])
        elif kind != "free":
            rows[:, feature] = {"dead": 0, "constant": -1, "double": rows[:, 0]}[kind]
    return rows, targets, draw(st.sampled_from([0.001, 0.01, 1, 10.0]))


@settings(deadline=None, max_examples=150)
@given(case=regressions())
def test_ridge_from_rows_and_from_moments_are_least_squares_with_extra_rows(case):
    rows, targets, damping = case
    expected = least_squares(rows, targets, damping)
    assert expected.shape == (rows.shape[1], targets.shape[1])
    np.testing.assert_allclose(ridge(*covariances(rows, targets), damping), expected, atol=1e-9)
    np.testing.assert_allclose(ridge_from_rows(rows, targets, damping), expected, atol=1e-9)


@settings(deadline=None, max_examples=20)
@given(seed=SEEDS)
def test_retarget_is_the_ridge_of_the_float_outputs(seed):
    binary, real, kernel = correlated_rows(seed, n=40)
    moments, outputs = covariances(binary, real), real @ kernel
    np.testing.assert_allclose(retarget(*moments, kernel), ridge(*covariances(binary, outputs)), atol=1e-10)
    np.testing.assert_allclose(retarget(*moments, kernel), ridge_from_rows(binary, outputs), atol=1e-10)


@pytest.mark.parametrize("value", [0.0, 1.0, -1.0, 0.1, 1e4 / 3])
@pytest.mark.parametrize("n", [1, 3, 10])
def test_rows_that_do_not_vary_predict_nothing(n, value):
    rows, targets = np.full((n, 4), value), np.random.default_rng(0).normal(size=(n, 2))
    np.testing.assert_array_equal(ridge(np.zeros((4, 4)), np.zeros((4, 2))), np.zeros((4, 2)))
    np.testing.assert_array_equal(ridge_from_rows(rows, targets), np.zeros((4, 2)))


def test_ridge_in_float32_and_defaults():
    binary, real, kernel = correlated_rows(0, n=4)
    rows, targets = binary.astype(np.float32), (real @ kernel).astype(np.float32)
    expected = ridge_from_rows(rows.astype(float), targets.astype(float), 0.01)
    np.testing.assert_allclose(ridge_from_rows(rows, targets), expected, rtol=1e-12)
    np.testing.assert_allclose(ridge(*covariances(rows, targets)), expected, rtol=1e-4, atol=1e-5)


def test_ridge_leaves_its_arguments_alone():
    binary, real, kernel = correlated_rows(0)
    arguments = [*covariances(binary, real @ kernel), binary, real @ kernel]
    before = [array.copy() for array in arguments]
    ridge(*arguments[:2])
    ridge_from_rows(*arguments[2:])
    for array, copy in zip(arguments, before, strict=True):
        np.testing.assert_array_equal(array, copy)


@pytest.mark.parametrize("damping", [0, -0.01, float("nan"), float("inf"), None, True, "1"])
@pytest.mark.parametrize("level", [0, 1])
def test_damping_must_be_positive(level, damping):
    square, table, message = level * np.eye(2), np.ones((2, 1)), f"`damping` must be a finite number > 0. .*damping={damping!r}"
    for call in (
        lambda: retarget(square, square, table, damping),
        lambda: ridge(square, table, damping),
        lambda: ridge_from_rows(square, table, damping),
    ):
        with pytest.raises(ValueError, match=message):
            call()


@settings(deadline=None, max_examples=30)
@given(seed=SEEDS)
def test_latent_weights_have_the_signs_the_scale_and_the_shape_of_the_reference(seed):
    rng = np.random.default_rng(seed)
    reference, binary, scale = rng.normal(size=(6, 3)), sign(rng.normal(size=(6, 3))), rng.uniform(0.1, 5, 3)
    reference[0, 0] = 0  # keeps its sign all the same
    latent = latent_weights(reference, binary, scale)
    np.testing.assert_array_equal(np.sign(latent), binary)
    np.testing.assert_allclose(np.abs(latent).mean(axis=0), scale)
    np.testing.assert_allclose(
        np.abs(latent), np.abs(reference) * (scale / np.abs(reference).mean(axis=0)), rtol=1e-5, atol=1e-5
    )


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("size", [1.0, 1e-20, 1e20])
@pytest.mark.parametrize("scale", [0.0, 1e-6, 0.5, 1e6])
def test_latent_weights_of_zeros_keep_their_signs_in_float32(scale, size):
    # A channel with some zeros, one of zeros alone.
    reference = size * np.array([[0.0, 0.0], [2.0, 0.0], [0.0, 0.0], [-1.0, 0.0]], np.float32)
    binary = np.array([[-1.0, 1.0], [-1.0, -1.0], [1.0, -1.0], [1.0, 1.0]])
    latent = latent_weights(reference, binary, np.full(2, scale)).astype(np.float32)
    np.testing.assert_array_equal(np.sign(latent), binary)
    np.testing.assert_allclose(np.abs(latent).mean(axis=0), scale or np.abs(reference).mean(axis=0), rtol=1e-5, atol=1e-37)


def test_latent_weights_keep_their_magnitudes_at_scale_zero():
    reference, binary = np.array([[1.0, 0.0], [-3.0, 0.0]]), np.array([[-1.0, 1.0], [-1.0, -1.0]])
    latent = latent_weights(reference, binary, np.zeros(2))
    np.testing.assert_allclose(latent[:, 0], [-1, -3])
    np.testing.assert_array_equal(np.sign(latent.astype(np.float32)), binary)  # also of a reference of zeros
    np.testing.assert_allclose(np.abs(latent_weights(reference, binary, np.full(2, 0.5))).mean(axis=0), 0.5)
