"""Several workers: what each has computed for itself must be the same on all of them."""

from collections.abc import Iterable

import numpy as np

from bitat_tf._keras import tf


def take_from_first_worker(variables: Iterable[tf.Variable], strategy: tf.distribute.Strategy) -> None:
    """Give the variables of every worker the values that those of the first one have; all workers must call it.

    Statistics are computed by every worker. Machines of several kinds round them differently, and users may give each worker
    calibration data of its own: the networks would no longer be the same, and gradients of different networks would be added.

    Args:
        variables: Variables of a model that was built under `strategy`.
        strategy: The model's strategy; nothing happens unless it is a `MultiWorkerMirroredStrategy`.
    """
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return
    for variable in variables:
        own = variable.numpy()
        if own.dtype == bool:  # cannot be summed
            own = own.astype(np.int32)

        def value(context: tf.distribute.DistributedValues, own: np.ndarray = own) -> tf.Tensor:
            return tf.constant(own if context.replica_id_in_sync_group == 0 else np.zeros_like(own))

        values = strategy.experimental_distribute_values_from_function(value)
        variable.assign(tf.cast(strategy.reduce(tf.distribute.ReduceOp.SUM, values, axis=None), variable.dtype))
