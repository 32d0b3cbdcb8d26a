"""The errors of binary layers in the `logs` of Keras."""

import numpy as np

from bitat_tf.dependency import QuantizationErrors
from bitat_tf.layers import BinaryLayer


def layer_errors(layers: list[BinaryLayer]) -> dict[str, QuantizationErrors]:
    """Return the errors of the layers that have a binary kernel and statistics, by name."""
    errors = {layer.name: layer.quantization_errors() for layer in layers if layer.kernel_is_binary.numpy()}
    return {name: error for name, error in errors.items() if error is not None}


def error_logs(errors: dict[str, QuantizationErrors]) -> dict[str, float]:
    """Return the entries for `logs`: Q_orig and Q_ours summed over layers as in Fig. 8, their ratio, and the mean Q_rel."""
    q_orig = sum(error.q_orig for error in errors.values())
    q_ours = sum(error.q_ours for error in errors.values())
    return {
        "q_orig": q_orig,
        "q_ours": q_ours,
        "q_rel": float(np.mean([error.q_rel for error in errors.values()])) if errors else float("nan"),
        "q_ratio": q_ours / q_orig if q_orig else float("nan"),
    }


def layer_rows(epoch: int, errors: dict[str, QuantizationErrors]) -> list[dict[str, float | int | str]]:
    """Return one row a layer for `layer_history`."""
    return [
        {"epoch": epoch, "layer": name, "q_orig": e.q_orig, "q_ours": e.q_ours, "q_rel": e.q_rel, "q_ratio": e.q_ratio}
        for name, e in errors.items()
    ]
