"""The transform (s, V) and the errors: both forms of Q_ours, brute force over rows, dense P for groups."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitat_tf.dependency.transform import Metric, disentangle, q_orig, q_ours, quantization_errors

SEEDS = st.integers(0, 10_000)
GROUPS = [[0, 0, 0, 0, 0, 0], [0, 1, 0, 1, 2, 1], [2, 1, 0, 0, 1, 2], [0, 1, 2, 3, 4, 0]]


def sign(values):
    return np.where(values >= 0, 1.0, -1.0)


def random_rows(seed, n=40, dim=6, rank=None):
    """Correlated rows with means, of full or given rank."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, rank or dim)) @ rng.normal(size=(rank or dim, dim)) + rng.normal(size=dim)


def random_covariance(seed, dim=6, rank=None):
    return np.cov(random_rows(seed, dim=dim, rank=rank), rowvar=False, bias=True).reshape(dim, dim)


def random_layer(seed, dim=6, outputs=3):
    """w_ref, b (not always its sign) and one scale per output channel."""
    rng = np.random.default_rng(seed + 1)
    reference = rng.normal(size=(dim, outputs))
    return reference, sign(reference + 0.5 * rng.normal(size=reference.shape)), rng.uniform(0.1, 2, outputs)


def full_metric(covariance):
    return Metric.from_covariance(covariance, np.arange(len(covariance)))


def dense_matrix(groups):
    """P by its definition: row g holds 1/sqrt(n_g) on the members of group g."""
    matrix = np.equal.outer(np.arange(max(groups) + 1), groups).astype(float)
    return matrix / np.sqrt(matrix.sum(axis=1, keepdims=True))


def trace_form(error, covariance):
    return np.trace(error.T @ covariance @ error)


def grouped_case(seed, groups, residual):
    """C, P, C_k and the metric of grouped inputs."""
    covariance, matrix = random_covariance(seed), dense_matrix(groups)
    reduced = matrix @ covariance @ matrix.T
    metric = Metric.from_covariance(reduced, np.array(groups), np.trace(covariance), residual)
    return covariance, matrix, reduced, metric


def inside_error(matrix, error):
    """||(I - P^T P) e||^2: what is lost in the groups."""
    return np.sum((error - matrix.T @ matrix @ error) ** 2)


@settings(deadline=None, max_examples=40)
@given(seed=SEEDS, dim=st.integers(1, 8), data=st.data())
def test_transform_rebuilds_the_covariance(seed, dim, data):
    covariance = random_covariance(seed, dim, rank=data.draw(st.integers(1, dim)))
    importance, directions = disentangle(covariance)
    scale = np.trace(covariance)
    np.testing.assert_allclose((directions * importance**2) @ directions.T, covariance, atol=1e-12 * scale)
    np.testing.assert_allclose(directions.T @ directions, np.eye(dim), atol=1e-12)
    assert np.all(np.diff(importance) <= 0)
    assert np.all(importance >= 0)


@pytest.mark.parametrize("covariance", [np.zeros((3, 3)), np.ones((3, 3)), -1e-17 * np.eye(3)])
def test_singular_covariance_has_finite_importance(covariance):
    importance, directions = disentangle(covariance)
    assert np.all(np.isfinite(importance))
    np.testing.assert_allclose((directions * importance**2) @ directions.T, covariance, atol=1e-12)


def test_importance_and_directions_of_a_known_case():
    # Variance 9 along (1, 1), 1 along (1, -1).
    importance, directions = disentangle(np.array([[5.0, 4.0], [4.0, 5.0]]))
    np.testing.assert_allclose(importance, [3, 1])
    np.testing.assert_allclose(np.abs(directions), np.full((2, 2), 2**-0.5))
    assert directions[0, 0] * directions[1, 0] > 0 > directions[0, 1] * directions[1, 1]


@settings(deadline=None, max_examples=40)
@given(seed=SEEDS, rank=st.sampled_from([2, 6]))
def test_both_forms_of_q_ours_agree(seed, rank):
    covariance, (reference, binary, scale) = random_covariance(seed, rank=rank), random_layer(seed)
    importance, directions = disentangle(covariance)
    error = reference - scale * binary
    expected = trace_form(error, covariance)
    np.testing.assert_allclose(np.sum((importance[:, None] * (directions.T @ error)) ** 2), expected, rtol=1e-9)
    np.testing.assert_allclose(q_ours(reference, binary, full_metric(covariance), scale), expected, rtol=1e-9)


@settings(deadline=None, max_examples=20)
@given(seed=SEEDS)
def test_q_ours_is_the_expected_change_of_the_centred_output(seed):
    rows, (reference, binary, scale) = random_rows(seed), random_layer(seed)
    metric = full_metric(np.cov(rows, rowvar=False, bias=True))
    changes = [[row @ (reference[:, j] - scale[j] * binary[:, j]) for j in range(3)] for row in rows]
    mean = [sum(change[j] for change in changes) / len(rows) for j in range(3)]
    expected = sum((change[j] - mean[j]) ** 2 for change in changes for j in range(3)) / len(rows)
    np.testing.assert_allclose(q_ours(reference, binary, metric, scale), expected, rtol=1e-9)


@settings(deadline=None, max_examples=20)
@given(seed=SEEDS, order=st.permutations(range(6)), residual=st.booleans())
def test_as_many_groups_as_dimensions_is_the_full_form(seed, order, residual):
    covariance, _, _, metric = grouped_case(seed, order, residual)
    reference, binary, scale = random_layer(seed)
    expected = trace_form(reference - scale * binary, covariance)
    np.testing.assert_allclose(q_ours(reference, binary, metric, scale), expected, rtol=1e-9)
    assert metric.residual == 0


@pytest.mark.parametrize("groups", GROUPS)
@settings(deadline=None, max_examples=15)
@given(seed=SEEDS)
def test_literal_grouped_form_equals_dense_products(groups, seed):
    _, matrix, reduced, metric = grouped_case(seed, groups, residual=False)
    reference, binary, scale = random_layer(seed)
    grouped_error = matrix @ (reference - scale * binary)
    importance, directions = disentangle(reduced)
    literal = np.sum((np.diag(importance) @ directions.T @ grouped_error) ** 2)
    np.testing.assert_allclose(literal, trace_form(grouped_error, reduced), rtol=1e-9)
    np.testing.assert_allclose(q_ours(reference, binary, metric, scale), literal, rtol=1e-9)


@pytest.mark.parametrize("groups", GROUPS)
@settings(deadline=None, max_examples=15)
@given(seed=SEEDS)
def test_residual_equals_its_formula_with_a_dense_matrix(groups, seed):
    covariance, matrix, reduced, metric = grouped_case(seed, groups, residual=True)
    reference, binary, scale = random_layer(seed)
    error = reference - scale * binary
    weight = (np.trace(covariance) - np.trace(reduced)) / (6 - len(reduced))
    expected = trace_form(matrix @ error, reduced) + weight * inside_error(matrix, error)
    np.testing.assert_allclose(metric.residual, weight, rtol=1e-9)
    np.testing.assert_allclose(q_ours(reference, binary, metric, scale), expected, rtol=1e-9)


def test_only_the_residual_sees_errors_that_cancel_inside_a_group():
    groups, error = [0, 0, 1], np.array([[1.0], [-1.0], [0.0]])
    metrics = [Metric.from_covariance(np.eye(2), np.array(groups), total=5.0, residual=flag) for flag in (False, True)]
    values = [q_ours(error, np.ones_like(error), metric, np.zeros(1)) for metric in metrics]
    np.testing.assert_allclose(values, [0, 3 * 2], atol=1e-15)


def test_residual_is_exact_where_the_inputs_are_the_same_inside_and_white():
    # Independent inputs of variance v: C = v I, of which grouping with the residual loses nothing.
    matrix, groups = dense_matrix(GROUPS[1]), np.array(GROUPS[1])
    reference, binary, scale = random_layer(0)
    metric = Metric.from_covariance(2.5 * matrix @ matrix.T, groups, total=2.5 * 6)
    expected = 2.5 * np.sum((reference - scale * binary) ** 2)
    np.testing.assert_allclose(q_ours(reference, binary, metric, scale), expected)


def test_residual_is_never_negative():
    metric = Metric.from_covariance(np.eye(2), np.array([0, 0, 1]), total=2 - 1e-9)
    assert metric.residual == 0


def test_residual_needs_the_total_variance():
    with pytest.raises(ValueError, match="`total`"):
        Metric.from_covariance(np.eye(2), np.array([0, 0, 1]))


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("groups", GROUPS)
def test_apply_keeps_output_channels_apart(groups, residual):
    metric = grouped_case(0, groups, residual)[3]
    reference, binary, scale = random_layer(0)
    per_channel = np.sum(metric.apply(reference - scale * binary) ** 2, axis=0)
    expected = [q_ours(reference[:, [j]], binary[:, [j]], metric, scale[[j]]) for j in range(3)]
    np.testing.assert_allclose(per_channel, expected, rtol=1e-9)


@settings(deadline=None, max_examples=40)
@given(seed=SEEDS, rank=st.sampled_from([2, 6]))
def test_q_rel_of_one_channel_is_one_minus_squared_correlation(seed, rank):
    covariance, (reference, binary, _) = random_covariance(seed, rank=rank), random_layer(seed, outputs=1)
    w, b = reference[:, 0], binary[:, 0]
    product = b @ covariance @ w
    rho_squared = product**2 / ((b @ covariance @ b) * (w @ covariance @ w))
    expected = 1 - rho_squared if product > 0 else 1  # no negative scale: then nothing is better than zero
    np.testing.assert_allclose(quantization_errors(reference, binary, full_metric(covariance)).q_rel, expected, atol=1e-9)


@settings(deadline=None, max_examples=30)
@given(seed=SEEDS, groups=st.sampled_from(GROUPS), residual=st.booleans())
def test_no_other_scale_is_better(seed, groups, residual):
    metric = grouped_case(seed, groups, residual)[3]
    reference, binary, _ = random_layer(seed)
    for j in range(3):
        w, b = reference[:, [j]], binary[:, [j]]
        for error, at_scale in (
            (q_ours(w, b, metric), lambda alpha, w=w, b=b: q_ours(w, b, metric, np.array([alpha]))),
            (q_orig(w, b), lambda alpha, w=w, b=b: q_orig(w, b, np.array([alpha]))),
        ):
            # Q is a parabola in alpha: three values give its smallest, at 0 where it would be negative.
            q0, q1, q2 = (at_scale(alpha) for alpha in (0.0, 1.0, 2.0))
            curvature, slope = (q2 - 2 * q1 + q0) / 2, (4 * q1 - q2 - 3 * q0) / 2
            best = max(-slope / (2 * curvature), 0) if curvature > 1e-9 else 0
            np.testing.assert_allclose(error, at_scale(best), rtol=1e-7, atol=1e-9)
            for other in (best + 1e-3, max(best - 1e-3, 0), 2 * best + 0.1):
                assert error <= at_scale(other) + 1e-9


@settings(deadline=None, max_examples=20)
@given(seed=SEEDS)
def test_best_scale_of_q_orig_is_the_mean_magnitude_for_the_sign(seed):
    reference, _, _ = random_layer(seed)
    best = np.abs(reference).mean(axis=0)
    smallest = q_orig(reference, sign(reference))
    np.testing.assert_allclose(smallest, q_orig(reference, sign(reference), best), rtol=1e-12)
    np.testing.assert_allclose(smallest, 6 * np.abs(reference).var(axis=0).sum(), rtol=1e-9)
    for change in (-1e-2, 1e-2):
        assert q_orig(reference, sign(reference), best + change) > smallest


@settings(deadline=None, max_examples=20)
@given(seed=SEEDS)
def test_q_orig_is_q_ours_in_the_identity(seed):
    reference, binary, scale = random_layer(seed)
    metric = full_metric(np.eye(6))
    by_loops = sum((reference[i, j] - scale[j] * binary[i, j]) ** 2 for i in range(6) for j in range(3))
    np.testing.assert_allclose(q_orig(reference, binary, scale), by_loops, rtol=1e-9)
    np.testing.assert_allclose(q_ours(reference, binary, metric, scale), by_loops, rtol=1e-9)
    np.testing.assert_allclose(q_ours(reference, binary, metric), q_orig(reference, binary), rtol=1e-9)


@settings(deadline=None, max_examples=20)
@given(seed=SEEDS, groups=st.sampled_from(GROUPS), residual=st.booleans())
def test_quantization_errors_hold_each_error_at_its_own_best_scale(seed, groups, residual):
    _, matrix, reduced, metric = grouped_case(seed, groups, residual)
    reference, binary, _ = random_layer(seed)
    errors = quantization_errors(reference, binary, metric)
    energy = trace_form(matrix @ reference, reduced) + metric.residual * inside_error(matrix, reference)
    np.testing.assert_allclose(errors.q_orig, q_orig(reference, binary), rtol=1e-12)
    np.testing.assert_allclose(errors.q_ours, q_ours(reference, binary, metric), rtol=1e-12)
    np.testing.assert_allclose(errors.q_rel, errors.q_ours / energy, rtol=1e-9)
    np.testing.assert_allclose(errors.q_ratio, errors.q_ours / errors.q_orig, rtol=1e-12)
    assert 0 <= errors.q_rel <= 1 + 1e-12


@settings(deadline=None, max_examples=20)
@given(seed=SEEDS, factor=st.floats(0.01, 100))
def test_q_rel_has_no_units(seed, factor):
    covariance, (reference, binary, _) = random_covariance(seed), random_layer(seed)
    expected = quantization_errors(reference, binary, full_metric(covariance))
    scaled = quantization_errors(factor * reference, binary, full_metric(factor * covariance))
    np.testing.assert_allclose(scaled.q_rel, expected.q_rel, rtol=1e-7)
    np.testing.assert_allclose(scaled.q_ours, factor**3 * expected.q_ours, rtol=1e-7)


def test_errors_of_weights_that_are_binary_already():
    binary = sign(np.random.default_rng(0).normal(size=(6, 3)))
    errors = quantization_errors(0.7 * binary, binary, full_metric(random_covariance(0)))
    np.testing.assert_allclose([errors.q_orig, errors.q_ours, errors.q_rel], 0, atol=1e-12)


def test_weights_that_point_away_are_no_better_than_nothing():
    reference, _, _ = random_layer(0)
    errors = quantization_errors(reference, -sign(reference), full_metric(np.eye(6)))
    np.testing.assert_allclose(errors.q_rel, 1, rtol=1e-12)
    np.testing.assert_allclose(errors.q_orig, np.sum(reference**2), rtol=1e-12)


def test_an_input_that_does_not_vary_gives_no_error_and_no_relative_error():
    reference, binary, _ = random_layer(0)
    errors = quantization_errors(reference, binary, full_metric(np.zeros((6, 6))))
    assert errors.q_ours == 0
    assert np.isnan(errors.q_rel)
    assert errors.q_ratio == 0


def test_a_reference_of_zeros_has_no_relative_error_and_no_ratio():
    errors = quantization_errors(np.zeros((6, 3)), np.ones((6, 3)), full_metric(random_covariance(0)))
    assert (errors.q_orig, errors.q_ours) == (0, 0)
    assert np.isnan(errors.q_rel)
    assert np.isnan(errors.q_ratio)
