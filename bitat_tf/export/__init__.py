"""From a trained model to a verified `.tflite` file for larq-compute-engine."""

from bitat_tf.export.convert import to_tflite
from bitat_tf.export.plain import to_plain_larq
from bitat_tf.export.report import ExportReport
from bitat_tf.export.verification import agreement, run_tflite
from bitat_tf.tflite_file.operators import Operator, read_operators

__all__ = ["ExportReport", "Operator", "agreement", "read_operators", "run_tflite", "to_plain_larq", "to_tflite"]
