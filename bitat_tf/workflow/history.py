"""The curves of a run: a line an epoch while it trains, one table at the end."""

import csv
import io
import time
from pathlib import Path
from statistics import mean

import keras
from rich import get_console

from bitat_tf.callbacks.progress import format_seconds

COLUMNS = (
    "run",
    "epoch",
    "loss",
    "accuracy",
    "distillation_loss",
    "val_loss",
    "val_accuracy",
    "learning_rate",
    "stage",
    "q_orig",
    "q_ours",
    "q_rel",
    "q_ratio",
    "seconds",
)


class EpochLines(keras.callbacks.Callback):
    """Prints one line an epoch, in terminals and in files, with the time that is left, and puts its own time into `logs`."""

    async_safe = True  # what it does after a step reads no logs: Keras need not wait for them before the next step

    def __init__(self, name: str):
        super().__init__()
        self._name = name

    def on_train_begin(self, logs=None):
        """Forget the times of another training."""
        self._seconds: list[float] = []
        self._steps: list[float] = []

    def on_epoch_begin(self, epoch, logs=None):
        """Note the time."""
        self._started = time.monotonic()

    def on_train_batch_end(self, batch, logs=None):
        """Note the time of a step of the first epoch."""
        if not self._seconds:
            self._steps.append(time.monotonic())

    def on_epoch_end(self, epoch, logs=None):
        """Print the epoch's loss and accuracies, and log its seconds."""
        logs = {} if logs is None else logs
        logs["seconds"] = time.monotonic() - self._started
        self._seconds.append(logs["seconds"])
        parts = [f"{self._name} epoch {epoch + 1}/{self.params['epochs']}", f"loss {logs['loss']:.4f}"]
        parts += [
            f"{text} {logs[key]:.2%}" for key, text in (("accuracy", "train"), ("val_accuracy", "validation")) if key in logs
        ]
        if "stage" in logs:
            parts.append(f"layer {int(logs['stage'])}, Q_rel {logs['q_rel']:.3f}")
        epochs_left = self.params["epochs"] - epoch - 1
        if epochs_left > 0:
            parts.append(f"{format_seconds(epochs_left * self._seconds_of_an_epoch())} left")
        get_console().print("  ".join(parts), highlight=False, soft_wrap=True)

    def _seconds_of_an_epoch(self) -> float:
        """Return what an epoch will take: in the first one the step is traced, so the others tell more, or its other steps."""
        if len(self._seconds) > 1:
            return mean(self._seconds[1:])
        further = len(self._steps) - 1
        if further < 1:
            return self._seconds[0]
        return (self._steps[-1] - self._steps[0]) / further * len(self._steps)


def read_log(path: Path) -> list[dict[str, str]]:
    """Return the rows of a CSVLogger's file, the last one of each epoch (a resumed run repeats one)."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        rows = {row["epoch"]: row for row in csv.DictReader(file)}
    return [rows[epoch] for epoch in sorted(rows, key=int)]


def read_rows(path: Path) -> list[dict[str, str]]:
    """Return the rows of `history.csv`."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def merge_logs(logs: dict[str, Path]) -> str:
    """Return one CSV table of the logs of several runs, named by their keys."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, COLUMNS, restval="", extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for name, path in logs.items():
        writer.writerows({"run": name, **row} for row in read_log(path))
    return buffer.getvalue()
