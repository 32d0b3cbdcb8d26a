"""What a user can do wrong with the callbacks, and what they are told."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import bitat_tf
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
    with pytest.raises(
        ValueError,
        match=r"(SequentialBinarization|QuantizationMonitor): model .* has no binary layers: it is a float network. "
        r"Received: 2 layers, .*"
        r"Let binary = bitat_tf.binarize",
    ):
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
    with pytest.raises(TypeError, match="array of inputs, or batches of them .* Received: int"):
        fit(make_network(), 3, images)


def test_integer_calibration_data_are_used_as_the_model_uses_them(images):
    x = np.random.default_rng(0).integers(0, 255, (48, 8, 8, 1), dtype=np.uint8)
    model = bitat_tf.applications.ReActNet((8, 8, 1), 4, width=0.25, blocks=((64, 1),))
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    bitat = SequentialBinarization(x, Schedule(1, 0, 0), verbose=0)
    history = model.fit(x, images[1], epochs=bitat.total_epochs(model), callbacks=[bitat], verbose=0).history
    assert np.isfinite(history["loss"]).all()


@pytest.mark.parametrize("pixels", ["one image", "images without content"])
def test_calibration_data_that_say_little(pixels, make_network, images):
    """They are used: nothing in them forbids it. The user is told, also of which layer nothing is known."""
    calibration = images[0][:1] if pixels == "one image" else np.zeros_like(images[0])
    model = make_network()
    if pixels == "one image":
        with pytest.warns(UserWarning, match=r"few samples say little. Received: 1 calibration inputs. Pass a few hundred"):
            fit(model, calibration, images)
    else:
        with pytest.warns(UserWarning, match="binary input of layer 'binary_1' is the same everywhere.*Q_rel is NaN.*Pass"):
            fit(model, calibration, images)
    assert np.isfinite(model.history.history["loss"]).all()
    assert all(layer.state == "binary" for layer in bitat_tf.layers.binary_layers(model))


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
    with pytest.raises(TypeError, match="expected a keras.Model. Received: 3"):
        SequentialBinarization(np.zeros((1, 2))).total_epochs(3)
    with pytest.raises(ValueError, match="has no weights yet"):
        SequentialBinarization(np.zeros((1, 2))).total_epochs(keras.Sequential([keras.layers.Dense(3)]))


def grouped_network(groups=2, channels=2):
    layers = [keras.layers.Conv2D(channels, 1), bitat_tf.layers.BinaryConv2D(channels, 3, groups=groups, name="grouped")]
    layers += [bitat_tf.layers.BinaryConv2D(4, 3, name="whole"), keras.layers.Flatten(), keras.layers.Dense(4)]
    model = keras.Sequential([keras.Input((7, 7, 2)), *layers])
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def test_grouped_convolutions_are_refused_where_every_layer_is_measured(images):
    with pytest.raises(ValueError, match="layers with groups > 1: grouped. Use groups=1"):
        grouped_network().fit(*images, epochs=1, callbacks=[QuantizationMonitor(images[0])], verbose=0)


def test_grouped_convolutions_become_binary_without_the_loss_and_are_named(images):
    model = grouped_network(2, 64)
    before = model.get_layer("grouped").latent_kernel
    bitat = SequentialBinarization(images[0], Schedule(0.5, 0.5, 1, refresh_epochs=0.3), verbose=0)
    with pytest.warns(UserWarning, match="grouped convolutions have no single covariance; grouped become binary without"):
        model.fit(*images, batch_size=12, epochs=bitat.total_epochs(model), callbacks=[bitat], verbose=0)
    grouped, whole = model.get_layer("grouped"), model.get_layer("whole")
    assert (grouped.state, whole.state) == ("binary", "binary")
    assert grouped.quantization_errors() is None
    assert whole.quantization_errors().q_rel > 0
    assert {row["layer"] for row in bitat.layer_history} == {"whole"}
    assert not np.array_equal(before, grouped.latent_kernel)  # it trains, by the task's loss alone


def test_layers_that_will_not_be_binary_on_the_device_are_named_before_training(images):
    model = grouped_network(2, 4)
    bitat = SequentialBinarization(images[0], Schedule(0.5, 0, 0), verbose=0)
    with pytest.warns(UserWarning, match="some layers will not be binary in the exported file") as caught:
        model.fit(*images, batch_size=12, epochs=bitat.total_epochs(model), callbacks=[bitat], verbose=0)
    (message,) = [str(warning.message) for warning in caught if "will not be binary" in str(warning.message)]
    assert "grouped: its groups have 2 channels, no multiple of 32" in message
    assert "(rule 4). Use groups of 32" in message
    assert "bitat_tf.check(model) lists everything" in message


def test_layers_of_the_same_name(images):
    inner = [keras.Sequential([keras.Input((4,)), bitat_tf.layers.BinaryDense(4, name="same")]) for _ in range(2)]
    with pytest.raises(ValueError, match=r"several layers named \['same'\]"):
        SequentialBinarization(images[0]).total_epochs(keras.Sequential([keras.Input((4,)), *inner]))
