"""Dependency across layers: blocks in known networks, the sensitivity against exact Jacobians, the loss with it."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import bitat_tf
from bitat_tf.calibration import Calibration, find_blocks, output_sensitivity
from bitat_tf.callbacks import Schedule, SequentialBinarization
from bitat_tf.dependency import Metric, q_ours
from bitat_tf.layers import BinaryConv2D, BinaryDense, binary_layers
from bitat_tf.regularizers import DisentangledRegularizer


def convolution(x, name, filters=3, **arguments):
    """A binary 3x3 convolution and a batch normalization that is not the identity."""
    layer = BinaryConv2D(filters, 3, padding="same", use_bias=False, name=name, **arguments)
    bn = keras.layers.BatchNormalization(
        gamma_initializer=keras.initializers.RandomUniform(0.5, 2, seed=len(name)),
        moving_variance_initializer=keras.initializers.RandomUniform(0.3, 3, seed=1),
        name=f"{name}_bn",
    )
    return bn(layer(x))


def basic_block(cross_layer=False, size=4):
    """conv-bn-relu-conv-bn-add, as in ResNet, after a stem; then a classifier."""
    regularizers = [DisentangledRegularizer(cross_layer=cross_layer) for _ in range(2)]
    inputs = keras.Input((size, size, 2))
    stem = keras.layers.Conv2D(3, 1, name="stem")(inputs)
    x = keras.layers.ReLU()(convolution(stem, "first", disentangled_regularizer=regularizers[0]))
    x = convolution(x, "second", disentangled_regularizer=regularizers[1])
    x = keras.layers.Add(name="add")([stem, x])
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    model = keras.Model(inputs, keras.layers.Dense(2, name="logits")(x))
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def pictures(n=6, size=4, seed=0):
    return np.random.default_rng(seed).normal(size=(n, size, size, 2)).astype(np.float32)


def sensitivity(model, name, block, x, **arguments):
    return output_sensitivity(model, model.get_layer(name), block, Calibration(x, model, "here"), **arguments)


def exact_sensitivity(model, name, block, x):
    """E[J^T J] from the whole Jacobian of each sample; rows of z are pixels."""
    outputs = keras.Model(model.inputs, [model.get_layer(name).output, model.get_layer(block).output])
    with tf.GradientTape() as tape:
        x = tf.constant(x)
        tape.watch(x)
        z, y = outputs(x, training=False)
    jacobian = tape.batch_jacobian(y, z).numpy().astype(float)
    units = z.shape[-1]
    jacobian = jacobian.reshape(len(x), int(np.prod(y.shape[1:])), -1, units)  # sample, output, pixel, channel
    return np.einsum("nopi,nopj->ij", jacobian, jacobian) / (len(x) * jacobian.shape[2])


def test_blocks_of_reactnet_end_at_the_add_of_each_convolution():
    model = bitat_tf.applications.ReActNet((8, 8, 1), 4, width=0.25, blocks=((64, 1), (128, 2), (128, 1)))
    convolutions = [f"block_{number}_conv{kind}" for number in (1, 2, 3) for kind in ("3x3", "1x1")]
    assert find_blocks(model) == {name: name.replace("conv", "add") for name in convolutions}


def test_both_convolutions_of_a_basic_block_end_at_its_add():
    assert find_blocks(basic_block()) == {"first": "add", "second": "add"}


@pytest.mark.parametrize("joined", [False, True])
def test_a_chain_has_no_blocks(joined):
    x = inputs = keras.Input((4, 4, 3))
    for name in ("first", "second"):
        x = convolution(x, name)
    if joined:  # both inputs of the Add depend on the layers: no shortcut around them
        x = keras.layers.Add()([x, keras.layers.ReLU()(x)])
    model = keras.Model(inputs, x)
    assert find_blocks(model) == {}
    assert find_blocks(keras.Sequential([keras.Input((4,)), BinaryDense(3), BinaryDense(2)])) == {}


def test_blocks_inside_blocks():
    inputs = keras.Input((4, 4, 3))
    before = convolution(inputs, "before")
    inner = keras.layers.Add(name="inner")([before, convolution(before, "inside")])
    outer = keras.layers.Add(name="outer")([inputs, convolution(inner, "after")])
    # A shortcut with a convolution of its own.
    last = keras.layers.Add(name="last")([convolution(outer, "main"), convolution(outer, "shortcut")])
    model = keras.Model(inputs, convolution(last, "alone"))
    ends = {"before": "outer", "inside": "inner", "after": "outer", "main": "last", "shortcut": "last"}
    assert find_blocks(model) == ends


def test_shared_and_nested_layers_are_in_no_block():
    inputs = keras.Input((3,))
    shared, nested = BinaryDense(3, name="shared"), keras.Sequential([keras.Input((3,)), BinaryDense(3, name="nested")])
    x = keras.layers.Add()([inputs, shared(shared(inputs))])
    model = keras.Model(inputs, keras.layers.Add()([x, nested(x)]))
    assert [layer.name for layer in binary_layers(model)] == ["shared", "nested"]
    assert find_blocks(model) == {}


@pytest.mark.parametrize("second_is_binary", [False, True])
@pytest.mark.parametrize(("name", "block"), [("first", "add"), ("second", "add"), ("first", "logits")])
def test_sensitivity_is_the_mean_of_exact_jacobians(name, block, second_is_binary):
    model, x = basic_block(), pictures()
    model.get_layer("second").set_binary(second_is_binary, second_is_binary)
    expected = exact_sensitivity(model, name, block, x)
    many = tf.data.Dataset.from_tensors(np.tile(x, (40, 1, 1, 1)))  # each picture often: faster than as many probes
    estimate = sensitivity(model, name, block, many, probes=10)
    assert expected.shape == (3, 3)
    np.testing.assert_allclose(estimate, expected, atol=0.05 * np.abs(expected).max())
    np.testing.assert_array_equal(estimate, estimate.T)
    assert np.linalg.eigvalsh(estimate).min() >= -1e-9


@pytest.mark.parametrize("probes", [1, 3])
def test_a_batch_normalization_has_its_squared_slope_on_the_diagonal(probes):
    # J is diagonal, so that the diagonal of M is exact with any signs; off it the signs cancel in the mean.
    inputs = keras.Input((6, 6, 2))
    model = keras.Model(inputs, convolution(inputs, "layer", filters=5))
    gamma, variance = (np.random.default_rng(n).uniform(0.5, 2, 5).astype(np.float32) for n in (0, 1))
    model.get_layer("layer_bn").set_weights([gamma, np.ones(5), np.zeros(5), variance])
    estimate = sensitivity(model, "layer", "layer_bn", pictures(100, 6), probes=probes)
    slope = gamma / np.sqrt(variance + 1e-3)
    np.testing.assert_allclose(np.diag(estimate), slope**2, rtol=1e-4)
    np.testing.assert_allclose(estimate / np.outer(slope, slope), np.eye(5), atol=0.1)


def test_a_dense_layer_before_a_linear_map_feels_its_gram_matrix():
    model = keras.Sequential([keras.Input((4,)), BinaryDense(3, name="layer"), keras.layers.Dense(6, name="end")])
    weights = model.get_layer("end").kernel.numpy().astype(float)
    x = tf.data.Dataset.from_tensors(np.random.default_rng(0).normal(size=(20_000, 4)).astype(np.float32))
    expected = weights @ weights.T
    np.testing.assert_allclose(sensitivity(model, "layer", "end", x), expected, atol=0.05 * np.abs(expected).max())


def test_sensitivity_depends_on_the_seed_alone_and_is_that_of_all_batches():
    model, x = basic_block(), pictures(12)
    first, again, other = (sensitivity(model, "first", "add", x, seed=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    many = np.tile(x, (100, 1, 1, 1))
    batches = tf.data.Dataset.from_tensor_slices((many, np.zeros(1200))).batch(500)  # 500, 500, 200: the mean is over samples
    expected = exact_sensitivity(model, "first", "add", x)
    estimate = sensitivity(model, "first", "add", batches, probes=3)
    np.testing.assert_allclose(estimate, expected, atol=0.05 * np.abs(expected).max())


def test_pictures_of_bytes_are_measured_too():
    model, x = basic_block(), np.random.default_rng(0).integers(0, 256, (5, 4, 4, 2))
    expected = sensitivity(model, "first", "add", x.astype(np.float32))
    np.testing.assert_allclose(sensitivity(model, "first", "add", x.astype(np.uint8)), expected, rtol=1e-6)


class Wrapped(keras.Model):
    def __init__(self):
        super().__init__()
        self.layer = BinaryDense(2)


def refused(case):
    """A model, and the layer and the block to ask for."""
    source = keras.Input((4, 4, 2))
    if case == "shared":
        layer = BinaryDense(2, name="shared")
        return keras.Model(source, keras.layers.ReLU(name="end")(layer(layer(source)))), layer, "end"
    if case == "nested":
        nested = keras.Sequential([source, BinaryDense(2, name="nested")])
        other = keras.Input((4, 4, 2))
        model = keras.Model(other, keras.layers.ReLU(name="end")(nested(other)))
        return model, nested.get_layer("nested"), "end"
    if case == "activation":
        layer = BinaryDense(2, activation="relu", name="active")
        return keras.Model(source, keras.layers.ReLU(name="end")(layer(source))), layer, "end"
    if case == "subclassed":
        model = Wrapped()
        return model, model.layer, "end"
    model = basic_block()
    return model, model.get_layer("second"), {"unknown": "nowhere", "before": "stem"}[case]


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("unknown", "output_sensitivity: the block of layer 'second' must end at a layer of the model. Received: 'nowhere'"),
        ("before", "must end at a layer that stands once in the model and depends on it. Received: 'stem'"),
        ("activation", "no activation of its own.*layer 'active' with activation 'relu'"),
        ("nested", "stands once in the model, not in a nested one. Received: 'nested'"),
        ("shared", "stands once in the model.* Received: 'shared'"),
        ("subclassed", "functional and sequential models. Received: a Wrapped"),
    ],
)
def test_refused_blocks(case, message):
    model, layer, block = refused(case)
    with pytest.raises(ValueError, match=message):
        output_sensitivity(model, layer, block, Calibration(pictures(), model, "here"))
    if case == "subclassed":
        with pytest.raises(ValueError, match=message):
            find_blocks(model)


def test_probes_must_be_positive():
    for probes in (0, -1, None):
        with pytest.raises(ValueError, match="output_sensitivity: `probes` must be a finite number >= 1"):
            sensitivity(basic_block(), "first", "add", pictures(), probes=probes)


class NextSensitivity(keras.callbacks.Callback):
    """Measures, before the schedule does, what the layer of each epoch's stage is to get."""

    def __init__(self, blocks, x):
        super().__init__()
        self.blocks, self.x, self.expected = blocks, x, {}

    def on_epoch_begin(self, epoch, logs=None):
        for name in list(self.blocks)[epoch : epoch + 1]:
            self.expected[name] = sensitivity(self.model, name, self.blocks[name], self.x)


def fit(model, x, blocks, before=()):
    bitat = SequentialBinarization(x, Schedule(0.5, 0.5, 1), blocks=blocks, verbose=0)
    y = np.arange(len(x)) % 2
    return model.fit(x, y, batch_size=3, epochs=bitat.total_epochs(model), callbacks=[*before, bitat], verbose=0).history


@pytest.mark.parametrize("blocks", ["residual", {"first": "add", "second": "logits"}, {"second": "second_bn"}])
def test_layers_get_the_sensitivity_of_their_stage(blocks):
    model, x = basic_block(cross_layer=True), pictures(12)
    ends = {"first": "add", "second": "add"} if blocks == "residual" else {"first": "add", **blocks}
    before = NextSensitivity(ends, x)
    history = fit(model, x, blocks, [before])
    assert np.all(np.isfinite(history["loss"]))
    for layer in binary_layers(model):
        expected = before.expected[layer.name] if blocks == "residual" or layer.name in blocks else np.eye(3)
        assert layer.state == "binary"
        np.testing.assert_allclose(layer.disentangled_state.sensitivity, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("blocks", "cross_layer", "message"),
    [
        ("residual", False, r"without it: first, second. Build them with .*DisentangledRegularizer\(cross_layer=True\)"),
        ("x", True, "`blocks` must be None, 'residual', or a mapping .* Received: blocks='x'"),
        ({"firts": "add"}, True, r"`blocks` names no binary layers of the model: \['firts'\]"),
        ({"stem": "add"}, True, r"`blocks` names no binary layers of the model: \['stem'\]"),
        ({"first": "end"}, True, "SequentialBinarization: the block of layer 'first' must end at .*'end'"),
    ],
)
def test_refused_blocks_of_a_run(blocks, cross_layer, message):
    model = basic_block(cross_layer)
    with pytest.raises(ValueError, match=message):
        SequentialBinarization(pictures(), blocks=blocks).total_epochs(model)  # before anything is trained
    with pytest.raises(ValueError, match=message):
        model.fit(pictures(), epochs=3, callbacks=[SequentialBinarization(pictures(), blocks=blocks)], verbose=0)


def test_a_run_without_shortcuts_names_the_cure():
    model = keras.Sequential([keras.Input((4, 4, 2)), BinaryConv2D(2, 3), keras.layers.Flatten(), keras.layers.Dense(2)])
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    with pytest.raises(ValueError, match="found no shortcut .* Name the blocks"):
        fit(model, pictures(), "residual")


def some_metric(dim=12, k=12, units=4, seed=0):
    """A metric with a sensitivity, and the d x d matrix that it stands for."""
    rng = np.random.default_rng(seed)
    rows, root = rng.normal(size=(50, dim)) @ rng.normal(size=(dim, dim)), rng.normal(size=(units, units))
    groups = rng.permutation(np.arange(dim) % k) if k < dim else np.arange(dim)
    matrix = np.equal.outer(np.arange(k), groups) / np.sqrt(np.bincount(groups))[:, None]
    covariance = np.cov(rows.T, bias=True)
    plain = Metric.from_covariance(matrix @ covariance @ matrix.T, groups, np.trace(covariance))
    within = np.eye(dim) - matrix.T @ matrix
    seen = matrix.T @ matrix @ covariance @ matrix.T @ matrix + plain.residual * within
    return Metric(plain.groups, plain.importance, plain.directions, plain.residual, root @ root.T), seen


@pytest.mark.parametrize("k", [12, 5, 1])
def test_the_norm_weights_errors_by_the_sensitivity(k):
    metric, seen = some_metric(k=k)
    error = np.random.default_rng(1).normal(size=(12, 4))
    assert metric.norm(error) == pytest.approx(np.trace(error.T @ seen @ error @ metric.sensitivity))
    assert metric.norm(0 * error) == 0


@pytest.mark.parametrize("num_groups", [256, 5])
@pytest.mark.parametrize("error", ["disentangled", "relative"])
def test_the_loss_is_q_ours_with_the_sensitivity_also_after_loading(tmp_path, error, num_groups):
    metric, _ = some_metric(k=min(num_groups, 12))
    rng = np.random.default_rng(2)
    reference, kernel = rng.normal(size=(12, 4)), rng.normal(size=(12, 4))
    regularizer = DisentangledRegularizer(1.0, 0.0, num_groups, error, cross_layer=True)
    model = keras.Sequential([keras.Input((12,)), BinaryDense(4, name="layer", disentangled_regularizer=regularizer)])
    layer = model.get_layer("layer")
    np.testing.assert_array_equal(layer.disentangled_state.sensitivity, np.eye(4))
    layer.set_latent_kernel(kernel)
    regularizer.set_statistics(metric, reference)
    expected = q_ours(reference, np.sign(kernel), metric) / (metric.norm(reference) if error == "relative" else 1)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras").get_layer("layer")
    for each in (layer, loaded):
        np.testing.assert_allclose(each.disentangled_state.sensitivity, metric.sensitivity, rtol=1e-6)
        assert float(each.losses[0]) == pytest.approx(expected, rel=1e-4)
        assert each.quantization_errors().q_ours == pytest.approx(q_ours(reference, np.sign(kernel), metric), rel=1e-4)
