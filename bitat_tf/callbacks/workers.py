"""Several processes: what each has computed for itself must be the same in all of them.

Keras trains in several processes on JAX alone: `jax.distributed.initialize` and `keras.distribution.DataParallel`.
"""

from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
from keras import ops


def has_several_workers() -> bool:
    """Return whether this is one of several processes that train together."""
    if keras.backend.backend() != "jax":
        return False
    import jax  # only here: other backends need none

    return jax.process_count() > 1


def is_first_worker() -> bool:
    """Return whether this process writes files: the only one, or the first of several."""
    if not has_several_workers():
        return True
    import jax

    return jax.process_index() == 0


def take_from_first_worker(variables: Iterable[Any]) -> None:
    """Give the variables of every process the values that those of the first one have; all processes must call it.

    Statistics are computed by every process. Machines of several kinds round them differently, and users may give each process
    other calibration data: the networks would no longer be the same, and gradients of different networks would be added.

    Args:
        variables: Variables of the model; nothing happens in a single process.
    """
    if not has_several_workers():
        return
    from jax.experimental import multihost_utils

    for variable in variables:
        variable.assign(multihost_utils.broadcast_one_to_all(ops.convert_to_numpy(variable)))


def check_equal_on_all_workers(what: str, value: int) -> None:
    """Raise ValueError in every process unless all have the same number; all processes must call it.

    What a network computes on one of several processes may need all of them: one that has more to compute waits forever.

    Args:
        what: What is counted, for the message.
        value: This process's number.
    """
    if not has_several_workers():
        return
    from jax.experimental import multihost_utils

    values = np.asarray(multihost_utils.process_allgather(np.int32(value)))
    if (values != value).any():
        raise ValueError(
            f"SequentialBinarization: all processes must have the same number of {what}. Received: {value} in this one, "
            f"{', '.join(map(str, values))} in all. Give every process the same calibration data."
        )


def wait_for_all_workers(moment: str) -> None:
    """Wait until all processes have come to this call.

    Args:
        moment: A name of it.
    """
    if has_several_workers():
        from jax.experimental import multihost_utils

        multihost_utils.sync_global_devices(moment)
