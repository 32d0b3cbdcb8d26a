"""What a model will be on the device, told before it is trained and exported.

| module | what it holds |
|---|---|
| `model_check`, `findings` | `check`: the rules for fused binary kernels, and what breaks them |
| `kernels`, `float_layers`, `signs` | which operator runs each layer, and why it is a float one |
| `neighbours`, `ends` | rules about what stands around a binary layer; the first and the last layers |
| `model_summary`, `summary_rows`, `layer_profile` | `summary`: states, parameters and operations of every layer |
| `file_size` | the size of the file: which operators the converter writes, and their bytes |
"""

from bitat_tf.inspection.file_size import FileSize
from bitat_tf.inspection.findings import CheckReport, Finding, KernelPrediction
from bitat_tf.inspection.model_check import check
from bitat_tf.inspection.model_summary import ModelSummary, summary
from bitat_tf.inspection.summary_rows import SummaryRow, SummaryTotals

__all__ = [
    "CheckReport",
    "FileSize",
    "Finding",
    "KernelPrediction",
    "ModelSummary",
    "SummaryRow",
    "SummaryTotals",
    "check",
    "summary",
]
