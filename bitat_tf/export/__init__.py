"""From a trained model to a verified `.tflite` file for larq-compute-engine.

| module | what it holds |
|---|---|
| `convert` | `to_tflite`: the way from the model to the file (`request`: what it is asked for) |
| `plain` | the model as a plain Larq network (`padding`: zero padding that the converter would shift) |
| `folding` | `fold`: constants per channel vanish into their neighbours |
| `int8` | `quantize_rest`: what is not binary in int8 (`integer_input`: files that take bytes) |
| `output_kinds`, `agreement` | what each output is, and whether the file's agree with the model's (`labels`, `judging`) |
| `interface` | what a file takes and gives, beside the model |
| `verify`, `report` | whether a file does what the model does (`inside`: at every sign; `engines`: what runs it) |
"""

from bitat_tf.export.agreement import Limits, Measure, OutputAgreement, compare_outputs
from bitat_tf.export.convert import to_tflite
from bitat_tf.export.folding import fold
from bitat_tf.export.inside import InsideComparison
from bitat_tf.export.int8 import FakeQuantization, FakeQuantizedSign, quantize_rest
from bitat_tf.export.interface import run_tflite
from bitat_tf.export.plain import to_plain_larq
from bitat_tf.export.report import ExportReport, VerificationReport
from bitat_tf.export.verify import verify
from bitat_tf.tflite_file import FileReport, dump, inspect
from bitat_tf.tflite_file.operators import Operator, read_operators

__all__ = [
    "ExportReport",
    "FileReport",
    "InsideComparison",
    "Limits",
    "Measure",
    "OutputAgreement",
    "VerificationReport",
    "dump",
    "inspect",
    "verify",
    "FakeQuantization",
    "FakeQuantizedSign",
    "Operator",
    "compare_outputs",
    "fold",
    "quantize_rest",
    "read_operators",
    "run_tflite",
    "to_plain_larq",
    "to_tflite",
]
