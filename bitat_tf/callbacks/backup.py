"""Backups that survive a damaged file and a full disk."""

import json
import math
import os
import shutil
import tempfile
import time
import warnings
from pathlib import Path

import keras

from bitat_tf._files import check_room, file_hash, temporary_prefix, write_atomically, write_text
from bitat_tf._validation import check_model, check_number, first_line
from bitat_tf.callbacks.workers import has_several_workers, is_first_worker, wait_for_all_workers

_KEEP = 2
_WEIGHTS = ".weights.h5"  # what Keras wants a file of weights to end with
# What Keras raises for a file that is no HDF5, or holds weights of another model: it has no exception of its own for that.
_KERAS_ERRORS = (ValueError, TypeError, KeyError, OSError, RuntimeError, AttributeError, UserWarning)


class Backup(keras.callbacks.Callback):
    """`keras.callbacks.BackupAndRestore` at the ends of epochs, with checksums, and with the backup before kept as well.

    Started again, `fit` continues after the last epoch whose backup can be read: when the newest is damaged, the one before is
    taken, with a warning. When a backup cannot be written, those before stay. A run that continues ends with the weights of one
    that was never stopped, bit for bit, if everything else does: with `SequentialBinarization`, whose state lies in the model;
    with `bitat_tf.data.training_dataset(..., iterations=model.optimizer.iterations)`, or data in a fixed order; on GPUs with
    deterministic kernels. In several processes the first one writes, all read, and the folder must be one that all of them see.

    Args:
        directory: Folder of the backups of one `fit`.
        delete_checkpoint: Whether they are deleted at the end of `fit`. Default True.
        largest_share: Share of the time that backups may take, above 0 and up to 1. Where epochs are short, some are left out
            for it, but not in several processes. Default 0.02; 1 for every epoch.

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
        super().__init__()
        self.directory = Path(directory)
        self.delete_checkpoint = delete_checkpoint
        self._largest_share = largest_share

    def on_train_begin(self, logs=None):
        """Restore the last backup that can be read, if there is one."""
        model = self.model
        check_model(model, "Backup")
        wait_for_all_workers("backups are looked for")
        newest = _last_readable(self.directory)
        if newest is not None:
            if not model.optimizer.built:
                model.optimizer.build(model.trainable_variables)
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("error", UserWarning)  # with which Keras leaves out what does not fit an optimizer
                    model.load_weights(newest)
            except _KERAS_ERRORS as error:
                raise ValueError(
                    f"Backup: {newest} cannot be restored into this model ({first_line(error)}). Use the model, the optimizer "
                    f"and the settings of the run that was stopped, or remove {self.directory} to begin anew."
                ) from error
            model._initial_epoch = _epoch_of(newest)  # where Keras' own callback tells `fit` to begin
        self._next = 0.0

    def on_epoch_end(self, epoch, logs=None):
        """Write a backup, and remove the one before the last."""
        model = self.model
        several = has_several_workers()
        started = time.monotonic()
        if started < self._next and not several:
            return
        if is_first_worker():
            self._write(model, epoch + 1)
        else:  # Keras makes variables while it saves, which takes all processes
            with tempfile.TemporaryDirectory() as folder:
                model.save_weights(Path(folder, f"unused{_WEIGHTS}"))
        wait_for_all_workers("backup is written")
        now = time.monotonic()
        self._next = now + (now - started) * (1 / self._largest_share - 1)

    def on_train_end(self, logs=None):
        """Remove the backups of a run that is done."""
        if self.delete_checkpoint and is_first_worker():
            shutil.rmtree(self.directory, ignore_errors=True)

    def _write(self, model: keras.Model, epochs: int) -> None:
        path = self.directory / f"epoch-{epochs:06d}{_WEIGHTS}"
        before = _backups(self.directory)

        def write(temporary: Path) -> None:
            weights = temporary.with_name(temporary_prefix() + path.name)
            try:
                check_room(self.directory, _largest_size(model))
                model.save_weights(weights)
                weights.replace(temporary)
            finally:
                weights.unlink(missing_ok=True)

        try:
            write_atomically(path, write)
            write_text(_seal(path), json.dumps({"epochs": epochs, "sha256": file_hash(path)}))
        except OSError as error:
            last = before[0] if before else None
            raise OSError(
                error.errno,
                f"Backup: epoch {epochs} could not be saved in {self.directory} ({first_line(error)}). "
                + (f"The backup before it, {last}, is untouched. " if last else "")
                + "Free some space there and start the run again.",
            ) from error
        model._bitat_backup = str(path)
        for old in _backups(self.directory)[_KEEP:]:
            _seal(old).unlink(missing_ok=True)
            old.unlink(missing_ok=True)


def _largest_size(model: keras.Model) -> int:
    """Return about the bytes of a backup, rather too many: those of the variables, and what HDF5 says of each."""
    variables = [*model.variables, *model.optimizer.variables]
    return sum(math.prod(variable.shape) * (8 if "64" in str(variable.dtype) else 4) + 2048 for variable in variables)


def last_backup(model: keras.Model) -> str | None:
    """Return the file of the last backup that was written of a model in this process; None without one."""
    return getattr(model, "_bitat_backup", None)


def _backups(folder: Path) -> list[Path]:
    """Return the files of all backups, the newest first."""
    return sorted(folder.glob(f"epoch-*{_WEIGHTS}"), reverse=True)


def _seal(path: Path) -> Path:
    """Return the file that holds the checksum of a backup: written after it, so that one without a seal is not whole."""
    return path.with_name(path.name.removesuffix(_WEIGHTS) + ".json")


def _epoch_of(path: Path) -> int:
    return int(path.name.removeprefix("epoch-").removesuffix(_WEIGHTS))


def _last_readable(folder: Path) -> Path | None:
    """Return the newest backup that is whole, with a warning where newer ones are not; None if there are none at all."""
    damaged: list[str] = []
    for path in _backups(folder):
        reason = _damage(path)
        if reason is None:
            if damaged:
                warnings.warn(f"Backup: damaged: {'; '.join(damaged)}. The run continues from {path}.", stacklevel=3)
            return path
        damaged.append(f"{path} ({reason})")
    # The first backup of a run that was stopped before it had its seal is as none.
    if any(_seal(path).exists() for path in _backups(folder)):
        raise ValueError(
            f"Backup: no backup in {folder} can be read: {'; '.join(damaged)}. Remove the folder to begin anew, or put copies "
            "of these files in their places."
        )
    return None


def _damage(path: Path) -> str | None:
    """Return why a backup cannot be trusted; None if it can."""
    try:
        seal = json.loads(_seal(path).read_text())
        return None if seal["sha256"] == file_hash(path) else "its checksum is another one"
    except FileNotFoundError:
        return "its checksum was not written"
    except (OSError, ValueError, KeyError, TypeError) as error:
        return first_line(error)
