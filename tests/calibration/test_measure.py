"""measure_dependency: against numpy on the rows that each layer sees; nothing in the model changes."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from bitat_tf.calibration import NetworkTrace, measure_dependency
from bitat_tf.layers import BinaryConv2D, BinaryDense, binary_layers
from bitat_tf.regularizers import DisentangledRegularizer

NAMES = ["binary_1", "binary_2", "binary_3"]


def binary_rows(model, name, x):
    """The rows that the binary layer sees, from a sub-model."""
    layer = model.get_layer(name)
    return layer.input_rows(keras.Model(model.inputs, layer.input)(x, training=False), binary=True).astype(float)


def float_rows(model, name, x):
    layer = model.get_layer(name)
    return layer.input_rows(keras.Model(model.inputs, layer.input)(x, training=False), binary=False).astype(float)


def covariance_of(rows):
    return np.cov(rows.T, bias=True)


def kernel_of(model, name):
    return model.get_layer(name).latent_kernel_matrix.astype(float)


def signs(weights):
    return np.where(weights >= 0, 1.0, -1.0)


def retargeted_by_numpy(rows, targets):
    """The ridge solution of `retarget`, with numpy alone."""
    centred, covariance = rows - rows.mean(axis=0), covariance_of(rows)
    damped = covariance + 0.01 * np.mean(np.diag(covariance)) * np.eye(len(covariance))
    return np.linalg.solve(damped, centred.T @ (targets - targets.mean(axis=0)) / len(rows))


def errors_by_loops(reference, binary, covariance):
    """Q_orig, Q_ours and Q_rel, output channel by output channel, each at its own best scale."""
    q_orig = q_ours = energy = 0.0
    for w, b in zip(reference.T, binary.T, strict=True):
        scale = max(b @ w / len(w), 0)
        q_orig += np.sum((w - scale * b) ** 2)
        scale = max(b @ covariance @ w / (b @ covariance @ b), 0)
        q_ours += (w - scale * b) @ covariance @ (w - scale * b)
        energy += w @ covariance @ w
    return q_orig, q_ours, q_ours / energy


def assert_errors(errors, reference, binary, covariance, rel=1e-4):
    expected = errors_by_loops(reference, binary, covariance)
    assert (errors.q_orig, errors.q_ours, errors.q_rel) == pytest.approx(expected, rel=rel)
    assert errors.q_ratio == pytest.approx(expected[1] / expected[0], rel=rel)


@pytest.mark.parametrize("binary_below", [False, True])
@pytest.mark.parametrize("retargeted", [False, True])
def test_each_layer_is_measured_in_the_model_as_it_is(make_network, images, retargeted, binary_below):
    model, (x, _) = make_network(), images
    for number, layer in enumerate(binary_layers(model)):
        layer.input_quantizer.threshold.assign(np.random.default_rng(number).normal(size=layer.input_quantizer.threshold.shape))
    model.get_layer("binary_1").set_binary(binary_below, binary_below)
    dependency = measure_dependency(model, x, retargeted=retargeted)
    assert [layer.layer for layer in dependency.layers] == NAMES
    for layer in dependency.layers:
        rows, kernel = binary_rows(model, layer.layer, x), kernel_of(model, layer.layer)
        covariance, reference = covariance_of(rows), kernel
        if retargeted:
            reference = retargeted_by_numpy(rows, float_rows(model, layer.layer, x) @ kernel)
        s, v = layer.metric.importance, layer.metric.directions
        assert np.all(np.diff(s) <= 0)
        assert s[-1] >= 0
        np.testing.assert_allclose(v @ np.diag(s**2) @ v.T, covariance, atol=1e-5)
        np.testing.assert_allclose(v.T @ v, np.eye(len(v)), atol=1e-9)
        np.testing.assert_allclose(layer.reference, reference, atol=1e-4)
        np.testing.assert_allclose(layer.disentangled_weights, v.T @ reference, atol=1e-4)
        assert_errors(layer.errors, reference, signs(kernel), covariance, rel=1e-3)


@pytest.mark.parametrize("retargeted", [False, True])
def test_over_groups_the_metric_is_that_of_the_grouped_inputs(images, retargeted):
    inputs = keras.Input((7, 7, 2))
    regularizer = DisentangledRegularizer(num_groups=4)
    outputs = BinaryConv2D(3, 3, padding="same", name="grouped", disentangled_regularizer=regularizer)(inputs)
    model = keras.Model(inputs, outputs)
    (layer,) = measure_dependency(model, images[0], retargeted=retargeted).layers
    covariance, groups = covariance_of(binary_rows(model, "grouped", images[0])), layer.metric.groups
    matrix = np.equal.outer(np.arange(4), groups) / np.sqrt(np.bincount(groups))[:, None]
    s, v = layer.metric.importance, layer.metric.directions
    np.testing.assert_allclose(v @ np.diag(s**2) @ v.T, matrix @ covariance @ matrix.T, atol=1e-5)
    np.testing.assert_allclose(layer.disentangled_weights, v.T @ matrix @ layer.reference, atol=1e-5)
    # As if all errors inside the groups met their mean variance.
    inside = (np.trace(covariance) - np.trace(matrix @ covariance @ matrix.T)) / (18 - 4)
    seen = matrix.T @ matrix @ covariance @ matrix.T @ matrix + inside * (np.eye(18) - matrix.T @ matrix)
    assert_errors(layer.errors, layer.reference, signs(kernel_of(model, "grouped")), seen)


@pytest.mark.parametrize("retargeted", [False, True])
def test_the_kernels_of_a_float_model_are_the_reference(make_network, images, retargeted):
    keras.utils.set_random_seed(1)  # no input of a sign is within rounding of its threshold
    float_model, model, (x, _) = make_network(), make_network(), images
    assert not np.allclose(kernel_of(model, "binary_1"), kernel_of(float_model, "binary_1"))
    for layer in binary_layers(model):
        layer.set_binary()
    for layer in measure_dependency(model, x, float_model, retargeted).layers:
        rows, kernel = binary_rows(model, layer.layer, x), kernel_of(float_model, layer.layer)
        reference = kernel
        if retargeted:
            reference = retargeted_by_numpy(rows, float_rows(model, layer.layer, x) @ kernel)
        np.testing.assert_allclose(layer.reference, reference, atol=1e-4)
        assert_errors(layer.errors, reference, signs(kernel_of(model, layer.layer)), covariance_of(rows), rel=1e-3)


def test_data_of_every_form_give_the_same(images):
    model = keras.Sequential([keras.Input((7, 7, 2)), BinaryConv2D(3, 3, padding="same")])
    x, y = images
    (expected,) = measure_dependency(model, x).layers
    slices = [x, (x, y), (x, y, np.ones(48))]
    for data in (tf.constant(x), *(tf.data.Dataset.from_tensor_slices(parts).batch(20) for parts in slices)):
        (layer,) = measure_dependency(model, data).layers
        np.testing.assert_allclose(layer.metric.importance, expected.metric.importance, atol=1e-5)
        assert layer.errors.q_ours == pytest.approx(expected.errors.q_ours, rel=1e-4)


def test_nothing_in_the_models_is_changed(make_network, images):
    model, float_model = make_network(), make_network()
    model.get_layer("binary_1").set_binary()
    model.get_layer("binary_2").set_binary(kernel=False)

    def everything():
        held = [layer.disentangled_state.variables for layer in binary_layers(model) + binary_layers(float_model)]
        variables = model.variables + float_model.variables + sum(held, [])
        return [variable.numpy().copy() for variable in variables], [layer.trainable for layer in model.layers]

    before = everything()
    measure_dependency(model, images[0])
    measure_dependency(model, images[0], float_model, retargeted=True)
    for old, new in zip(before[0], everything()[0], strict=True):
        np.testing.assert_array_equal(old, new)
    assert before[1] == everything()[1]
    assert [layer.state for layer in binary_layers(model)] == ["binary", "mixed", "float"]
    assert [layer.quantization_errors() for layer in binary_layers(model)] == [None] * 3


def test_sums_rows_and_table_of_the_network(make_network, images):
    dependency = measure_dependency(make_network(), images[0])
    errors = [layer.errors for layer in dependency.layers]
    assert dependency.q_orig == pytest.approx(errors[0].q_orig + errors[1].q_orig + errors[2].q_orig)
    assert dependency.q_ours == pytest.approx(errors[0].q_ours + errors[1].q_ours + errors[2].q_ours)
    assert dependency.q_rel == pytest.approx((errors[0].q_rel + errors[1].q_rel + errors[2].q_rel) / 3)
    assert dependency.q_ratio == pytest.approx(dependency.q_ours / dependency.q_orig)
    rows = dependency.to_dicts()
    assert [list(row.values())[:4] for row in rows] == [
        ["binary_1", 45, 5, 45],
        ["binary_2", 5, 10, 5],
        ["binary_3", 10, 8, 10],
    ]
    for row, layer in zip(rows, dependency.layers, strict=True):
        assert {name: row[name] for name in ("q_orig", "q_ours", "q_rel", "q_ratio")} == {
            name: getattr(layer.errors, name) for name in ("q_orig", "q_ours", "q_rel", "q_ratio")
        }
    lines = str(dependency).splitlines()
    for row in rows:
        (line,) = [line for line in lines if row["layer"] in line]
        cells = [cell.strip() for cell in line.split("│")[1:-1]]
        assert cells[:4] == [row["layer"], str(row["inputs"]), str(row["outputs"]), str(row["groups"])]
        assert cells[4:] == [f"{row[name]:.4g}" for name in ("q_orig", "q_ours", "q_rel", "q_ratio")]
    (line,) = [line for line in lines if "network" in line]
    for value in (dependency.q_orig, dependency.q_ours, dependency.q_rel, dependency.q_ratio):
        assert f"{value:.4g}" in line


def test_layers_of_nested_models_and_shared_layers_are_measured(images):
    inner = keras.Sequential([keras.Input((7, 7, 2)), BinaryDense(2, name="inside")])
    source = keras.Input((7, 7, 2))
    model = keras.Model(source, inner(inner(source)))
    (layer,) = measure_dependency(model, images[0]).layers
    once = inner(images[0]).numpy()
    rows = np.concatenate([images[0].reshape(-1, 2), once.reshape(-1, 2)])
    s, v = layer.metric.importance, layer.metric.directions
    np.testing.assert_allclose(v @ np.diag(s**2) @ v.T, covariance_of(signs(rows)), atol=1e-5)


@pytest.mark.parametrize("retargeted", [False, True])
def test_a_dead_input_has_no_relative_error_and_is_named(retargeted):
    model = keras.Sequential([keras.Input((3,)), BinaryDense(2, name="dead")])
    with pytest.warns(UserWarning, match="binary input of layer 'dead' is the same everywhere"):
        dependency = measure_dependency(model, np.ones((5, 3), np.float32), retargeted=retargeted)
    (layer,) = dependency.layers
    assert layer.errors.q_ours == 0
    assert retargeted or layer.errors.q_orig > 0
    assert np.isnan(layer.errors.q_rel)
    assert "nan" in str(dependency)


def broken(x):
    x = x.copy()
    x[3] = np.nan
    return x


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (lambda x: x[:0], ValueError, "measure_dependency: the calibration data are empty"),
        (lambda x: tf.data.Dataset.from_tensor_slices(x[:0]).batch(4), ValueError, "calibration data are empty"),
        (lambda x: tf.data.Dataset.from_tensor_slices(x).batch(4).repeat(), ValueError, "measure_dependency: .* endless"),
        (lambda x: tf.data.Dataset.from_tensor_slices(x), ValueError, "a dataset must be batched"),
        (lambda x: x[..., :1], ValueError, r"shape of the model's input, \(None, 7, 7, 2\). Received: \(48, 7, 7, 1\)"),
        (broken, ValueError, "measure_dependency: calibration data must be finite. Received: 98 NaN"),
        (lambda x: iter([x]), TypeError, "measure_dependency: calibration data must be an array .*Received: list_iterator"),
    ],
)
def test_unusable_data(make_network, images, data, error, message):
    with pytest.raises(error, match=message):
        measure_dependency(make_network(), data(images[0]))


def test_unusable_models(make_network, images):
    x = images[0]
    with pytest.raises(TypeError, match="measure_dependency: expected a keras.Model"):
        measure_dependency("model", x)
    with pytest.raises(TypeError, match="measure_dependency: expected a keras.Model"):
        measure_dependency(make_network(), x, float_model="model")
    with pytest.raises(ValueError, match="measure_dependency: model .* has no weights yet"):
        measure_dependency(keras.Sequential([BinaryDense(2)]), x)
    plain = keras.Sequential([keras.Input((7, 7, 2)), keras.layers.Dense(3)], name="plain")
    with pytest.raises(ValueError, match="measure_dependency: model 'plain' has no binary layers"):
        measure_dependency(plain, x)
    with pytest.raises(ValueError, match=r"`float_model` must have .* none, or several, named \['binary_1', 'binary_2', .*\]"):
        measure_dependency(make_network(), x, plain)
    split = keras.Sequential([keras.Input((7, 7, 2)), BinaryConv2D(4, 3, groups=2, name="split")])
    with pytest.raises(ValueError, match="measure_dependency: .*groups > 1: split"):
        measure_dependency(split, x)


@pytest.mark.parametrize(("inputs", "units"), [(4, 3), (6, 3), (5, 1), (5, 4)])
def test_the_kernels_of_a_float_model_must_fit(inputs, units):
    def network(inputs, units):
        return keras.Sequential([keras.Input((inputs,)), BinaryDense(units, name="one")])

    x = np.random.default_rng(0).normal(size=(20, 5)).astype(np.float32)
    with pytest.raises(ValueError, match="float_model"):
        measure_dependency(network(5, 3), x, network(inputs, units))


def test_layers_of_one_name_in_two_nested_models_keep_their_own_kernels():
    inners = [keras.Sequential([keras.Input((4,)), BinaryDense(4, name="same")], name=f"inner_{n}") for n in (1, 2)]
    model = keras.Sequential([keras.Input((4,)), *inners])
    x = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    kernels = [inner.get_layer("same").latent_kernel_matrix for inner in inners]
    for measured, kernel in zip(measure_dependency(model, x).layers, kernels, strict=True):
        np.testing.assert_array_equal(measured.reference, kernel)
    with pytest.raises(ValueError, match="of the same names, each once in both models. Received: none, or several, named"):
        measure_dependency(model, x, float_model=keras.models.clone_model(model))


def test_parts_of_a_trace_are_no_retracing(caplog):
    """TensorFlow warns where functions of the same lines are traced five times."""
    inputs = x = keras.Input((4, 4, 2))
    for number in range(6):
        x = BinaryConv2D(2, 1, name=f"conv_{number}")(x)
    model = keras.Model(inputs, x)
    layers = binary_layers(model)
    trace = NetworkTrace(model, layers)
    tf.get_logger().addHandler(caplog.handler)
    try:
        shapes = [trace.inputs_of(layer)(np.zeros((3, 4, 4, 2), np.float32))[0].shape for layer in layers]
    finally:
        tf.get_logger().removeHandler(caplog.handler)
    assert shapes == [(3, 4, 4, 2)] * 6
    assert "retracing" not in caplog.text
