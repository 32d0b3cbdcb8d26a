"""Several workers: what each has computed for itself must be the same on all of them."""

from collections.abc import Iterable

import numpy as np

from bitat_tf._keras import tf


def has_several_workers(strategy: tf.distribute.Strategy) -> bool:
    """Whether a strategy trains in several processes."""
    return isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)


def take_from_first_worker(variables: Iterable[tf.Variable], strategy: tf.distribute.Strategy) -> None:
    """Give the variables of every worker the values that those of the first one have; all workers must call it.

    Statistics are computed by every worker. Machines of several kinds round them differently, and users may give each worker
    other calibration data: the networks would no longer be the same, and gradients of different networks would be added.

    Args:
        variables: Variables of a model that was built under `strategy`.
        strategy: The model's strategy; nothing happens unless it is a `MultiWorkerMirroredStrategy`.
    """
    if not has_several_workers(strategy):
        return
    for variable in variables:
        own = variable.numpy()
        if own.dtype == bool:  # cannot be summed
            own = own.astype(np.int32)
        variable.assign(tf.cast(_sum(strategy, own, np.zeros_like(own)), variable.dtype))


def check_equal_on_all_workers(what: str, value: int, strategy: tf.distribute.Strategy) -> None:
    """Raise ValueError on every worker unless all have the same number; all workers must call it.

    What a network computes on one of several workers needs all of them, for the moving averages of batch normalizations: a
    worker that has more to compute waits forever.

    Args:
        what: What is counted, for the message.
        value: This worker's number, up to some millions.
        strategy: As above.
    """
    if not has_several_workers(strategy):
        return
    own = np.array([1, value, value**2], np.int64)
    workers, total, squares = _sum(strategy, own, own).numpy()
    if workers * squares != total**2:
        raise ValueError(
            f"SequentialBinarization: all workers must have the same number of {what}. Received: {value} on this one, "
            f"{total / workers:g} on average. Give every worker the same calibration data."
        )


def _sum(strategy: tf.distribute.Strategy, first: np.ndarray, others: np.ndarray) -> tf.Tensor:
    """Return the sum over all replicas of what the first of them has, and the others."""

    def value(context: tf.distribute.experimental.ValueContext) -> tf.Tensor:
        return tf.constant(first if context.replica_id_in_sync_group == 0 else others)

    values = strategy.experimental_distribute_values_from_function(value)
    return strategy.reduce(tf.distribute.ReduceOp.SUM, values, axis=None)
