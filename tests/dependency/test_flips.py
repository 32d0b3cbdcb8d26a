"""Flips: brute force over single flips, over all binary weights, and a plain descent that computes every Q anew."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitat_tf.dependency import flips
from bitat_tf.dependency.flips import Curvature, flip_descent

SEEDS = st.integers(0, 10_000)
BLOCKS = [1, 2, 3, 5, 128]


@pytest.fixture(params=BLOCKS)
def block(request, monkeypatch):
    monkeypatch.setattr(flips, "_BLOCK", request.param)


def sign(values):
    return np.where(values >= 0, 1.0, -1.0)


def q_at_best_scale(factor, binary, reference):
    """||F (w - alpha b)||^2 of each output channel at its best alpha >= 0, as the distance to a ray; 0 scale where F b is 0."""
    errors = []
    for b, w in zip((factor @ binary).T, (factor @ reference).T, strict=True):
        visible = b @ b > 1e-12 * np.sum(factor**2)
        alpha = max(b @ w / (b @ b), 0) if visible else 0
        errors.append(np.sum((w - alpha * b) ** 2))
    return np.array(errors)


def flipped(binary, feature):
    changed = binary.copy()
    changed[feature] *= -1
    return changed


def q_of_all_flips(factor, binary, reference):
    """Q of each output channel after the flip of each single feature, shape (d, m)."""
    return np.array([q_at_best_scale(factor, flipped(binary, feature), reference) for feature in range(len(binary))])


def tolerance(factor, reference):
    return 1e-8 * np.sum((factor @ reference) ** 2, axis=0) + 1e-12


def plain_descent(factor, binary, reference, max_sweeps):
    """One feature after the other, one output channel after the other, each Q from scratch."""
    binary = binary * sign(np.sum((factor @ binary) * (factor @ reference), axis=0))
    for _ in range(max_sweeps):
        for feature in range(len(binary)):
            better = q_at_best_scale(factor, flipped(binary, feature), reference) < q_at_best_scale(factor, binary, reference)
            binary[feature, better] *= -1
    return binary


def regular_case(seed, dim=7, outputs=3, rows=None):
    """F of full rank with correlated features, b and w."""
    rng = np.random.default_rng(seed)
    factor = rng.normal(size=(rows or dim + 3, dim)) @ (np.eye(dim) + 0.5 * rng.normal(size=(dim, dim)))
    reference = rng.normal(size=(dim, outputs))
    return factor, sign(reference), reference


@st.composite
def cases(draw):
    """F, b and w of any shape: F of low rank, with dead and double features, of small whole numbers; w with zeros."""
    n, dim, outputs = draw(st.integers(1, 14)), draw(st.integers(1, 11)), draw(st.integers(1, 4))
    rng = np.random.default_rng(draw(SEEDS))
    whole = draw(st.booleans())
    factor = rng.integers(-2, 3, (n, dim)).astype(float) if whole else rng.normal(size=(n, dim))
    factor[:, rng.random(dim) < 0.15] = 0
    double = rng.random(dim) < 0.2
    factor[:, double] = factor[:, :1]
    reference = rng.normal(size=(dim, outputs)) * (rng.random((dim, outputs)) < 0.9)
    binary = sign(reference) if draw(st.booleans()) else sign(rng.normal(size=(dim, outputs)))
    return factor, binary, reference


@settings(deadline=None, max_examples=200)
@given(case=cases(), block=st.sampled_from(BLOCKS), by_factor=st.booleans())
def test_no_single_flip_is_better(case, block, by_factor):
    factor, binary, reference = case
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(flips, "_BLOCK", block)
        result = flip_descent(binary, reference, Curvature(factor=factor) if by_factor else Curvature(factor.T @ factor))
    assert result.shape == binary.shape
    assert np.all(np.abs(result) == 1)
    q = q_at_best_scale(factor, result, reference)
    assert np.all(q <= q_at_best_scale(factor, binary, reference) + tolerance(factor, reference))
    assert np.all(q_of_all_flips(factor, result, reference) >= q - tolerance(factor, reference))


@settings(deadline=None, max_examples=60)
@given(case=cases(), by_factor=st.booleans())
def test_no_sweep_makes_any_channel_worse(case, by_factor):
    factor, binary, reference = case
    curvature = Curvature(factor=factor) if by_factor else Curvature(factor.T @ factor)
    results = [binary, *(flip_descent(binary, reference, curvature, sweeps) for sweeps in (1, 2, 3, 4, 100))]
    errors = np.array([q_at_best_scale(factor, result, reference) for result in results])
    assert np.all(np.diff(errors, axis=0) <= tolerance(factor, reference))
    np.testing.assert_array_equal(flip_descent(results[-1], reference, curvature), results[-1])


@pytest.mark.usefixtures("block")
@settings(deadline=None, max_examples=25)
@given(seed=SEEDS, dim=st.integers(1, 9), sweeps=st.integers(1, 4), start=st.sampled_from(["sign", "random"]))
def test_flips_are_those_of_a_plain_descent(seed, dim, sweeps, start):
    # The same flips in the same order: so each lowered Q when it was made, and none was missed.
    factor, binary, reference = regular_case(seed, dim)
    if start == "random":
        binary = sign(np.random.default_rng(seed).normal(size=binary.shape))
    expected = plain_descent(factor, binary, reference, sweeps)
    for curvature in (Curvature(factor.T @ factor), Curvature(factor=factor)):
        np.testing.assert_array_equal(flip_descent(binary, reference, curvature, sweeps), expected)


@settings(deadline=None, max_examples=30)
@given(seed=SEEDS, dim=st.integers(1, 8), rows=st.integers(1, 12))
def test_never_better_than_the_best_of_all_binary_weights(seed, dim, rows):
    factor, binary, reference = regular_case(seed, dim, outputs=2, rows=rows)
    everything = [np.repeat(np.array(signs)[:, None], 2, axis=1) for signs in itertools.product((-1.0, 1.0), repeat=dim)]
    best = np.min([q_at_best_scale(factor, candidate, reference) for candidate in everything], axis=0)
    q = q_at_best_scale(factor, flip_descent(binary, reference, Curvature(factor=factor)), reference)
    slack = tolerance(factor, reference)
    assert np.all(best <= q + slack)
    assert np.all(q <= q_at_best_scale(factor, binary, reference) + slack)


def test_descent_gains_over_the_signs():
    gains = []
    for seed in range(10):
        factor, binary, reference = regular_case(seed, dim=12)
        result = flip_descent(binary, reference, Curvature(factor=factor))
        gains.append(q_at_best_scale(factor, result, reference).sum() / q_at_best_scale(factor, binary, reference).sum())
    assert np.mean(gains) < 0.8, "the cases must have something to gain"


@pytest.mark.parametrize("by_factor", [False, True])
def test_more_features_than_a_block(by_factor):
    rng = np.random.default_rng(0)
    factor = rng.normal(size=(150, 300)) @ (np.eye(300) + 0.1 * rng.normal(size=(300, 300)))
    reference = rng.normal(size=(300, 4))
    result = flip_descent(sign(reference), reference, Curvature(factor=factor) if by_factor else Curvature(factor.T @ factor))
    q, start = (q_at_best_scale(factor, binary, reference) for binary in (result, sign(reference)))
    assert np.all(q < 0.5 * start)
    assert np.all(q_of_all_flips(factor, result, reference) >= q - tolerance(factor, reference))


@settings(deadline=None, max_examples=25)
@given(seed=SEEDS)
def test_blocks_do_not_matter(seed):
    factor, binary, reference = regular_case(seed, dim=11, rows=6)
    results = []
    for block in BLOCKS:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(flips, "_BLOCK", block)
            results.append(flip_descent(binary, reference, Curvature(factor=factor)))
            results.append(flip_descent(binary, reference, Curvature(factor.T @ factor)))
    for result in results[1:]:
        np.testing.assert_array_equal(result, results[0])


@settings(deadline=None, max_examples=25)
@given(seed=SEEDS)
def test_output_channels_do_not_feel_each_other(seed):
    factor, binary, reference = regular_case(seed, outputs=5)
    together = flip_descent(binary, reference, Curvature(factor=factor))
    for j in range(5):
        alone = flip_descent(binary[:, [j]], reference[:, [j]], Curvature(factor=factor))
        np.testing.assert_array_equal(together[:, [j]], alone)


@pytest.mark.usefixtures("block")
@settings(deadline=None, max_examples=25)
@given(seed=SEEDS, scale=st.floats(1e-3, 1e3))
def test_binary_weights_stay_as_they_are(seed, scale):
    factor, binary, _ = regular_case(seed)
    for curvature in (Curvature(factor.T @ factor), Curvature(factor=factor)):
        np.testing.assert_array_equal(flip_descent(binary, scale * binary, curvature), binary)
        # Away from them a start is turned, and then it is right as well.
        np.testing.assert_array_equal(flip_descent(-binary, scale * binary, curvature), binary)


@settings(deadline=None, max_examples=40)
@given(seed=SEEDS)
def test_a_start_that_points_away_is_turned(seed):
    factor, binary, reference = regular_case(seed)
    curvature = Curvature(factor=factor)
    away = binary * [1, -1, 1]
    seen = np.sum((factor @ away) * (factor @ reference), axis=0)
    np.testing.assert_array_equal(
        flip_descent(away, reference, curvature), flip_descent(away * sign(seen), reference, curvature)
    )
    assert np.all(np.sum(flip_descent(away, reference, curvature) * curvature.times(reference), axis=0) > 0)


def test_units_do_not_matter():
    factor, binary, reference = regular_case(0)
    expected = flip_descent(binary, reference, Curvature(factor=factor))
    for scale in (1e-6, 1e6):
        np.testing.assert_array_equal(flip_descent(binary, scale * reference, Curvature(factor=factor)), expected)
        np.testing.assert_array_equal(flip_descent(binary, reference, Curvature(factor=scale * factor)), expected)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("shape", [(1, 1), (5, 3)])
@pytest.mark.parametrize("sweeps", [1, 2, 100])
def test_what_is_invisible_stays_as_it_is(shape, sweeps):
    _, binary, reference = regular_case(0, *shape)
    for curvature in (Curvature(np.zeros((shape[0], shape[0]))), Curvature(factor=np.zeros((2, shape[0])))):
        np.testing.assert_array_equal(flip_descent(binary, reference, curvature, sweeps), binary)
    np.testing.assert_array_equal(flip_descent(binary, 0 * reference, Curvature(np.eye(shape[0])), sweeps), binary)


@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e8])
def test_what_only_rounding_makes_visible_is_invisible(scale):
    # 0.1 + 0.2 - 0.3 is 5.6e-17: at its "best scale" such a b would explain everything.
    factor, binary, reference = scale * np.array([[0.1, 0.2, 0.3]]), np.array([[1.0], [1.0], [-1.0]]), np.ones((3, 1))
    for curvature in (Curvature(factor.T @ factor), Curvature(factor=factor)):
        assert np.abs(factor @ flip_descent(binary, reference, curvature)).max() > 0.1 * scale


@pytest.mark.filterwarnings("error")
@settings(deadline=None, max_examples=40)
@given(seed=SEEDS, sweeps=st.sampled_from([1, 2, 100]))
def test_constant_features_keep_their_signs(seed, sweeps):
    factor, binary, reference = regular_case(seed, dim=8)
    factor[:, [1, 4]] = 0
    result = flip_descent(binary, reference, Curvature(factor.T @ factor), sweeps)
    np.testing.assert_array_equal(np.abs(result), np.ones_like(result))
    turned = sign(np.sum((factor @ binary) * (factor @ reference), axis=0))
    np.testing.assert_array_equal(result[[1, 4]], binary[[1, 4]] * turned)


def test_arguments_are_left_alone_and_may_be_of_any_type():
    factor, binary, reference = regular_case(0)
    before = [array.copy() for array in (factor, binary, reference)]
    expected = flip_descent(binary, reference, Curvature(factor=factor))
    for array, copy in zip((factor, binary, reference), before, strict=True):
        np.testing.assert_array_equal(array, copy)
    covariance = (factor.T @ factor).astype(np.float32)
    got = flip_descent(binary.astype(np.int8), reference.astype(np.float32), Curvature(covariance))
    np.testing.assert_array_equal(got, expected)
    np.testing.assert_array_equal(covariance, (factor.T @ factor).astype(np.float32))


@settings(deadline=None, max_examples=40)
@given(seed=SEEDS, rows=st.integers(1, 9), dim=st.integers(1, 9), data=st.data())
def test_both_forms_of_a_curvature_equal_plain_products(seed, rows, dim, data):
    rng = np.random.default_rng(seed)
    factor, weights = rng.normal(size=(rows, dim)), rng.normal(size=(dim, 2))
    covariance = factor.T @ factor
    part = slice(*sorted(data.draw(st.tuples(st.integers(0, dim), st.integers(0, dim)))))
    change = rng.normal(size=(part.stop - part.start, 2))
    moved = weights.copy()
    moved[part] += change
    for curvature in (Curvature(covariance), Curvature(factor=factor)):
        assert curvature.dim == dim
        np.testing.assert_allclose(curvature.total, np.trace(covariance))
        np.testing.assert_allclose(curvature.times(weights), covariance @ weights, atol=1e-12)
        np.testing.assert_allclose(curvature.block(part), covariance[part, part], atol=1e-12)
        original = weights.copy()
        image = curvature.image(original)
        np.testing.assert_allclose(curvature.rows_times(part, image), (covariance @ weights)[part], atol=1e-12)
        curvature.move(image, part, change)
        everything = slice(0, dim)
        np.testing.assert_allclose(curvature.rows_times(everything, image), covariance @ moved, atol=1e-12)
        np.testing.assert_array_equal(original, weights)  # the image is a copy


def test_a_curvature_is_given_in_one_form():
    for arguments in ({}, {"covariance": np.eye(2), "factor": np.eye(2)}):
        with pytest.raises(ValueError, match="Curvature: pass either `covariance` or `factor`"):
            Curvature(**arguments)


@pytest.mark.parametrize(
    ("binary", "reference"),
    [
        (np.ones((3, 2)), np.ones((3, 1))),
        (np.ones((2, 2)), np.ones((2, 2))),
        (np.ones((4, 2)), np.ones((4, 2))),
        (np.array([[1.0], [0.0], [-1.0]]), np.ones((3, 1))),
        (np.array([[1.0], [0.5], [-1.0]]), np.ones((3, 1))),
        (np.array([[1.0], [np.nan], [-1.0]]), np.ones((3, 1))),
    ],
)
def test_shapes_and_values_must_fit(binary, reference):
    message = r"flip_descent: `binary` must hold -1 and \+1 .* the 3 features .* shape \(\d, \d\), reference of shape"
    for curvature in (Curvature(np.eye(3)), Curvature(factor=np.ones((5, 3)))):
        with pytest.raises(ValueError, match=message):
            flip_descent(binary, reference, curvature)


def test_rows_instead_of_matrices_and_weights_that_are_not_finite():
    with pytest.raises(ValueError, match=r"in the shape \(d, m\) of `reference`.*Received: binary of shape \(2,\)"):
        flip_descent(np.ones(2), np.ones(2), Curvature(np.eye(2)))
    with pytest.raises(ValueError, match="flip_descent: `reference` must be finite. Received: 1 NaN"):
        flip_descent(np.ones((2, 1)), np.array([[np.nan], [1]]), Curvature(np.eye(2)))


@pytest.mark.parametrize("max_sweeps", [0, -1, float("nan"), float("inf"), True, "2", None])
def test_the_number_of_sweeps_must_be_positive(max_sweeps):
    with pytest.raises(
        ValueError, match=f"flip_descent: `max_sweeps` must be a finite number >= 1. .*max_sweeps={max_sweeps!r}"
    ):
        flip_descent(np.ones((2, 1)), np.ones((2, 1)), Curvature(np.eye(2)), max_sweeps)
