"""Cross-layer dependency: how much noise along principal directions a network bears (appendix 7.3, Fig. 3)."""

from collections.abc import Iterable, Sequence
from typing import Any

import keras
import numpy as np
from matplotlib.axes import Axes
from scipy import stats

from bitat_tf._validation import check_choice, check_finite, check_number
from bitat_tf.analysis.checked import checked_noise_layers, checked_samples, checked_sequence
from bitat_tf.analysis.kernel_layers import before_first_call, input_covariance, kernel_matrix
from bitat_tf.analysis.result_table import ResultTable
from bitat_tf.dependency import disentangle

_WHERE = "noise_sensitivity"
_ROWS = ("top", "bottom")
_BATCH = 256
_CALIBRATION = 512
_COLORS = {"top": "#c02020", "bottom": "#2040c0"}


def noise_sensitivity(
    model: keras.Model,
    data: tuple[np.ndarray, np.ndarray],
    scales: Sequence[float],
    rows: str | Sequence[str] = _ROWS,
    k: int = 5,
    dependent: bool | Sequence[bool] = (True, False),
    *,
    calibration: np.ndarray | None = None,
    seeds: Sequence[int] = (0, 1, 2),
) -> ResultTable:
    r"""Measure accuracy under Gaussian noise on rows of the disentangled weights w~ = V^T w (Eq. 4) of every layer.

    The experiment of the appendix, 7.3. Top rows are those of the directions in which the layer's input varies most:

    \[ w \leftarrow w + V_{rows} n, \quad n \sim N(0, \sigma^2), \quad \sigma = scale \cdot rms(w) \]

    Layer-dependent, the covariance of a layer is measured while the noise is in the layers below already; layer-independent,
    all covariances are those of the clean network. That the noise of a layer is in units of the root mean square of its own
    weights is ours: the paper says "varying scales". A seed draws the same n for all scales, rows and kinds of dependency, so
    that curves of one seed differ by nothing else. The model's weights are as before when the function returns.

    Args:
        model: A trained float network; layers of `bitat_tf.layers` in float state. Noise goes into its convolutions and dense
            layers; depthwise and grouped convolutions, whose inputs have no single covariance, stay as they are.
        data: Inputs, prepared as for `fit`, and class indices, shapes (n, ...) and (n,): where accuracy is measured.
        scales: Standard deviations of the noise, relative to the layer's weights; 0 is the clean network.
        rows: "top", "bottom" or both (default).
        k: Number of rows. Default 5 (the paper's); all rows of layers that have fewer.
        dependent: True, False or both (default).
        calibration: Inputs for the covariances, shape (n, ...); they go through the network in one batch, a few hundred are
            enough. Default: 512 of `data`, drawn at random.
        seeds: Seeds of the noise, one curve each. Default three.

    Returns:
        One row for each curve and scale: rows, dependent, scale, seed, accuracy (0 to 1).

    Raises:
        ValueError: If a value is out of range, the data are empty or do not fit each other or the model, layers are binary, or
            no layer takes noise.
        TypeError: If `model` is no Keras model.

    Examples:
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(8, "relu"), keras.layers.Dense(3)])
        >>> x, y = np.random.randn(64, 4).astype("float32"), np.random.randint(0, 3, 64)
        >>> curves = noise_sensitivity(model, (x, y), scales=[0.0, 1.0], rows="top", k=2, dependent=True, seeds=[0])
        >>> curves.columns
        ('rows', 'dependent', 'scale', 'seed', 'accuracy')
        >>> curves.column("scale")
        array([0., 1.])
    """
    layers = checked_noise_layers(_WHERE, model)
    chosen = [rows] if isinstance(rows, str) else checked_sequence(_WHERE, "rows", rows)
    kinds = [dependent] if isinstance(dependent, bool) else checked_sequence(_WHERE, "dependent", dependent)
    seeds, scales = checked_sequence(_WHERE, "seeds", seeds), checked_sequence(_WHERE, "scales", scales)
    for row in chosen:
        check_choice(_WHERE, "rows", row, _ROWS)
    for scale in scales:
        check_number(_WHERE, "scales", scale)
    check_number(_WHERE, "k", k, minimum=1)
    inputs, labels = checked_samples(_WHERE, data, model.output_shape[-1] if model.outputs else None)
    if calibration is None:  # drawn: test sets often come class by class
        calibration = inputs[np.random.default_rng(0).permutation(len(inputs))[:_CALIBRATION]]
    check_finite(_WHERE, "calibration", np.asarray(calibration))
    kernels = [layer.kernel.numpy() for layer in layers]
    clean = _directions(model, layers, calibration) if False in kinds else {}
    found = []
    try:
        for is_dependent in kinds:
            for row in chosen:
                for seed in seeds:
                    for scale in scales:
                        _restore(layers, kernels)
                        noise = _Noise(layers, row, int(k), float(scale), seed)
                        noise.add(model, calibration, None if is_dependent else clean)
                        accuracy = _accuracy(model, inputs, labels)
                        found.append(
                            {"rows": row, "dependent": is_dependent, "scale": float(scale), "seed": seed, "accuracy": accuracy}
                        )
    finally:
        _restore(layers, kernels)
    return ResultTable(tuple(found))


def confidence_bands(curves: ResultTable, confidence: float = 0.95) -> ResultTable:
    """Return the mean accuracy over seeds of each curve and scale, with a confidence interval of that mean (Student's t).

    Args:
        curves: From `noise_sensitivity`.
        confidence: Share of such intervals that hold the mean of all seeds. Default 0.95.

    Returns:
        One row for each curve and scale: rows, dependent, scale, seeds (their number), accuracy, half_width (of the
        interval), low and high (its ends, within 0 and 1). With one seed there is no interval: half_width is 0.

    Examples:
        >>> rows = [{"rows": "top", "dependent": True, "scale": 1.0, "seed": s, "accuracy": a} for s, a in ((0, 0.4), (1, 0.6))]
        >>> confidence_bands(ResultTable(tuple(rows))).column("accuracy")
        array([0.5])
    """
    found = []
    for row in curves.distinct("rows"):
        for dependent in curves.distinct("dependent"):
            curve = curves.where(rows=row, dependent=dependent)
            for scale in curve.distinct("scale") if curve.rows else []:
                values = curve.where(scale=scale).column("accuracy")
                half = 0.0
                if len(values) > 1:
                    half = stats.t.ppf((1 + confidence) / 2, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
                mean = float(values.mean())
                found.append(
                    {
                        "rows": row,
                        "dependent": dependent,
                        "scale": scale,
                        "seeds": len(values),
                        "accuracy": mean,
                        "half_width": float(half),
                        "low": max(mean - float(half), 0.0),
                        "high": min(mean + float(half), 1.0),
                    }
                )
    return ResultTable(tuple(found))


def plot_noise_sensitivity(axes: Axes, curves: ResultTable) -> None:
    """Draw accuracy against scale as Fig. 3 of the paper: top red, bottom blue, layer-dependent solid, independent dashed.

    Bands are 95 % confidence intervals of the mean over seeds.

    Args:
        axes: Where to draw.
        curves: From `noise_sensitivity`.

    Examples:
        >>> rows = [{"rows": "top", "dependent": True, "scale": s, "seed": 0, "accuracy": 1 - s} for s in (0.0, 0.5)]
        >>> axes = Figure().subplots()
        >>> plot_noise_sensitivity(axes, ResultTable(tuple(rows)))
        >>> len(axes.lines)
        1
    """
    bands = confidence_bands(curves)
    for row in bands.distinct("rows"):
        for dependent in bands.distinct("dependent"):
            curve = bands.where(rows=row, dependent=dependent)
            if not curve.rows:
                continue
            scale, color = curve.column("scale"), _COLORS[row]
            label = f"{row} rows, layer-{'dependent' if dependent else 'independent'}"
            axes.plot(
                scale, 100 * curve.column("accuracy"), "o-" if dependent else "s--", markersize=4, color=color, label=label
            )
            axes.fill_between(
                scale, 100 * curve.column("low"), 100 * curve.column("high"), color=color, alpha=0.12, linewidth=0
            )
    axes.set_xlabel("scale of the noise, in root mean squares of a layer's weights")
    axes.set_ylabel("top-1 accuracy, %")
    axes.set_ylim(bottom=0)
    axes.set_title("accuracy under noise along principal directions of every layer's input", fontsize=10)
    axes.legend(fontsize=8)


class _Noise:
    """The noise of one seed and scale."""

    def __init__(self, layers: list[keras.layers.Layer], rows: str, k: int, scale: float, seed: int):
        self._layers, self._rows, self._k, self._scale, self._seed = layers, rows, k, scale, seed

    def add(self, model: keras.Model, calibration: np.ndarray, directions: dict[str, np.ndarray] | None) -> None:
        """Add it to the kernels, along the directions given, or as they are in the network with the noise below them."""
        if self._scale == 0:
            return
        if directions is not None:
            for layer in self._layers:
                self._add_to(layer, directions[layer.name])
            return
        with before_first_call(self._layers, lambda layer, inputs: self._add_to(layer, _principal(layer, inputs))):
            model(calibration, training=False)

    def _add_to(self, layer: keras.layers.Layer, directions: np.ndarray) -> None:
        matrix = kernel_matrix(layer)
        generator = np.random.default_rng((self._seed, self._layers.index(layer)))
        drawn = generator.standard_normal((min(self._k, len(matrix)), matrix.shape[1]))
        columns = directions[:, : len(drawn)] if self._rows == "top" else directions[:, ::-1][:, : len(drawn)]
        sigma = self._scale * np.sqrt(np.mean(matrix**2))
        noisy = (matrix + sigma * columns @ drawn).reshape(layer.kernel.shape)
        layer.kernel.assign(noisy.astype(layer.kernel.dtype))


def _principal(layer: keras.layers.Layer, inputs: np.ndarray) -> np.ndarray:
    return disentangle(input_covariance(layer, [inputs]))[1]


def _directions(model: keras.Model, layers: list[keras.layers.Layer], calibration: np.ndarray) -> dict[str, np.ndarray]:
    """Return V of every layer in the network as it is, by name."""
    found: dict[str, np.ndarray] = {}

    def note(layer: keras.layers.Layer, inputs: np.ndarray) -> None:
        found[layer.name] = _principal(layer, inputs)

    with before_first_call(layers, note):
        model(calibration, training=False)
    return found


def _accuracy(model: keras.Model, inputs: np.ndarray, labels: np.ndarray) -> float:
    outputs = model.predict(inputs, batch_size=_BATCH, verbose=0)
    return float(np.mean(outputs.argmax(axis=-1) == labels))


def _restore(layers: list[keras.layers.Layer], kernels: Iterable[Any]) -> None:
    for layer, kernel in zip(layers, kernels, strict=True):
        layer.kernel.assign(kernel)
