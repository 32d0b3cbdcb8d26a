"""The disentangled loss against the numpy formulas, finite differences, and on a plain layer of Keras."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from bitat_tf._disentangled_error import weighted_error
from bitat_tf.dependency import Metric, quantization_errors, reduction_matrix
from bitat_tf.regularizers import DisentangledRegularizer


def correlated(dim, seed=0):
    """Return a full-rank covariance of `dim` features."""
    factor = np.random.default_rng(seed).normal(size=(dim, dim))
    return factor @ factor.T / dim


def full_metric(dim):
    """Return the metric of all dimensions."""
    return Metric.from_covariance(correlated(dim), np.arange(dim))


def grouped_metric(dim, k, residual=True):
    """Return a metric of k groups, and the dense P and C it stands for."""
    groups = np.arange(dim) % k
    covariance, reduction = correlated(dim), reduction_matrix(groups)
    reduced = reduction @ covariance @ reduction.T
    return Metric.from_covariance(reduced, groups, np.trace(covariance), residual)


def kernel_and_reference(dim=6, units=3):
    generator = np.random.default_rng(1)
    return generator.uniform(-0.9, 0.9, (dim, units)), generator.normal(size=(dim, units))


@pytest.mark.parametrize("error", ["relative", "disentangled", "original"])
@pytest.mark.parametrize("num_groups", [6, 3])
@pytest.mark.parametrize("residual", [True, False])
def test_value_is_that_of_the_numpy_formula(error, num_groups, residual):
    kernel, reference = kernel_and_reference()
    metric = full_metric(6) if num_groups == 6 else grouped_metric(6, 3, residual)
    regularizer = DisentangledRegularizer(2.0, 0.5, num_groups, error, residual)
    regularizer.set_statistics(metric, reference)
    errors = quantization_errors(reference, np.where(kernel >= 0, 1.0, -1.0), metric)
    expected = {"relative": errors.q_rel, "disentangled": errors.q_ours, "original": errors.q_orig}[error]
    found = float(regularizer(tf.constant(kernel, tf.float32)))
    assert found == pytest.approx(2.0 * expected + 0.5 * np.abs(kernel).sum(), rel=1e-5)


@pytest.mark.parametrize("error", ["relative", "disentangled", "original"])
@pytest.mark.parametrize("num_groups", [6, 3])
def test_gradient_is_that_of_q_with_respect_to_b_passed_straight_through(error, num_groups):
    # Q is smooth in b: the straight-through gradient is dQ/db by finite differences, at the best scale of each b.
    kernel, reference = kernel_and_reference()
    metric = full_metric(6) if num_groups == 6 else grouped_metric(6, 3)
    regularizer = DisentangledRegularizer(1.0, 0.0, num_groups, error)
    regularizer.set_statistics(metric, reference)
    variable = tf.Variable(kernel, dtype=tf.float32)
    with tf.GradientTape() as tape:
        loss = regularizer(variable)
    found = tape.gradient(loss, variable).numpy()

    def q(binary):
        errors = quantization_errors(reference, binary, metric)
        return {"relative": errors.q_rel, "disentangled": errors.q_ours, "original": errors.q_orig}[error]

    binary, step = np.where(kernel >= 0, 1.0, -1.0), 1e-5
    expected = np.zeros_like(kernel)
    for index in np.ndindex(*kernel.shape):
        change = np.zeros_like(binary)
        change[index] = step
        expected[index] = (q(binary + change) - q(binary - change)) / (2 * step)
    np.testing.assert_allclose(found, expected, rtol=2e-3, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("first", ["traced", "eager"])
def test_gradients_are_the_same_traced_and_not_in_either_order(first):
    weighted_error.cache_clear()  # what is traced first counts
    kernel, reference = kernel_and_reference()
    regularizer = DisentangledRegularizer(1.0, 0.1)
    regularizer.set_statistics(full_metric(6), reference)
    variable = tf.Variable(kernel, dtype=tf.float32)

    def gradient():
        with tf.GradientTape() as tape:
            loss = regularizer(variable)
        return tape.gradient(loss, variable)

    steps = [tf.function(gradient), gradient]
    found = [step().numpy() for step in (steps if first == "traced" else steps[::-1])]
    np.testing.assert_allclose(found[0], found[1], rtol=1e-5, atol=1e-6)
    assert np.abs(found[0]).max() > 0.1


def test_it_is_inactive_until_it_has_statistics():
    regularizer = DisentangledRegularizer(1.0, 0.25)
    assert float(regularizer(tf.ones((4, 2)))) == 0
    regularizer.set_statistics(full_metric(4), np.ones((4, 2)))
    assert float(regularizer(tf.ones((4, 2)))) > 0.25 * 8 - 1e-6


def test_gradient_of_l1_is_the_sign():
    regularizer = DisentangledRegularizer(0.0, 0.25)
    regularizer.set_statistics(full_metric(2), np.ones((2, 2)))
    variable = tf.Variable([[0.5, -2.0], [3.0, -0.1]])
    with tf.GradientTape() as tape:
        loss = regularizer(variable)
    np.testing.assert_allclose(tape.gradient(loss, variable), 0.25 * np.sign(variable.numpy()))
    assert float(loss) == pytest.approx(0.25 * 5.6)


def test_gradient_steps_on_a_correlated_problem_lower_q_ours_more_than_the_plain_loss_does():
    # The method's claim: the covariance informs. Fails if the loss is disconnected from the metric.
    dim, units = 24, 8
    reference = np.random.default_rng(2).normal(size=(dim, units))
    metric = Metric.from_covariance(correlated(dim, 3), np.arange(dim))
    results = {}
    for error in ("disentangled", "original"):
        regularizer = DisentangledRegularizer(1.0, 0.0, error=error)
        regularizer.set_statistics(metric, reference)
        kernel = tf.Variable(0.1 * reference, dtype=tf.float32)
        optimizer = keras.optimizers.Adam(0.01)
        best = np.inf
        for _ in range(150):
            with tf.GradientTape() as tape:
                loss = regularizer(kernel)
            optimizer.apply([tape.gradient(loss, kernel)], [kernel])
            best = min(best, quantization_errors(reference, np.where(kernel.numpy() >= 0, 1.0, -1.0), metric).q_ours)
        results[error] = best
    assert results["disentangled"] < 0.8 * results["original"]


def test_on_a_plain_layer_of_keras_inside_fit():
    regularizer = DisentangledRegularizer(strength=3.0, l1=0.0)
    layer = keras.layers.Dense(3, kernel_regularizer=regularizer, name="plain")
    model = keras.Sequential([keras.Input((6,)), layer])
    model.compile("sgd", "mse")
    x = np.random.default_rng(0).normal(size=(32, 6)).astype(np.float32)
    y = x[:, :3]
    without = model.evaluate(x, y, verbose=0)
    kernel = layer.get_weights()[0]
    metric, reference = full_metric(6), kernel_and_reference()[1]
    regularizer.set_statistics(metric, reference)
    errors = quantization_errors(reference, np.where(kernel >= 0, 1.0, -1.0), metric)
    assert model.evaluate(x, y, verbose=0) == pytest.approx(without + 3.0 * errors.q_rel, rel=1e-4)
    model.fit(x, y, epochs=1, verbose=0)
    assert not np.array_equal(layer.get_weights()[0], kernel)


def test_config_round_trip():
    regularizer = DisentangledRegularizer(0.5, 0.1, 64, "disentangled", False)
    copy = keras.regularizers.get(keras.regularizers.serialize(regularizer))
    assert isinstance(copy, DisentangledRegularizer)
    assert copy.get_config() == regularizer.get_config()


def test_one_object_for_two_kernels_is_an_error():
    regularizer = DisentangledRegularizer()
    regularizer.build((3, 4))
    with pytest.raises(ValueError, match="Give every layer a regularizer of its own"):
        regularizer.build((5, 4))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"strength": -1}, "`strength` must be a finite number >= 0. Received: strength=-1"),
        ({"l1": float("nan")}, "`l1` must be a finite number"),
        ({"num_groups": 0}, "`num_groups` must be a finite number >= 1"),
        ({"error": "mse"}, "`error` must be one of 'relative', 'disentangled', 'original'"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        DisentangledRegularizer(**arguments)


def test_statistics_of_another_shape_are_an_error():
    regularizer = DisentangledRegularizer()
    regularizer.build((4, 2))
    with pytest.raises(ValueError, match=r"statistics must be of d=4 inputs.*Received: d=6"):
        regularizer.state.assign(full_metric(6), np.zeros((6, 2)))
    with pytest.raises(ValueError, match="all of them where num_groups=256 is not smaller.*Received: d=4 in 2 groups"):
        regularizer.state.assign(grouped_metric(4, 2), np.zeros((4, 2)))
    with pytest.raises(ValueError, match=r"reference must have shape \(4, 2\)"):
        regularizer.state.assign(full_metric(4), np.zeros((4, 3)))


def test_a_kernel_needs_two_axes():
    with pytest.raises(ValueError, match=r"at least 2 axes. Received: shape \(3,\)"):
        DisentangledRegularizer().build((3,))
