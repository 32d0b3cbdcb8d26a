"""The options of an operator as plain values, under one set of names for TFLite's operators and for larq-compute-engine's."""

import re
from typing import Any

import numpy as np

from bitat_tf.tflite_file.operators import custom_options, type_name
from bitat_tf.tflite_file.schema import schema

_PAIRS = {
    ("stride_h", "stride_w"): "strides",
    ("stride_height", "stride_width"): "strides",
    ("dilation_h_factor", "dilation_w_factor"): "dilation",
    ("dilation_height_factor", "dilation_width_factor"): "dilation",
    ("filter_height", "filter_width"): "kernel",
}
_SINGLES = {"fused_activation_function": "activation", "pad_values": "pad_value"}
_NEEDED = {
    "LceBconv2d": ("strides", "dilation", "padding", "activation", "pad_value", "channels_in"),
    "LceBMaxPool2d": ("strides", "kernel", "padding"),
}


def _enumeration(kind: type) -> dict[int, str]:
    return {value: name for name, value in vars(kind).items() if not name.startswith("_") and isinstance(value, int)}


_ENUMERATIONS = {
    "padding": _enumeration(schema.Padding),
    "fused_activation_function": _enumeration(schema.ActivationFunctionType),
}


def read_options(operator: schema.OperatorT, name: str) -> dict[str, Any]:
    """Return the options of an operator.

    Args:
        operator: The operator of a file.
        name: Its name, "CONV_2D", "LceBconv2d", ...

    Returns:
        Plain values for JSON. Pairs of height and width are lists: "strides", "dilation", "kernel"; "padding" and "activation"
        are names. Of custom operators that are not larq-compute-engine's: {"custom_options": bytes in hexadecimal}.

    Raises:
        ValueError: If the options of an operator of larq-compute-engine cannot be read, or some are missing.
    """
    if operator.builtinOptions is not None:
        return _renamed(_plain(operator.builtinOptions))
    if name in _NEEDED:
        return _lce_options(name, custom_options(operator))
    return {} if operator.customOptions is None else {"custom_options": bytes(operator.customOptions).hex()}


def _lce_options(name: str, values: dict[str, Any]) -> dict[str, Any]:
    options = _renamed({key: value for key, value in values.items() if isinstance(value, int)})
    missing = [key for key in _NEEDED[name] if key not in options]
    if missing:
        raise ValueError(
            f"expected options of {name} with integers for {', '.join(missing)}. Received: {str(values)[:200]}. The file is of "
            "another version of larq-compute-engine: convert it again with 0.16."
        )
    return options


def _renamed(values: dict[str, Any]) -> dict[str, Any]:
    values = {key: type_name(value) if key.endswith("_data_type") else value for key, value in values.items()}
    values = {key: _ENUMERATIONS.get(key, {}).get(value, value) for key, value in values.items()}
    for (height, width), name in _PAIRS.items():
        if height in values and width in values:
            values[name] = [values.pop(height), values.pop(width)]
    return {_SINGLES.get(key, key): value for key, value in values.items()}


def _plain(value: Any) -> Any:
    """Return an object of the schema as plain values."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if hasattr(value, "__dict__"):
        return {_snake_case(key): _plain(item) for key, item in vars(value).items()}
    return value


def _snake_case(name: str) -> str:
    return re.sub(r"(?<!^)([A-Z])", r"_\1", name).lower()
