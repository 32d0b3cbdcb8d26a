"""What users pass to `fit` beside the schedule: it works, or is answered with a message."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import bitat_tf
from bitat_tf.callbacks import Schedule, SequentialBinarization
from bitat_tf.layers import binary_layers

SCHEDULE = Schedule(0.5, 0.5, 1.0, *[1e-2] * 3)


def fit(model, calibration, *arguments, callbacks=(), before=(), **options):
    bitat = SequentialBinarization(calibration, SCHEDULE, verbose=0)
    epochs = bitat.total_epochs(model)
    return model.fit(*arguments, epochs=epochs, verbose=0, callbacks=[*before, bitat, *callbacks], **options), bitat


def all_binary(model):
    return all(layer.state == "binary" for layer in binary_layers(model))


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_sample_weights_and_validation_data(weight, make_network, images):
    pictures, labels = images
    model = make_network()
    start = model.get_layer("logits").kernel.numpy()
    weights, validation = np.full(len(labels), weight), (pictures, labels)
    history, _ = fit(model, pictures, pictures, labels, sample_weight=weights, validation_data=validation)
    assert all_binary(model)
    assert len(history.history["val_loss"]) == len(history.epoch)
    # Samples without weight teach nothing; the disentangled loss, which is of no sample, does not reach this layer.
    assert np.array_equal(model.get_layer("logits").kernel, start) == (weight == 0)


def test_several_outputs(images):
    pictures, labels = images
    inputs = keras.Input((7, 7, 2))
    x = bitat_tf.layers.BinaryConv2D(6, 3, name="binary")(inputs)
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.BatchNormalization()(x))
    model = keras.Model(inputs, {"kind": keras.layers.Dense(4, name="kind")(x), "size": keras.layers.Dense(1, name="size")(x)})
    losses = {"kind": keras.losses.SparseCategoricalCrossentropy(from_logits=True), "size": "mse"}
    model.compile(keras.optimizers.Adam(1e-2), losses, loss_weights={"kind": 1.0, "size": 0.1})
    history, _ = fit(model, pictures, pictures, {"kind": labels, "size": labels.astype(float)}, batch_size=8)
    assert all_binary(model)
    assert history.history["size_loss"][-1] < history.history["size_loss"][0]


def test_data_of_unknown_length_need_the_number_of_steps(make_network, images):
    pictures, labels = images
    known = tf.data.Dataset.from_tensor_slices((pictures, labels)).batch(8)
    unknown = known.filter(lambda *_: True)
    assert unknown.cardinality() == tf.data.UNKNOWN_CARDINALITY
    with pytest.raises(ValueError, match=r"number of steps of an epoch is unknown.*steps_per_epoch.*assert_cardinality"):
        fit(make_network(), pictures, unknown)
    model = make_network()
    history, bitat = fit(model, pictures, unknown.repeat(), steps_per_epoch=5)
    assert all_binary(model)
    assert [phase["epoch"] for phase in bitat.phase_history][:3] == [0.0, 0.6, 1.0]  # half of five steps is rounded up


def test_an_endless_calibration_dataset_and_data_that_end_early(make_network, images):
    pictures, labels = images
    endless = tf.data.Dataset.from_tensor_slices(pictures).batch(8).repeat()
    with pytest.raises(ValueError, match=r"calibration dataset is endless. Limit it, as in `calibration.take"):
        fit(make_network(), endless, pictures, labels)
    data = tf.data.Dataset.from_tensor_slices((pictures, labels)).batch(8)  # six steps, once
    model = make_network()
    with pytest.warns(UserWarning, match="ran out of data"):  # Keras begins it anew; phases are entered late, none is left out
        fit(model, pictures, data, steps_per_epoch=5)
    assert {layer.state for layer in binary_layers(model)} == {"binary"}


def test_early_stopping_is_named_when_it_leaves_layers_float(make_network, images):
    stop = keras.callbacks.EarlyStopping("loss", min_delta=100.0, patience=0)
    with pytest.warns(UserWarning, match="1 of 3 layers are not binary: binary_3. An EarlyStopping"):
        fit(make_network(), images[0], *images, callbacks=[stop])


@pytest.fixture(scope="module")
def undisturbed_rates(make_network, images):
    history, _ = fit(make_network(), images[0], *images, shuffle=False)
    return history.history["learning_rate"]


@pytest.mark.parametrize("place", ["before", pytest.param("callbacks", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "callback",
    [
        keras.callbacks.ReduceLROnPlateau("loss", min_delta=100.0, patience=1, verbose=0),
        keras.callbacks.LearningRateScheduler(lambda epoch: 5e-4),
    ],
    ids=["ReduceLROnPlateau", "LearningRateScheduler"],
)
def test_another_learning_rate_has_no_effect_and_is_named_once(callback, place, undisturbed_rates, make_network, images):
    model = make_network()
    with pytest.warns(UserWarning, match=r"another callback set the learning rate to .* no effect") as found:
        history, _ = fit(model, images[0], *images, shuffle=False, **{place: [callback]})
    assert sum("another callback" in str(warning.message) for warning in found) == 1
    # Keras' own callbacks log the rate as well, in float32.
    np.testing.assert_allclose(history.history["learning_rate"], undisturbed_rates, rtol=1e-6)
    assert all_binary(model)


def test_without_other_callbacks_nothing_is_said_of_the_learning_rate(make_network, images, recwarn):
    fit(make_network(), images[0], *images)
    assert not [warning for warning in recwarn if "another callback" in str(warning.message)]
