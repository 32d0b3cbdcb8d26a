"""What is said when a loss or the weights are no numbers any more."""

import keras
import numpy as np
from keras import ops

from bitat_tf.callbacks.backup import last_backup
from bitat_tf.callbacks.schedule import Phase


def check_loss(loss: float | None, phase: Phase, num_layers: int, epoch: int, batch: int, model: keras.Model) -> None:
    """Raise for a loss that is NaN or infinite.

    Args:
        loss: Mean loss of the epoch so far, as Keras gives it to callbacks; None is let pass.
        phase: The phase that the step belongs to.
        num_layers: Number of layers of the schedule.
        epoch: Epoch of the step, from 0.
        batch: Its batch, from 0.
        model: The model; a `Backup` callback leaves its checkpoints in it.

    Raises:
        ValueError: If the loss is not finite; it names layer, phase and the last checkpoint.
    """
    if loss is not None and not np.isfinite(loss):
        raise _diverged(f"the loss became {loss}", phase, num_layers, f"epoch {epoch + 1}, batch {batch + 1}", model)


def check_weights(phase: Phase, num_layers: int, epoch: int, model: keras.Model) -> None:
    """Raise for weights that are not finite at the end of an epoch, before a callback saves them.

    The last step of an epoch may break weights without a trace in its loss, which is from before.

    Raises:
        ValueError: As `check_loss`.
    """
    for variable in model.trainable_variables:
        if not np.isfinite(ops.convert_to_numpy(variable)).all():
            raise _diverged(
                f"weights of {variable.path!r} became NaN or infinite", phase, num_layers, f"epoch {epoch + 1}", model
            )


def _diverged(what: str, phase: Phase, num_layers: int, when: str, model: keras.Model) -> ValueError:
    where = (
        f"the {phase.kind} phase of layer {phase.layer!r} ({phase.stage} of {num_layers})" if phase.layer else "the joint phase"
    )
    checkpoint = last_backup(model)
    last = (
        f"The last checkpoint, from before, is {checkpoint}."
        if checkpoint
        else "There is no checkpoint yet; a bitat_tf.callbacks.Backup after this one keeps one an epoch."
    )
    return ValueError(
        f"SequentialBinarization: {what} in {where}, {when}. {last} Usual causes: a learning rate or a `strength` that is too "
        "high for this phase, inputs or labels that are not finite, float16 without loss scaling."
    )
