"""How well the outputs of a file agree with those of a model: pure functions on arrays.

What a network gives decides how it is judged. Classes are compared by the largest unit, decisions at their threshold, and all
outputs by their difference relative to their spread, the standard deviation of the model's outputs over the samples. An output
that says nothing (always the mean) differs by 1 spread, whatever it is: so no output agrees by having one unit only.
"""

from dataclasses import dataclass

import numpy as np

from bitat_tf._tables import ShownAsTable

SAME, DIFFERENT, NO_VERDICT = "same", "different", "no verdict"

TOP_1, DECISIONS, VALUES, UNKNOWN = "top-1", "decisions", "values", "values or top-1"

_BEYOND_ROUNDING = 1e-3  # of the largest output: what is counted as different beyond rounding
_ROUNDING = 1e-5  # of the largest output: smaller spreads and distances from a threshold are rounding of float32
_SMALLEST = 1e-6  # outputs below it are 0
_OPPOSITE = 2.0  # relative difference of the opposite; outputs for other samples differ by 1.4, the mean by 1
_PERCENTILES = (50, 90, 99, 100)
_OTHER_DATA = "Give data on which it gives different outputs: several samples, of several classes, prepared as for training."
_CLASSES_OR_VALUES = (
    "whether the units are classes. If they are, pass labels or the names of the classes, or compile the model with a "
    "cross-entropy."
)


@dataclass(frozen=True)
class Measure:
    """How an output is judged.

    Attributes:
        kind: "top-1": the largest unit of the last axis; "decisions": each unit above or below a threshold; "values": by the
            differences alone; "values or top-1": several units of which nothing says whether they are values or classes. These
            must agree as values; if only their top-1 does, there is no verdict.
        threshold: Of decisions: 0.5 of probabilities, 0 of logits.
        because: What says so, for people: "softmax", "labels", ...
    """

    kind: str = VALUES
    threshold: float = 0.0
    because: str = ""

    def __str__(self) -> str:
        what = f"decisions at {self.threshold:g}" if self.kind == DECISIONS else self.kind
        return f"{what} ({self.because})" if self.because else what


@dataclass(frozen=True)
class Limits:
    """What file and model may differ by and still be the same.

    Attributes:
        minimum_agreement: Share of the decisions, or of the samples of "values", that must agree. A value on the threshold of a
            sign may fall on the other side of it, so some samples may differ. 0: whatever; there is no verdict then.
        maximum_difference: Largest difference of a sample of "values", relative to the spread.
    """

    minimum_agreement: float = 0.9
    maximum_difference: float = 0.1

    @property
    def overall(self) -> float:
        """Largest relative difference of an output over all samples.

        As if the samples that agree differed by `maximum_difference`, and the others were outputs for other samples: two
        independent draws differ by sqrt(2) spreads. By default 0.46, of an int8 rest 0.65.
        """
        agree = self.minimum_agreement
        return float(np.sqrt(agree * self.maximum_difference**2 + 2 * (1 - agree)))


FLOAT_DIFFERENCE = 0.1
"""Default `maximum_difference` of a float rest, where all differences are rounding (1e-6) or values on a threshold."""

INT8_DIFFERENCE = 0.5
"""Default `maximum_difference` of an int8 rest. In trained networks nine samples of ten differ by less than 0.35; with ranges
that do not fit the data, half of them by more than 0.7. An output that says nothing differs by 1."""


@dataclass(frozen=True)
class OutputAgreement(ShownAsTable):
    """How an output of the file compares with that of the model.

    Attributes:
        name: The output's name in the model.
        measure: How it was judged.
        samples: Number of samples compared.
        agreement: Share that agrees: of the decisions (one a sample, or one a pixel or unit), of "values" the samples that
            differ by at most `maximum_difference` of the spread.
        varies: Whether the model's outputs differ between samples, beyond rounding.
        relative_difference: Root of the mean squared difference over the spread, of "values" that of the worst unit; over the
            largest output where they do not vary. None if the file's outputs are not finite.
        largest_difference: Largest absolute difference. None if the file's outputs are not finite.
        percentiles: Of each sample's largest difference, by percentile, in units of the output.
        share_different: Share of the samples with a difference beyond rounding: 1e-3 of the largest output, or a step of an
            int8 output's grid.
        verdict: "same", "different" or "no verdict".
        reason: Why it is not "same", and what can be done; empty if it is.
        accuracy, keras_accuracy: Share of the labels that the file and the model meet, if labels were given.
    """

    name: str
    measure: Measure
    samples: int
    agreement: float
    varies: bool
    relative_difference: float | None
    largest_difference: float | None
    percentiles: dict[str, float | None]
    share_different: float
    verdict: str
    reason: str = ""
    accuracy: float | None = None
    keras_accuracy: float | None = None


def compare_outputs(
    expected: np.ndarray,
    found: np.ndarray,
    measure: Measure = Measure(),  # noqa: B008 (frozen)
    limits: Limits = Limits(),  # noqa: B008 (frozen)
    step: float = 0.0,
    name: str = "output",
) -> OutputAgreement:
    """Compare an output of a file with that of the model.

    Args:
        expected: The model's outputs, shape (n, ...) or (n, ..., units), n >= 1, finite.
        found: The file's, of the same shape.
        measure: How they are judged. Default: by the differences alone.
        limits: What they may differ by.
        step: Of the grid of an int8 output; 0 for floats. Differences of up to a step are rounding.
        name: Of the output, for the report.

    Returns:
        An `OutputAgreement`.

    Raises:
        ValueError: If the shapes differ or there are no samples.

    Examples:
        >>> expected = np.array([[0.1], [0.4], [0.6], [0.9]])
        >>> compare_outputs(expected, expected + 0.001).verdict
        'same'
        >>> compare_outputs(expected, np.full((4, 1), 0.5), Measure("decisions", 0.5)).verdict
        'different'
        >>> compare_outputs(np.full((4, 1), 0.5), np.full((4, 1), 0.5)).verdict
        'no verdict'
    """
    expected, found = np.asarray(expected), np.asarray(found)
    if expected.shape != found.shape or not len(expected):
        raise ValueError(
            f"compare_outputs: needs outputs of one shape, of at least one sample. Received: {expected.shape}, {found.shape}."
        )
    if expected.ndim == 1:
        expected, found = expected[:, None], found[:, None]
    kind = VALUES if measure.kind == UNKNOWN else measure.kind
    difference = np.where(np.isfinite(found), np.abs(expected - found), np.inf)
    samples = _per_sample(difference).max(axis=1)
    scale, varies = _scale(expected, kind, step)
    relative = np.where(difference <= step, 0.0, difference / scale)
    units = np.sqrt(np.square(relative).reshape(-1, relative.shape[-1]).mean(axis=0))
    if kind == VALUES:
        overall = float(units.max())
        of_samples = np.sqrt(np.square(_per_sample(relative)).mean(axis=1))
        agreement = float(np.mean(of_samples <= limits.maximum_difference))
        decided = True
    else:
        overall = float(np.sqrt(np.square(units).mean()))
        agreement = float(np.mean(_agree(expected, found, difference, measure, step)))
        decided = _differ_in_decision(expected, measure)
    verdict, reason = _verdict(_Found(kind, agreement, overall, varies, decided), limits)
    if measure.kind == UNKNOWN and verdict == DIFFERENT:
        if compare_outputs(expected, found, Measure(TOP_1), limits, step).verdict != DIFFERENT:
            verdict, reason = NO_VERDICT, f"{reason} But the largest unit agrees, and nothing says {_CLASSES_OR_VALUES}"
    rounding = max(step, _BEYOND_ROUNDING * max(float(np.abs(expected).max()), _SMALLEST))
    return OutputAgreement(
        name=name,
        measure=measure,
        samples=len(expected),
        agreement=agreement,
        varies=varies,
        relative_difference=_finite(overall),
        largest_difference=_finite(float(samples.max())),
        percentiles={str(percent): _finite(_percentile(samples, percent)) for percent in _PERCENTILES},
        share_different=float(np.mean(samples > rounding)),
        verdict=verdict,
        reason=reason,
    )


def overall_verdict(verdicts: list[str]) -> str:
    """Return the verdict on a file: "different" if any part of it is, "same" if all are."""
    return next((verdict for verdict in (DIFFERENT, NO_VERDICT) if verdict in verdicts), SAME)


def _scale(expected: np.ndarray, kind: str, step: float) -> tuple[np.ndarray, bool]:
    """Return what differences are relative to, shape (units,), and whether the outputs vary between samples.

    Units of "values" may be of different quantities, so each has its own spread; classes and decisions share one, as that of a
    class which hardly ever occurs is next to nothing.
    """
    flat = np.abs(expected).reshape(-1, expected.shape[-1])
    spread = expected.reshape(flat.shape).std(axis=0, dtype=np.float64)
    largest = np.maximum(flat.max(axis=0), _SMALLEST)
    if kind != VALUES:
        spread, largest = np.sqrt(np.square(spread).mean(keepdims=True)), largest.max(keepdims=True)
    varies = spread > np.maximum(step, _ROUNDING * largest)
    return np.broadcast_to(np.where(varies, spread, largest), flat.shape[1:]), bool(varies.any())


def _agree(expected: np.ndarray, found: np.ndarray, difference: np.ndarray, measure: Measure, step: float) -> np.ndarray:
    """Return where decisions agree; what lies on a threshold, or ties, to rounding, agrees with both sides."""
    rounding = max(step, _ROUNDING * float(np.abs(expected).max()))
    if measure.kind == DECISIONS:
        same = (expected > measure.threshold) == (found > measure.threshold)
        return (same | (difference <= rounding)) & np.isfinite(found)
    chosen = np.argmax(np.nan_to_num(found), axis=-1)[..., None]
    largest = expected.max(axis=-1)
    same = np.take_along_axis(expected, chosen, axis=-1)[..., 0] >= largest - rounding
    return same & np.isfinite(found).all(axis=-1)


def _differ_in_decision(expected: np.ndarray, measure: Measure) -> bool:
    """Return whether the model decides differently on different samples (or pixels)."""
    if measure.kind == TOP_1:
        return len(np.unique(expected.argmax(axis=-1))) > 1
    above = (expected > measure.threshold).reshape(-1, expected.shape[-1])
    return bool((above.any(axis=0) & ~above.all(axis=0)).any())


@dataclass(frozen=True)
class _Found:
    """What a verdict is made of: as in `OutputAgreement`, and whether the model's outputs and decisions differ anywhere."""

    kind: str
    agreement: float
    overall: float
    varies: bool
    decided: bool


def _verdict(found: _Found, limits: Limits) -> tuple[str, str]:
    asked, spread = limits.minimum_agreement, "of their spread" if found.varies else "of the largest"
    if asked == 0:
        return NO_VERDICT, "minimum_agreement=0 accepts whatever the file gives."
    if found.agreement < asked:
        what = {
            TOP_1: "The largest unit must be the same",
            DECISIONS: "The decisions must be the same",
            VALUES: f"The values must differ by at most {limits.maximum_difference:g} {spread}",
        }[found.kind]
        return DIFFERENT, f"{what} on {asked:.1%} of the samples. Received: on {found.agreement:.1%}."
    if found.overall > limits.overall:
        far = f"The values differ by {found.overall:.2g} {spread} over all samples, {limits.overall:.2g} are allowed."
        if found.decided or found.overall > _OPPOSITE:
            return DIFFERENT, far
        return NO_VERDICT, f"{far} But the model decides the same on all samples, and so does the file. {_OTHER_DATA}"
    if not found.varies:
        return NO_VERDICT, f"The model gives the same output for all samples, as a file would that ignores them. {_OTHER_DATA}"
    return SAME, ""


def _per_sample(array: np.ndarray) -> np.ndarray:
    return array.reshape(len(array), -1)


def _percentile(values: np.ndarray, percent: float) -> float:
    return float(np.percentile(values, percent, method="lower" if np.isinf(values).any() else "linear"))


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
