"""From calibration data to statistics of every layer's input, in the current network.

| module | what it holds |
|---|---|
| `data` | calibration data, checked; what reaches a layer of them |
| `statistics` | the metric of a layer's input, and reference weights |
| `cross_layer` | how the output of a block feels the errors of the layers in it |
| `measure` | s, V and the errors of every layer of a network, in one call |
"""

from bitat_tf.calibration.cross_layer import find_blocks, output_sensitivity
from bitat_tf.calibration.data import Calibration, LayerInputs, NetworkTrace
from bitat_tf.calibration.measure import LayerDependency, NetworkDependency, measure_dependency
from bitat_tf.calibration.statistics import LayerStatistics, layer_statistics

__all__ = [
    "Calibration",
    "LayerDependency",
    "LayerInputs",
    "LayerStatistics",
    "NetworkDependency",
    "NetworkTrace",
    "find_blocks",
    "layer_statistics",
    "measure_dependency",
    "output_sensitivity",
]
