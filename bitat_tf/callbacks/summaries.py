"""Stages and layers in TensorBoard."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np

from bitat_tf._validation import check_model, check_number
from bitat_tf.callbacks.schedule import Timeline
from bitat_tf.callbacks.sequential_binarization import SequentialBinarization
from bitat_tf.layers import required_binary_layers

_FOLDER = "binarization"


class StageSummaries(keras.callbacks.Callback):
    """Writes stages and layers of a binarization for TensorBoard, beside `keras.callbacks.TensorBoard` in the same `log_dir`.

    Every epoch, into `log_dir/binarization`:

    | tag | what it is |
    |---|---|
    | `layers/NAME/q_orig`, `q_ours`, `q_rel`, `q_ratio` | errors of a layer, from its turn on |
    | `layers/NAME/...` | the other numbers of a callback's `layer_history` (sign flips, errors against the float network) |
    | `layers/NAME/binary` | 0 float, 1 binary |
    | `schedule/stage`, `schedule/learning_rate` | the number of layers whose turn has come; the learning rate |
    | `schedule/timeline` (text) | which layer is in which phase from which epoch to which; once |
    | `layers/NAME/latent_weights` (histogram) | every `histogram_freq` epochs |

    Args:
        log_dir: Folder, as that of `keras.callbacks.TensorBoard`, which has the curves of loss and metrics.
        sources: Callbacks that have a `layer_history`: a `SequentialBinarization`, a `QuantizationMonitor`, and those of
            `bitat_tf.analysis`; one or several. They must come before this one in `fit`'s list.
        histogram_freq: Epochs from one histogram of the latent weights to the next; 0 (default) for none.

    Raises:
        ValueError: If `histogram_freq` is negative or no source is given; in `fit`, if the model has no binary layers, or a
            schedule comes after this callback.
        TypeError: If a source has no `layer_history`.

    Examples:
        >>> model = keras.Sequential([keras.Input((4,)), bitat_tf.layers.BinaryDense(8), keras.layers.Dense(2)])
        >>> model.compile("adam", "mse")
        >>> x = np.random.randn(32, 4).astype("float32")
        >>> bitat = bitat_tf.callbacks.SequentialBinarization(x, bitat_tf.callbacks.Schedule(joint_epochs=1), verbose=0)
        >>> summaries = StageSummaries(folder, bitat)
        >>> history = model.fit(x, x[:, :2], epochs=2, batch_size=8, callbacks=[bitat, summaries], verbose=0)
        >>> len(os.listdir(os.path.join(folder, "binarization")))
        1
    """

    def __init__(self, log_dir: str | os.PathLike, sources: Any, histogram_freq: int = 0):
        super().__init__()
        check_number("StageSummaries", "histogram_freq", histogram_freq)
        self.log_dir = os.fspath(log_dir)
        self.sources = list(sources) if isinstance(sources, Sequence) else [sources]
        self.histogram_freq = int(histogram_freq)
        if not self.sources:
            raise ValueError("StageSummaries: `sources` must hold at least one callback. Received: none.")
        for source in self.sources:
            if not hasattr(source, "layer_history"):
                raise TypeError(
                    "StageSummaries: `sources` must be callbacks with a `layer_history`, as SequentialBinarization. Received: "
                    f"{type(source).__name__}."
                )

    def on_train_begin(self, logs=None):
        """Open the file."""
        check_model(self.model, "StageSummaries")
        self._layers = required_binary_layers("StageSummaries", self.model)
        import tensorflow as tf  # only here: on other backends who writes no summaries need not load it

        self._summary = tf.summary
        self._writer = self._summary.create_file_writer(os.path.join(self.log_dir, _FOLDER))
        self._read = [0] * len(self.sources)
        self._begun = False

    def on_epoch_begin(self, epoch, logs=None):
        """Write the schedule as text, once it is laid out."""
        if self._begun:
            return
        self._begun = True
        for source in self.sources:
            if isinstance(source, SequentialBinarization):
                if getattr(source, "timeline", None) is None:
                    raise ValueError(
                        "StageSummaries: its sources must come before it. Received: callbacks in which the "
                        "SequentialBinarization comes after it, or is missing. Pass `callbacks=[bitat, ..., summaries]`."
                    )
                text = timeline_table(source.timeline, self.params["steps"])
                with self._recorded():
                    self._summary.text("schedule/timeline", text, step=epoch)

    def on_epoch_end(self, epoch, logs=None):
        """Write what the sources have found in this epoch."""
        with self._recorded():
            for number, source in enumerate(self.sources):
                for row in source.layer_history[self._read[number] :]:
                    self._write_row(row)
                self._read[number] = len(source.layer_history)
            for name in ("stage", "learning_rate"):
                if name in (logs or {}):
                    self._summary.scalar(f"schedule/{name}", logs[name], step=epoch)
            for layer in self._layers:
                self._summary.scalar(f"layers/{layer.name}/binary", float(layer.state == "binary"), step=epoch)
                if self.histogram_freq and epoch % self.histogram_freq == 0:
                    self._summary.histogram(f"layers/{layer.name}/latent_weights", layer.latent_kernel_matrix, step=epoch)
        self._writer.flush()

    @contextlib.contextmanager
    def _recorded(self) -> Iterator[None]:
        # `keras.callbacks.TensorBoard(update_freq=100)` lets nothing be recorded between its own batches.
        with self._writer.as_default(), self._summary.record_if(True):
            yield

    def _write_row(self, row: dict[str, Any]) -> None:
        for name, value in row.items():
            if name not in ("epoch", "layer") and np.isfinite(value):
                self._summary.scalar(f"layers/{row['layer']}/{name}", value, step=row["epoch"])

    def on_train_end(self, logs=None):
        """Close the file."""
        self._writer.close()


def timeline_table(timeline: Timeline, steps_per_epoch: int) -> str:
    """Return the phases of a schedule as a table in Markdown.

    Args:
        timeline: The phases.
        steps_per_epoch: Training steps of an epoch.

    Examples:
        >>> print(timeline_table(bitat_tf.callbacks.Schedule(joint_epochs=1).timeline(["conv"], 10), 10))
        | layer | phase | from epoch | to epoch | learning rate |
        |---|---|---|---|---|
        | 1: conv | quantization | 0.00 | 0.50 | 0.01 |
        | 1: conv | fine-tuning | 0.50 | 1.00 | 0.0075 |
        | all | joint | 1.00 | 2.00 | 0.005 |
    """
    lines = ["| layer | phase | from epoch | to epoch | learning rate |", "|---|---|---|---|---|"]
    for row in timeline.rows(steps_per_epoch):
        layer = f"{row['stage']}: {row['layer']}" if row["layer"] else "all"
        lines.append(f"| {layer} | {row['kind']} | {row['start']:.2f} | {row['stop']:.2f} | {row['learning_rate']:.3g} |")
    return "\n".join(lines)
