"""What becomes of Larq's layers, quantizers and activations: entries of a configuration that Keras 3 has layers for."""

from collections.abc import Mapping
from typing import Any

from bitat_tf import quantizers
from bitat_tf.importing.larq_stand_ins import CONSTRAINTS, LAYERS, QUANTIZERS, named, quantizer
from bitat_tf.layers import BinaryConv2D, BinaryDense

OWN: dict[str, type] = {kind: getattr(quantizers, kind) for kind in QUANTIZERS}
OWN |= {kind.__name__: kind for kind in (BinaryConv2D, BinaryDense)}
"""The layers of this package that entries may become, by name."""

_BINARY = {"QuantConv2D": BinaryConv2D, "QuantDense": BinaryDense}
_LINEAR = "linear"
# Layers whose activation is the last that they do, so that a quantizer may come after them in its place.
_ENDS_WITH_ACTIVATION = {"Dense", *(base for base, _ in LAYERS.values())}


def as_of_keras(entry: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return what an entry of Keras 2 and Larq becomes: entries for layers of Keras 3 and of `OWN`, called one after the other.

    - A `QuantConv2D` or `QuantDense` that quantizes its input and its kernel to 1 bit becomes a binary layer.
    - Any other layer of Larq becomes the one of Keras beneath it, which is to get the quantized kernel, after a layer that
      quantizes its input where Larq does so.
    - A quantizer that is a layer or an activation becomes a layer.

    The layer with the weights keeps the name.

    Args:
        entry: "class_name" and "config" of a layer.

    Raises:
        ValueError: If there is nothing of the same outputs; names the layer.

    Examples:
        >>> entry = {"class_name": "QuantDense", "config": {"name": "top", "units": 3, "input_quantizer": "ste_sign"}}
        >>> for one in as_of_keras(entry): print(one)
        {'class_name': 'SteSign', 'config': {'name': 'top_input_quantizer'}}
        {'class_name': 'Dense', 'config': {'name': 'top', 'units': 3}}
    """
    kind = entry["class_name"]
    config = {name: _without_larq(name, value) for name, value in entry["config"].items()}
    if kind in QUANTIZERS:
        return [{"class_name": kind, "config": config}]
    after = []
    activation = named(config.get("activation"))
    if activation is not None:
        if kind == "Activation":
            return [_quantizer(activation, config, config["name"])]
        if kind.removeprefix("Quant") not in _ENDS_WITH_ACTIVATION:
            raise ValueError(f"layer {config['name']} ({kind}) has {activation[0]} inside: only a last activation may be one.")
        config["activation"] = _LINEAR
        after.append(_quantizer(activation, config, f"{config['name']}_activation"))
    if kind not in LAYERS:
        return [{"class_name": kind, "config": config}, *after]
    return [*_layers(kind, config), *after]


def _without_larq(name: str, value: Any) -> Any:
    """Return an argument without what only trains, and with our function in the place of Larq's."""
    if isinstance(value, dict) and value.get("class_name") in CONSTRAINTS:
        return None
    if name.endswith("activation") and named(value) == ("hard_tanh", {}):
        return quantizers.hard_tanh
    return value


def _layers(kind: str, config: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the entries for a layer of Larq."""
    base, kernels = LAYERS[kind]
    pad_value = config.pop("pad_values", 0.0)
    config.pop("metrics", None)  # of earlier versions of Larq
    asked = {name: quantizer(config.pop(name, None)) for name in ("input_quantizer", *kernels)}
    if kind in _BINARY and all(found and _is_of_one_bit(found) for found in asked.values()):
        config.update((name, getattr(quantizers, found[0])(**found[1])) for name, found in asked.items() if found)
        if kind == "QuantConv2D":
            config["pad_values"] = pad_value
        return [{"class_name": _BINARY[kind].__name__, "config": config}]
    if pad_value and config.get("padding") == "same":
        raise ValueError(
            f"layer {config['name']} ({kind}) pads with {pad_value:g}, which is imported of a QuantConv2D with 1-bit input and "
            "kernel only."
        )
    before = asked["input_quantizer"]
    entries = [] if before is None else [_quantizer(before, config, f"{config['name']}_input_quantizer")]
    return [*entries, {"class_name": base, "config": config}]


def _is_of_one_bit(found: tuple[str, dict[str, Any]]) -> bool:
    return getattr(quantizers, found[0]).precision == 1


def _quantizer(found: tuple[str, dict[str, Any]], config: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return the entry of a quantizer beside a layer, in its precision."""
    dtype = {"dtype": config["dtype"]} if "dtype" in config else {}
    return {"class_name": found[0], "config": {"name": name, **dtype, **found[1]}}
