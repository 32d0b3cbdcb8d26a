"""What a schedule sets in a model is undone where an exception ends `fit`, wherever it comes from."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from bitat_tf.callbacks import Backup, Schedule, SequentialBinarization
from bitat_tf.layers import binary_layers

BATCH = 8  # 48 images: 6 steps an epoch
SCHEDULE = Schedule(0.5, 0.5, 1, strength=3.0)
EPOCHS = 4
USERS = 0.0  # with which plain training changes no kernel


class Interrupt(keras.callbacks.Callback):
    """Raises at the end of a step in the quantization phase of the second layer."""

    def on_train_batch_end(self, batch, logs=None):
        if self.model.get_layer("binary_2").state == "binary":
            raise KeyboardInterrupt


def failing(images, samples):
    """Return a dataset that raises after some samples, inside of the step that asks for the next one."""
    x, y = images

    def generate():
        for number, pair in enumerate(zip(x, y, strict=True)):
            if number == samples:
                raise OSError("the disk is gone")
            yield pair

    signature = (tf.TensorSpec((7, 7, 2)), tf.TensorSpec((), tf.int64))
    return tf.data.Dataset.from_generator(generate, output_signature=signature).batch(BATCH)


def fit(model, images, *callbacks, data=None, **arguments):
    bitat = SequentialBinarization(images[0], SCHEDULE, verbose=0)
    data = images if data is None else (data,)
    callbacks = [bitat, *callbacks]
    model.fit(*data, batch_size=BATCH, epochs=EPOCHS, callbacks=callbacks, shuffle=False, verbose=0, **arguments)


def strengths(model):
    return [float(layer.disentangled_state.strength) for layer in binary_layers(model)]


def rate(model):
    return float(model.optimizer.learning_rate)


@pytest.fixture
def model(make_network):
    return make_network(keras.optimizers.SGD(USERS))


def test_an_exception_in_a_training_step(model, images):
    with pytest.raises(tf.errors.OpError, match="the disk is gone"):
        fit(model, images, data=failing(images, 2 * BATCH), steps_per_epoch=6)
    assert (rate(model), strengths(model)) == (USERS, [0.0] * 3)


def test_an_exception_in_the_validation(model, images):
    with pytest.raises(tf.errors.OpError, match="the disk is gone"):
        fit(model, images, validation_data=failing(images, BATCH), validation_steps=3)
    assert (rate(model), strengths(model)) == (USERS, [0.0] * 3)
    model.evaluate(*images, verbose=0)


def test_an_exception_of_the_schedule_itself(model, images):
    class Break(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            self.model.get_layer("logits").bias.assign([np.nan] * 4)

    with pytest.raises(ValueError, match="loss became nan in the quantization phase"):
        fit(model, images, Break())
    assert (rate(model), strengths(model)) == (USERS, [0.0] * 3)


def test_an_exception_of_another_callback_is_noticed_by_the_next_step(model, images):
    with pytest.raises(KeyboardInterrupt):
        fit(model, images, Interrupt())
    assert strengths(model) == [0.0, 3.0, 0.0]  # Keras tells nobody
    before = [layer.kernel.numpy() for layer in (model.get_layer("stem"), model.get_layer("binary_2"))]
    model.fit(*images, batch_size=BATCH, verbose=0)
    assert (rate(model), strengths(model)) == (USERS, [0.0] * 3)
    after = [layer.kernel.numpy() for layer in (model.get_layer("stem"), model.get_layer("binary_2"))]
    for now, then in zip(after, before, strict=True):
        np.testing.assert_array_equal(now, then)  # also the first step was the user's


@pytest.mark.slow
def test_or_by_the_next_schedule_also_if_the_model_is_compiled_anew(model, images):
    with pytest.raises(KeyboardInterrupt):
        fit(model, images, Interrupt())
    model.compile(model.optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    assert rate(model) > USERS
    with pytest.warns(UserWarning, match="starts anew"):
        fit(model, images)
    assert (rate(model), strengths(model)) == (USERS, [0.0] * 3)


@pytest.mark.slow
def test_a_run_with_backups_that_was_interrupted_ends_with_the_same_bits(make_network, images, tmp_path):
    whole = make_network()
    start = whole.get_weights()
    fit(whole, images)
    model = make_network()
    model.set_weights(start)
    with pytest.raises(KeyboardInterrupt):
        fit(model, images, Backup(tmp_path / "backup", largest_share=1), Interrupt())
    fit(model, images, Backup(tmp_path / "backup", largest_share=1))
    assert rate(model) == rate(whole)
    for now, then in zip(model.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_array_equal(now, then)


def test_two_schedules_in_one_fit_are_refused_and_nothing_is_touched(model, images):
    before = model.get_weights()
    for second in (SequentialBinarization(images[0], SCHEDULE, verbose=0), None):
        first = SequentialBinarization(images[0], SCHEDULE, verbose=0)
        with pytest.raises(ValueError, match="a model follows one schedule at a time. Received: several Sequential"):
            model.fit(*images, epochs=EPOCHS, callbacks=[first, second or first], verbose=0)
    for now, then in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)
    assert rate(model) == USERS


def test_data_that_run_out_end_no_schedule(model, images):
    """For a step they are an exception; Keras goes on with the next epoch."""
    data = tf.data.Dataset.from_tensor_slices(images).batch(BATCH).take(5)
    seen = []
    watch = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: seen.append((rate(model) > USERS, max(strengths(model))))
    )
    with pytest.warns(UserWarning, match="ran out of data"):
        fit(model, images, watch, data=data, steps_per_epoch=6)
    assert all(scheduled for scheduled, _ in seen)
    assert {strength for _, strength in seen} == {0.0, 3.0}
    assert [layer.state for layer in binary_layers(model)] == ["binary"] * 3
    assert (rate(model), strengths(model)) == (USERS, [0.0] * 3)
