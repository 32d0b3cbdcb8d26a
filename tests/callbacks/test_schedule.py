"""The schedule as plain data: phases, fractions of epochs, learning rates, presets."""

import math
import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitat_tf.callbacks import PRESETS, Schedule
from bitat_tf.callbacks.problems import ShortPhaseWarning, warn_of_short_phases

LAYERS = ["a", "b", "c"]


@settings(deadline=None, max_examples=60)
@given(
    quantization=st.floats(0.1, 3),
    fine_tuning=st.one_of(st.just(0.0), st.floats(0.1, 3)),
    joint=st.one_of(st.just(0.0), st.floats(0.1, 5)),
    layers=st.integers(1, 6),
    steps=st.integers(10, 200),
    decay=st.sampled_from(["run", "phase", "part", "none"]),
)
def test_phases_cover_the_epochs_without_a_gap(quantization, fine_tuning, joint, layers, steps, decay):
    schedule = Schedule(quantization, fine_tuning, joint, decay=decay)
    names = [f"layer_{number}" for number in range(layers)]
    timeline = schedule.timeline(names, steps)
    epochs = schedule.total_epochs(layers)
    exact = layers * (quantization + fine_tuning) + joint
    assert epochs - 1 < exact + 1e-6
    assert exact <= epochs + 1e-6
    assert timeline.phases[0].start == 0
    assert timeline.total_steps == epochs * steps
    for before, after in zip(timeline.phases, timeline.phases[1:], strict=False):
        assert before.stop == after.start
        assert before.start < before.stop
    assert [phase.layer for phase in timeline.phases if phase.kind == "quantization"] == names
    for step in range(0, timeline.total_steps, max(timeline.total_steps // 50, 1)):
        phase = timeline.phases[timeline.index_at(step)]
        assert phase.start <= step < phase.stop
        assert 0 < timeline.learning_rate(step) <= phase.learning_rate


def test_a_phase_of_one_step_may_begin_at_half_a_step():
    timeline = Schedule(0.5, 0.25, 0.1).timeline(["layer"], 10)
    assert [(phase.start, phase.stop) for phase in timeline.phases] == [(0, 5), (5, 8), (8, 10)]


def test_a_decay_over_parts_begins_anew_with_the_joint_phase():
    schedule = Schedule(1, 1, 2, 0.4, 0.4, 0.8, decay="part")
    timeline = schedule.timeline(["first", "second"], 4)
    rates = [timeline.learning_rate(step) for step in range(timeline.total_steps)]
    # 16 steps of the two layers, then 8 of all together, each part linear to zero.
    assert rates == pytest.approx([0.4 * (16 - step) / 16 for step in range(16)] + [0.8 * (8 - step) / 8 for step in range(8)])
    without = Schedule(1, 1, 0, 0.4, 0.4, decay="part").timeline(["first"], 4)
    assert [without.learning_rate(step) for step in range(8)] == pytest.approx([0.4 * (8 - step) / 8 for step in range(8)])


def test_fractions_of_an_epoch():
    timeline = Schedule(quantization_epochs=0.5, fine_tuning_epochs=0.25, joint_epochs=1).timeline(LAYERS, 8)
    assert [(p.kind, p.stage, p.start, p.stop) for p in timeline.phases] == [
        ("quantization", 1, 0, 4),
        ("fine-tuning", 1, 4, 6),
        ("quantization", 2, 6, 10),
        ("fine-tuning", 2, 10, 12),
        ("quantization", 3, 12, 16),
        ("fine-tuning", 3, 16, 18),
        ("joint", 3, 18, 32),  # 3.25 epochs are rounded up to 4; the joint phase takes what that adds
    ]


def test_linear_decay_over_the_run_and_over_each_phase():
    lengths = {"quantization_epochs": 1, "fine_tuning_epochs": 1, "joint_epochs": 2}
    rates = {"quantization_learning_rate": 0.4, "fine_tuning_learning_rate": 0.2, "joint_learning_rate": 0.1}
    run = Schedule(**lengths, **rates, decay="run").timeline(["a"], 10)
    assert [run.learning_rate(step) for step in (0, 5, 10, 39)] == pytest.approx([0.4, 0.4 * 35 / 40, 0.2 * 30 / 40, 0.1 / 40])
    phase = Schedule(**lengths, **rates, decay="phase").timeline(["a"], 10)
    assert [phase.learning_rate(step) for step in (0, 5, 10, 20, 39)] == pytest.approx([0.4, 0.2, 0.2, 0.1, 0.1 / 20])
    none = Schedule(**lengths, **rates, decay="none").timeline(["a"], 10)
    assert [none.learning_rate(step) for step in (9, 19, 39)] == pytest.approx([0.4, 0.2, 0.1])


@pytest.mark.parametrize(
    ("freeze", "expected"),
    [("never", (False, False, False)), ("quantization", (True, False, False)), ("always", (True, True, False))],
)
def test_what_is_frozen_in_which_phase(freeze, expected):
    schedule = Schedule(freeze=freeze)
    assert tuple(schedule.freezes(phase) for phase in schedule.timeline(["a"], 10).phases) == expected


def test_presets_hold_the_published_numbers():
    imagenet, cifar = PRESETS["paper_imagenet"], PRESETS["paper_cifar100"]
    assert imagenet.total_epochs(26) == 26 * (5 + 5)
    assert cifar.total_epochs(26) == 26 * (40 + 40)
    assert (imagenet.quantization_learning_rate, imagenet.fine_tuning_learning_rate) == (2e-3, 2e-4)
    assert (cifar.quantization_learning_rate, cifar.fine_tuning_learning_rate) == (3e-4, 3e-4)
    for preset in (imagenet, cifar):
        assert (preset.strength, preset.l1, preset.decay) == (100, 1e-5, "phase")


def test_a_phase_shorter_than_a_step_is_an_error():
    with pytest.raises(ValueError, match="quantization phase of 0.01 epochs is shorter than one of the 10 steps"):
        Schedule(quantization_epochs=0.01).timeline(LAYERS, 10)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"quantization_epochs": 0}, "`quantization_epochs` must be a finite number > 0. Received: quantization_epochs=0"),
        ({"joint_epochs": -1}, "`joint_epochs` must be a finite number >= 0"),
        ({"strength": math.inf}, "`strength` must be a finite number"),
        ({"joint_learning_rate": "fast"}, "`joint_learning_rate` must be a finite number > 0"),
        ({"decay": "cosine"}, "`decay` must be one of 'run', 'phase', 'part', 'none'"),
        ({"freeze": True}, "`freeze` must be one of 'never', 'quantization', 'always'"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        Schedule(**arguments)


@pytest.mark.parametrize(
    ("epochs", "steps", "cure"),
    [
        (
            (0.5, 0.5, 10),
            3,
            r"fine-tuning phases of 1 of the 3 steps of an .*Schedule\(quantization_epochs=6.7, fine_tuning_epochs=6.7\)",
        ),
        ((2, 1, 10), 12, r"fine-tuning phases of 12 of the 12 steps of an epoch.*Schedule\(fine_tuning_epochs=1.7\)"),
        ((2, 2, 0.5), 12, r"joint phases of 12 of the 12 steps of an epoch.*Schedule\(joint_epochs=1.7\)"),
        ((0.5, 0.5, 1), 40, None),
        ((5, 0, 0), 4, None),
    ],
)
def test_phases_of_few_steps_are_noticed(epochs, steps, cure):
    timeline = Schedule(*epochs).timeline(["a", "b"], steps)
    if cure is None:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warn_of_short_phases(timeline, steps)
    else:
        with pytest.warns(ShortPhaseWarning, match=f"in less than about 20 steps.*Received: {cure}"):
            warn_of_short_phases(timeline, steps)
