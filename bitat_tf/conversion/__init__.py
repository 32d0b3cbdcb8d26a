"""From a trained float model to one with binary layers, in float state and of the same outputs.

| module | what it holds |
|---|---|
| `binarize` | `binarize` and `plan_binarization` |
| `plan` | which layers become binary, which stay float, and why |
| `replacement` | the binary layers that take the place of float ones, and their weights |
| `shortcuts` | shortcuts around binary layers |
| `rebuild` | the model built anew, layer call by layer call |
"""

from bitat_tf.conversion.binarize import binarize, plan_binarization
from bitat_tf.conversion.plan import BinarizationPlan, LayerPlan

__all__ = ["BinarizationPlan", "LayerPlan", "binarize", "plan_binarization"]
