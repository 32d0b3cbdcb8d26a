"""What is said when a loss is no number any more."""

import numpy as np

from bitat_tf._keras import keras
from bitat_tf.callbacks.schedule import Phase


def check_loss(loss: float | None, phase: Phase, num_layers: int, epoch: int, batch: int, model: keras.Model) -> None:
    """Raise for a loss that is NaN or infinite, before a callback saves what it has made of the weights.

    Args:
        loss: Mean loss of the epoch so far, as Keras gives it to callbacks; None is let pass.
        phase: The phase that the step belongs to.
        num_layers: Number of layers of the schedule.
        epoch: Epoch of the step, from 0.
        batch: Its batch, from 0.
        model: The model; a `BackupAndRestore` callback leaves its checkpoints in it.

    Raises:
        ValueError: If the loss is not finite; it names layer, phase and the last good checkpoint.
    """
    if loss is None or np.isfinite(loss):
        return
    where = (
        f"the {phase.kind} phase of layer {phase.layer!r} ({phase.stage} of {num_layers})" if phase.layer else "the joint phase"
    )
    manager = getattr(getattr(model, "_training_state", None), "read_checkpoint_manager", None)
    checkpoint = manager.latest_checkpoint if manager else None
    last = (
        f"The last good checkpoint is {checkpoint}, from the end of an epoch before."
        if checkpoint
        else "There is no checkpoint: a keras.callbacks.BackupAndRestore callback after this one keeps one an epoch."
    )
    raise ValueError(
        f"SequentialBinarization: the loss became {loss} in {where}, epoch {epoch + 1}, batch {batch + 1}; the weights are of "
        f"no use any more. {last} Usual causes: a learning rate or a `strength` that is too high for this phase, inputs or "
        "labels that are not finite, float16 without loss scaling."
    )
