"""The mathematics of BiTAT: pure functions on arrays, without any knowledge of layers.

| module | what it holds |
|---|---|
| `patches` | Eq. 14: a convolution is a dense layer on patches |
| `moments`, `patch_moments` | first and second moments of a layer's input, streamed: of rows, of pictures, in k groups |
| `lags` | which blocks of a patch covariance share their products |
| `grouping` | aggregation of the input dimensions into k groups (the reduction matrix P) |
| `transform` | the transform (s, V) and the errors Q_orig (Eq. 2), Q_ours (Eq. 6) and Q_rel |
| `solvers` | closed forms: the best scale, the re-targeted reference weights |
| `flips` | binary weights that no flip of a sign can improve |
"""

from bitat_tf.dependency.flips import Curvature, flip_descent
from bitat_tf.dependency.grouping import group_inputs, reduce_inputs, reduction_matrix
from bitat_tf.dependency.moments import InputMoments
from bitat_tf.dependency.patch_moments import GroupedMoments, PatchMoments
from bitat_tf.dependency.patches import PatchGeometry, extract_patches
from bitat_tf.dependency.solvers import latent_weights, optimal_scale, retarget, ridge, ridge_from_rows, scale_from_products
from bitat_tf.dependency.transform import (
    Metric,
    QuantizationErrors,
    disentangle,
    network_errors,
    q_orig,
    q_ours,
    quantization_errors,
)

__all__ = [
    "Curvature",
    "GroupedMoments",
    "InputMoments",
    "Metric",
    "PatchGeometry",
    "PatchMoments",
    "QuantizationErrors",
    "disentangle",
    "extract_patches",
    "flip_descent",
    "group_inputs",
    "latent_weights",
    "network_errors",
    "optimal_scale",
    "q_orig",
    "q_ours",
    "quantization_errors",
    "reduce_inputs",
    "reduction_matrix",
    "retarget",
    "ridge",
    "ridge_from_rows",
    "scale_from_products",
]
