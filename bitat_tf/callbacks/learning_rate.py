"""The learning rate of an optimizer while a schedule sets it."""

import warnings
from collections.abc import Sequence

import keras
import numpy as np
from keras import ops

from bitat_tf.callbacks.schedule import Timeline


@keras.saving.register_keras_serializable(package="bitat_tf")
class PhasedLearningRate(keras.optimizers.schedules.LearningRateSchedule):
    """The learning rates of a `Timeline` as Keras' schedule, computed inside of the training step.

    In each part the rate falls linearly, to 0 at its `zero` if there is one: rate * (zero - step) / (zero - begin).

    Args:
        starts: First step of each part, ascending, from 0.
        rates: Learning rate of each part where `step` is `begin`.
        begins, zeros: Where the rate of each part is whole, and where it would be 0; both 0 for a constant rate.
        first_iteration: What the optimizer's `iterations` are at step 0.
        users: The learning rate that the user had, which `SequentialBinarization` gives back.
    """

    def __init__(
        self,
        starts: Sequence[int],
        rates: Sequence[float],
        begins: Sequence[int],
        zeros: Sequence[int],
        first_iteration: int = 0,
        users: float = 0.001,
    ):
        self.starts, self.rates = [int(start) for start in starts], [float(rate) for rate in rates]
        self.begins, self.zeros = [int(begin) for begin in begins], [int(zero) for zero in zeros]
        self.first_iteration = int(first_iteration)
        self.users = float(users)

    @classmethod
    def of(cls, timeline: Timeline, first_iteration: int, users: float) -> "PhasedLearningRate":
        """Return the learning rates of a timeline."""
        spans = [timeline.decay_span(phase) for phase in timeline.phases]
        return cls(
            [phase.start for phase in timeline.phases],
            [phase.learning_rate for phase in timeline.phases],
            [span[0] for span in spans],
            [span[1] for span in spans],
            first_iteration,
            users,
        )

    def __call__(self, step):
        """Return the learning rate at a step of the optimizer."""
        step = ops.cast(step, "int32") - self.first_iteration
        starts = ops.array(self.starts, "int32")
        # The last part that has begun; the first before all of them.
        part = ops.maximum(ops.sum(ops.cast(step >= starts, "int32")) - 1, 0)
        rate = ops.take(ops.array(self.rates, "float32"), part)
        begin, zero = (ops.take(ops.array(places, "int32"), part) for places in (self.begins, self.zeros))
        length = ops.cast(ops.maximum(zero - begin, 1), "float32")
        left = ops.cast(ops.maximum(zero - step, 0), "float32") / length
        return rate * ops.where(zero > begin, left, 1.0)

    def get_config(self):
        """Return the arguments of the constructor."""
        names = ("starts", "rates", "begins", "zeros", "first_iteration", "users")
        return {name: getattr(self, name) for name in names}


class ScheduledLearningRate:
    """Sets the learning rate of every step of a schedule, and gives the user's back.

    On JAX an assignment between two steps makes Keras copy the whole state: there the optimizer computes the rate itself, from
    a `PhasedLearningRate`. On other backends it is assigned.

    Args:
        model: The compiled model.

    Raises:
        ValueError: If the optimizer has a schedule of its own.
    """

    def __init__(self, model: keras.Model):
        self._model = model
        # LossScaleOptimizer, of mixed precision, wraps the one that has the learning rate.
        self._optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
        now = self._optimizer._learning_rate
        if isinstance(now, PhasedLearningRate):  # in a model that was saved within the schedule
            self._users = now.users
        elif hasattr(now, "assign"):  # a variable, whose class has no public name in every release of Keras
            self._users = float(ops.convert_to_numpy(now))
        else:
            raise ValueError(
                "SequentialBinarization: the schedule sets the learning rate of every step. Received: optimizer "
                f"{model.optimizer!r} with a schedule of its own. Compile with a constant learning rate, as in "
                "keras.optimizers.Adam(1e-3)."
            )
        self._computed = keras.backend.backend() == "jax" or isinstance(now, PhasedLearningRate)
        if self._computed:
            # Already here, before a Backup restores an optimizer that had a schedule, and no variable of the rate.
            self._optimizer.learning_rate = PhasedLearningRate([0], [self._users], [0], [0], 0, self._users)
        self._timeline: Timeline | None = None
        self._warned = False
        self._was_set = False  # before that, what differs has been restored from a backup
        self.value = self._users

    def begin(self, timeline: Timeline, step: int) -> None:
        """Let a timeline set the rates.

        Args:
            timeline: The phases.
            step: The step of the timeline that comes next.
        """
        self._timeline = timeline
        if self._computed:
            iteration = int(ops.convert_to_numpy(self._optimizer.iterations))
            self._optimizer.learning_rate = PhasedLearningRate.of(timeline, iteration - step, self._users)
            self._model.make_train_function(force=True)

    def set(self, step: int) -> None:
        """Set the rate of a step, the next one."""
        if self._timeline is None:
            return
        self.value = self._timeline.learning_rate(step)
        self._was_set = True
        if not self._computed:
            self._optimizer.learning_rate = self.value

    def warn_if_changed(self) -> None:
        """Say, once, that what another callback has set since has no effect; at the start of an epoch."""
        if self._warned or not self._was_set or self._computed or self._now == np.float32(self.value):
            return
        self._warned = True
        warnings.warn(
            f"SequentialBinarization: another callback set the learning rate to {self._now:.3g}. It has no effect: the "
            "schedule sets the rate of every step. Leave ReduceLROnPlateau and LearningRateScheduler out, and use the learning "
            "rates and `decay` of the Schedule.",
            stacklevel=3,
        )

    def give_back(self) -> None:
        """Set what the user had; `begin` lets the timeline set the rates again."""
        self._was_set = False
        if not self._computed:
            self._optimizer.learning_rate = self._users
            return
        optimizer = self._optimizer
        variable = keras.Variable(self._users, name="learning_rate", dtype=keras.config.floatx(), trainable=False)
        # A schedule cannot be replaced by a number. Keras has the variable after that of the iterations, and saves in order.
        optimizer._learning_rate = variable
        optimizer._variables.insert(1, optimizer._variables.pop())
        self._model.make_train_function(force=True)

    @property
    def _now(self) -> np.float32:
        return np.float32(ops.convert_to_numpy(self._optimizer.learning_rate))
