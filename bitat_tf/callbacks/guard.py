"""What a schedule has set in a model is undone, also where an exception ends `fit`."""

import contextlib
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import keras

from bitat_tf.callbacks.workers import has_several_workers


class Guard:
    """Undoes what a callback has set in its model: at the end of `fit`, and where an exception ends it.

    Keras calls no callback where an exception leaves `fit`. So training and validation steps are called through this object,
    which undoes where one of them raises; the hooks of the callback are to run in `undone_on_error`. What other callbacks raise
    it does not see: then it undoes at the next training step, which nobody has announced by `allow_step`, or before the next
    fit of a schedule, whichever comes first.

    Args:
        callback: The callback, in its `on_train_begin`.

    Raises:
        ValueError: If another one of its kind is at work in the same `fit`.
    """

    def __init__(self, callback: keras.callbacks.Callback):
        self._model = callback.model
        self._of_model = keras.callbacks.Callback()
        self._of_model.set_model(self._model)
        self._fit = callback.params  # one object for all callbacks of a `fit`
        self._undo = contextlib.ExitStack()
        self._train = _Guarded(self, announced=True)
        self._test = _Guarded(self, announced=False)
        left: Guard | None = getattr(self._model, "_bitat_guard", None)
        if left is not None:
            left.undo()
            if left._fit is self._fit:
                raise ValueError(
                    "SequentialBinarization: a model follows one schedule at a time. Received: several SequentialBinarization "
                    "in the callbacks of one fit. Pass one; to follow another schedule afterwards, call fit once more."
                )
        self.engage()

    @property
    def engaged(self) -> bool:
        """Whether there is anything to undo. A step that finds no more data undoes as well, which for Keras ends no fit."""
        return getattr(self._model, "_bitat_guard", None) is self

    @property
    def step(self) -> Callable[..., Any] | None:
        """The model's training step, without the guard around it."""
        function = self._model.train_function
        return function.function if isinstance(function, _Guarded) else function

    @step.setter
    def step(self, function: Callable[..., Any] | None) -> None:
        self._train.function = function
        if function is not None and self._model.train_function is not self._train:
            self._model.train_function = self._train

    def engage(self) -> None:
        """Let there be something to undo: `undo_by` says what."""
        self._model._bitat_guard = self
        self.step = self.step

    def undo_by(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Let `undo` call a function, once; the last one first."""
        self._undo.callback(function, *arguments)

    def undo(self) -> None:
        """Undo everything; nothing where that is done already."""
        if not self.engaged:
            return
        # On JAX, taking the model brings its variables up to date, without which what is assigned to them is lost.
        model = self._of_model.model
        model._bitat_guard = None
        self._undo.close()
        for name in ("train_function", "test_function"):
            function = getattr(model, name)
            if isinstance(function, _Guarded):
                setattr(model, name, function.function)

    @contextlib.contextmanager
    def undone_on_error(self) -> Iterator[None]:
        """Undo everything where the body raises; not in one of several processes, where it would wait for the others."""
        with contextlib.ExitStack() as on_error:
            if not has_several_workers():
                on_error.callback(self.undo)
            yield
            on_error.pop_all()

    def allow_step(self) -> None:
        """Announce the next training step."""
        self.step = self.step  # Keras may have made it anew
        self._train.allowed = True

    def begin_validation(self) -> None:
        """Guard the steps of the validation that begins, if this guard is at work."""
        if self.engaged and self._model.test_function is not self._test:
            self._test.function = self._model.test_function
            self._model.test_function = self._test

    def end_validation(self) -> None:
        """Guard them no longer."""
        if self._model.test_function is self._test:
            self._model.test_function = self._test.function


class _Guarded:
    """A step of a model under a guard.

    Args:
        guard: The guard.
        announced: Whether the step is one of the schedule only where it was announced.
    """

    def __init__(self, guard: Guard, announced: bool):
        self._guard = guard
        self._announced = announced
        self.function: Any = None
        self.allowed = False

    def __call__(self, *arguments: Any) -> Any:
        if self._announced and not self.allowed:
            return self._of_another_fit(*arguments)
        self.allowed = False
        with self._guard.undone_on_error():
            return self.function(*arguments)

    def _of_another_fit(self, *arguments: Any) -> Any:
        if keras.backend.backend() != "jax":
            self._guard.undo()
        else:  # the step has taken all variables already, in the number that the schedule had
            warnings.warn(
                "SequentialBinarization: an exception in another callback has ended the fit of a schedule, whose learning rate "
                "and disentangled loss are still on. Build and compile the model anew, or let the schedule go on.",
                stacklevel=3,
            )
        return self.function(*arguments)
