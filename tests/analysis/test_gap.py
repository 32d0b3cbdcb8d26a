"""Q_orig, Q_ours and their ratio against the float network, by the formulas in numpy."""

import keras
import numpy as np
import pytest
from matplotlib.figure import Figure
from networks import binary_network, covariance, patches, pictures

from bitat_tf.analysis import (
    FloatReference,
    GapMonitor,
    plot_q_ratio,
    plot_quantization_gap,
    q_ratio_curve,
    quantization_gap,
)


def expected_errors(float_weights, binary_weights, rows):
    """Q_orig and Q_ours, each at its own best scale of every column, from the definitions."""
    c = covariance(np.where(rows >= 0, 1.0, -1.0))
    signs = np.where(binary_weights >= 0, 1.0, -1.0)
    q_orig = q_ours = 0.0
    for w, b in zip(float_weights.T, signs.T, strict=True):
        q_orig += np.sum((w - max(b @ w / (b @ b), 0) * b) ** 2)
        e = w - max(b @ c @ w / (b @ c @ b), 0) * b
        q_ours += e @ c @ e
    return q_orig, q_ours


@pytest.fixture(scope="module")
def gap():
    x = pictures()
    before, after = binary_network(0), binary_network(0)
    generator = np.random.default_rng(1)
    kernel = after.get_layer("conv").latent_kernel_matrix
    after.get_layer("conv").set_latent_kernel(kernel + generator.normal(size=kernel.shape) * 0.1)
    for layer in ("conv", "dense"):
        after.get_layer(layer).set_binary()
    return x, before, after, quantization_gap(before, {"signs": before, "after": after}, x)


@pytest.mark.parametrize("network", ["signs", "after"])
def test_as_in_numpy(gap, network):
    x, before, after, table = gap
    models = {"signs": before, "after": after}
    found = table.where(network=network)
    weights = [model.get_layer("conv").latent_kernel_matrix.astype(float) for model in (before, models[network])]
    q_orig, q_ours = expected_errors(*weights, patches(x, 3))
    row = found.where(layer="conv").rows[0]
    assert row["q_orig"] == pytest.approx(q_orig, rel=1e-4)
    assert row["q_ours"] == pytest.approx(q_ours, rel=1e-3)
    assert row["q_ratio"] == pytest.approx(q_ours / q_orig, rel=1e-3)
    total, dense = found.where(layer="network").rows[0], found.where(layer="dense").rows[0]
    assert total["q_ours"] == pytest.approx(row["q_ours"] + dense["q_ours"])
    assert total["q_orig"] == pytest.approx(row["q_orig"] + dense["q_orig"])


def test_other_signs_are_further_away(gap):
    totals = gap[3].where(layer="network")
    assert totals.where(network="after").rows[0]["q_orig"] > totals.where(network="signs").rows[0]["q_orig"]


def test_a_reference_measured_before_gives_the_same(gap):
    x, before, after, table = gap
    assert quantization_gap(FloatReference(before, x), {"after": after}).rows == table.where(network="after").rows


def test_monitor_logs_what_the_function_returns(gap):
    x, before, _, _ = gap
    model = binary_network(0)
    for layer in ("conv", "dense"):
        model.get_layer(layer).set_binary()
    model.compile(keras.optimizers.Adam(0.05), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    monitor = GapMonitor(FloatReference(before, x))
    history = model.fit(x, np.arange(len(x)) % 5, epochs=2, callbacks=[monitor], verbose=0).history
    total = quantization_gap(before, {"now": model}, x).where(layer="network").rows[0]
    assert history["float_q_ours"][-1] == pytest.approx(total["q_ours"])
    assert history["float_q_ratio"][-1] == pytest.approx(total["q_ratio"])
    assert history["float_q_orig"][0] != history["float_q_orig"][1], "signs moved"
    last = [row for row in monitor.layer_history if row["epoch"] == 1]
    assert sum(row["float_q_orig"] for row in last) == pytest.approx(total["q_orig"])
    np.testing.assert_allclose(q_ratio_curve(history).column("q_ratio"), history["float_q_ratio"])


def test_refuses_networks_that_do_not_fit(gap):
    x, before, _, _ = gap
    other = keras.Sequential([keras.Input((6, 6, 3)), *binary_network(0).layers[:1]])
    with pytest.raises(ValueError, match="layer 'dense' is missing in model"):
        quantization_gap(before, {"other": other}, x)
    for nothing in ({}, before):
        with pytest.raises(ValueError, match="at least one network by its name"):
            quantization_gap(before, nothing, x)
    with pytest.raises(TypeError, match="must be a FloatReference"):
        GapMonitor(before)
    other.compile("adam", "mse")
    with pytest.raises(ValueError, match="layer 'dense' is missing"):
        other.fit(x, np.zeros((len(x), 4, 4, 8)), callbacks=[GapMonitor(FloatReference(before, x))], verbose=0)
    binary = binary_network()
    binary.get_layer("dense").set_binary()
    with pytest.raises(ValueError, match="in float state"):
        FloatReference(binary, x)


def test_plot_has_a_bar_for_each_network_and_layer(gap):
    axes = Figure().subplots()
    plot_quantization_gap(axes, gap[3])
    table = gap[3]
    heights = [patch.get_height() for patch in axes.patches]
    assert heights == [
        table.where(network=network, layer=layer).rows[0]["q_ours"]
        for network in ("signs", "after")
        for layer in ("conv", "dense")
    ]
    total = table.where(network="signs", layer="network").rows[0]["q_ours"]
    assert axes.get_legend().get_texts()[0].get_text() == f"signs (network: {total:.4g})"


def test_curve_from_rows_of_a_csv_log_leaves_out_what_is_not_there():
    rows = [{"q_ratio": ""}, {"q_ratio": "nan"}, {"q_ratio": "2.5"}, {"q_ratio": "2.0"}]
    curve = q_ratio_curve(rows)
    assert curve.rows == ({"epoch": 3, "q_ratio": 2.5}, {"epoch": 4, "q_ratio": 2.0})
    axes = Figure().subplots()
    plot_q_ratio(axes, {"run": curve})
    np.testing.assert_array_equal(axes.lines[0].get_xydata(), [[3, 2.5], [4, 2.0]])


def test_curve_of_a_resumed_run_has_every_epoch_once_and_begins_after_the_float_run():
    rows = [{"run": "float", "epoch": "0", "q_ratio": ""}, {"run": "binary", "epoch": "0", "q_ratio": "3.0"}]
    rows += [{"run": "binary", "epoch": epoch, "q_ratio": value} for epoch, value in (("1", "9.0"), ("1", "2.0"), ("2", "1.5"))]
    assert q_ratio_curve(rows).rows == (
        {"epoch": 1, "q_ratio": 3.0},
        {"epoch": 2, "q_ratio": 2.0},
        {"epoch": 3, "q_ratio": 1.5},
    )


def test_the_monitors_curve_comes_before_the_schedules():
    assert q_ratio_curve({"q_ratio": [1.0], "float_q_ratio": [3.0]}).column("q_ratio").tolist() == [3.0]
    with pytest.raises(ValueError, match=r"Received: \['loss'\]. Train with GapMonitor"):
        q_ratio_curve({"loss": [1.0]})


def test_other_entries_may_have_fewer_values():
    assert q_ratio_curve({"q_ratio": [3.0, 2.0, 1.0], "val_loss": [0.5]}).column("q_ratio").tolist() == [3.0, 2.0, 1.0]
