"""What TensorBoard reads: the event files, read again."""

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from bitat_tf.analysis import FloatReference, GapMonitor, SignFlipMonitor
from bitat_tf.callbacks import Schedule, SequentialBinarization, StageSummaries


@pytest.fixture
def fitted(make_network, tmp_path):
    """Return a function that trains a network and returns the callbacks and what the event files hold."""

    def fit(**arguments):
        model = make_network()
        x, y = np.random.default_rng(0).random((24, 7, 7, 2)).astype(np.float32), np.arange(24) % 3
        bitat, flips = SequentialBinarization(x, Schedule(joint_epochs=1), verbose=0), SignFlipMonitor()
        gap = GapMonitor(FloatReference(model, x))
        summaries = StageSummaries(tmp_path, [bitat, flips, gap], **arguments)
        # Keras' own callback records nothing between the batches that `update_freq` names: ours must not be silenced by that.
        callbacks = [bitat, flips, gap, keras.callbacks.TensorBoard(str(tmp_path), update_freq=100), summaries]
        history = model.fit(x, y, batch_size=6, epochs=bitat.total_epochs(model), callbacks=callbacks, verbose=0).history
        events = EventAccumulator(str(tmp_path / "binarization"), {"tensors": 0}).Reload()
        return model, bitat, flips, history, events

    return fit


def values(events, tag):
    found = [(event.step, float(tf.make_ndarray(event.tensor_proto))) for event in events.Tensors(tag)]
    assert len({step for step, _ in found}) == len(found), f"{tag}: written twice in a step"
    return dict(found)


def test_every_layer_and_the_schedule_have_their_tags(fitted):
    model, bitat, flips, history, events = fitted(histogram_freq=2)
    names = [layer.name for layer in model.layers if hasattr(layer, "state")]
    tags = set(events.Tags()["tensors"])
    expected = {
        f"layers/{name}/{value}" for name in names for value in ("q_orig", "q_ours", "q_rel", "q_ratio", "rate", "binary")
    }
    assert expected | {"schedule/stage", "schedule/learning_rate", "schedule/timeline"} <= tags
    for name in names:
        for source, column in ((bitat, "q_ours"), (flips, "rate")):
            found = {row["epoch"]: row[column] for row in source.layer_history if row["layer"] == name}
            assert values(events, f"layers/{name}/{column}") == pytest.approx(found, rel=1e-6)
    assert values(events, "schedule/stage") == dict(enumerate(history["stage"]))
    assert values(events, "schedule/learning_rate") == pytest.approx(dict(enumerate(history["learning_rate"])), rel=1e-6)
    # Layer n is binary from the end of epoch n on: one epoch a layer.
    for number, name in enumerate(names):
        assert values(events, f"layers/{name}/binary") == {
            epoch: float(epoch >= number) for epoch in range(len(history["loss"]))
        }
    histograms = {event.step for event in events.Tensors(f"layers/{names[0]}/latent_weights")}
    assert histograms == {0, 2}


@pytest.mark.slow
def test_the_timeline_is_a_table(fitted):
    model, bitat, _, _, events = fitted()
    (event,) = events.Tensors("schedule/timeline")
    text = tf.make_ndarray(event.tensor_proto).item().decode()
    assert len(text.splitlines()) == 2 + len(bitat.timeline.phases)
    assert f"| 1: {model.layers[3].name} | quantization | 0.00 | 0.50 | 0.01 |" in text
    assert "| all | joint | 3.00 | 4.00 |" in text
    assert not any("latent_weights" in tag for tag in events.Tags()["tensors"]), "histograms by option"


@pytest.mark.slow
def test_kerass_own_curves_stand_beside(fitted, tmp_path):
    fitted()
    assert {path.name for path in Path(tmp_path).iterdir()} >= {"binarization", "train"}


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"sources": []}, ValueError, "at least one callback"),
        ({"sources": keras.callbacks.Callback()}, TypeError, "with a `layer_history`"),
        ({"sources": SignFlipMonitor(), "histogram_freq": -1}, ValueError, "`histogram_freq` must be a finite number >= 0"),
    ],
)
def test_refuses(tmp_path, arguments, error, message):
    with pytest.raises(error, match=message):
        StageSummaries(tmp_path, **arguments)


def test_refuses_to_stand_before_the_schedule(make_network, tmp_path):
    model, x = make_network(), np.random.default_rng(0).random((24, 7, 7, 2)).astype(np.float32)
    bitat = SequentialBinarization(x, Schedule(joint_epochs=1), verbose=0)
    with pytest.raises(ValueError, match="must come before it"):
        model.fit(x, np.arange(24) % 3, batch_size=6, epochs=4, callbacks=[StageSummaries(tmp_path, bitat), bitat], verbose=0)


def test_refuses_models_without_binary_layers(tmp_path):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    model.compile("adam", "mse")
    with pytest.raises(ValueError, match="has no binary layers"):
        model.fit(np.zeros((4, 4)), np.zeros((4, 2)), callbacks=[StageSummaries(tmp_path, SignFlipMonitor())], verbose=0)
