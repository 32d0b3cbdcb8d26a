"""How strongly the disentangled loss pulls: as a layer says, or the schedule; never something else than either has named."""

from dataclasses import replace

import keras
import numpy as np
import pytest

from bitat_tf.callbacks import PRESETS, QuantizationMonitor, Schedule, SequentialBinarization
from bitat_tf.layers import BinaryDense, binary_layers
from bitat_tf.regularizers import DisentangledRegularizer

SHORT = Schedule(1, 0, 0)


def network(*regularizers):
    dense = [BinaryDense(4, disentangled_regularizer=one, name=f"layer_{number}") for number, one in enumerate(regularizers)]
    model = keras.Sequential([keras.Input((6,)), *dense])
    model.compile("adam", "mse")
    return model


@pytest.fixture(scope="module")
def data():
    x = np.random.default_rng(0).normal(size=(16, 6)).astype(np.float32)
    return x, x[:, :4]


def in_force(model, data, schedule):
    """Return lambda and gamma of each layer, as a training step sees them in the layer's quantization phase."""
    seen = {}

    class Look(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            for layer in binary_layers(self.model):
                held = float(layer.disentangled_state.strength), float(layer.disentangled_state.l1)
                if any(held):
                    seen.setdefault(layer.name, held)

    bitat = SequentialBinarization(data[0], schedule, verbose=0)
    model.fit(*data, batch_size=16, epochs=bitat.total_epochs(model), callbacks=[bitat, Look()], verbose=0)
    return {name: pytest.approx(held) for name, held in seen.items()}


def test_a_layers_own_values_hold_and_the_defaults_where_nobody_names_one(data, tmp_path):
    given = [DisentangledRegularizer(strength=1000.0), DisentangledRegularizer(l1=0.25), None]
    model = network(*given, DisentangledRegularizer(cross_layer=True))
    expected = {"layer_0": (1000.0, 1e-5), "layer_1": (1.0, 0.25), "layer_2": (1.0, 1e-5), "layer_3": (1.0, 1e-5)}
    model.save(tmp_path / "model.keras")
    assert in_force(model, data, SHORT) == expected
    # What was named, and what was not, is in the file.
    loaded = keras.models.load_model(tmp_path / "model.keras")
    named = [(layer.disentangled_regularizer.strength, layer.disentangled_regularizer.l1) for layer in binary_layers(loaded)]
    assert named == [(1000.0, None), (None, 0.25), (None, None), (None, None)]
    with pytest.raises(ValueError, match="layer 'layer_0'"):
        SequentialBinarization(data[0], replace(SHORT, strength=2.0)).total_epochs(loaded)


def test_the_schedules_values_hold_for_layers_that_name_none_or_the_same(data):
    model = network(DisentangledRegularizer(strength=5.0), None, DisentangledRegularizer())
    found = in_force(model, data, replace(SHORT, strength=5.0, l1=0.5))
    assert found == {f"layer_{number}": (5.0, 0.5) for number in range(3)}


@pytest.mark.parametrize(("name", "own", "schedules"), [("strength", 1000.0, 2.0), ("l1", 0.0, 0.1), ("strength", 0.0, 100.0)])
def test_two_different_values_are_refused_before_training(name, own, schedules, data):
    model = network(None, DisentangledRegularizer(**{name: own}))
    weights = model.get_weights()
    bitat = SequentialBinarization(data[0], replace(SHORT, **{name: schedules}), verbose=0)
    message = (
        rf"layer 'layer_1' and the schedule name different values of `{name}`. Received: "
        rf"DisentangledRegularizer\({name}={own:g}\) and Schedule\({name}={schedules:g}\). Leave it out of the schedule "
    )
    with pytest.raises(ValueError, match=message):
        bitat.total_epochs(model)
    with pytest.raises(ValueError, match=message):
        model.fit(*data, epochs=2, callbacks=[bitat], verbose=0)
    for now, then in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(now, then)


def test_presets_of_the_paper_name_theirs_and_the_default_names_none():
    assert [(preset.strength, preset.l1) for preset in PRESETS.values()] == [(None, None), (100.0, 1e-5), (100.0, 1e-5)]


@pytest.mark.slow
def test_without_a_schedule_a_layer_without_a_regularizer_is_not_pulled_at(data):
    model = network(None, DisentangledRegularizer())
    model.fit(*data, callbacks=[QuantizationMonitor(data[0])], verbose=0)
    assert [float(layer.disentangled_state.strength) for layer in binary_layers(model)] == [0.0, 1.0]


def test_in_files_from_before_the_schedules_values_hold():
    """All values stood in them, whether somebody had named them or not."""
    before = {"strength": 0.0, "l1": 0.0, "num_groups": 7, "error": "original", "residual": False, "cross_layer": False}
    regularizer = DisentangledRegularizer.from_config(before)
    assert (regularizer.strength, regularizer.l1, regularizer.num_groups, regularizer.error) == (None, None, 7, "original")
    by_hand = {"strength": 0.0, "l1": 0.0, "num_groups": 7}
    assert DisentangledRegularizer.from_config(by_hand).strength == 0.0
    given = DisentangledRegularizer(strength=0.0, l1=0.0)
    assert DisentangledRegularizer.from_config(given.get_config()).get_config() == given.get_config()
