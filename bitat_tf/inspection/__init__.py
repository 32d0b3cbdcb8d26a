"""What a model will be on the device, told before it is trained and exported.

| module | what it holds |
|---|---|
| `model_check`, `findings`, `rules` | `check`: what of a model cannot be binary, and what costs accuracy or time |
| `binary_layer_rules`, `surroundings`, `device_forms` | the rules: a binary layer itself, what is around it, all other layers |
| `adaptation` | layers that have to follow binary ones, and cannot: frozen ones |
| `model_summary`, `summary_rows`, `layer_profile` | `summary`: states, parameters, operations of all layers; size of the file |
| `plan`, `outlook` | what `bitat_tf.binarize` would make of a float network |
| `kernel_layers` | convolutions and dense layers: what runs them, and why some stay float |
"""

from bitat_tf.inspection.findings import CheckReport, Finding
from bitat_tf.inspection.model_check import check
from bitat_tf.inspection.model_summary import ModelSummary, summary
from bitat_tf.inspection.outlook import Outlook
from bitat_tf.inspection.summary_rows import SummaryRow, SummaryTotals

__all__ = ["CheckReport", "Finding", "ModelSummary", "Outlook", "SummaryRow", "SummaryTotals", "check", "summary"]
