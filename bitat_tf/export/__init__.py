"""From a trained model to a verified `.tflite` file.

| module | what it holds |
|---|---|
| `convert` | `to_tflite`: the way from the model to the file (`request`: what it is asked for) |
| `lowering` | the model as the steps of the device, folded, and written through TensorFlow's converter |
| `larq_converter`, `plain` | the same model through larq-compute-engine's own converter, as a plain network |
| `output_kinds`, `agreement` | what each output is, and whether the file's agree with the model's (`labels`, `judging`) |
| `ends`, `interface` | what a file takes and gives, beside the model |
| `verify`, `report` | whether a file does what the model does (`inside`: at every sign) |
"""

from bitat_tf.export.agreement import Limits, Measure, OutputAgreement, compare_outputs
from bitat_tf.export.convert import to_tflite
from bitat_tf.export.inside import InsideComparison
from bitat_tf.export.plain import to_plain_network
from bitat_tf.export.report import ExportReport, VerificationReport
from bitat_tf.export.verify import verify

__all__ = [
    "ExportReport",
    "InsideComparison",
    "Limits",
    "Measure",
    "OutputAgreement",
    "VerificationReport",
    "compare_outputs",
    "to_plain_network",
    "to_tflite",
    "verify",
]
