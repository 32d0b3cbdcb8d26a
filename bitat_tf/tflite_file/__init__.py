"""What is in a `.tflite` file: its content as objects, and the process of its own in which it is run.

| module | what it holds |
|---|---|
| `content` | objects and bytes of a file, and the seal by which damage is seen |
| `running` | the interpreter, in a process of its own (`_child`) |
| `runtime` | whether bitat-runtime, the other thing that runs files, can be used here |
| `structure` | whether the parts of a file fit together |
| `reading` | `read`: any file, of unknown origin, safely |
| `operators`, `macs` | the operators of a network, their weights and multiply-accumulates |
| `neighbours`, `reasons` | what stands between binary operators, and why it is float |
| `report`, `report_text` | `inspect`: all that as a `FileReport`, and as text |
| `dump`, `description`, `options`, `c_header` | `dump`: packed weights, thresholds and scales as `.npz` and C header |
| `picture`, `graph_layout` | `plot_graph`: the picture of a network |
"""

from bitat_tf.tflite_file.dump import Dump, dump
from bitat_tf.tflite_file.picture import plot_graph
from bitat_tf.tflite_file.reading import TfliteFile, read
from bitat_tf.tflite_file.report import FileReport, inspect

__all__ = ["Dump", "FileReport", "TfliteFile", "dump", "inspect", "plot_graph", "read"]
