"""int8 for what is not binary: the first and the last layer, and what lies between the binary ones.

| module | what it holds |
|---|---|
| `apart` | layers of several operators taken apart |
| `layers` | fake quantization as Keras layers |
| `placement` | which tensors are quantized |
| `ranges` | the ranges of the tensors, measured on data |
| `quantize_rest` | the network with fake quantization |
"""

from bitat_tf.export.int8.layers import FakeQuantization, FakeQuantizedSign
from bitat_tf.export.int8.quantize_rest import quantize_rest

__all__ = ["FakeQuantization", "FakeQuantizedSign", "quantize_rest"]
