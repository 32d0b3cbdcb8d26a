"""Several processes: what each has computed for itself must be the same in all of them.

Keras trains in several processes on JAX alone: `jax.distributed.initialize` and `keras.distribution.DataParallel`.
"""

from typing import Any

import keras
import numpy as np


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


def of_first_worker(arrays: Any) -> Any:
    """Return arrays as the first process has them; all processes must call it, with as many arrays of as many axes.

    Statistics are computed by every process. Machines of several kinds round them differently, and users may give each process
    other calibration data: JAX assigns to a variable of all processes only what is the same in all of them.

    Args:
        arrays: An array, or a structure of arrays, numbers and None. A single process gets it back as it is.
    """
    if not has_several_workers():
        return arrays
    from jax.experimental import multihost_utils

    def of_first(array: Any) -> np.ndarray | None:
        if array is None:
            return None
        shape = tuple(multihost_utils.broadcast_one_to_all(np.array(np.shape(array), np.int32)))
        return multihost_utils.broadcast_one_to_all(array if np.shape(array) == shape else np.zeros(shape))

    return keras.tree.map_structure(of_first, arrays)


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
