"""The comparison of recipes: what it shares between runs, what its page says, and, slowly, the digits themselves."""

import re
from pathlib import Path

import numpy as np
import pytest

from benchmarks import accuracy
from benchmarks.accuracy_options import commands, load, parse, setting_of
from benchmarks.accuracy_page import BY_HAND, page, write_report
from benchmarks.accuracy_recipes import ABLATIONS, RECIPES, bitat, with_arguments
from benchmarks.accuracy_results import (
    best_rate,
    chosen_runs,
    differences,
    is_done,
    only_setting,
    read_results,
    runs_by_rate,
)
from benchmarks.accuracy_runs import Run, digest_of, parse_blocks
from bitat_tf.calibration import measure_dependency
from bitat_tf.callbacks import PRESETS
from bitat_tf.data import load_digits
from bitat_tf.layers import binary_layers

# Two blocks, four binary layers; seconds a run.
DIGITS = ["--data", "digits", "--blocks", "64,128/2", "--augment", "shift", "--validation-share", "0.1", "--batch-size", "32"]


@pytest.fixture(scope="module")
def digits():
    return load_digits()


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """Return a folder in which the float network is kept once a test has trained it."""
    return tmp_path_factory.mktemp("work")


def setting(digits, *more):
    return setting_of(parse([*DIGITS, *more]), digits)


def run(digits, tmp_path, *more, seed=0, epochs=2):
    return Run(setting(digits, *more), digits, seed, epochs, 1e-3, tmp_path)


def result(recipe, seed, test, val=0.3, cpu_seconds=10.0, epochs=3, learning_rate=0.01, float_network="abc", **setting):
    curves = {name: [0.1] * (epochs - 1) + [0.2] for name in ("val_accuracy", "float_q_orig", "float_q_ours", "float_q_ratio")}
    shared = {
        **{"data": "digits", "digest": "f00", "image_size": None, "subset": None, "validation_share": 0.1, "augment": "shift"},
        **{"width": 0.5, "stem_stride": None, "blocks": [[64, 1], [128, 2]], "batch_size": 32, "float_epochs": 10},
        **{"float_learning_rate": 2e-3, "calibration": 512},
    }
    return {
        "recipe": recipe,
        "seed": seed,
        "epochs": epochs,
        "learning_rate": learning_rate,
        "test_accuracy": test,
        "val_accuracy": val,
        "seconds": 1.0,
        "cpu_seconds": cpu_seconds,
        "float_network": float_network,
        "setting": {**shared, **setting},
        "threads": 1,
        "machine": {"cpu": "a processor", "versions": {"tensorflow": "2.21"}},
        "curves": curves,
    }


def test_blocks_are_filters_and_strides():
    assert parse_blocks("64/2, 128,256/1") == ((64, 2), (128, 1), (256, 1))
    with pytest.raises(ValueError, match=r"Received: '64/3'"):
        parse_blocks("64/3")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "digits", "--epochs", "1"], "must be at least 2.*Received: 1"),
        (["--data", "digits", "--subset", "100"], "are for folders"),
        (["--epochs", "4"], "--data is missing"),
    ],
)
def test_options_that_cannot_be_are_refused(arguments, message, capsys):
    with pytest.raises(SystemExit):
        parse(arguments)
    assert re.search(message, capsys.readouterr().err)


def test_a_folder_named_digits_is_not_the_digits(tmp_path):
    with pytest.raises(FileNotFoundError, match=str(tmp_path / "digits")):
        load(parse(["--data", str(tmp_path / "digits")]))


def test_other_pictures_have_another_digest(digits):
    changed = load_digits()
    changed.train_images[0, 0, 0, 0] += 1
    assert digest_of(digits) == digest_of(load_digits()) != digest_of(changed)


def test_what_is_done_is_of_one_setting_length_and_rate():
    results = [result("bitat", 0, 0.4), result("bitat", 1, 0.5, width=1.0), result("float", 0, 0.6, epochs=10)]
    shared = results[0]["setting"]
    assert is_done(results, shared, "bitat", 0, 3, 0.01)
    assert not is_done(results, shared, "bitat", 1, 3, 0.01), "of another width"
    assert not is_done(results, shared, "bitat", 0, 4, 0.01)
    assert not is_done(results, shared, "bitat", 0, 3, 0.02)
    assert not is_done(results, shared, "two-step", 0, 3, 0.01)
    assert is_done(results, shared, "float", 0, 4, 0.02), "one float network for all of them"
    closed = [result("post-training", 0, 0.2, epochs=0, learning_rate=0.0)]
    assert is_done(closed, shared, "post-training", 0, 4, 0.02), "nothing in it is trained"
    assert set(chosen_runs(closed, RECIPES, 8)["post-training"]) == {0}


def test_a_page_is_of_one_setting():
    with pytest.raises(ValueError, match="differ in width"):
        only_setting([result("bitat", 0, 0.4), result("bitat", 1, 0.5, width=1.0)])
    with pytest.raises(ValueError, match="Received: 0 runs"):
        page([])


def test_the_learning_rate_is_chosen_on_validation_over_shared_seeds():
    results = [result("bitat", 0, test=0.1, val=0.30, learning_rate=0.01), result("bitat", 1, test=0.9, val=0.10)]
    results += [result("bitat", 0, test=0.9, val=0.29, learning_rate=0.02)]
    assert best_rate(runs_by_rate(results, "bitat", 3)) == 0.01, "seed 1 counts for neither, the test images never"
    assert set(chosen_runs(results, RECIPES, 3)["bitat"]) == {0, 1}
    with pytest.raises(ValueError, match="on the same seeds"):
        best_rate({0.01: {0: results[0]}, 0.02: {1: results[1]}})


def test_differences_pair_the_seeds_that_both_have():
    runs = {
        "bitat": {seed: result("bitat", seed, 0.4 + seed / 100) for seed in (0, 1, 2)},
        "two-step": {seed: result("two-step", seed, 0.4) for seed in (2, 1)},
    }
    np.testing.assert_allclose(differences(runs, "bitat", "two-step"), [1, 2])
    assert len(differences(runs, "bitat", "one-shot")) == 0
    runs["two-step"][2]["float_network"] = "another"
    with pytest.raises(ValueError, match="seed 2 began with different float networks"):
        differences(runs, "bitat", "two-step")


@pytest.fixture
def results():
    found = [result("float", seed, 0.6, epochs=10) for seed in (0, 1)]
    found += [result("two-step", seed, accuracy, cpu_seconds=20.0) for seed, accuracy in ((0, 0.40), (1, 0.44))]
    found += [result("bitat", seed, accuracy, cpu_seconds=30.0) for seed, accuracy in ((0, 0.45), (1, 0.45))]
    found += [result("bitat", 0, 0.9, val=0.2, learning_rate=0.02)]
    return [*found, result("lambda-0", 0, 0.43, val=0.25)]


def test_the_page_has_mean_spread_margin_and_ratio_of_times(results):
    text = page(results)
    assert "| (c) BiTAT, the library's default | 0.01 | 0, 1 | 45.00 ± 0.00 | 30.00 ± 0.00 | 15.00 | 30 | 1.50 |" in text
    assert "less (b) ReActNet: activations, then weights: 3.00 ± 2.83 (+5.00, +1.00)" in text
    assert "**0.01: 30.00 ± 0.00 (0, 1)**; 0.02: 20.00 (one seed) (0)" in text
    ablation = (
        "| without the disentangled loss (lambda 0) | 0 | 25.00 (one seed) | -5.00 (one seed) | -2.00 (one seed) | 0.33 |"
    )
    assert ablation in text


def test_the_commands_of_the_page_make_its_runs(results):
    asked = set()
    results.append(result("post-training", 0, 0.2, epochs=0, learning_rate=0.0))
    for command in commands(results, "accuracy"):
        options = parse(command.split()[3:])
        assert {name: getattr(options, name) for name in ("width", "float_epochs", "batch_size", "augment")} == {
            name: results[0]["setting"][name] for name in ("width", "float_epochs", "batch_size", "augment")
        }
        (rate,) = options.learning_rates
        for recipe in options.recipes:
            length = (0, 0.0) if recipe == "post-training" else (options.epochs, rate)
            asked |= {(recipe, seed, *length) for seed in options.seeds}
    there = {(r["recipe"], r["seed"], r["epochs"], r["learning_rate"]) for r in results if r["recipe"] != "float"}
    assert asked == there


def test_what_is_written_by_hand_stays(results, tmp_path):
    path = tmp_path / "accuracy.md"
    write_report(results, path)
    path.write_text(path.read_text() + "\nA remark.\n")
    write_report(results, path)
    assert path.read_text() == f"{page(results)}\n{BY_HAND}\n\nA remark.\n"
    path.write_text("A page of somebody else.")
    with pytest.raises(ValueError, match="Received: a page without that line"):
        write_report(results, path)
    assert path.read_text() == "A page of somebody else."


def test_a_damaged_line_is_named(tmp_path):
    (tmp_path / "accuracy.jsonl").write_text('{"recipe": "float"}\n{"recipe":\n')
    with pytest.raises(ValueError, match="line 2 of"):
        read_results(tmp_path / "accuracy.jsonl")


def test_the_page_of_the_documentation_is_that_of_the_stored_results():
    docs = Path(accuracy.__file__).parents[1] / "docs"
    generated, mark, _ = (docs / "accuracy.md").read_text().partition(BY_HAND)
    assert mark
    assert generated == page(read_results(docs / "accuracy.jsonl")) + "\n"


@pytest.mark.slow
def test_a_network_with_other_arguments_computes_the_same(digits, work):
    shared = run(digits, work, "--float-epochs", "1")
    model, _ = shared.train_float()
    copy = with_arguments(model, disentangled={"error": "original", "num_groups": 16}, input_quantizer="ste_sign")
    images = shared.calibration[:8]
    np.testing.assert_allclose(copy.predict(images, verbose=0), model.predict(images, verbose=0), rtol=1e-5, atol=1e-5)
    regularizer = binary_layers(copy)[0].disentangled_regularizer
    assert (regularizer.error, regularizer.num_groups, regularizer.residual) == ("original", 16, True)


def test_every_call_begins_the_same_order_and_augmentation(digits, tmp_path):
    shared = run(digits, tmp_path, seed=3)
    first, again = (shared.training_data() for _ in range(2))
    for _ in range(2):
        for (pictures, labels), (pictures_again, labels_again) in zip(first, again, strict=True):
            np.testing.assert_array_equal(labels, labels_again)
            np.testing.assert_array_equal(pictures, pictures_again)


@pytest.mark.parametrize(("recipe", "error"), [("q-orig", "original"), ("q-ours", "disentangled")])
def test_another_error_costs_as_much_as_the_default_one_where_it_starts(recipe, error, digits, work, monkeypatch):
    shared, started = run(digits, work, "--float-epochs", "1"), []
    model, _ = shared.train_float()
    monkeypatch.setattr(Run, "sequential", lambda self, model, schedule, *rest, **more: started.append((model, schedule)))
    ABLATIONS[recipe].train(shared)
    ((network, schedule),) = started
    layers = binary_layers(network)
    assert {layer.disentangled_regularizer.error for layer in layers} == {error}
    found = measure_dependency(model, shared.calibration)
    total = found.q_orig if error == "original" else found.q_ours
    assert schedule.strength * total == pytest.approx(found.q_rel * len(layers), rel=1e-4)


def test_phases_that_do_not_fit_are_refused_and_the_papers_are_its_preset(digits, work, monkeypatch):
    shared = run(digits, work, "--float-epochs", "1", epochs=4)
    shared.train_float()
    with pytest.raises(ValueError, match="4 layers with phases of 1.0 epochs take more.*Received: 4.0 epochs"):
        ABLATIONS["phases-1"].train(shared)
    schedules = []
    monkeypatch.setattr(Run, "sequential", lambda self, model, schedule, *rest, **more: schedules.append(schedule))
    ABLATIONS["paper-literal"].train(shared)
    bitat(shared)
    paper, default = schedules
    preset = PRESETS["paper_imagenet"]
    for name in ("strength", "l1", "freeze", "retarget", "center_thresholds", "decay"):
        assert getattr(paper, name) == getattr(preset, name)
        assert getattr(default, name) == getattr(PRESETS["short"], name)
    for schedule in schedules:
        assert (schedule.quantization_epochs, schedule.fine_tuning_epochs, schedule.joint_epochs) == (0.25, 0.25, 2.0)


@pytest.mark.slow
@pytest.mark.exhaustive
def test_the_comparison_on_the_digits(tmp_path, capsys):
    recipes = ["one-shot", "two-step", "bitat", "bitat-distilled", "post-training", "lambda-0", "lambda-10"]
    results, work = tmp_path / "accuracy.jsonl", tmp_path / "work"
    arguments = [*DIGITS, "--results", str(results), "--work", str(work), "--float-epochs", "10", "--epochs", "10"]
    arguments += ["--float-learning-rate", "1e-3", "--learning-rates", "1e-3", "--seeds", "0", "1", "--recipes", *recipes]
    accuracy.main(arguments)
    found = read_results(results)
    assert len(found) == 2 * (1 + len(recipes))
    runs = chosen_runs(found, recipes, 10)
    for seed in (0, 1):
        for recipe in recipes:
            assert runs[recipe][seed]["test_accuracy"] > 0.4, "chance is 0.1"
        # Equal steps and the same images: only the two phases of (b) begin their decay twice.
        assert {len(runs[recipe][seed]["curves"]["loss"]) for recipe in recipes if recipe != "post-training"} == {10}
        # Disconnected, the disentangled loss would leave both runs the same to the last bit.
        sequence = slice(0, 4)  # the epochs of the four layers
        strong, without = (np.array(runs[recipe][seed]["curves"]["q_rel"])[sequence] for recipe in ("lambda-10", "lambda-0"))
        assert strong.mean() < 0.97 * without.mean(), "the loss must lower the errors that it is made of"
    for other in ("one-shot", "two-step", "post-training"):
        assert differences(runs, "bitat", other).mean() > 3, "at this rate, in so few steps"
    capsys.readouterr()
    accuracy.main(arguments)
    assert capsys.readouterr().out == "", "nothing is missing, so that nothing is done"
    accuracy.main(["--report", "--results", str(results)])
    assert "(c) BiTAT" in (tmp_path / "accuracy.md").read_text()
    for name in ("accuracy", "accuracy_errors", "accuracy_budgets"):
        assert (tmp_path / "images" / f"{name}.png").stat().st_size > 10_000


def test_recipes_and_ablations_are_those_of_the_documentation():
    assert not set(RECIPES) & set(ABLATIONS)
    assert {"lambda-0", "q-orig", "float-reference", "k-16", "k-64", "k-full", "reverse"} <= set(ABLATIONS)
