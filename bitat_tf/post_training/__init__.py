"""Binarization without training.

| module | what it holds |
|---|---|
| `propagation` | calibration data on their way through a network, layer by layer |
| `binarize` | `binarize_post_training`: closed forms for each layer in its turn |
"""

from bitat_tf.post_training.binarize import binarize_post_training

__all__ = ["binarize_post_training"]
