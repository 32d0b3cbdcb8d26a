"""Constants per channel vanish into their neighbours before the export, so that no operator on the device adds them.

| module | what it holds |
|---|---|
| `parts` | what of a layer can take a constant up: biases, thresholds, statistics, shifts |
| `moves` | where a constant can go: forwards to all that read a tensor, backwards to what computes it |
| `fold` | which constants are moved, and the network with them |
"""

from bitat_tf.export.folding.fold import fold

__all__ = ["fold"]
