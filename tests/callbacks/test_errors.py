"""What a user can do wrong with the callbacks, and what they are told."""

import numpy as np
import pytest

import bitat_tf
from bitat_tf._keras import keras, tf
from bitat_tf.callbacks import QuantizationMonitor, Schedule, SequentialBinarization

SCHEDULE = Schedule(0.5, 0.5, 1)


def fit(model, calibration, images, epochs=4, schedule=SCHEDULE, **arguments):
    x, y = images
    model.fit(
        x, y, batch_size=8, epochs=epochs, callbacks=[SequentialBinarization(calibration, schedule, verbose=0)], verbose=0
    )


@pytest.mark.parametrize("epochs", [3, 5])
def test_epochs_that_do_not_match_the_schedule(epochs, make_network, images):
    with pytest.raises(ValueError, match=rf"3 binary layers take 4 epochs. Received: fit\(epochs={epochs}\).*total_epochs"):
        fit(make_network(), images[0], images, epochs=epochs)


@pytest.mark.parametrize("callback", [lambda x: SequentialBinarization(x), lambda x: QuantizationMonitor(x)])
def test_a_model_without_binary_layers(callback, images):
    model = keras.Sequential([keras.Input((7, 7, 2)), keras.layers.Flatten(), keras.layers.Dense(4)])
    model.compile("adam", "sparse_categorical_crossentropy")
    with pytest.raises(ValueError, match=r"has no binary layers. Build it with"):
        model.fit(*images, callbacks=[callback(images[0])], verbose=0)


@pytest.mark.parametrize(
    ("calibration", "message"),
    [
        (lambda x: x[:0], "the calibration data are empty. Pass a few hundred training inputs"),
        (lambda x: tf.data.Dataset.from_tensor_slices(x).take(0).batch(4), "the calibration data are empty"),
        (lambda x: np.where(x > 2, np.nan, x), "calibration data must be finite. Received: [0-9]+ NaN and 0 infinite"),
        (lambda x: np.where(x > 2, np.inf, x), "calibration data must be finite. Received: 0 NaN and [0-9]+ infinite"),
        (lambda x: x[:, :5], r"must have the shape of the model's input, \(None, 7, 7, 2\). Received: \(48, 5, 7, 2\)"),
        (lambda x: tf.data.Dataset.from_tensor_slices(x), r"Received: \(7, 7, 2\).*a dataset must be batched"),
        (lambda x: tf.data.Dataset.from_tensor_slices(x).batch(4).repeat(), "the calibration dataset is endless"),
    ],
)
def test_unusable_calibration_data(calibration, message, make_network, images):
    model = make_network()
    before = model.get_weights()
    with pytest.raises(ValueError, match=message):
        fit(model, calibration(images[0]), images)
    for now, then in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)  # nothing was touched


def test_calibration_of_another_type(make_network, images):
    with pytest.raises(TypeError, match="array of inputs or a tf.data.Dataset of batches. Received: list"):
        fit(make_network(), [1, 2, 3], images)


def test_integer_calibration_data_are_used_as_the_model_uses_them(images):
    x = np.random.default_rng(0).integers(0, 255, (48, 8, 8, 1), dtype=np.uint8)
    model = bitat_tf.applications.ReActNet((8, 8, 1), 4, width=0.25, blocks=((64, 1),))
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    bitat = SequentialBinarization(x, Schedule(1, 0, 0), verbose=0)
    history = model.fit(x, images[1], epochs=bitat.total_epochs(model), callbacks=[bitat], verbose=0).history
    assert np.isfinite(history["loss"]).all()


def test_unknown_number_of_steps(make_network, images):
    model = make_network()
    dataset = tf.data.Dataset.from_tensor_slices(images).batch(8).filter(lambda x, y: True)
    with pytest.raises(ValueError, match="number of steps of an epoch is unknown.*`steps_per_epoch`"):
        model.fit(dataset, epochs=4, callbacks=[SequentialBinarization(images[0], SCHEDULE, verbose=0)], verbose=0)


def test_an_optimizer_with_a_schedule_of_its_own(make_network, images):
    model = make_network(keras.optimizers.Adam(keras.optimizers.schedules.PolynomialDecay(1e-3, 10)))
    with pytest.raises(ValueError, match="the schedule sets the learning rate of every step.*Compile with a constant"):
        fit(model, images[0], images)


def test_a_network_that_has_diverged(make_network, images):
    model = make_network()
    kernel = model.get_layer("stem").kernel
    kernel.assign(np.full(kernel.shape, np.nan))
    with pytest.raises(ValueError, match="the input of a layer must be finite.*lower the learning rate"):
        fit(model, images[0], images)


def test_freezing_in_a_nested_model(make_network, images):
    model = keras.Sequential([keras.Input((7, 7, 2)), make_network()])
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    with pytest.raises(ValueError, match=r"not in a nested model.*Use Schedule\(freeze='never'\)"):
        fit(model, images[0], images, schedule=Schedule(0.5, 0.5, 1, freeze="always"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"order": "random"}, "`order` must be 'bottom_to_top', 'top_to_bottom' or a list"),
        ({"order": ["binary_1", "stem"]}, "must name binary layers of the model, each once"),
        ({"order": ["binary_1", "binary_1"]}, "must name binary layers of the model, each once"),
    ],
)
def test_bad_order(arguments, message, make_network, images):
    with pytest.raises(ValueError, match=message):
        SequentialBinarization(images[0], **arguments).total_epochs(make_network())


def test_unknown_preset():
    with pytest.raises(ValueError, match="`schedule` must be a Schedule or one of 'short', 'paper_imagenet', 'paper_cifar100'"):
        SequentialBinarization(np.zeros((1, 2)), schedule="fast")


def test_no_model_and_an_unbuilt_model():
    with pytest.raises(TypeError, match="expected a tf.keras.Model. Received: 3"):
        SequentialBinarization(np.zeros((1, 2))).total_epochs(3)
    with pytest.raises(ValueError, match="has no weights yet"):
        SequentialBinarization(np.zeros((1, 2))).total_epochs(keras.Sequential([keras.layers.Dense(3)]))


@pytest.mark.parametrize("callback", [lambda x: SequentialBinarization(x, Schedule(1, 0, 0)), QuantizationMonitor])
def test_grouped_convolutions_are_refused_before_training(callback, images):
    layer = bitat_tf.layers.BinaryConv2D(4, 3, groups=2, name="grouped")
    model = keras.Sequential([keras.Input((7, 7, 2)), layer, keras.layers.Flatten(), keras.layers.Dense(4)])
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    with pytest.raises(ValueError, match="layers with groups > 1: grouped. Use groups=1"):
        model.fit(*images, epochs=1, callbacks=[callback(images[0])], verbose=0)


def test_layers_of_the_same_name(images):
    inner = [keras.Sequential([keras.Input((4,)), bitat_tf.layers.BinaryDense(4, name="same")]) for _ in range(2)]
    with pytest.raises(ValueError, match=r"several layers named \['same'\]"):
        SequentialBinarization(images[0]).total_epochs(keras.Sequential([keras.Input((4,)), *inner]))
