"""Statistics of a layer's input: against numpy on the rows that the layer sees."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from bitat_tf.calibration import Calibration, LayerInputs, NetworkTrace, layer_statistics
from bitat_tf.calibration.statistics import (
    channel_means,
    check_memory,
    check_statistics_possible,
    float_outputs,
    layer_metric,
)
from bitat_tf.layers import BinaryConv2D, BinaryDense
from bitat_tf.regularizers import DisentangledRegularizer

# Every layer has d > 4 inputs and 4 outputs.
LAYERS = {
    "same": lambda **arguments: BinaryConv2D(4, 3, padding="same", **arguments),
    "strided": lambda **arguments: BinaryConv2D(4, 3, (2, 1), padding="same", **arguments),
    "dilated": lambda **arguments: BinaryConv2D(4, (2, 3), dilation_rate=2, padding="same", **arguments),
    "valid": lambda **arguments: BinaryConv2D(4, (3, 2), 2, **arguments),
    "dense": lambda **arguments: BinaryDense(4, **arguments),
    "dense of sequences": lambda **arguments: BinaryDense(4, **arguments),
}
SHAPES = {"dense": (20,), "dense of sequences": (5, 20)}


def make(kind, num_groups=256, images=(30, 20), residual=True, seed=0, **arguments):
    """A layer with thresholds and a bias, and two batches of its input."""
    rng = np.random.default_rng(seed)
    shape = SHAPES.get(kind, (7, 6, 3))
    mixing = rng.normal(size=(shape[-1], shape[-1]))
    batches = [tf.constant(rng.normal(size=(n, *shape)) @ mixing + 0.3, tf.float32) for n in images]
    regularizer = DisentangledRegularizer(num_groups=num_groups, residual=residual)
    layer = LAYERS[kind](disentangled_regularizer=regularizer, bias_initializer="random_normal", **arguments)
    layer(batches[0])
    layer.input_quantizer.threshold.assign(rng.normal(size=shape[-1]))
    return layer, batches


def explicit_rows(layer, batches, binary):
    return np.concatenate([layer.input_rows(batch, binary) for batch in batches]).astype(float)


def outputs_of_rows(layer, batches):
    return explicit_rows(layer, batches, False) @ layer.latent_kernel_matrix.astype(float)


def ridge_by_least_squares(rows, targets, damping=0.01):
    """argmin ||X w - T||^2 / n + eps ||w||^2 (X, T centred), as the least squares of stacked equations."""
    dim = rows.shape[1]
    rows, targets = rows - rows.mean(axis=0), targets - targets.mean(axis=0)
    eps = damping * np.sum(rows**2) / len(rows) / dim
    stacked = np.vstack([rows, np.sqrt(len(rows) * eps) * np.eye(dim)])
    return np.linalg.lstsq(stacked, np.vstack([targets, np.zeros((dim, targets.shape[1]))]), rcond=None)[0]


def dense_matrix(groups):
    """P by its definition: row g holds 1/sqrt(n_g) on the members of group g."""
    matrix = np.equal.outer(np.arange(max(groups) + 1), groups).astype(float)
    return matrix / np.sqrt(matrix.sum(axis=1, keepdims=True))


def assert_metric_of(metric, rows, residual=True):
    """Whether V diag(s^2) V^T is P C P^T, and the residual the mean variance inside the groups."""
    covariance, matrix = np.cov(rows.T, bias=True), dense_matrix(metric.groups)
    k, dim = matrix.shape
    grouped = matrix @ covariance @ matrix.T
    np.testing.assert_allclose(metric.directions * metric.importance**2 @ metric.directions.T, grouped, atol=1e-5)
    np.testing.assert_allclose(metric.directions.T @ metric.directions, np.eye(k), atol=1e-9)
    assert np.all(np.diff(metric.importance) <= 0)
    inside = (np.trace(covariance) - np.trace(grouped)) / (dim - k) if residual and k < dim else 0
    np.testing.assert_allclose(metric.residual, inside, atol=1e-5)
    assert metric.sensitivity is None


@pytest.mark.parametrize("kind", LAYERS)
def test_full_statistics_are_those_of_the_explicit_rows(kind):
    layer, batches = make(kind)
    statistics = layer_statistics(layer, batches)
    rows, targets = explicit_rows(layer, batches, True), outputs_of_rows(layer, batches)
    assert set(np.unique(rows)) == {-1, 1}
    np.testing.assert_array_equal(statistics.metric.groups, np.arange(rows.shape[1]))
    assert_metric_of(statistics.metric, rows)
    np.testing.assert_allclose(statistics.reference, ridge_by_least_squares(rows, targets), atol=1e-4)
    np.testing.assert_allclose(statistics.curvature.times(np.eye(rows.shape[1])), np.cov(rows.T, bias=True), atol=1e-5)
    np.testing.assert_allclose(statistics.mean, rows.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(statistics.target_mean, targets.mean(axis=0), atol=1e-4)


@pytest.mark.parametrize("residual", [True, False])
@pytest.mark.parametrize("retargeted", [True, False])
@pytest.mark.parametrize("kind", LAYERS)
def test_grouped_statistics_are_those_of_the_explicit_rows(kind, retargeted, residual):
    layer, batches = make(kind, num_groups=4, residual=residual)
    statistics = layer_statistics(layer, batches, retargeted)
    rows = explicit_rows(layer, batches, True)
    assert len(rows) >= rows.shape[1], "the case must take the covariance, not the rows"
    assert statistics.metric.groups.shape == rows.shape[1:]
    assert set(statistics.metric.groups) == {0, 1, 2, 3}
    assert_metric_of(statistics.metric, rows, residual)
    assert_metric_of(layer_metric(layer, batches, statistics.metric.groups), rows, residual)
    if retargeted:
        np.testing.assert_allclose(
            statistics.reference, ridge_by_least_squares(rows, outputs_of_rows(layer, batches)), atol=1e-4
        )
    else:
        np.testing.assert_array_equal(statistics.reference, layer.latent_kernel_matrix)
        assert (statistics.curvature, statistics.mean, statistics.target_mean) == (None, None, None)


@pytest.mark.parametrize("kind", LAYERS)
def test_without_retargeting_the_kernel_is_the_reference(kind):
    layer, batches = make(kind)
    statistics = layer_statistics(layer, batches, retargeted=False)
    np.testing.assert_array_equal(statistics.reference, layer.latent_kernel_matrix)
    assert_metric_of(statistics.metric, explicit_rows(layer, batches, True))
    np.testing.assert_allclose(statistics.mean, explicit_rows(layer, batches, True).mean(axis=0), atol=1e-5)
    assert statistics.target_mean is None


@pytest.mark.parametrize(("kind", "images"), [("dense", (5, 4)), ("dense of sequences", (1, 1)), ("valid", (1,))])
def test_fewer_rows_than_inputs(kind, images):
    (layer, batches), (full_layer, _) = (make(kind, num_groups, images) for num_groups in (4, 256))
    full_layer.set_latent_kernel(layer.latent_kernel_matrix)
    full_layer.input_quantizer.set_weights(layer.input_quantizer.get_weights())
    rows, targets = explicit_rows(layer, batches, True), outputs_of_rows(layer, batches)
    needed = 40 * rows.size
    assert needed < 24 * rows.shape[1] ** 2, "the case must take the rows"
    by_rows = layer_statistics(layer, batches, memory_limit=needed)  # no covariance is formed
    with pytest.raises(ValueError, match=f"{len(rows)} rows of {rows.shape[1]} inputs take .* fewer calibration inputs"):
        layer_statistics(layer, batches, memory_limit=needed - 1)
    full = layer_statistics(full_layer, batches)
    assert_metric_of(by_rows.metric, rows)
    assert_metric_of(full.metric, rows)
    for statistics in (by_rows, full):
        np.testing.assert_allclose(statistics.reference, ridge_by_least_squares(rows, targets), atol=1e-4)
        np.testing.assert_allclose(statistics.curvature.times(np.eye(rows.shape[1])), np.cov(rows.T, bias=True), atol=1e-5)
        np.testing.assert_allclose(statistics.mean, rows.mean(axis=0), atol=1e-5)
        np.testing.assert_allclose(statistics.target_mean, targets.mean(axis=0), atol=1e-4)


@pytest.mark.parametrize(("num_groups", "images"), [(256, (30, 20)), (4, (30, 20)), (4, (8, 7))])
def test_given_targets_are_predicted(num_groups, images):
    layer, batches = make("dense", num_groups, images)
    targets = [np.random.default_rng(n).normal(size=(n, 4)) + 2 for n in images]
    statistics = layer_statistics(layer, batches, targets=targets)
    rows = explicit_rows(layer, batches, True)
    np.testing.assert_allclose(statistics.reference, ridge_by_least_squares(rows, np.concatenate(targets)), atol=1e-4)
    np.testing.assert_allclose(statistics.target_mean, np.concatenate(targets).mean(axis=0), atol=1e-5)
    with pytest.raises(ValueError, match="zip"):
        layer_statistics(layer, batches, targets=targets[:1])


@pytest.mark.parametrize("retargeted", [True, False])
@pytest.mark.parametrize(("num_groups", "images"), [(256, (30, 20)), (4, (30, 20)), (4, (1, 1))])
@pytest.mark.parametrize("kind", ["dense", "valid"])
def test_a_dead_input_returns_the_kernel(kind, num_groups, images, retargeted):
    layer, batches = make(kind, num_groups, images)
    statistics = layer_statistics(layer, [tf.zeros_like(batch) for batch in batches], retargeted)
    np.testing.assert_array_equal(statistics.reference, layer.latent_kernel_matrix)
    np.testing.assert_allclose(statistics.metric.importance, 0, atol=1e-6)
    assert statistics.metric.residual == pytest.approx(0, abs=1e-9)


def test_groups_depend_on_the_seed_alone():
    layer, batches = make("same", num_groups=4)
    groups = [layer_statistics(layer, batches, False, seed).metric.groups for seed in (0, 0, 1, 2, 3)]
    np.testing.assert_array_equal(groups[0], groups[1])
    assert any(not np.array_equal(groups[0], other) for other in groups[2:])


@pytest.mark.parametrize(("broken", "retargeted"), [(np.nan, False), (np.nan, True), (np.inf, True), (np.inf, False)])
@pytest.mark.parametrize(("num_groups", "images"), [(256, (30, 20)), (4, (30, 20)), (4, (8, 7))])
def test_inputs_must_be_finite(num_groups, images, broken, retargeted):
    layer, batches = make("dense", num_groups, images)
    values = batches[1].numpy()
    values[3, 2] = broken
    with pytest.raises(ValueError, match="must be finite"):
        layer_statistics(layer, [batches[0], tf.constant(values)], retargeted)


def test_the_full_covariance_has_a_limit():
    for num_groups in (256, 4):
        layer, batches = make("same", num_groups)
        with pytest.raises(ValueError, match="PatchMoments: the full covariance of d = 27 .*raise `memory_limit`"):
            layer_statistics(layer, batches, memory_limit=1000)
    assert layer_statistics(layer, batches, retargeted=False, memory_limit=1000).curvature is None


@pytest.mark.parametrize("kind", LAYERS)
def test_float_outputs_are_those_of_the_float_layer_without_its_bias(kind):
    layer, batches = make(kind)
    for batch in batches:
        expected = (layer(batch) - layer.bias).numpy().reshape(-1, 4)
        np.testing.assert_allclose(float_outputs(layer, batch), expected, atol=1e-5)
    layer.set_binary()  # of the float layer, also when it is binary
    np.testing.assert_allclose(float_outputs(layer, batches[-1]), expected, atol=1e-5)


def test_float_outputs_of_one_channel_and_an_output_one_pixel_wide():
    # With strides (1, n) the conv2d of TensorFlow itself is wrong here on CPU (2.21; right with TF_ENABLE_ONEDNN_OPTS=0).
    layer, batch = BinaryConv2D(4, 3, (1, 2)), tf.random.normal((6, 5, 3, 1), seed=0)
    layer(batch)
    np.testing.assert_allclose(float_outputs(layer, batch), outputs_of_rows(layer, [batch]), atol=1e-5)


def test_float_outputs_are_those_before_the_activation():
    layer, (batch, _) = make("same", activation="relu")
    before = float_outputs(layer, batch).reshape(30, 7, 6, 4)
    np.testing.assert_allclose(np.maximum(before + layer.bias.numpy(), 0), layer(batch), atol=1e-5)


@pytest.mark.parametrize("kind", ["same", "dense", "dense of sequences"])
def test_channel_means(kind):
    _, batches = make(kind)
    channels = batches[0].shape[-1]
    expected = np.concatenate([batch.numpy().reshape(-1, channels) for batch in batches]).astype(float).mean(axis=0)
    np.testing.assert_allclose(channel_means(batches), expected, atol=1e-6)
    with pytest.raises(ValueError, match="channel_means: the input of a layer must be finite. Received: 1 NaN"):
        channel_means([tf.constant([[1.0, np.nan]])])


class Counted(Calibration):
    """Counts how often the data are gone through."""

    passes = 0

    def __iter__(self):
        self.passes += 1
        return super().__iter__()


@pytest.mark.parametrize(("cache_bytes", "passes"), [(2**30, 1), (0, 3), (48 * 7 * 7 * 5 * 4, 1), (48 * 7 * 7 * 5 * 4 - 1, 3)])
def test_layer_inputs_are_the_same_every_time(make_network, images, cache_bytes, passes):
    model, (x, y) = make_network(), images
    calibration = Counted(tf.data.Dataset.from_tensor_slices((x, y)).batch(20), model, "here")
    inputs = LayerInputs(model, model.get_layer("binary_1"), calibration, cache_bytes)
    expected = keras.Model(model.inputs, model.get_layer("binary_1").input)(x, training=False)
    for _ in range(3):
        batches = list(inputs)
        assert [len(batch) for batch in batches] == [20, 20, 8]
        np.testing.assert_allclose(np.concatenate(batches), expected, atol=1e-5)
    assert calibration.passes == passes


def test_an_interrupted_iteration_keeps_nothing(make_network, images):
    model = make_network()
    inputs = LayerInputs(model, model.get_layer("binary_2"), Calibration(images[0], model, "here"))
    first = next(iter(inputs))
    np.testing.assert_array_equal(np.concatenate(list(inputs)), first)  # 48 images are one batch
    inputs = LayerInputs(model, model.get_layer("binary_2"), Calibration(np.repeat(images[0], 3, axis=0), model, "here"))
    next(iter(inputs))
    assert sum(len(batch) for batch in inputs) == 144


def test_a_shared_layer_has_the_inputs_of_all_its_places():
    layer, source = BinaryDense(4, use_bias=False), keras.Input((4,))
    model = keras.Model(source, layer(layer(source)))
    x = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
    first, second = LayerInputs(model, layer, Calibration(x, model, "here"))
    np.testing.assert_array_equal(first, x)
    np.testing.assert_allclose(second, x @ layer.latent_kernel_matrix, atol=1e-6)


def test_a_network_is_traced_once_for_all_its_layers():
    traced = []

    class Traced(keras.layers.Layer):
        def call(self, inputs):
            if not tf.executing_eagerly():
                traced.append(inputs)
            return 2 * inputs

    layers = [BinaryDense(4, name=f"binary_{number}") for number in range(4)]
    model = keras.Sequential([keras.Input((3,)), Traced(), *layers])
    layers[0].set_binary()
    calibration = Calibration(np.random.default_rng(0).normal(size=(80, 3)).astype(np.float32), model, "here")
    alone = [list(LayerInputs(model, layer, calibration)) for layer in layers]
    traced.clear()
    trace = NetworkTrace(model, layers)
    for layer, expected in zip(layers, alone, strict=True):
        for found, batch in zip(LayerInputs(model, layer, calibration, trace=trace), expected, strict=True):
            np.testing.assert_array_equal(found, batch)
    assert len(traced) == 2  # for batches of 64, and for the last one, of 16
    layers[0].set_binary(False, False)  # seen by what is traced already
    now = next(iter(LayerInputs(model, layers[1], calibration, trace=trace)))
    np.testing.assert_array_equal(now, next(iter(LayerInputs(model, layers[1], calibration))))
    assert not np.array_equal(now, alone[1][0])


def test_data_are_checked_until_all_of_them_were(make_network, images):
    model, values = make_network(), np.repeat(images[0], 3, axis=0)
    calibration = Calibration(values, model, "here")
    assert sum(map(len, calibration)) == sum(map(len, calibration)) == 144
    values[-1] = np.nan
    calibration = Calibration(values, model, "here")
    next(iter(calibration))
    with pytest.raises(ValueError, match="here: calibration data must be finite. Received: 98 NaN"):
        list(calibration)


def test_memory_is_checked_layer_by_layer(make_network):
    model = make_network()
    layers = [model.get_layer(f"binary_{number}") for number in (1, 2, 3)]  # d = 45, 5, 10; 49, 49 and 1 outputs a sample
    needed = 3 * 8 * 45**2
    check_memory("here", model, layers, 100, "Do this.", memory_limit=needed)
    with pytest.raises(ValueError, match=r"here, layer 'binary_1': the full covariance of d = 45 .* GiB\. Do this\."):
        check_memory("here", model, layers, 100, "Do this.", memory_limit=needed - 1)
    # Few rows are kept themselves, at 40 bytes a number, as long as that is less than the covariance takes.
    check_memory("here", model, layers[2:], 5, "Do this.", memory_limit=40 * 5 * 10)
    with pytest.raises(ValueError, match=r"layer 'binary_3': 5 rows of 10 inputs take .* GiB\. Do this\."):
        check_memory("here", model, layers[2:], 5, "Do this.", memory_limit=40 * 5 * 10 - 1)
    check_memory("here", model, layers[2:], 6, "Do this.", memory_limit=3 * 8 * 10**2)
    with pytest.raises(ValueError, match="layer 'binary_3': the full covariance of d = 10"):
        check_memory("here", model, layers[2:], 6, "Do this.", memory_limit=3 * 8 * 10**2 - 1)


def test_memory_is_checked_where_the_number_of_rows_is_unknown():
    layer, inputs = BinaryConv2D(2, 3, name="open"), keras.Input((None, None, 3))
    model = keras.Model(inputs, layer(inputs))
    with pytest.raises(ValueError, match="layer 'open'"):
        check_memory("here", model, [layer], 1, "Do this.", memory_limit=1)


def test_grouped_convolutions_have_no_statistics():
    layers = [BinaryConv2D(4, 3, groups=2, name="split"), BinaryConv2D(4, 3), BinaryDense(3)]
    check_statistics_possible("here", layers[1:])
    with pytest.raises(ValueError, match="here: .*groups > 1: split. Use groups=1"):
        check_statistics_possible("here", layers)
