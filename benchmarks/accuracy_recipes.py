"""The recipes that are compared: from the same float network to a binary one, in the same number of steps."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import keras

import bitat_tf
from benchmarks.accuracy_runs import Run, Stopwatch
from bitat_tf.callbacks import PRESETS, Schedule
from bitat_tf.layers import BinaryConv2D, binary_layers
from bitat_tf.model_graph import Substitute, rebuilt
from bitat_tf.post_training import binarize_post_training
from bitat_tf.regularizers import DisentangledRegularizer
from bitat_tf.workflow.config import POST_TRAINING_CALIBRATION

Trained = tuple[keras.Model, dict[str, Any]]


@dataclass(frozen=True)
class Recipe:
    """A row of the table.

    Attributes:
        text: What it is.
        train: Takes the shared parts and returns the binary network with its curves.
    """

    text: str
    train: Callable[[Run], Trained]


def one_shot(run: Run) -> Trained:
    """All layers at once, with Larq's straight-through estimator for inputs and weights."""
    model = with_arguments(run.float_network(), input_quantizer="ste_sign")
    for layer in binary_layers(model):
        layer.set_binary()
    return model, run.fit(model, run.epochs, [run.error_curve])


def two_step(run: Run, distilled: bool = False) -> Trained:
    """ReActNet's: binary activations first, then binary weights, half of the steps each with a decay and a new Adam of its own.

    RSign, RPReLU, ApproxSign; with `distilled` its distributional loss.
    """
    model, data, first = run.float_network(), run.training_data(), run.epochs // 2
    teacher = run.float_network() if distilled else None
    errors, parts = run.error_curve, []
    for epochs, kernel in ((first, False), (run.epochs - first, True)):
        for layer in binary_layers(model):
            layer.set_binary(input=True, kernel=kernel)
        parts.append(run.fit(model, epochs, [errors], teacher, data))
    curves = {name: [*parts[0]["curves"][name], *parts[1]["curves"][name]] for name in parts[0]["curves"]}
    return model, {**{name: sum(part[name] for part in parts) for name in ("seconds", "cpu_seconds")}, "curves": curves}


def bitat(
    run: Run,
    distilled: bool = False,
    order: str = "bottom_to_top",
    blocks: str | None = None,
    share: float = 1.0,
    sequence: float = 0.5,
    schedule: Schedule | None = None,
    regularizer: dict[str, Any] | None = None,
    **changes: Any,
) -> Trained:
    """BiTAT as the library has it: half of the epochs for the layers, one after the other, half for the joint phase.

    Args:
        run: The shared parts.
        distilled: Whether the float network is the teacher.
        order: Order of the layers.
        blocks: Cross-layer dependency.
        share: Share of the epochs that the others have.
        sequence: Share of these epochs that the layers' phases have; the joint phase has the rest.
        schedule: What the lengths and learning rates are put into; None for the library's default.
        regularizer: Arguments of the `DisentangledRegularizer` of every layer that differ from the defaults.
        **changes: Fields of the schedule that differ from it, lengths of phases among them.

    Raises:
        ValueError: If the layers' phases take more than all epochs.
    """
    model = run.float_network()
    if regularizer:
        model = with_arguments(model, disentangled=regularizer)
    layers, epochs = len(binary_layers(model)), run.epochs * share
    lengths = phases(sequence * epochs / layers / 2)
    schedule = replace(schedule or Schedule(), **{**rates(run.learning_rate), **lengths, **changes})
    joint = epochs - layers * (schedule.quantization_epochs + schedule.fine_tuning_epochs)
    if joint < -1e-9:
        raise ValueError(
            f"accuracy: {layers} layers with phases of {schedule.quantization_epochs} epochs take more than all epochs. "
            f"Received: {epochs} epochs."
        )
    teacher = run.float_network() if distilled else None
    schedule = replace(schedule, joint_epochs=0.0 if joint < 1e-9 else joint)
    return model, run.sequential(model, schedule, teacher, order=order, blocks=blocks)


def with_error(run: Run, error: str) -> Trained:
    """BiTAT with another error as its loss, at the lambda at which the float network's signs cost as much as with Q_rel."""
    model = run.float_network()
    found = bitat_tf.calibration.measure_dependency(model, run.calibration)
    # Q_orig and Q_ours are sums over the layers, Q_rel is their mean.
    total = {"original": found.q_orig, "disentangled": found.q_ours}[error]
    strength = found.q_rel * len(binary_layers(model)) / total
    return bitat(run, regularizer={"error": error}, strength=strength)


def post_training(run: Run) -> Trained:
    """Closed forms, no training."""
    model, reference = run.float_network(), run.reference
    calibration = run.training_pictures(POST_TRAINING_CALIBRATION)
    watch = Stopwatch()
    model = binarize_post_training(model, calibration, seed=run.seed, verbose=0)
    times = watch.times()
    return model, {**times, "curves": {name: [value] for name, value in reference.logs(model).items()}}


def rates(learning_rate: float) -> dict[str, float]:
    """Return the learning rates of a schedule that has one."""
    return {f"{phase}_learning_rate": learning_rate for phase in ("quantization", "fine_tuning", "joint")}


def phases(epochs: float) -> dict[str, float]:
    """Return the lengths of the two phases of a layer."""
    return {"quantization_epochs": epochs, "fine_tuning_epochs": epochs}


def with_arguments(model: keras.Model, disentangled: dict[str, Any] | None = None, **changes: Any) -> keras.Model:
    """Return a copy of a network whose binary layers have other arguments, with the same weights.

    Args:
        model: The network, in float state.
        disentangled: Arguments of the layers' `DisentangledRegularizer` that are changed.
        **changes: Arguments of the layers that are changed.
    """

    def changed(layer: keras.layers.Layer) -> Substitute | None:
        if not isinstance(layer, BinaryConv2D):
            return None
        config = {**layer.get_config(), **changes}
        if disentangled:
            own = config["disentangled_regularizer"]
            given = {} if own is None else own["config"]
            config["disentangled_regularizer"] = DisentangledRegularizer.from_config({**given, **disentangled})
        new = type(layer).from_config(config)
        return Substitute(new, lambda: new.set_latent_kernel(layer.latent_kernel_matrix))

    return rebuilt(model, changed)


def _bitat(text: str, **arguments: Any) -> Recipe:
    return Recipe(text, lambda run: bitat(run, **arguments))


RECIPES = {
    "one-shot": Recipe("(a) all layers at once, straight-through estimator", one_shot),
    "two-step": Recipe("(b) ReActNet: activations, then weights", two_step),
    "two-step-distilled": Recipe("(b+) ReActNet, distilled", lambda run: two_step(run, distilled=True)),
    "bitat": _bitat("(c) BiTAT, the library's default"),
    "bitat-distilled": _bitat("(c+) BiTAT, distilled", distilled=True),
    "post-training": Recipe("(d) post-training, closed forms", post_training),
    "bitat-half": _bitat("(c) BiTAT in half of the epochs", share=0.5),
}
ABLATIONS = {
    "lambda-0": _bitat("without the disentangled loss (lambda 0)", strength=0.0),
    "lambda-10": _bitat("lambda 10", strength=10.0),
    "q-orig": Recipe("Q_orig in place of Q_rel, at a lambda of its scale", lambda run: with_error(run, "original")),
    "q-ours": Recipe("Q_ours in place of Q_rel, at a lambda of its scale", lambda run: with_error(run, "disentangled")),
    "float-reference": _bitat("w_ref: the float weights", retarget=False),
    "k-16": _bitat("k = 16 groups", regularizer={"num_groups": 16}),
    "k-64": _bitat("k = 64 groups", regularizer={"num_groups": 64}),
    "k-full": _bitat("no groups", regularizer={"num_groups": 100_000}),
    "freeze-quantization": _bitat("prefix frozen in the quantization phase", freeze="quantization"),
    "freeze-always": _bitat("prefix frozen until the joint phase", freeze="always"),
    "sequence-25": _bitat("a quarter of the epochs for the layers' phases", sequence=0.25),
    "sequence-75": _bitat("three quarters of the epochs for the layers' phases", sequence=0.75),
    "sequence-100": _bitat("all epochs for the layers' phases, no joint phase", sequence=1.0),
    "phases-0.25": _bitat("phases of 0.25 epochs", **phases(0.25)),
    "phases-0.5": _bitat("phases of 0.5 epochs", **phases(0.5)),
    "phases-1": _bitat("phases of 1 epoch", **phases(1.0)),
    "phases-2": _bitat("phases of 2 epochs", **phases(2.0)),
    "blocks": _bitat("errors weighted by what the block's output feels", blocks="residual", regularizer={"cross_layer": True}),
    "flips": _bitat("signs start from flip descent", flips=True),
    "decay-part": _bitat("learning rate begins anew with the joint phase", decay="part"),
    "reverse": _bitat("top to bottom", order="top_to_bottom"),
    "paper-literal": _bitat(
        "the paper's: preset paper_imagenet (float reference, lambda 100, no centred thresholds, prefix frozen in the "
        "quantization phase, decay in each phase) with Q_ours, no residual; lengths and learning rate as above, a joint phase",
        schedule=PRESETS["paper_imagenet"],
        regularizer={"error": "disentangled", "residual": False},
    ),
}
