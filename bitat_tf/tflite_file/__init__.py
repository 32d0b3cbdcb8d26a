"""What is in a `.tflite` file: its content as objects, and the process of its own in which it is run.

| module | what it holds |
|---|---|
| `schema`, `content` | the classes of TFLite's schema; objects and bytes of a file, and the seal by which damage is seen |
| `engines` | what runs files, bitat-runtime or larq-compute-engine: which is there, and `run_tflite` |
| `running`, `child` | the process of its own in which a file is read and run |
| `inputs` | the inputs of a model as its file takes them |
| `structure` | whether the parts of a file fit together |
| `reading` | `read`: any file, of unknown origin, safely |
| `operators`, `macs` | `read_operators`: the operators of a network, their weights and multiply-accumulates |
| `neighbours`, `reasons` | what stands between binary operators, and why it is float |
| `inspecting`, `report` | `inspect`: all that as a `FileReport` |
| `dump`, `description`, `options` | `dump`: packed weights, thresholds and scales as `.npz` |

TensorFlow is not loaded for any of it.
"""

from bitat_tf.tflite_file.dump import Dump, dump
from bitat_tf.tflite_file.engines import MissingEngineError, run_tflite
from bitat_tf.tflite_file.inspecting import inspect
from bitat_tf.tflite_file.operators import Operator, read_operators
from bitat_tf.tflite_file.reading import TfliteFile, read
from bitat_tf.tflite_file.report import FileReport

__all__ = [
    "Dump",
    "FileReport",
    "MissingEngineError",
    "Operator",
    "TfliteFile",
    "dump",
    "inspect",
    "read",
    "read_operators",
    "run_tflite",
]
