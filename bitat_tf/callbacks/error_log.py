"""The errors of binary layers in the `logs` of Keras."""

from bitat_tf.dependency import QuantizationErrors, network_errors
from bitat_tf.layers import BinaryLayer


def layer_errors(layers: list[BinaryLayer]) -> dict[str, QuantizationErrors]:
    """Return the errors of the layers that have a binary kernel and statistics, by name."""
    errors = {layer.name: layer.quantization_errors() for layer in layers if layer.state != "float"}
    return {name: error for name, error in errors.items() if error is not None}


def error_logs(errors: dict[str, QuantizationErrors]) -> dict[str, float]:
    """Return the entries for `logs`: Q_orig and Q_ours summed over layers as in Fig. 8, their ratio, and the mean Q_rel."""
    return network_errors(errors.values()).to_dict()


def layer_rows(epoch: int, errors: dict[str, QuantizationErrors]) -> list[dict[str, float | int | str]]:
    """Return one row a layer for `layer_history`."""
    return [{"epoch": epoch, "layer": name, **error.to_dict()} for name, error in errors.items()]
