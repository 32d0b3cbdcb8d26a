"""Statistics that are measured again while a layer trains."""

import keras
import numpy as np
import pytest

from bitat_tf.callbacks import Schedule, SequentialBinarization
from bitat_tf.layers import BinaryConv2D, binary_layers
from bitat_tf.regularizers import DisentangledRegularizer


@pytest.mark.parametrize(
    ("refresh", "expected"), [(None, []), (0.25, [2, 4, 6, 14, 16, 18]), (0.5, [4, 16]), (0.01, [1, 2, 3])]
)
def test_steps_at_which_a_layer_is_measured_again(refresh, expected):
    timeline = Schedule(1, 0.5, 1, refresh_epochs=refresh).timeline(["a", "b"], steps_per_epoch=8)
    steps = [step for step in range(timeline.total_steps + 3) if timeline.refreshes(step)]
    assert steps[: len(expected)] == expected
    assert (len(steps) == len(expected)) == (refresh != 0.01)


@pytest.mark.parametrize("refresh", [0, -1, float("nan"), "often"])
def test_refresh_must_be_a_positive_number(refresh):
    with pytest.raises(ValueError, match="`refresh_epochs` must be a finite number > 0"):
        Schedule(refresh_epochs=refresh)


def test_a_refresh_that_never_comes_is_refused():
    with pytest.raises(ValueError, match="must be less than `quantization_epochs`.*Received: refresh_epochs=1, quantization_e"):
        Schedule(refresh_epochs=1, quantization_epochs=0.5)


@pytest.mark.parametrize("num_groups", [256, 6])
def test_the_metric_is_that_of_the_current_network_and_the_reference_stays(num_groups, images):
    model = keras.Sequential(
        [
            keras.Input((7, 7, 2)),
            keras.layers.Conv2D(4, 3, name="stem"),
            keras.layers.BatchNormalization(name="bn"),
            make_layer(num_groups),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(4),
        ]
    )
    model.compile(keras.optimizers.Adam(1e-2), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    (layer,) = binary_layers(model)
    seen = []

    class Watch(keras.callbacks.Callback):
        """Comes after the schedule: sees what it has just stored, and measures the network itself."""

        def on_train_batch_begin(self, batch, logs=None):
            below = keras.Model(model.inputs, layer.input)(images[0], training=False)
            rows = layer.input_rows(below, binary=True).astype(float)
            metric = layer.disentangled_state.metric
            seen.append((metric, np.cov(rows.T, bias=True), layer.disentangled_state.reference.numpy()))

    bitat = SequentialBinarization(images[0], Schedule(1, 0, 1, refresh_epochs=0.5), verbose=0)
    model.fit(*images, batch_size=8, epochs=2, callbacks=[bitat, Watch()], verbose=0)
    importances = [metric.importance for metric, _, _ in seen]
    changes = [step for step in range(1, len(seen)) if not np.array_equal(importances[step], importances[step - 1])]
    assert changes == [3]  # six steps of the quantization phase, measured again in the middle; not in the joint phase
    for step in (0, 3):
        metric, covariance, _ = seen[step]
        reduction = np.eye(int(metric.groups.max()) + 1)[metric.groups].T
        reduction /= np.sqrt(reduction.sum(axis=1, keepdims=True))
        restored = metric.directions @ np.diag(metric.importance**2) @ metric.directions.T
        np.testing.assert_allclose(restored, reduction @ covariance @ reduction.T, atol=1e-5)
    for metric, _, reference in seen:
        np.testing.assert_array_equal(metric.groups, seen[0][0].groups)
        np.testing.assert_array_equal(reference, seen[0][2])


def make_layer(num_groups):
    regularizer = DisentangledRegularizer(num_groups=num_groups)
    return BinaryConv2D(4, 3, padding="same", use_bias=False, disentangled_regularizer=regularizer, name="binary")


@pytest.mark.slow
def test_a_run_with_refresh_continues_as_if_never_stopped(make_network, images, tmp_path):
    schedule = Schedule(2, 0, 0, refresh_epochs=0.5)

    def fit(model, **arguments):
        callbacks = [SequentialBinarization(images[0], schedule, verbose=0), *arguments.pop("more", [])]
        model.fit(*images, batch_size=8, shuffle=False, epochs=6, callbacks=callbacks, verbose=0, **arguments)

    whole = make_network(keras.optimizers.SGD(0.01))
    path = tmp_path / "model.keras"
    start = whole.get_weights()
    saver = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: whole.save(path) if epoch == 2 else None)
    fit(whole, more=[saver])
    continued = keras.models.load_model(path)
    fit(continued, initial_epoch=3)
    assert not all(np.array_equal(a, b) for a, b in zip(whole.get_weights(), start, strict=True))
    for now, then in zip(continued.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_array_equal(now, then)


def test_a_refresh_inside_one_execution_of_several_steps_is_not_missed(images):
    model = keras.Sequential([keras.Input((7, 7, 2)), make_layer(256), keras.layers.GlobalAveragePooling2D()])
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), steps_per_execution=2)
    (layer,) = binary_layers(model)
    importances = []
    watch = keras.callbacks.LambdaCallback(
        on_train_batch_begin=lambda batch, logs: importances.append(layer.disentangled_state.importance.numpy())
    )
    bitat = SequentialBinarization(images[0], Schedule(1, 0, 0, refresh_epochs=0.5), verbose=0)  # before step 3 of 6
    model.fit(*images, batch_size=8, epochs=1, callbacks=[bitat, watch], verbose=0)
    # Asked before steps 0, 2 and 4: the refresh that is due at 3 comes at 4.
    changes = [not np.array_equal(now, then) for now, then in zip(importances[1:], importances, strict=False)]
    assert changes == [False, True]
