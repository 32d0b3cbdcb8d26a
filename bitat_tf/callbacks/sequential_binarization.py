"""The schedule of BiTAT as a Keras callback."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import keras

from bitat_tf.calibration import Calibration
from bitat_tf.calibration.statistics import check_memory, has_statistics
from bitat_tf.callbacks.divergence import check_loss, check_weights
from bitat_tf.callbacks.error_log import error_logs, layer_errors, layer_rows
from bitat_tf.callbacks.freezing import Freezer, layers_below
from bitat_tf.callbacks.guard import Guard
from bitat_tf.callbacks.learning_rate import ScheduledLearningRate
from bitat_tf.callbacks.order import ordered_layers
from bitat_tf.callbacks.problems import warn_of_few_samples, warn_of_problems, warn_of_short_phases, warn_of_unfinished
from bitat_tf.callbacks.progress import ProgressLine
from bitat_tf.callbacks.pull import pull_at, pulls
from bitat_tf.callbacks.schedule import QUANTIZATION, Phase, Schedule, Timeline, get_schedule
from bitat_tf.callbacks.stages import Stages, resolve_blocks
from bitat_tf.callbacks.workers import check_equal_on_all_workers


class SequentialBinarization(keras.callbacks.Callback):
    """Makes the layers of a model binary, one after the other from bottom to top, while `model.fit` trains it.

    For each layer, in its turn: statistics of its input in the current network (the layers below are binary already), its
    metric (s, V) and reference weights; then the quantization phase, with the disentangled loss; then the fine-tuning phase.
    At the end all layers train together. The position is a function of epoch and batch, and the state of every layer lies in
    its variables: a saved model continues with `fit(initial_epoch=...)` and a callback of the same settings.

    Every epoch it adds to `logs`: `stage` (number of layers whose turn has come), `q_orig`, `q_ours`, `q_rel`, `q_ratio` (over
    the layers that are binary so far) and `learning_rate`. Callbacks that write logs, such as `CSVLogger`, must come after it
    in the list. `layer_history` holds the same for each layer; `timeline` the phases, once `fit` has begun.

    At the end the learning rate is the user's again, nothing is frozen, and the disentangled loss is off; so it is where an
    exception or Ctrl-C ends `fit`, in which case the layers stay as they are. What another callback raises is noticed by the
    next training step (not on JAX), or by the next `SequentialBinarization`.

    Args:
        calibration: Training inputs, prepared as for `fit`: an array of shape (n, ...), or a finite, batched tf.data.Dataset.
            A few hundred are enough.
        schedule: A `Schedule`, or the name of a preset: "short" (default), "paper_imagenet", "paper_cifar100".
        order: "bottom_to_top" (default), "top_to_bottom" (an ablation; expect bad results), or a list of layer names.
        blocks: Cross-layer dependency (ours): weight a layer's errors by how the output of its block feels them. None (default)
            for none; "residual" for blocks that end where a shortcut around the layer is added; or a mapping from layer
            names to the names of the layers at whose output their blocks end. The layers need a
            `DisentangledRegularizer(cross_layer=True)`.
        verbose: 1 (default) shows the progress line on terminals and in notebooks, 0 nothing.
        seed: Seed of the grouping of input dimensions.

    Raises:
        ValueError: In `fit`, if the model has no binary layers, `epochs` does not match the schedule, the number of steps is
            unknown, the calibration data are unusable, another `SequentialBinarization` is in the list, a layer and the
            schedule name different strengths, a resumed model is not where the schedule is, or the loss becomes NaN or
            infinite: then layer, phase and the last checkpoint of a `Backup` callback are named.

    Examples:
        >>> model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Conv2D(8, 3), keras.layers.BatchNormalization(),
        ...     bitat_tf.layers.BinaryConv2D(8, 3), keras.layers.BatchNormalization(), keras.layers.Flatten(),
        ...     keras.layers.Dense(10)])
        >>> model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        >>> x, y = np.random.rand(64, 8, 8, 1).astype("float32"), np.random.randint(0, 10, 64)
        >>> bitat = SequentialBinarization(x, Schedule(joint_epochs=1), verbose=0)
        >>> history = model.fit(x, y, epochs=bitat.total_epochs(model), callbacks=[bitat], verbose=0)
        >>> [layer.state for layer in bitat_tf.layers.binary_layers(model)]
        ['binary']
    """

    def __init__(
        self,
        calibration: Any,
        schedule: str | Schedule = "short",
        order: str | Sequence[str] = "bottom_to_top",
        blocks: str | Mapping[str, str] | None = None,
        verbose: int = 1,
        seed: int = 0,
    ):
        super().__init__()
        self.calibration = calibration
        self.schedule = get_schedule(schedule)
        self.order = order
        self.blocks = blocks
        if blocks is not None and self.schedule.flips:
            raise ValueError(
                "SequentialBinarization: flips are not weighted by the sensitivity of blocks. Received: `blocks` and a "
                "Schedule with flips=True. Leave one out."
            )
        self.verbose = verbose
        self.seed = seed
        self.layer_history: list[dict[str, Any]] = []
        self.phase_history: list[dict[str, Any]] = []
        self._next = 0  # index of the phase that comes next
        self._step = -1  # the last step that was begun

    def total_epochs(self, model: keras.Model) -> int:
        """Return what to pass to `fit` as `epochs`."""
        layers = ordered_layers(model, self.order)
        pulls(self.schedule, layers)  # what `fit` would refuse is refused here
        resolve_blocks(self.blocks, model, layers)
        return self.schedule.total_epochs(len(layers))

    def on_train_begin(self, logs=None):
        """Check the model and the data, and forget the run before."""
        self._guard = Guard(self)
        with self._guard.undone_on_error():
            self._prepare()

    def _prepare(self) -> None:
        self._layers = {layer.name: layer for layer in ordered_layers(self.model, self.order)}
        self._pulls = pulls(self.schedule, list(self._layers.values()))
        warn_of_problems(self.model, self._layers)
        self._rate = ScheduledLearningRate(self.model)
        self._guard.undo_by(self._rate.give_back)
        if not self.model.optimizer.built:
            # Before anything is frozen, over all variables. And in the first step TensorFlow would trace twice for making them.
            self.model.optimizer.build(self.model.trainable_variables)
        calibration = Calibration(self.calibration, self.model, "SequentialBinarization")
        # Every batch is checked now, not after hours in the stage that meets it.
        samples = sum(len(keras.tree.flatten(batch)[0]) for batch in calibration)
        check_equal_on_all_workers("calibration inputs", samples)
        warn_of_few_samples(samples)
        layers = list(self._layers.values())
        if self.schedule.retarget:
            cure = "Use Schedule(retarget=False), which needs no such statistics, or fewer calibration inputs."
            check_memory(
                "SequentialBinarization", self.model, [layer for layer in layers if has_statistics(layer)], samples, cure
            )
        blocks = resolve_blocks(self.blocks, self.model, layers)
        self._stages = Stages(self.model, layers, calibration, self.schedule, blocks, self.seed)
        self._freezer = Freezer(self.model, self._guard, self.schedule.freeze != "never")
        self._undo_the_rest()
        self._begun = False
        self._progress: ProgressLine | None = None
        self.layer_history = []
        self.phase_history = []

    def on_epoch_begin(self, epoch, logs=None):
        """Lay out the schedule at the start of the first epoch; note where each epoch begins."""
        if not self._begun:
            with self._guard.undone_on_error():
                self._begin_run(epoch)
            self._begun = True
        self._epoch = epoch

    def on_train_batch_begin(self, batch, logs=None):
        """Enter the phase that begins with this step, and set the learning rate."""
        with self._guard.undone_on_error():
            self._begin_step(self._epoch * self._steps_per_epoch + batch, batch == 0)

    def _begin_step(self, step: int, first_of_epoch: bool) -> None:
        if not self._guard.engaged:
            self._take_back(step)
        while self._next < len(self.timeline.phases) and self.timeline.phases[self._next].start <= step:
            self._enter(self.timeline.phases[self._next], step)
            self._next += 1
        phase = self.timeline.phases[self._next - 1]
        first = max(phase.start, self._step + 1)  # several steps may have passed, with steps_per_execution
        if phase.layer and phase.kind == QUANTIZATION and any(map(self.timeline.refreshes, range(first, step + 1))):
            self._stages.refresh(self._layers[phase.layer])
        self._step = step
        self._guard.allow_step()
        if first_of_epoch:
            self._rate.warn_if_changed()
        self._rate.set(step)
        if self._progress:
            self._progress.update(step)

    def on_train_batch_end(self, batch, logs=None):
        """Stop at once when the loss is no number any more."""
        phase = self.timeline.phases[self._next - 1]
        with self._guard.undone_on_error():
            check_loss((logs or {}).get("loss"), phase, len(self._layers), self._epoch, batch, self.model)

    def on_test_begin(self, logs=None):
        """Let an exception in the validation undo what an exception in the training does."""
        if hasattr(self, "_guard"):  # `evaluate` takes callbacks, too
            self._guard.begin_validation()

    def on_test_end(self, logs=None):
        """Give the model its validation step back."""
        if hasattr(self, "_guard"):
            self._guard.end_validation()

    def on_epoch_end(self, epoch, logs=None):
        """Write the stage and the errors into `logs`."""
        phase = self.timeline.phases[self._next - 1]
        with self._guard.undone_on_error():
            check_weights(phase, len(self._layers), epoch, self.model)
            errors = layer_errors(list(self._layers.values()))
        self.layer_history.extend(layer_rows(epoch, errors))
        if logs is not None:
            logs.update({"stage": phase.stage, **error_logs(errors), "learning_rate": self._rate.value})

    def on_train_end(self, logs=None):
        """Unfreeze, switch the disentangled loss off, give the learning rate back; warn if the schedule was not finished."""
        self._guard.undo()
        warn_of_unfinished(self._layers)

    def _undo_the_rest(self) -> None:
        # What is there now: until it is undone, this callback may have gone on to another model.
        self._guard.undo_by(self._freezer.freeze, [])
        self._guard.undo_by(pull_at, None, self._layers, self._pulls)

    def _take_back(self, step: int) -> None:
        """Set again what holds: a training step that found no more data has undone it, and Keras went on."""
        self._guard.engage()
        self._guard.undo_by(self._rate.give_back)
        self._undo_the_rest()
        self._rate.begin(self.timeline, step)
        self._hold(self.timeline.phases[self._next - 1])

    def _begin_run(self, epoch: int) -> None:
        steps, epochs = self.params.get("steps"), self.params.get("epochs")
        if steps is None:
            raise ValueError(
                "SequentialBinarization: the number of steps of an epoch is unknown, so that phases cannot be placed. Pass "
                "`steps_per_epoch` to fit, or use `dataset.apply(tf.data.experimental.assert_cardinality(n))`."
            )
        expected = self.schedule.total_epochs(len(self._layers))
        if epochs != expected:
            raise ValueError(
                f"SequentialBinarization: {len(self._layers)} binary layers take {expected} epochs. "
                f"Received: fit(epochs={epochs}). Pass `epochs=callback.total_epochs(model)`, or change the Schedule."
            )
        self._steps_per_epoch = steps
        self.timeline: Timeline = self.schedule.timeline(list(self._layers), steps)
        warn_of_short_phases(self.timeline, steps)
        if self.verbose:
            self._progress = ProgressLine(self.timeline.total_steps, live=not self.params.get("verbose"))
            self._guard.undo_by(self._progress.close)
        step = epoch * steps
        self._rate.begin(self.timeline, step)
        self._step = step - 1
        self._next = self.timeline.index_at(step) if step else 0
        if step:
            self._resume(step)
        else:
            self._reset_layers()

    def _reset_layers(self) -> None:
        started = [name for name, layer in self._layers.items() if layer.state != "float"]
        if started:
            warnings.warn(
                f"SequentialBinarization starts anew, from the first layer, though {len(started)} of {len(self._layers)} "
                "layers are binary already. To continue a run instead, pass its epoch to fit as `initial_epoch`.",
                stacklevel=2,
            )
        for layer in self._layers.values():
            layer.set_binary(False, False)
            layer.disentangled_state.forget()

    def _resume(self, step: int) -> None:
        phase = self.timeline.phases[self._next]
        entered = phase.start < step
        done = phase.stage if entered or phase.kind != QUANTIZATION else phase.stage - 1
        for position, (name, layer) in enumerate(self._layers.items(), 1):
            expected = "binary" if position <= done else "float"
            if layer.state != expected:
                raise ValueError(
                    f"SequentialBinarization: at epoch {step // self._steps_per_epoch} of this schedule layer {name!r} "
                    f"must be {expected}. Received: a model in which it is {layer.state}. Load the model that was "
                    "saved at the end of that epoch, and use the schedule of that run; or start anew with initial_epoch=0."
                )
        if entered:
            self._adjust(phase, step)
            self._next += 1

    def _enter(self, phase: Phase, step: int) -> None:
        if phase.layer and phase.kind == QUANTIZATION:
            self._stages.quantize(self._layers[phase.layer])
        self._adjust(phase, step)

    def _adjust(self, phase: Phase, step: int) -> None:
        """Let a phase hold, and say so."""
        self._hold(phase)
        self.phase_history.append(
            {"epoch": step / self._steps_per_epoch, "stage": phase.stage, "kind": phase.kind, "layer": phase.layer}
        )
        if self._progress:
            self._progress.phase(phase, len(self._layers), step)

    def _hold(self, phase: Phase) -> None:
        """Set what holds during a phase: what is frozen, and which layer the disentangled loss pulls at."""
        # On JAX, taking the model brings its variables up to date, without which what is assigned to them is lost.
        model = self.model
        layer = self._layers[phase.layer] if phase.layer else None
        self._freezer.freeze(layers_below(model, layer) if layer is not None and self.schedule.freezes(phase) else [])
        pull_at(phase.layer if phase.kind == QUANTIZATION else None, self._layers, self._pulls)
