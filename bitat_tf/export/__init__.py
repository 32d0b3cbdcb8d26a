"""From a trained model to a verified `.tflite` file for larq-compute-engine.

| module | what it holds |
|---|---|
| `convert` | `to_tflite`: the way from the model to the file (`request`: what it is asked for) |
| `plain` | the model as a plain Larq network (`padding`: zero padding that the converter would shift) |
| `folding` | `fold`: constants per channel vanish into their neighbours |
| `int8` | `quantize_rest`: what is not binary in int8 (`integer_input`: files that take bytes) |
| `verification`, `report` | whether the file does what the model does, before it is written |
| `verify`, `intermediate` | the same for a file that was written, layer by layer |
"""

from bitat_tf.export.convert import to_tflite
from bitat_tf.export.folding import fold
from bitat_tf.export.int8 import FakeQuantization, FakeQuantizedSign, quantize_rest
from bitat_tf.export.plain import to_plain_larq
from bitat_tf.export.report import ExportReport
from bitat_tf.export.verification import agreement
from bitat_tf.export.verify import VerificationReport, verify

__all__ = [
    "ExportReport",
    "VerificationReport",
    "verify",
    "FakeQuantization",
    "FakeQuantizedSign",
    "agreement",
    "fold",
    "quantize_rest",
    "to_plain_larq",
    "to_tflite",
]
