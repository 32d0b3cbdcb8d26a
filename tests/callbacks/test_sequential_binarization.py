"""The schedule under plain `fit`."""

import csv
import functools
import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

import bitat_tf
from bitat_tf.callbacks import Backup, Schedule, SequentialBinarization
from bitat_tf.layers import binary_layers

BATCH = 8  # 48 images: 6 steps an epoch


def all_but_one_slow(choices):
    """Return all combinations of choices; only that of the first ones is quick."""
    first, *others = itertools.product(*choices)
    return [first, *(pytest.param(*other, marks=pytest.mark.slow) for other in others)]


def run(model, images, schedule=None, callbacks=(), epochs=None, initial_epoch=0, **arguments):
    x, y = images
    bitat = SequentialBinarization(x, schedule or Schedule(0.5, 0.5, 1), verbose=0, **arguments)
    history = model.fit(
        x,
        y,
        batch_size=BATCH,
        epochs=epochs or bitat.total_epochs(model),
        initial_epoch=initial_epoch,
        callbacks=[bitat, *callbacks],
        shuffle=False,
        verbose=0,
    )
    return bitat, history.history


class States(keras.callbacks.Callback):
    """Notes the state of every binary layer and the learning rate after each step."""

    def on_train_begin(self, logs=None):
        self.rows = []

    def on_train_batch_end(self, batch, logs=None):
        states = tuple(layer.state for layer in binary_layers(self.model))
        self.rows.append((*states, float(self.model.optimizer.learning_rate.numpy())))


def test_layers_become_binary_from_bottom_to_top_at_their_steps(make_network, images):
    model, states = make_network(), States()
    schedule = Schedule(
        0.5, 0.5, 1, decay="none", quantization_learning_rate=0.03, fine_tuning_learning_rate=0.02, joint_learning_rate=0.01
    )
    bitat, history = run(model, images, schedule, [states])
    b, f = "binary", "float"
    expected = [(b, f, f)] * 6 + [(b, b, f)] * 6 + [(b, b, b)] * 12
    assert [row[:3] for row in states.rows] == expected
    rates = ([0.03] * 3 + [0.02] * 3) * 3 + [0.01] * 6
    assert [row[3] for row in states.rows] == pytest.approx(rates)
    assert history["stage"] == [1, 2, 3, 3]
    assert [row["kind"] for row in bitat.phase_history] == ["quantization", "fine-tuning"] * 3 + ["joint"]


def test_reference_weights_and_metric_are_those_of_the_current_network(make_network, images):
    # Independent: the layer's inputs from a sub-model, the closed forms with numpy alone.
    x, _ = images
    model = make_network()
    layer, kernel = model.get_layer("binary_2"), model.get_layer("binary_2").latent_kernel_matrix
    found = {}

    class Look(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):  # after the schedule's own hook
            if layer.state == "binary" and not found:
                inputs = keras.Model(self.model.inputs, layer.input)(x, training=False).numpy().reshape(-1, 5)
                found["inputs"] = inputs.astype(float)
                found["reference"] = layer.disentangled_state.reference.numpy()
                found["metric"] = layer.disentangled_state.metric
                found["threshold"] = layer.input_quantizer.threshold.numpy()
                found["latent"] = layer.latent_kernel_matrix
                found["kernel"] = kernel_before_stage[-1]

    kernel_before_stage = []

    class Before(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):  # before the schedule's hook
            if layer.state == "float":
                kernel_before_stage.append(layer.latent_kernel_matrix)

    bitat = SequentialBinarization(x, Schedule(1, 0, 0), verbose=0)
    model.fit(x, images[1], batch_size=BATCH, epochs=3, callbacks=[Before(), bitat, Look()], verbose=0)
    assert not np.array_equal(found["kernel"], kernel)

    real = found["inputs"]
    np.testing.assert_allclose(found["threshold"], -real.mean(axis=0), atol=1e-5)
    signs = np.where(real + found["threshold"] >= 0, 1.0, -1.0)
    covariance = np.cov(signs.T, bias=True)
    cross = (signs - signs.mean(axis=0)).T @ (real - real.mean(axis=0)) / len(real)
    damping = 0.01 * np.trace(covariance) / 5
    reference = np.linalg.solve(covariance + damping * np.eye(5), cross @ found["kernel"])
    np.testing.assert_allclose(found["reference"], reference, rtol=1e-3, atol=1e-4)
    transform = found["metric"].transform
    np.testing.assert_allclose(transform.T @ transform, covariance, atol=1e-5)
    # The latent kernel starts with the reference's signs, and with the deployed scale that is best in the metric.
    np.testing.assert_array_equal(found["latent"] >= 0, reference >= 0)
    binary = np.where(reference >= 0, 1.0, -1.0)
    best = np.sum(binary * (covariance @ reference), 0) / np.sum(binary * (covariance @ binary), 0)
    np.testing.assert_allclose(np.abs(found["latent"]).mean(axis=0), np.maximum(best, 0), rtol=1e-2)


def test_without_retarget_the_float_weights_are_the_reference(make_network, images):
    model = make_network(keras.optimizers.SGD(1e-3))
    kernel = model.get_layer("binary_1").latent_kernel_matrix
    schedule = Schedule(1, 0, 0, retarget=False, center_thresholds=False)
    run(model, images, schedule)
    np.testing.assert_array_equal(model.get_layer("binary_1").disentangled_state.reference.numpy(), kernel)


def test_the_disentangled_loss_pulls_only_in_the_quantization_phase_of_its_layer(make_network, images):
    model, rows = make_network(), []

    class Strengths(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            rows.append(tuple(float(layer.disentangled_state.strength.numpy()) for layer in binary_layers(self.model)))

    run(model, images, Schedule(0.5, 0.5, 1, strength=2.0), [Strengths()])
    z = (0.0, 0.0, 0.0)
    expected = [(2.0, 0, 0)] * 3 + [z] * 3 + [(0, 2.0, 0)] * 3 + [z] * 3 + [(0, 0, 2.0)] * 3 + [z] * 9
    assert rows == expected


def test_a_stronger_disentangled_loss_lowers_q_rel(make_network, images):
    results = []
    for strength in (0.0, 100.0):
        keras.utils.set_random_seed(1)
        schedule = Schedule(8, 0, 0, strength=strength, quantization_learning_rate=1e-2)
        bitat = SequentialBinarization(images[0], schedule, order=["binary_1"], verbose=0)  # one layer: Q_rel as its phase ends
        model = make_network(keras.optimizers.Adam(1e-2))
        history = model.fit(*images, batch_size=8, epochs=8, callbacks=[bitat], verbose=0).history
        results.append(history["q_rel"][-1])
    assert results[1] < 0.75 * results[0]


@pytest.mark.parametrize(("optimizer", "freeze"), all_but_one_slow([("SGD", "Adam"), ("quantization", "never", "always")]))
def test_what_lies_below_is_bit_identical_while_frozen_and_trains_afterwards(freeze, optimizer, make_network, images):
    model = make_network(getattr(keras.optimizers, optimizer)(0.01))
    below = [model.get_layer(name) for name in ("stem", "bn_0", "binary_1", "bn_1", "rprelu_1")]
    above = [model.get_layer(name) for name in ("binary_2", "bn_2", "logits")]
    changed, steps = [], []

    class Changes(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            self.last = None

        def on_train_batch_end(self, batch, logs=None):
            steps.append(self.model.train_function.function)  # under the guard
            now = [[w.numpy().copy() for layer in part for w in layer.weights] for part in (below, above)]
            if self.last is not None:
                changed.append(
                    tuple(
                        any(not np.array_equal(a, b) for a, b in zip(*pair, strict=True))
                        for pair in zip(self.last, now, strict=True)
                    )
                )
            self.last = now

    run(model, images, Schedule(0.5, 0.5, 1, freeze=freeze), [Changes()])
    # Steps 6-8: quantization of binary_2; 9-11: its fine-tuning; 18-23: joint. `changed[i]` compares steps i and i + 1.
    quantization, fine_tuning, joint = changed[6:8], changed[9:11], changed[18:23]
    assert all(b for b, _ in quantization) == (freeze == "never")
    assert any(b for b, _ in quantization) == (freeze == "never")
    assert any(b for b, _ in fine_tuning) == (freeze != "always")
    assert all(b for b, _ in joint)
    assert all(a for _, a in changed)
    assert all(layer.trainable for layer in below)
    if freeze != "always":
        assert steps[3] is steps[9] is steps[23], "without frozen layers the step is traced once"


@pytest.mark.slow
def test_the_users_trainable_settings_are_saved_and_given_back(make_network, images, tmp_path):
    model = make_network()
    for name in ("stem", "bn_2"):
        model.get_layer(name).trainable = False
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    stem = model.get_layer("stem").get_weights()
    save = keras.callbacks.ModelCheckpoint(str(tmp_path / "{epoch}.keras"))
    run(model, images, Schedule(0.5, 0.5, 1, freeze="always"), [save])
    for epoch in range(1, 5):  # three with layers that the schedule has frozen
        loaded = keras.models.load_model(tmp_path / f"{epoch}.keras")
        assert [layer.name for layer in loaded.layers if not layer.trainable] == ["stem", "bn_2"]
    assert [layer.name for layer in model.layers if not layer.trainable] == ["stem", "bn_2"]
    np.testing.assert_array_equal(model.get_layer("stem").get_weights()[0], stem[0])


def test_after_an_interruption_nothing_stays_frozen(make_network, images):
    class Interrupt(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if self.model.get_layer("binary_2").state == "binary":
                raise KeyboardInterrupt

    model = make_network()
    trainable = [weight.name for weight in model.trainable_weights]
    with pytest.raises(KeyboardInterrupt):
        run(model, images, Schedule(0.5, 0.5, 1, freeze="always"), [Interrupt()])
    assert [weight.name for weight in model.trainable_weights] == trainable
    stem = model.get_layer("stem").kernel.numpy()
    model.fit(*images, verbose=0)  # a plain fit trains everything as well
    assert not np.array_equal(model.get_layer("stem").kernel.numpy(), stem)
    with pytest.warns(UserWarning, match="starts anew"):
        run(model, images, Schedule(0.5, 0.5, 1))  # a new callback, as after running a notebook's cell again
    assert [weight.name for weight in model.trainable_weights] == trainable


def test_a_frozen_layer_of_the_user_becomes_binary_as_it_is(make_network, images):
    model = make_network()
    layer = model.get_layer("binary_1")
    layer.trainable = False
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    before = layer.get_weights()[:2]
    run(model, images)
    assert layer.state == "binary"
    np.testing.assert_array_equal(layer.get_weights()[0], before[0])


def test_a_shared_layer_trains_while_what_lies_below_is_frozen(images):
    inputs = keras.Input((7, 7, 2))
    shared = bitat_tf.layers.BinaryConv2D(2, 3, padding="same", name="shared")
    x = shared(keras.layers.BatchNormalization()(shared(inputs)))
    model = keras.Model(inputs, keras.layers.Dense(4)(keras.layers.Flatten()(x)))
    model.compile(keras.optimizers.SGD(0.1), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    kernels = []

    class Kernels(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            kernels.append(shared.latent_kernel)

    run(model, images, Schedule(1, 0, 0, freeze="always"), [Kernels()])
    assert all(not np.array_equal(a, b) for a, b in zip(kernels, kernels[1:], strict=False))


def test_an_early_end_is_reported_and_the_learning_rate_given_back(make_network, images):
    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = True

    model = make_network(keras.optimizers.Adam(0.02))
    with pytest.warns(UserWarning, match="ended before the schedule did: 2 of 3 layers are not binary: binary_2, binary_3"):
        run(model, images, callbacks=[Stop()])
    assert float(model.optimizer.learning_rate.numpy()) == pytest.approx(0.02)


def test_signals_for_the_grouping_come_from_all_of_the_data(images):
    # A dataset of batches of one dense sample each: the first batch alone would be a single row.
    x, y = images
    regularizer = bitat_tf.regularizers.DisentangledRegularizer(num_groups=20)
    layer = bitat_tf.layers.BinaryDense(4, disentangled_regularizer=regularizer)
    model = keras.Sequential([keras.Input((7, 7, 2)), keras.layers.Flatten(), layer])
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    bitat = SequentialBinarization(tf.data.Dataset.from_tensor_slices(x).batch(1), Schedule(1, 0, 0), verbose=0)
    model.fit(x, y, epochs=1, callbacks=[bitat], verbose=0)
    assert len(layer.disentangled_state.metric.importance) == 20


def test_logs_reach_csv_history_and_tensorboard(make_network, images, tmp_path):
    model = make_network()
    callbacks = [keras.callbacks.CSVLogger(tmp_path / "log.csv"), keras.callbacks.TensorBoard(tmp_path / "tb")]
    bitat, history = run(model, images, callbacks=callbacks)
    rows = list(csv.DictReader((tmp_path / "log.csv").open()))
    for key in ("stage", "q_orig", "q_ours", "q_rel", "q_ratio", "learning_rate"):
        assert [float(row[key]) for row in rows] == pytest.approx(history[key], nan_ok=True)
        assert np.isfinite(history[key]).all()
    tags = set()
    for path in (tmp_path / "tb" / "train").iterdir():
        for record in tf.data.TFRecordDataset(str(path)):
            event = tf.compat.v1.Event.FromString(record.numpy())
            tags.update(value.tag for value in event.summary.value)
    assert {"epoch_q_ours", "epoch_stage", "epoch_q_rel"} <= tags
    # The sums over layers are those of the layers themselves.
    last = [row for row in bitat.layer_history if row["epoch"] == 3]
    assert len(last) == 3
    assert sum(row["q_ours"] for row in last) == pytest.approx(history["q_ours"][-1])
    errors = [layer.quantization_errors() for layer in binary_layers(model)]
    assert [row["q_rel"] for row in last] == pytest.approx([error.q_rel for error in errors])


def test_a_second_fit_starts_clean(make_network, images):
    x, y = images
    bitat = SequentialBinarization(x, Schedule(0.5, 0.5, 1), verbose=0)

    def fit(model):
        keras.utils.set_random_seed(3)
        epochs = bitat.total_epochs(model)
        return model.fit(x, y, batch_size=BATCH, epochs=epochs, callbacks=[bitat], shuffle=False, verbose=0).history

    keras.utils.set_random_seed(5)
    first_model = make_network()
    start = first_model.get_weights()
    first = fit(first_model)
    phases, layers = list(bitat.phase_history), list(bitat.layer_history)
    second_model = make_network()
    second_model.set_weights(start)
    assert fit(second_model) == first
    assert bitat.phase_history == phases
    assert bitat.layer_history == layers
    # On a model that is binary already the same callback starts anew as well, and says so.
    with pytest.warns(UserWarning, match="starts anew.*3 of 3 layers are binary already.*initial_epoch"):
        assert fit(second_model)["stage"] == first["stage"]


@pytest.fixture(scope="module")
def whole_run(make_network, images):
    """Return a function that trains to the end, once for every choice: the weights at the start, and the history."""

    @functools.cache
    def train(optimizer, schedule):
        keras.utils.set_random_seed(4)
        model = make_network(optimizer(0.01))
        start = model.get_weights()
        return start, run(model, images, schedule)[1]

    return train


@pytest.mark.parametrize(
    ("optimizer", "freeze", "stop"),
    all_but_one_slow([(keras.optimizers.SGD, keras.optimizers.Adam), ("quantization", "never"), (2, 1)]),
)
def test_saved_in_the_middle_it_continues_as_if_never_stopped(
    optimizer, freeze, stop, whole_run, make_network, images, tmp_path
):
    schedule = Schedule(0.75, 0.5, 1, freeze=freeze)  # at the end of epoch 1 a fine-tuning, of epoch 2 a quantization phase
    start, uninterrupted = whole_run(optimizer, schedule)
    model = make_network(optimizer(0.01))
    model.set_weights(start)
    x, y = images

    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch + 1 == stop:
                self.model.stop_training = True

    run(model, images, schedule, [Stop()])
    path = tmp_path / "m.keras"
    model.save(path)
    loaded = keras.models.load_model(path)
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), model.predict(x, verbose=0))
    assert [layer.state for layer in binary_layers(loaded)] == [layer.state for layer in binary_layers(model)]
    _, resumed = run(loaded, images, schedule, initial_epoch=stop)
    assert resumed["stage"] == uninterrupted["stage"][stop:]
    np.testing.assert_allclose(resumed["loss"], uninterrupted["loss"][stop:], rtol=1e-4)
    np.testing.assert_allclose(resumed["q_ours"], uninterrupted["q_ours"][stop:], rtol=1e-3)


class Break(keras.callbacks.Callback):
    """Makes a weight NaN before a batch."""

    def __init__(self, epoch, batch):
        super().__init__()
        self.at = epoch, batch

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_begin(self, batch, logs=None):
        if (self.epoch, batch) == self.at:
            bias = self.model.get_layer("logits").bias
            bias.assign(np.nan * np.ones(bias.shape))


def test_a_loss_that_is_no_number_stops_with_layer_phase_and_the_last_good_checkpoint(make_network, images, tmp_path):
    model = make_network()
    backup = Backup(tmp_path / "backup", largest_share=1)
    with pytest.raises(
        ValueError,
        match=r"loss became nan in the fine-tuning phase of layer 'binary_2' \(2 of 3\), epoch 2, batch 5.*"
        r"The last checkpoint, from before, is .*epoch-000001\.weights\.h5\.",
    ):
        run(model, images, callbacks=[Break(1, 4), backup])
    with pytest.raises(ValueError, match=r"in the joint phase, epoch 4, batch 1\..*There is no checkpoint"):
        run(make_network(), images, callbacks=[Break(3, 0)])
    # The checkpoint that is named is good: a fit with it goes on from the epoch before.
    continued, epochs = make_network(), []
    watch = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: epochs.append(epoch))
    _, history = run(continued, images, callbacks=[Backup(tmp_path / "backup"), watch])
    assert epochs == [1, 2, 3]
    assert np.isfinite(history["loss"]).all()


class BreakAtTheEnd(keras.callbacks.Callback):
    """Makes a weight NaN after the last batch of an epoch."""

    def on_train_batch_end(self, batch, logs=None):
        if batch == 5:
            bias = self.model.get_layer("logits").bias
            bias.assign(np.nan * np.ones(bias.shape))


def test_weights_that_the_last_step_of_an_epoch_breaks_are_not_saved(make_network, images, tmp_path):
    backup = keras.callbacks.BackupAndRestore(str(tmp_path / "backup"))
    with pytest.raises(ValueError, match="weights of 'logits/bias' became NaN or infinite in the fine-tuning phase.*epoch 1"):
        run(make_network(), images, callbacks=[BreakAtTheEnd(), backup])
    assert not list((tmp_path / "backup").rglob("*.h5"))


def test_flips_under_blocks_are_refused(images):
    with pytest.raises(ValueError, match="flips are not weighted by the sensitivity of blocks"):
        SequentialBinarization(images[0], Schedule(flips=True), blocks="residual")


def test_resuming_at_another_place_than_the_models_is_an_error(make_network, images):
    with pytest.raises(ValueError, match="at epoch 1 of this schedule layer 'binary_1' must be binary. Received.*is float"):
        run(make_network(), images, initial_epoch=1)


@pytest.mark.parametrize(
    ("order", "expected"),
    [("top_to_bottom", ["binary_3", "binary_2", "binary_1"]), (["binary_2", "binary_1"], ["binary_2", "binary_1"])],
)
def test_other_orders(order, expected, make_network, images):
    bitat, _ = run(make_network(), images, order=order)
    assert [row["layer"] for row in bitat.phase_history if row["kind"] == "quantization"] == expected


@pytest.mark.slow
def test_calibration_from_a_dataset_equals_the_array(make_network, images):
    x, y = images
    results = []
    datasets = [x, tf.data.Dataset.from_tensor_slices((x, y)).batch(7), tf.data.Dataset.from_tensor_slices(x).batch(48)]
    keras.utils.set_random_seed(2)
    start = make_network().get_weights()
    for data in datasets:
        model = make_network(keras.optimizers.SGD(1e-9))
        model.set_weights(start)
        schedule = Schedule(1, 0, 0, quantization_learning_rate=1e-9)
        bitat = SequentialBinarization(data, schedule, verbose=0)
        model.fit(x, y, batch_size=48, epochs=3, callbacks=[bitat], verbose=0)
        results.append(model.get_layer("binary_3").disentangled_state.reference.numpy())
    np.testing.assert_allclose(results[1], results[0], rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(results[2], results[0], rtol=1e-3, atol=1e-5)


def test_layers_with_more_inputs_than_groups_are_grouped(images):
    x, y = images
    for retarget in (True, False):
        regularizer = bitat_tf.regularizers.DisentangledRegularizer(num_groups=6)
        layer = bitat_tf.layers.BinaryConv2D(4, 3, disentangled_regularizer=regularizer)
        model = keras.Sequential([keras.Input((7, 7, 2)), layer, keras.layers.Flatten(), keras.layers.Dense(4)])
        model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        _, history = run(model, images, Schedule(1, 0, 0, retarget=retarget))
        metric = layer.disentangled_state.metric
        assert len(metric.importance) == 6
        assert metric.residual > 0
        rows = layer.input_rows(tf.constant(x), binary=True)
        assert metric.groups.shape == (rows.shape[1],)
        assert 0 < history["q_rel"][-1] < 1


def test_flips_start_where_no_single_flip_lowers_the_error(make_network, images):
    """By brute force over all flips, each at its own best scale."""
    model = make_network()
    layer = binary_layers(model)[0]
    found = {}

    class Start(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            if layer.state == "binary" and not found:
                found["binary"] = np.where(layer.latent_kernel_matrix >= 0, 1.0, -1.0)
                found["metric"], found["reference"] = (
                    layer.disentangled_state.metric,
                    layer.disentangled_state.reference.numpy(),
                )

    run(model, images, Schedule(0.5, 0.5, 1, flips=True), [Start()])
    binary, metric, reference = found["binary"], found["metric"], found["reference"].astype(float)
    covariance = metric.directions @ np.diag(metric.importance**2) @ metric.directions.T

    def explained(b, w):
        return (b @ covariance @ w) ** 2 / (b @ covariance @ b)

    assert np.any(binary != np.where(reference >= 0, 1.0, -1.0)), "the signs of w_ref are no such place"
    for channel in range(binary.shape[1]):
        b, w = binary[:, channel], reference[:, channel]
        now = explained(b, w)
        for feature in range(len(b)):
            other = b.copy()
            other[feature] *= -1
            assert explained(other, w) <= now * (1 + 1e-4)


def test_flips_need_the_statistics_of_the_retargeting():
    with pytest.raises(ValueError, match=r"Received: flips=True, retarget=False"):
        Schedule(flips=True, retarget=False)


def test_a_compiled_step_computes_the_same():
    """jit_compile: XLA against TensorFlow, through a change of state, over groups and with the loss on."""
    weights = []
    x = np.random.default_rng(0).normal(size=(16, 6, 6, 8)).astype(np.float32)
    for compiled in (False, True):
        keras.utils.set_random_seed(0)
        regularizer = bitat_tf.regularizers.DisentangledRegularizer(num_groups=16)
        layer = bitat_tf.layers.BinaryConv2D(4, 3, disentangled_regularizer=regularizer)
        model = keras.Sequential([keras.Input((6, 6, 8)), layer, keras.layers.BatchNormalization(), keras.layers.Flatten()])
        model.compile(keras.optimizers.SGD(0.1), "mse", jit_compile=compiled)
        bitat = SequentialBinarization(x, Schedule(1, 1, 1), verbose=0)
        model.fit(x, np.zeros((16, 64)), batch_size=16, epochs=3, callbacks=[bitat], shuffle=False, verbose=0)
        weights.append(model.get_weights())
    for first, second in zip(*weights, strict=True):
        np.testing.assert_allclose(first, second, rtol=1e-4, atol=1e-5)


def test_progress_line_stays_quiet_in_files(make_network, images, capsys):
    x, y = images
    model = make_network()
    bitat = SequentialBinarization(x, Schedule(1, 0, 0))
    model.fit(x, y, epochs=bitat.total_epochs(model), callbacks=[bitat], verbose=0)
    assert capsys.readouterr().out == ""
