"""The comparison of recipes: what it shares between runs, what its page says, and, slowly, the digits themselves."""

import json

import numpy as np
import pytest

from benchmarks import accuracy
from benchmarks.accuracy_page import BY_HAND, by_recipe, differences, page
from benchmarks.accuracy_recipes import ABLATIONS, RECIPES, rebuilt
from benchmarks.accuracy_runs import Run, parse_blocks
from bitat_tf.layers import binary_layers

# Two blocks, four binary layers; seconds a run.
DIGITS = ["--data", "digits", "--blocks", "64,128/2", "--augment", "shift", "--validation-share", "0.1", "--batch-size", "32"]


def options(tmp_path, *more):
    return [*DIGITS, "--results", str(tmp_path / "accuracy.jsonl"), "--work", str(tmp_path / "work"), *more]


def setting(*more):
    return accuracy.setting_of(accuracy.parse([*DIGITS, *more]))


def test_blocks_are_filters_and_strides():
    assert parse_blocks("64/2, 128,256/1") == ((64, 2), (128, 1), (256, 1))
    with pytest.raises(ValueError, match=r"Received: '64/3'"):
        parse_blocks("64/3")


def result(recipe, seed, test, val=0.3, seconds=10.0, epochs=3, **changes):
    curves = {name: [0.1] * (epochs - 1) + [0.2] for name in ("val_accuracy", "float_q_orig", "float_q_ours", "float_q_ratio")}
    machine = {"cpu": "a processor", "versions": {"tensorflow": "2.21"}}
    return {
        "recipe": recipe,
        "seed": seed,
        "test_accuracy": test,
        "val_accuracy": val,
        "seconds": seconds,
        "setting": json.loads(json.dumps(setting(*changes.get("more", [])).to_dict())),
        "threads": 1,
        "machine": machine,
        "curves": curves,
    }


def test_results_of_other_settings_are_not_mixed():
    results = [result("bitat", 0, 0.4), result("bitat", 1, 0.5, more=["--epochs", "7"])]
    assert set(by_recipe(results, setting())["bitat"]) == {0}
    assert accuracy.is_done(results, setting(), "bitat", 0)
    assert not accuracy.is_done(results, setting(), "bitat", 1)
    assert not accuracy.is_done(results, setting(), "two-step", 0)


def test_differences_pair_the_seeds_that_both_have():
    results = [result("bitat", seed, 0.4 + seed / 100) for seed in (0, 1, 2)] + [
        result("two-step", seed, 0.4) for seed in (2, 1)
    ]
    runs = by_recipe(results, setting())
    np.testing.assert_allclose(differences(runs, "bitat", "two-step"), [1, 2])
    assert len(differences(runs, "bitat", "one-shot")) == 0


def test_the_page_has_mean_spread_margin_and_ratio_of_times():
    results = [result("float", seed, 0.6) for seed in (0, 1)]
    results += [result("two-step", seed, accuracy, seconds=20.0) for seed, accuracy in ((0, 0.40), (1, 0.44))]
    results += [result("bitat", seed, accuracy, seconds=30.0) for seed, accuracy in ((0, 0.45), (1, 0.45))]
    results += [result("lambda-0", 0, 0.43, val=0.25)]
    text = page(results, setting(), ["--data", "digits"])
    assert "| (c) BiTAT, the library's default | 0, 1 | 45.00 ± 0.00 | 30.00 ± 0.00 | 15.00 | 30 | 1.50 |" in text
    assert "less (b) ReActNet: activations, then weights: 3.00 ± 2.83 (+5.00, +1.00)" in text
    assert (
        "| without the disentangled loss (lambda 0) | 0 | 25.00 (one seed) | -5.00 (one seed) | -2.00 (one seed) | 0.33 |"
        in text
    )
    assert "python -m benchmarks.accuracy --data digits --report" in text


def test_a_page_without_runs_is_refused():
    with pytest.raises(ValueError, match="no runs of this setting"):
        page([result("float", 0, 0.6)], setting("--epochs", "7"), [])


def test_a_damaged_line_is_named(tmp_path):
    (tmp_path / "accuracy.jsonl").write_text('{"recipe": "float"}\n{"recipe":\n')
    with pytest.raises(ValueError, match="line 2 of"):
        accuracy.read_results(tmp_path / "accuracy.jsonl")


def test_a_rebuilt_network_computes_the_same(tmp_path):
    run = Run(setting("--float-epochs", "1"), 0, "digits", tmp_path)
    model, _ = run.train_float()
    copy = rebuilt(model, disentangled={"error": "original", "num_groups": 16}, input_quantizer="ste_sign")
    images = run.calibration[:8]
    np.testing.assert_allclose(copy.predict(images, verbose=0), model.predict(images, verbose=0), rtol=1e-5, atol=1e-5)
    regularizer = binary_layers(copy)[0].disentangled_regularizer
    assert (regularizer.error, regularizer.num_groups, regularizer.residual) == ("original", 16, True)


def test_every_call_begins_the_same_order_and_augmentation(tmp_path):
    run = Run(setting(), 3, "digits", tmp_path)
    first, again = (run.training_data() for _ in range(2))
    for _ in range(2):
        for (pictures, labels), (pictures_again, labels_again) in zip(first, again, strict=True):
            np.testing.assert_array_equal(labels, labels_again)
            np.testing.assert_array_equal(pictures, pictures_again)


@pytest.mark.slow
def test_the_comparison_on_the_digits(tmp_path, capsys):
    recipes = ["one-shot", "two-step", "bitat", "bitat-distilled", "post-training", "lambda-0", "lambda-10"]
    arguments = options(tmp_path, "--float-epochs", "10", "--epochs", "10", "--seeds", "0", "1", "--width", "0.5")
    accuracy.main([*arguments, "--recipes", *recipes])
    results = accuracy.read_results(tmp_path / "accuracy.jsonl")
    assert len(results) == 2 * (1 + len(recipes))
    runs = by_recipe(results, accuracy.setting_of(accuracy.parse(arguments)))
    for seed in (0, 1):
        for recipe in recipes:
            assert runs[recipe][seed]["test_accuracy"] > 0.4, "chance is 0.1"
        # Equal steps and the same images: only the two phases of (b) begin their decay twice.
        assert {len(runs[recipe][seed]["curves"]["loss"]) for recipe in recipes if recipe != "post-training"} == {10}
        # Disconnected, the disentangled loss would leave both runs the same to the last bit.
        sequence = slice(0, 4)  # the epochs of the four layers
        strong, without = (np.array(runs[recipe][seed]["curves"]["q_rel"])[sequence] for recipe in ("lambda-10", "lambda-0"))
        assert strong.mean() < 0.9 * without.mean(), "the loss must lower the errors that it is made of"
    for other in ("one-shot", "two-step", "post-training"):
        assert differences(runs, "bitat", other).mean() > 3, "at this rate, in so few steps"
    capsys.readouterr()
    accuracy.main([*arguments, "--recipes", *recipes])
    assert capsys.readouterr().out == "", "nothing is missing, so that nothing is done"
    accuracy.main([*arguments, "--report"])
    report = tmp_path / "accuracy.md"
    report.write_text(report.read_text() + "\nA remark.\n")
    accuracy.main([*arguments, "--report"])
    assert report.read_text().endswith(f"{BY_HAND}\n\nA remark.\n")
    assert (tmp_path / "images" / "accuracy.png").stat().st_size > 10_000
    assert (tmp_path / "images" / "accuracy_errors.png").stat().st_size > 10_000


def test_recipes_and_ablations_are_those_of_the_documentation():
    assert not set(RECIPES) & set(ABLATIONS)
    assert {"lambda-0", "q-orig", "float-reference", "k-16", "k-64", "k-full", "reverse"} <= set(ABLATIONS)
