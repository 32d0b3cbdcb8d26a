"""The size of the exported file, told before there is one.

| module | what it holds |
|---|---|
| `prediction` | `predict_file_size`, `predict_operators` |
| `lowering`, `other_layers`, `activations`, `steps` | the operators that layers become, before fusion |
| `fusion` | how the converter fuses them, one small rule for each thing it does |
| `operators` | operators and constants, and the bytes they take in the file |
"""

from bitat_tf.inspection.file_size.prediction import FileSize, predict_file_size, predict_operators

__all__ = ["FileSize", "predict_file_size", "predict_operators"]
