"""The learning rate of an optimizer while a schedule sets it."""

import warnings

import numpy as np

from bitat_tf._keras import keras


class ScheduledLearningRate:
    """Sets the learning rate of every step, and gives the user's back.

    Args:
        model: The compiled model.

    Raises:
        ValueError: If the optimizer has a schedule of its own.
    """

    def __init__(self, model: keras.Model):
        # LossScaleOptimizer, of the mixed policies, wraps the one that has the learning rate.
        optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
        if not isinstance(optimizer, keras.optimizers.Optimizer) or isinstance(
            optimizer.get_config().get("learning_rate"), dict
        ):
            raise ValueError(
                "SequentialBinarization: the schedule sets the learning rate of every step. Received: optimizer "
                f"{model.optimizer!r} with a schedule of its own, or a legacy optimizer. Compile with a constant "
                "learning rate, as in keras.optimizers.Adam(1e-3)."
            )
        self._optimizer = model.optimizer
        self._users = self._now
        self._begun = False
        self._warned = False
        self.value = self._users

    @property
    def _now(self) -> float:
        return float(keras.backend.get_value(self._optimizer.learning_rate))

    def set(self, value: float) -> None:
        """Set it for the next step."""
        self.value = value
        self._optimizer.learning_rate = value
        self._begun = True

    def warn_if_changed(self) -> None:
        """Say, once, that what another callback has set since has no effect; at the start of an epoch."""
        if self._warned or not self._begun or np.float32(self._now) == np.float32(self.value):
            return
        self._warned = True
        warnings.warn(
            f"SequentialBinarization: another callback set the learning rate to {self._now:.3g}. It has no effect: the "
            "schedule sets the rate of every step. Leave ReduceLROnPlateau and LearningRateScheduler out, and use the learning "
            "rates and `decay` of the Schedule.",
            stacklevel=3,
        )

    def give_back(self) -> None:
        """Set what the user had."""
        self._optimizer.learning_rate = self._users
