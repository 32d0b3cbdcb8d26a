"""bitat_tf: binary networks (1-bit weights, 1-bit activations) with the BiTAT method, for Keras and phones.

| where | what |
|---|---|
| `bitat_tf.dependency` | the mathematics of the paper, pure functions on arrays: Q_orig, Q_ours, s and V |
| `bitat_tf.quantizers`, `bitat_tf.regularizers` | `RSign` and Larq's quantizers; the disentangled loss |
| `bitat_tf.layers` | `BinaryConv2D`, `BinaryDense`, `RPReLU` |
| `bitat_tf.calibration` | statistics of every layer's input; `measure_dependency` |
| `bitat_tf.callbacks` | `SequentialBinarization`: the schedule, layer by layer |
| `bitat_tf.Distiller` | training with a float teacher, under plain `fit` |
| `bitat_tf.analysis` | looking into networks, and the paper's experiments, with plots |
| `bitat_tf.binarize` | a trained Keras network becomes one with binary layers, in float state |
| `bitat_tf.binarize_post_training` | binarization without training |
| `bitat_tf.from_larq` | a network that Larq has saved, with binary layers of this package |
| `bitat_tf.check`, `bitat_tf.summary` | what will be binary on the device, and what it takes |
| `bitat_tf.applications` | ReActNet, Bi-Real Net, Real-to-Binary Net, MeliusNet, QuickNet; MobileNets |
| `bitat_tf.export` | `to_tflite`: a verified file with binary operators, on demand with int8 for the rest; `verify` |
| `bitat_tf.tflite_file` | what is in a file: `inspect`, `dump`; `run_tflite` runs it |
| `bitat_tf.deployment` | how fast a file is: `benchmark` |
| `bitat_tf.kits` | from the file to a program on a phone or a board: `write_kit` |
| `bitat_tf.data` | images from folders |
| `bitat_tf.workflow` (imported by itself) | the whole job, as `bitat-tf train` runs it |

Each is loaded when it is used for the first time. `import bitat_tf` alone loads neither Keras nor TensorFlow.
"""

from importlib.metadata import version
from typing import TYPE_CHECKING

from bitat_tf._lazy import lazy_attributes
from bitat_tf._saved_models import enter_names

if TYPE_CHECKING:  # for editors and type checkers, which do not run what follows
    from bitat_tf import (
        analysis,
        applications,
        calibration,
        callbacks,
        data,
        dependency,
        deployment,
        export,
        kits,
        layers,
        quantizers,
        regularizers,
        tflite_file,
    )
    from bitat_tf.conversion.binarize import binarize, plan_binarization
    from bitat_tf.distillation import Distiller
    from bitat_tf.importing import from_larq
    from bitat_tf.inspection import check, summary
    from bitat_tf.post_training import binarize_post_training

_MODULES = (
    "analysis",
    "applications",
    "calibration",
    "callbacks",
    "conversion",
    "data",
    "dependency",
    "deployment",
    "distillation",
    "export",
    "importing",
    "inspection",
    "kits",
    "layers",
    "post_training",
    "quantizers",
    "regularizers",
    "tflite_file",
)
__getattr__ = lazy_attributes(
    __name__,
    {
        **{name: f"{__name__}.{name}" for name in _MODULES},
        "binarize": f"{__name__}.conversion",
        "plan_binarization": f"{__name__}.conversion",
        "Distiller": f"{__name__}.distillation",
        "from_larq": f"{__name__}.importing",
        "check": f"{__name__}.inspection",
        "summary": f"{__name__}.inspection",
        "binarize_post_training": f"{__name__}.post_training",
    },
)
__version__ = version("bitat_tf")

enter_names()

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
    "from_larq",
    "kits",
    "layers",
    "plan_binarization",
    "quantizers",
    "regularizers",
    "summary",
    "tflite_file",
]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
