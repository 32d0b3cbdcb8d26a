"""bitat_tf: binary networks (1-bit weights, 1-bit activations) with the BiTAT method, for Keras and phones.

| where | what |
|---|---|
| `bitat_tf.dependency` | the mathematics of the paper, pure functions on arrays: Q_orig, Q_ours, s and V |
| `bitat_tf.quantizers`, `bitat_tf.regularizers` | `RSign`; the disentangled loss |
| `bitat_tf.layers` | `BinaryConv2D`, `BinaryDense`, `RPReLU` |
| `bitat_tf.calibration` | statistics of every layer's input; `measure_dependency` |
| `bitat_tf.callbacks` | `SequentialBinarization`: the schedule, layer by layer |
| `bitat_tf.Distiller` | training with a float teacher, under plain `fit` |
| `bitat_tf.analysis` | looking into networks, and the paper's experiments, with plots |
| `bitat_tf.binarize` | a trained Keras network becomes one with binary layers, in float state |
| `bitat_tf.binarize_post_training` | binarization without training |
| `bitat_tf.check`, `bitat_tf.summary` | what will be binary on the device, and what it takes |
| `bitat_tf.applications` | ReActNet, Bi-Real Net, Real-to-Binary Net, MeliusNet, QuickNet; MobileNets |
| `bitat_tf.export` | `to_tflite`: conversion with larq-compute-engine, folding, int8 for the rest, and its verification |
| `bitat_tf.tflite_file` | what is in a file: `inspect`, `plot_graph`, `dump` |
| `bitat_tf.deployment` | how fast a file is: `benchmark` |
| `bitat_tf.kits` | from the file to a program on a phone or a board: `write_kit` |
| `bitat_tf.data` | images from folders |
| `bitat_tf.workflow` (imported by itself) | the whole job, as `bitat-tf train` runs it |
"""

# First: it decides which Keras is used, before Larq or TensorFlow are loaded by anything below.
from bitat_tf import _keras  # noqa: F401, I001

from importlib.metadata import version

from bitat_tf import analysis, applications, calibration, callbacks, data, dependency, deployment, export, kits, layers
from bitat_tf import quantizers, regularizers, tflite_file
from bitat_tf.conversion import binarize, plan_binarization
from bitat_tf.distillation import Distiller
from bitat_tf.inspection import check, summary
from bitat_tf.post_training import binarize_post_training

__version__ = version("bitat_tf")

__all__ = [
    "Distiller",
    "__version__",
    "analysis",
    "applications",
    "binarize",
    "binarize_post_training",
    "calibration",
    "callbacks",
    "check",
    "data",
    "dependency",
    "deployment",
    "export",
    "kits",
    "layers",
    "plan_binarization",
    "quantizers",
    "regularizers",
    "summary",
    "tflite_file",
]
