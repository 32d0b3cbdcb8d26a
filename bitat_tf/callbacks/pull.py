"""How strongly the disentangled loss pulls at a layer: as the layer says, or the schedule."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from bitat_tf.callbacks.schedule import Schedule
from bitat_tf.layers import BinaryLayer
from bitat_tf.regularizers import DEFAULT_L1, DEFAULT_STRENGTH


class Pull(NamedTuple):
    """What the disentangled loss of a layer weighs.

    Attributes:
        strength: lambda, of Q.
        l1: gamma, of the l1 norm of the latent kernel.
    """

    strength: float = 0.0
    l1: float = 0.0


def pull_at(current: str | None, layers: Mapping[str, BinaryLayer], weights: Mapping[str, Pull]) -> None:
    """Let the disentangled loss pull at one layer, or at none, from the next step on.

    Args:
        current: Name of the layer; None for none.
        layers: All layers of the schedule, by name.
        weights: What the loss of each weighs.
    """
    for name, layer in layers.items():
        weight = weights[name] if name == current else Pull()
        layer.disentangled_state.strength.assign(weight.strength)
        layer.disentangled_state.l1.assign(weight.l1)


def pulls(schedule: Schedule, layers: Sequence[BinaryLayer]) -> dict[str, Pull]:
    """Return what the disentangled loss of every layer weighs while the layer is quantized, by the layer's name.

    Args:
        schedule: The schedule.
        layers: The layers whose turn comes.

    Raises:
        ValueError: If a layer and the schedule name different values.
    """
    return {
        layer.name: Pull(
            _value(schedule, layer, "strength", DEFAULT_STRENGTH),
            _value(schedule, layer, "l1", DEFAULT_L1),
        )
        for layer in layers
    }


def _value(schedule: Schedule, layer: BinaryLayer, name: str, default: float) -> float:
    own, schedules = getattr(layer.disentangled_regularizer, name), getattr(schedule, name)
    if own is not None and schedules is not None and own != schedules:
        raise ValueError(
            f"SequentialBinarization: layer {layer.name!r} and the schedule name different values of `{name}`. Received: "
            f"DisentangledRegularizer({name}={own:g}) and Schedule({name}={schedules:g}). Leave it out of the schedule "
            f"(`replace(schedule, {name}=None)`, no --{name}), so that every layer keeps its own, or out of the regularizer."
        )
    return next(value for value in (own, schedules, default) if value is not None)
