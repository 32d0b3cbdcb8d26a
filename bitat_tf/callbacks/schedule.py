"""When which layer is binarized: the schedule as plain data, without Keras."""

import math
from dataclasses import dataclass, replace
from typing import Any

from bitat_tf._validation import check_choice, check_number

QUANTIZATION, FINE_TUNING, JOINT = "quantization", "fine-tuning", "joint"


@dataclass(frozen=True)
class Phase:
    """One phase of a run, from step `start` (included) to step `stop` (excluded).

    Attributes:
        kind: "quantization", "fine-tuning" or "joint".
        stage: Number of the layer in the order of the schedule, from 1; for the joint phase the number of layers.
        layer: Name of the layer that is being quantized or fine-tuned; None in the joint phase.
        start, stop: Training steps, counted from the start of the run.
        learning_rate: Learning rate at the start of the phase, before decay.
    """

    kind: str
    stage: int
    layer: str | None
    start: int
    stop: int
    learning_rate: float


@dataclass(frozen=True)
class Schedule:
    """Lengths, learning rates and choices of a sequential binarization.

    For every layer a quantization phase (its input and kernel become binary, the disentangled loss pulls at the kernel) and
    a fine-tuning phase (task loss alone); at the end a joint phase, in which everything trains.

    Attributes:
        quantization_epochs: Epochs of each layer's quantization phase, > 0; a fraction is fine. Default 0.5.
        fine_tuning_epochs: Epochs of each layer's fine-tuning phase, >= 0. Default 0.5.
        joint_epochs: Epochs of the last phase, >= 0. Default 10.
        quantization_learning_rate, fine_tuning_learning_rate, joint_learning_rate: Default 1e-2, the best of those tried on
            CIFAR-100 with batches of 64 (docs/accuracy.md).
        decay: What the linear decay to zero runs over: "run" (default), "phase" (the paper's reading), "part" (all layers'
            phases are one part, the joint phase another), or "none".
        freeze: When everything below the current layer is frozen, bit for bit: "never" (default; see docs/accuracy.md),
            "quantization" (in the quantization phase), "always" (until the joint phase).
        strength: lambda of the disentangled loss of the layer that is being quantized. None (default): that of the layer's own
            `DisentangledRegularizer`, and 1 (with Q_rel) for layers that name none. A layer that names another one than the
            schedule does is refused.
        l1: gamma, weight of the l1 norm of its latent kernel. None (default): as `strength`, with 1e-5.
        retarget: Whether the reference weights are re-targeted to the binary input (ours, default) or the float weights
            (the paper's).
        flips: Whether a layer's signs start where no single flip lowers its error (ours; `dependency.flip_descent`), or as
            those of the reference weights (default). Needs `retarget`, whose statistics it uses.
        center_thresholds: Whether a layer's RSign thresholds start at its input's channel means (ours, default) or stay.
        refresh_epochs: Epochs after which s and V of the layer that is being quantized are measured again, in the current
            network, > 0; None (default) for once, at the start of its stage. The reference weights stay.

    Raises:
        ValueError: If a value is out of range.

    Examples:
        >>> Schedule(quantization_epochs=1, fine_tuning_epochs=0.5, joint_epochs=2).total_epochs(num_layers=3)
        7
    """

    quantization_epochs: float = 0.5
    fine_tuning_epochs: float = 0.5
    joint_epochs: float = 10.0
    quantization_learning_rate: float = 1e-2
    fine_tuning_learning_rate: float = 1e-2
    joint_learning_rate: float = 1e-2
    decay: str = "run"
    freeze: str = "never"
    strength: float | None = None
    l1: float | None = None
    retarget: bool = True
    flips: bool = False
    center_thresholds: bool = True
    refresh_epochs: float | None = None

    def __post_init__(self):
        check_number("Schedule", "quantization_epochs", self.quantization_epochs, exclusive=True)
        if self.refresh_epochs is not None:
            check_number("Schedule", "refresh_epochs", self.refresh_epochs, exclusive=True)
            if self.refresh_epochs >= self.quantization_epochs:
                raise ValueError(
                    "Schedule: `refresh_epochs` must be less than `quantization_epochs`, or nothing is ever measured again. "
                    f"Received: refresh_epochs={self.refresh_epochs}, quantization_epochs={self.quantization_epochs}."
                )
        for name in ("fine_tuning_epochs", "joint_epochs"):
            check_number("Schedule", name, getattr(self, name))
        for name in ("strength", "l1"):
            if getattr(self, name) is not None:
                check_number("Schedule", name, getattr(self, name))
        for name in ("quantization_learning_rate", "fine_tuning_learning_rate", "joint_learning_rate"):
            check_number("Schedule", name, getattr(self, name), exclusive=True)
        if self.flips and not self.retarget:
            raise ValueError(
                "Schedule: `flips` uses the statistics of the re-targeting. Received: flips=True, retarget=False. Use both, "
                "or neither."
            )
        check_choice("Schedule", "decay", self.decay, ("run", "phase", "part", "none"))
        check_choice("Schedule", "freeze", self.freeze, ("never", "quantization", "always"))

    def total_epochs(self, num_layers: int) -> int:
        """Return the epochs of the whole run, rounded up; the last phase takes what rounding adds."""
        exact = num_layers * (self.quantization_epochs + self.fine_tuning_epochs) + self.joint_epochs
        return max(math.ceil(exact - 1e-9), 1)

    def freezes(self, phase: Phase) -> bool:
        """Whether everything below the current layer is frozen in this phase."""
        return phase.kind != JOINT and (
            self.freeze == "always" or (self.freeze == "quantization" and phase.kind == QUANTIZATION)
        )

    def timeline(self, layers: list[str], steps_per_epoch: int) -> "Timeline":
        """Lay the phases out over training steps.

        Args:
            layers: Names of the layers, in the order in which they are binarized.
            steps_per_epoch: Training steps of an epoch.

        Raises:
            ValueError: If a phase would be shorter than one step.
        """
        lengths: list[tuple[str, int, str | None, float, float]] = []
        for stage, name in enumerate(layers, 1):
            lengths.append((QUANTIZATION, stage, name, self.quantization_epochs, self.quantization_learning_rate))
            lengths.append((FINE_TUNING, stage, name, self.fine_tuning_epochs, self.fine_tuning_learning_rate))
        lengths.append((JOINT, len(layers), None, self.joint_epochs, self.joint_learning_rate))
        lengths = [length for length in lengths if length[3] > 0]

        total = self.total_epochs(len(layers)) * steps_per_epoch
        phases, elapsed = [], 0.0
        for kind, stage, layer, epochs, learning_rate in lengths:
            start = _nearest_step(elapsed * steps_per_epoch)
            elapsed += epochs
            stop = _nearest_step(elapsed * steps_per_epoch)
            if stop <= start:
                raise ValueError(
                    f"Schedule: the {kind} phase of {epochs} epochs is shorter than one of the {steps_per_epoch} steps of an "
                    f"epoch. Use at least {1 / steps_per_epoch:.3g} epochs, or a smaller batch."
                )
            phases.append(Phase(kind, stage, layer, start, stop, learning_rate))
        last = phases.pop()
        phases.append(Phase(last.kind, last.stage, last.layer, last.start, total, last.learning_rate))
        refresh = None if self.refresh_epochs is None else max(round(self.refresh_epochs * steps_per_epoch), 1)
        return Timeline(tuple(phases), self.decay, refresh)


def _nearest_step(steps: float) -> int:
    """Round half up: Python's rounding, of halves to even numbers, would leave no step between 7.5 and 8.5."""
    return math.floor(steps + 0.5 + 1e-6)


@dataclass(frozen=True)
class Timeline:
    """The phases of a run, one after the other without a gap, and their learning rates."""

    phases: tuple[Phase, ...]
    decay: str
    refresh_steps: int | None = None

    @property
    def total_steps(self) -> int:
        """Training steps of the run."""
        return self.phases[-1].stop

    def rows(self, steps_per_epoch: int) -> list[dict[str, Any]]:
        """Return the phases as people read them: stage, layer, kind, start and stop in epochs, learning rate at the start."""
        return [
            {
                "stage": phase.stage,
                "layer": phase.layer,
                "kind": phase.kind,
                "start": phase.start / steps_per_epoch,
                "stop": phase.stop / steps_per_epoch,
                "learning_rate": self.learning_rate(phase.start),
            }
            for phase in self.phases
        ]

    def index_at(self, step: int) -> int:
        """Return the index of the phase that `step` lies in; the last one's after the end."""
        for index, phase in enumerate(self.phases):
            if step < phase.stop:
                return index
        return len(self.phases) - 1

    def refreshes(self, step: int) -> bool:
        """Whether the metric of the layer that is being quantized is measured again before `step`."""
        phase = self.phases[self.index_at(step)]
        elapsed = step - phase.start
        return bool(phase.kind == QUANTIZATION and self.refresh_steps and elapsed and elapsed % self.refresh_steps == 0)

    def decay_span(self, phase: Phase) -> tuple[int, int]:
        """Return where the learning rate of a phase is whole, and where it would be 0; twice 0 where it is constant."""
        last = self.phases[-1]
        joint = last.start if last.kind == JOINT else last.stop
        return {
            "run": (0, self.total_steps),
            "phase": (phase.start, phase.stop),
            "part": (joint, last.stop) if phase.kind == JOINT else (0, joint),
            "none": (0, 0),
        }[self.decay]

    def learning_rate(self, step: int) -> float:
        """Return the learning rate at `step`: the phase's, times what is left of the run, of the part or of the phase."""
        phase = self.phases[self.index_at(step)]
        start, stop = self.decay_span(phase)
        # The share first: it is 1 at most.
        return phase.learning_rate * (max(stop - step, 0) / (stop - start) if stop > start else 1.0)


# The published numbers of the paper's appendix (7.1). Its lambda = 100 comes without the normalization of Q that it
# belongs to, and it has no joint phase.
_PAPER_IMAGENET = Schedule(
    quantization_epochs=5,
    fine_tuning_epochs=5,
    joint_epochs=0,
    quantization_learning_rate=2e-3,
    fine_tuning_learning_rate=2e-4,
    decay="phase",
    freeze="quantization",
    strength=100.0,
    l1=1e-5,
    retarget=False,
    center_thresholds=False,
)
PRESETS = {
    "short": Schedule(),
    "paper_imagenet": _PAPER_IMAGENET,
    "paper_cifar100": replace(
        _PAPER_IMAGENET,
        quantization_epochs=40,
        fine_tuning_epochs=40,
        quantization_learning_rate=3e-4,
        fine_tuning_learning_rate=3e-4,
    ),
}
"""The schedules that have a name: "short", "paper_imagenet", "paper_cifar100"."""


def get_schedule(identifier: "str | Schedule") -> Schedule:
    """Return a schedule from a preset's name ("short", "paper_imagenet", "paper_cifar100") or as it is."""
    if isinstance(identifier, Schedule):
        return identifier
    if not isinstance(identifier, str) or identifier not in PRESETS:
        listed = ", ".join(map(repr, PRESETS))
        raise ValueError(f"SequentialBinarization: `schedule` must be a Schedule or one of {listed}. Received: {identifier!r}.")
    return PRESETS[identifier]
