"""Backups that survive a damaged file and a full disk."""

import os
import time
import warnings
from pathlib import Path

from bitat_tf._files import write_text
from bitat_tf._keras import keras, tf
from bitat_tf._validation import check_number
from bitat_tf.callbacks.workers import has_several_workers

_KEEP = 2
_PREFIX = "ckpt-"  # what tf.train.CheckpointManager calls its files


class Backup(keras.callbacks.BackupAndRestore):
    """`keras.callbacks.BackupAndRestore` at the ends of epochs, with the backup before kept as well.

    Started again, `fit` continues after the last epoch whose backup can be read: when the newest is damaged, the one before is
    taken, with a warning. When a backup cannot be written, those before stay. A run that continues ends with the weights of one
    that was never stopped, bit for bit, if everything else does: with `SequentialBinarization`, whose state lies in the model;
    with `bitat_tf.data.training_dataset(..., iterations=model.optimizer.iterations)`, or data in a fixed order; without layers
    that draw random numbers (Dropout); on GPUs with `tf.config.experimental.enable_op_determinism()`.

    Args:
        directory: Folder of the backups of one `fit`.
        delete_checkpoint: Whether they are deleted at the end of `fit`. Default True.
        largest_share: Share of the time that backups may take, above 0 and up to 1. Where epochs are short, some are left out
            for it, but on several workers, which would have to agree. Default 0.02; 1 for every epoch.

    Raises:
        OSError: In `fit`, if a backup cannot be written.
        ValueError: If the folder is none of a file system (`gs://...`); in `fit`, if there are backups and none can be read, or
            they are of another model.

    Examples:
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
        >>> model.compile("adam", "mse")
        >>> backup = Backup(os.path.join(folder, "backup"))
        >>> history = model.fit(np.ones((8, 4)), np.ones(8), epochs=2, shuffle=False, verbose=0, callbacks=[backup])
    """

    def __init__(self, directory: str | os.PathLike, delete_checkpoint: bool = True, largest_share: float = 0.02):
        check_number("Backup", "largest_share", largest_share, maximum=1.0, exclusive=True)
        if "://" in str(directory):
            raise ValueError(
                f"Backup: the folder must be one of a file system. Received: directory={str(directory)!r}. Mount it, or use "
                "keras.callbacks.BackupAndRestore."
            )
        super().__init__(str(directory), delete_checkpoint=delete_checkpoint)
        self._largest_share = largest_share

    def on_train_begin(self, logs=None):
        """Restore the last backup that can be read, if there is one."""
        folder = Path(self.backup_dir) / "chief"  # Keras' name, on one worker and on many
        # Of several workers the first looks, and puts the list in order. The others have to wait for that before they read it:
        # they do, as Keras makes a variable first, whose value all take from the first worker.
        if self.model.distribute_strategy.extended.should_checkpoint:
            _use_last_readable(folder)
        try:
            super().on_train_begin(logs)
            reading = self._training_state.read_checkpoint_manager
            if reading.latest_checkpoint:  # Keras restores what fits, and is silent of the rest
                reading.checkpoint.restore(reading.latest_checkpoint).assert_existing_objects_matched()
        except (ValueError, AssertionError, tf.errors.OpError) as error:
            raise ValueError(
                f"Backup: the backup in {folder} cannot be restored into this model ({_first_line(error)}). Use the model, the "
                "optimizer and the settings of the run that was stopped, or remove the folder to begin anew."
            ) from error
        state = self._training_state
        writing = state.write_checkpoint_manager
        kept = tf.train.CheckpointManager(writing.checkpoint, writing.directory, max_to_keep=_KEEP)
        if state.read_checkpoint_manager is writing:
            state.read_checkpoint_manager = kept
        state.write_checkpoint_manager = kept
        self._next = 0.0

    def _backup(self, epoch, batch=0):
        started = time.monotonic()
        if started < self._next and not has_several_workers(self.model.distribute_strategy):
            return
        writing = self._training_state.write_checkpoint_manager
        last = self._training_state.read_checkpoint_manager.latest_checkpoint
        try:
            super()._backup(epoch, batch)
        except tf.errors.OpError as error:
            raise OSError(
                f"Backup: epoch {epoch + 1} could not be saved in {writing.directory} ({_first_line(error)}). "
                + (f"The backup before it, {last}, is untouched. " if last else "")
                + "Free some space there and start the run again."
            ) from error
        now = time.monotonic()
        self._next = now + (now - started) * (1 / self._largest_share - 1)


def _use_last_readable(folder: Path) -> None:
    """Let the newest backup that can be read as a whole be the one that is restored.

    The files count, not what the list of backups (TensorFlow's file `checkpoint`) says: it may be damaged too, or older.
    """
    numbers = sorted((int(path.stem.removeprefix(_PREFIX)) for path in folder.glob(f"{_PREFIX}*.index")), reverse=True)
    damaged: list[str] = []
    for position, number in enumerate(numbers):
        path = folder / f"{_PREFIX}{number}"
        reason = _damage(path)
        if reason is None:
            if damaged:
                warnings.warn(f"Backup: damaged: {'; '.join(damaged)}. The run continues from {path}.", stacklevel=3)
            _list_backups(folder, numbers[position:])
            return
        damaged.append(f"{path} ({reason})")
    if damaged:
        raise ValueError(
            f"Backup: no backup in {folder} can be read: {'; '.join(damaged)}. Remove the folder to begin anew, or put copies "
            "of these files in their places."
        )


def _list_backups(folder: Path, numbers: list[int]) -> None:
    """Write TensorFlow's list of backups, from the newest to the oldest; a text of the form `CheckpointState`."""
    lines = [f'model_checkpoint_path: "{_PREFIX}{numbers[0]}"']
    for number in reversed(numbers):
        lines.append(f'all_model_checkpoint_paths: "{_PREFIX}{number}"')
        # Without times the manager would keep these files forever.
        lines.append(f"all_model_checkpoint_timestamps: {(folder / f'{_PREFIX}{number}.index').stat().st_mtime}")
    write_text(folder / "checkpoint", "\n".join(lines) + "\n")


def _damage(path: Path) -> str | None:
    """Return why a checkpoint cannot be read; None if all of it can: reading compares checksums."""
    try:
        reader = tf.train.load_checkpoint(str(path))
        for name in reader.get_variable_to_shape_map():
            reader.get_tensor(name)
    except (tf.errors.OpError, ValueError, RuntimeError, IndexError) as error:
        return _first_line(error)
    return None


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
