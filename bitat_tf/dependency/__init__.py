"""The mathematics of BiTAT: pure functions on arrays, without any knowledge of layers.

| module | what it holds |
|---|---|
| `patches` | Eq. 14: a convolution is a dense layer on patches |
| `moments` | first and second moments of a layer's input, streamed |
| `grouping` | aggregation of the input dimensions into k groups (the reduction matrix P) |
| `transform` | the transform (s, V) and the errors Q_orig (Eq. 2), Q_ours (Eq. 6) and Q_rel |
| `solvers` | closed forms: the best scale, the re-targeted reference weights |
"""

from bitat_tf.dependency.grouping import group_inputs, reduce_inputs, reduction_matrix
from bitat_tf.dependency.moments import InputMoments
from bitat_tf.dependency.patches import dense_rows, extract_patches
from bitat_tf.dependency.solvers import optimal_scale, retarget
from bitat_tf.dependency.transform import Metric, QuantizationErrors, disentangle, q_orig, q_ours, quantization_errors

__all__ = [
    "InputMoments",
    "Metric",
    "QuantizationErrors",
    "dense_rows",
    "disentangle",
    "extract_patches",
    "group_inputs",
    "optimal_scale",
    "q_orig",
    "q_ours",
    "quantization_errors",
    "reduce_inputs",
    "reduction_matrix",
    "retarget",
]
