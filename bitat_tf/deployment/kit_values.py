"""What a kit says of its network: the names of the classes, the numbers of the pixels, the texts in the templates."""

import hashlib
import math
import re
from collections.abc import Mapping, Sequence

from bitat_tf._pixels import BYTES, PIXELS, RAW, Scaling
from bitat_tf.deployment.kit_network import KitNetwork

_PLACE = re.compile(r"@([A-Z][A-Z_]*)@")
_KNOWN_TENSORFLOW = {"0.16.0": "2.16.1"}


def labels_of(network: KitNetwork, classes: Sequence[str] | None) -> tuple[str, ...]:
    """Return the names of the classes: the given ones, those in the file, or "class 0", ...

    Raises:
        TypeError, ValueError: If they are not one line of text for each class.
    """
    if isinstance(classes, str):
        raise TypeError(f"write_kit: `classes` must be a list of names. Received: the single text {classes!r}.")
    expected = network.output.shape[1]
    labels = tuple(classes or network.classes) or tuple(f"class {number}" for number in range(expected))
    if len(labels) != expected:
        raise ValueError(
            f"write_kit: `classes` must name each of the {expected} classes of the output, in its order. Received: "
            f"{len(labels)} names."
        )
    for label in labels:
        if not isinstance(label, str) or not label.strip() or len(label.splitlines()) != 1:
            raise ValueError(f"write_kit: the name of a class must be a text of one line. Received: {label!r}.")
    return labels


def _scaling(network: KitNetwork, kind: str | Scaling) -> Scaling:
    """Return numbers for three channels; those of a gray network stand three times."""
    if kind == BYTES:
        if network.input.dtype == "float32":
            raise ValueError(
                "write_kit: pixels='bytes' is for a file that takes integers. Received: one that takes float32. Pass '0..255' "
                "or what else it was trained on."
            )
        kind = RAW
    if isinstance(kind, str):
        if kind not in PIXELS:
            raise ValueError(
                f"write_kit: `pixels` must be one of {', '.join((*PIXELS, BYTES))}, or a Scaling. Received: {kind!r}. A file "
                "of another kind needs the numbers: Scaling(scale=..., offset=...)."
            )
        kind = PIXELS[kind]
    if not isinstance(kind, Scaling):
        raise TypeError(f"write_kit: `pixels` must be a key of PIXELS, 'bytes' or a Scaling. Received: {kind!r}.")
    if kind.channels not in (None, network.channels):
        raise ValueError(
            f"write_kit: `pixels` must fit the {network.channels} channels of the input. Received: one for {kind.channels}."
        )
    return Scaling(
        _three("scale", kind.scale, network.channels),
        _three("offset", kind.offset, network.channels),
        reverse=bool(kind.reverse),
    )


def _three(name: str, value: float | tuple[float, ...], channels: int) -> tuple[float, ...]:
    numbers = tuple(map(float, value)) if isinstance(value, (tuple, list)) else (float(value),) * channels  # type: ignore[arg-type]
    if len(numbers) != channels or not all(map(math.isfinite, numbers)):
        raise ValueError(
            f"write_kit: `pixels.{name}` must be a finite number, or one for each of the {channels} channels. "
            f"Received: {value!r}."
        )
    return numbers if channels == 3 else numbers * 3


def values_of(network: KitNetwork, labels: tuple[str, ...], kind: str | Scaling, assumed: bool) -> dict[str, str]:
    """Return what stands in the places of the templates, by the name of the place.

    Args:
        network: The network.
        labels: Names of its classes.
        kind: What it expects of pixels.
        assumed: Whether the file did not say that.

    Raises:
        TypeError, ValueError: If `kind` is none that the network can take.
    """
    engine, scaling = network.engine_version, _scaling(network, kind)
    scale, offset = (", ".join(map(repr, numbers)) for numbers in (scaling.scale, scaling.offset))  # type: ignore[arg-type]
    kernel = "`indirect`: the others refuse grouped convolutions" if network.grouped else "`default`"
    return {
        "NAME": network.name,
        "SIZE": f"{len(network.content):,}",
        "SHA": hashlib.sha256(network.content).hexdigest(),
        "CLASSES": str(len(labels)),
        "INPUT": str(network.input),
        "OUTPUT": str(network.output),
        "OPERATORS": ", ".join(f"{count} {_code(name)}" for name, count in network.operators.items()),
        "PIXELS": _pixels_text(network, kind, scaling) + (" (assumed: the file does not say)" if assumed else ""),
        "LCE_VERSION": engine,
        "LCE_SOURCE": "as the file says" if network.engine_known else "the installed one: the file does not say",
        "TF_VERSION": _KNOWN_TENSORFLOW.get(engine, f"2.{engine.split('.')[1]}.0"),
        "KERNEL_NOTE": kernel,
        "KERNEL": "indirect" if network.grouped else "default",
        "KERNEL_FLAGS": "--use_indirect_bgemm=true" if network.grouped else "",
        "SCALE": scale,
        "OFFSET": offset,
        "REVERSE": str(scaling.reverse).lower(),
        "BYTES": str(kind == BYTES).lower(),
        "PYTHON_REVERSE": str(scaling.reverse),
        "PYTHON_BYTES": str(kind == BYTES),
    }


def _pixels_text(network: KitNetwork, kind: str | Scaling, scaling: Scaling) -> str:
    if kind == BYTES:
        return "the bytes of the picture" + (", less 128" if network.input.dtype == "int8" else "")
    if scaling == Scaling((1.0,) * 3, (0.0,) * 3):
        return "0..255, as they are"
    order = "blue, green, red" if scaling.reverse else "red, green, blue"
    channels = slice(network.channels)
    return (
        f"scale * pixel + offset of pixels 0..255{f', in the order {order}' if network.channels == 3 else ''}: "
        f"scale {scaling.scale[channels]}, offset {scaling.offset[channels]}"  # type: ignore[index]
    )


def _code(name: str) -> str:
    return re.sub(r"[^\w]", "_", name)


def filled(text: str, values: Mapping[str, str]) -> str:
    """Return a template with the values in their places, @NAME@."""
    return _PLACE.sub(lambda match: values[match[1]], text)
