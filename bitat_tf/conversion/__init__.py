"""From a trained float model to one with binary layers, in float state and of the same outputs.

| module | what it holds |
|---|---|
| `binarize` | `binarize` and `plan_binarization` |
| `skip` | layers that the user wants to stay float; `inspection.plan` says which layers can become binary |
| `replacement` | the binary layers that take the place of float ones, and their weights |
| `shortcuts` | shortcuts around binary layers |
| `frozen` | frozen layers, which would keep binary layers from training, train again |
| `changes` | what is different in the new model, on top of `model_graph.rebuilt` |
"""

from bitat_tf.conversion.binarize import binarize, plan_binarization
from bitat_tf.inspection.plan import Argument, BinarizationPlan, LayerPlan

__all__ = ["Argument", "BinarizationPlan", "LayerPlan", "binarize", "plan_binarization"]
