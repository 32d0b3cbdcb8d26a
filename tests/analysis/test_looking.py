"""Spectra, sign flips, histograms and agreement, against numpy."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from matplotlib.figure import Figure
from networks import binary_network, covariance, patches, pictures

from bitat_tf import analysis
from bitat_tf.analysis import ResultTable
from bitat_tf.callbacks import Backup


def test_spectrum_is_that_of_the_covariance_of_the_signs():
    x, network = pictures(), binary_network()
    own = analysis.spectra(network, x).where(layer="conv")
    c = covariance(np.where(patches(x, 3) >= 0, 1.0, -1.0))
    values = np.linalg.eigvalsh(c)[::-1]
    np.testing.assert_allclose(own.column("eigenvalue"), np.maximum(values, 0), atol=1e-5)
    np.testing.assert_allclose(own.column("importance") ** 2, own.column("eigenvalue"))
    assert own.column("cumulative_share")[-1] == pytest.approx(1)
    assert own.column("share")[0] == pytest.approx(values[0] / np.trace(c), rel=1e-4)


@pytest.mark.parametrize(
    ("values", "rank"), [([1, 1, 1, 1], 4.0), ([5, 0, 0, 0], 1.0), ([0, 0, 0, 0], 0.0), ([2, 1, 0, 0], 1.8)]
)
def test_effective_rank(values, rank):
    table = ResultTable(tuple({"layer": "conv", "eigenvalue": float(value)} for value in values))
    assert analysis.effective_ranks(table).rows == ({"layer": "conv", "directions": 4, "effective_rank": pytest.approx(rank)},)


def test_sign_flips_counts_what_was_turned():
    before, after = binary_network(), binary_network()
    kernel = after.get_layer("dense").latent_kernel_matrix.copy()
    kernel[:2, :3] *= -1
    after.get_layer("dense").set_latent_kernel(kernel)
    assert analysis.sign_flips(before, after).rows == (
        {"layer": "conv", "weights": 216, "flips": 0, "rate": 0.0},
        {"layer": "dense", "weights": 40, "flips": 6, "rate": 0.15},
    )
    other = keras.Sequential([keras.Input((6, 6, 3)), keras.layers.Flatten()])
    with pytest.raises(ValueError, match="has no binary layers"):
        analysis.sign_flips(before, other)
    smaller = keras.Sequential([keras.Input((6, 6, 3)), *binary_network().layers[:1]])
    with pytest.raises(ValueError, match=r"the same names and shapes. Received: \['conv', 'dense'\] and \['conv'\]"):
        analysis.sign_flips(before, smaller)
    axes = Figure().subplots()
    analysis.plot_sign_flips(axes, analysis.sign_flips(before, after))
    assert [patch.get_height() for patch in axes.patches] == [0.0, 15.0]


def test_flips_of_an_epoch_are_those_between_its_ends():
    x, model = pictures(), binary_network()
    model.compile(keras.optimizers.Adam(0.05), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    states = [{name: model.get_layer(name).latent_kernel_matrix >= 0 for name in ("conv", "dense")}]

    def note(*_):
        states.append({name: model.get_layer(name).latent_kernel_matrix >= 0 for name in ("conv", "dense")})

    monitor = analysis.SignFlipMonitor()
    callbacks = [monitor, keras.callbacks.LambdaCallback(on_epoch_end=note)]
    history = model.fit(x, np.arange(len(x)) % 5, epochs=3, callbacks=callbacks, verbose=0).history
    changed = [sum(np.sum(a[name] != b[name]) for name in a) / 256 for a, b in zip(states, states[1:], strict=False)]
    np.testing.assert_allclose(history["sign_flips"], changed)
    assert max(changed) > 0
    axes = Figure().subplots()
    analysis.plot_sign_flips(axes, monitor.layer_history)
    assert [line.get_label() for line in axes.lines] == ["conv", "dense"]
    np.testing.assert_array_equal(axes.lines[0].get_xdata(), [1, 2, 3])


def test_flips_after_a_backup_are_counted_from_the_backup(tmp_path):
    x, y = pictures(), np.arange(24) % 5

    def fit(epochs):
        model, monitor = binary_network(), analysis.SignFlipMonitor()
        model.compile(keras.optimizers.Adam(0.05), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        backup = Backup(tmp_path / "backup", delete_checkpoint=False, largest_share=1)
        model.fit(x, y, epochs=epochs, shuffle=False, callbacks=[monitor, backup], verbose=0)
        return monitor.layer_history

    first, resumed = fit(2), fit(3)
    assert [row["epoch"] for row in resumed] == [2, 2]
    keras.backend.clear_session()
    assert sum(row["flips"] for row in resumed) < sum(row["flips"] for row in first), "not from the untrained network"


def test_sign_flips_need_binary_layers():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    model.compile("adam", "mse")
    with pytest.raises(ValueError, match="no binary layers"):
        model.fit(np.zeros((4, 4)), np.zeros((4, 2)), callbacks=[analysis.SignFlipMonitor()], verbose=0)


def test_weight_histograms():
    network = binary_network()
    own = analysis.weight_histograms(network, bins=20).where(layer="conv")
    weights = network.get_layer("conv").latent_kernel_matrix.astype(float).ravel()
    scale = np.sqrt((weights**2).mean())
    expected, edges = np.histogram(weights / scale, 20)
    widths = own.column("right") - own.column("left")
    np.testing.assert_allclose(own.column("density") * widths * weights.size, expected)
    np.testing.assert_allclose(own.column("left"), edges[:-1])
    assert own.column("scale")[0] == pytest.approx(scale)


def test_activation_histograms_count_outliers_and_what_the_thresholds_let_through():
    x, network = 4 * pictures(), binary_network()
    network.get_layer("conv").input_quantizer.threshold.assign([0.5, 0.0, -1.0])
    own = analysis.activation_histograms(network, x, bins=12, limits=(-2, 2)).where(layer="conv")
    expected, _ = np.histogram(np.clip(x, -2, 2), 12, (-2, 2))
    np.testing.assert_allclose(own.column("density") * (4 / 12) * x.size, expected, rtol=1e-6)
    assert own.column("positive")[0] == pytest.approx(np.mean(x + [0.5, 0, -1.0] >= 0))
    assert (np.abs(x) > 2).any(), "there are outliers"


@pytest.mark.parametrize(
    ("arguments", "message"), [({"bins": 0}, "`bins` must be a finite number >= 1"), ({"limits": (1, 1)}, "must lie below")]
)
def test_histograms_refuse(arguments, message):
    with pytest.raises(ValueError, match=message):
        analysis.activation_histograms(binary_network(), pictures(), **arguments)


def test_agreement_is_the_correlation_of_the_outputs():
    x, before, after = pictures(), binary_network(), binary_network()
    for name in ("conv", "dense"):
        after.get_layer(name).set_binary()
    found = analysis.layer_agreement(before, after, x)
    for name in ("conv", "dense"):
        outputs = []
        for model in (before, after):
            layer = model.get_layer(name)
            values = keras.Model(model.inputs, layer.output).predict(x, verbose=0)
            outputs.append(values.reshape(-1, values.shape[-1]).astype(float))
        channels = [np.corrcoef(a, b)[0, 1] for a, b in zip(outputs[0].T, outputs[1].T, strict=True)]
        row = found.where(layer=name).rows[0]
        assert row["correlation"] == pytest.approx(np.mean(channels), abs=1e-4)
        assert row["lowest"] == pytest.approx(np.min(channels), abs=1e-4)
        assert row["explained"] == pytest.approx(np.mean(np.square(channels)), abs=1e-4)
        assert 0.2 < row["correlation"] < 0.99


def test_agreement_of_a_dead_channel_is_0():
    x, before, after = pictures(), binary_network(), binary_network()
    kernel = before.get_layer("conv").latent_kernel_matrix.copy()
    kernel[:, 0] = 0
    before.get_layer("conv").set_latent_kernel(kernel)
    assert analysis.layer_agreement(before, after, x).rows[0]["lowest"] == 0.0


def test_agreement_needs_the_same_layers_in_float_state():
    other = keras.Sequential([keras.Input((6, 6, 3)), *binary_network().layers[:1]])
    with pytest.raises(ValueError, match="without dense"):
        analysis.layer_agreement(binary_network(), other, pictures())
    binary = binary_network()
    binary.get_layer("conv").set_binary()
    with pytest.raises(ValueError, match="in float state. Received: model 'sequential.*', in which conv are not"):
        analysis.layer_agreement(binary, binary_network(), pictures())


def test_agreement_pairs_the_same_pictures_of_a_dataset_that_shuffles():
    x, network = pictures(), binary_network()
    data = tf.data.Dataset.from_tensor_slices(x).shuffle(len(x)).batch(5)
    np.testing.assert_allclose(analysis.layer_agreement(network, network, data).column("correlation"), 1, atol=1e-5)


def test_weights_that_are_no_numbers_are_named():
    network = binary_network()
    network.get_layer("dense").set_latent_kernel(np.full((8, 5), np.nan))
    with pytest.raises(ValueError, match="latent weights of layer 'dense' must be finite. Received: 40 NaN"):
        analysis.weight_histograms(network)


def test_plots_draw_every_layer():
    x, network = pictures(), binary_network()
    axes = Figure().subplots()
    analysis.plot_spectra(axes, analysis.spectra(network, x))
    assert [line.get_label() for line in axes.lines] == ["conv", "dense"]
    axes = Figure().subplots()
    table = analysis.layer_agreement(network, network, x)
    analysis.plot_layer_agreement(axes, table)
    assert [patch.get_height() for patch in axes.patches] == table.column("correlation").tolist()
    drawn = analysis.plot_histograms(Figure(), analysis.weight_histograms(network))
    assert [axes.get_title() for axes in drawn] == ["conv", "dense"]


def test_result_table(tmp_path):
    table = ResultTable(({"layer": "a<b", "rate": 0.123456, "n": 1}, {"layer": "c", "rate": 1e-7, "n": 2}))
    assert table.to_csv(tmp_path / "t.csv").read_text() == "layer,rate,n\na<b,0.123456,1\nc,1e-07,2\n"
    assert "0.1235" in str(table)
    assert "a&lt;b" in table._repr_html_()
    assert len(table.where(n=2)) == 1
    with pytest.raises(ValueError, match="no column 'x'. It has layer, rate, n"):
        table.column("x")
    with pytest.raises(ValueError, match="no column 'x'"):
        table.where(x=1)
    long = ResultTable(tuple({"i": i} for i in range(100)))
    assert "60 of 100 rows" in str(long)
    assert "60 of 100 rows" in long._repr_html_()
