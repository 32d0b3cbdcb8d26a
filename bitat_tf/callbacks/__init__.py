"""Callbacks for `model.fit`: the schedule of BiTAT, and what it is measured by."""

from bitat_tf.callbacks.backup import Backup
from bitat_tf.callbacks.quantization_monitor import QuantizationMonitor
from bitat_tf.callbacks.schedule import PRESETS, Phase, Schedule, Timeline
from bitat_tf.callbacks.sequential_binarization import SequentialBinarization
from bitat_tf.callbacks.summaries import StageSummaries

__all__ = [
    "PRESETS",
    "Backup",
    "Phase",
    "QuantizationMonitor",
    "Schedule",
    "SequentialBinarization",
    "StageSummaries",
    "Timeline",
]
