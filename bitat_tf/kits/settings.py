"""The file of a kit that is written anew for each network, in C++, Kotlin or JSON, and the names of the classes."""

import hashlib
import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from bitat_tf._pixels import BYTES, PIXELS, RAW, Scaling
from bitat_tf._printable import printable, shortened
from bitat_tf.kits.network import KitNetwork

_AUTHOR = "Written by `bitat-tf kit` for the network in model.tflite. The other sources are the same for all networks."
_BYTES = "8-bit inputs are the pixels themselves, less 128 for int8, whatever their scale"
_LONGEST_NAME = 200  # of a network; Kotlin takes no constant above 65,535 bytes


@dataclass(frozen=True)
class Settings:
    """What the programs must know of a network.

    Attributes:
        name: Name of the network, in one line.
        about: What is worth knowing of the file, for people; a line each.
        scaling: What the network expects of pixels: three numbers each, those of a gray network three times the same.
        takes_bytes: Whether it takes the bytes of a picture as they are.
    """

    name: str
    about: tuple[str, ...]
    scaling: Scaling
    takes_bytes: bool


def class_names(network: KitNetwork, classes: Sequence[str] | None) -> tuple[str, ...]:
    """Return the names of the classes, each in one line: the given ones, those in the file, or "class 0", ...

    Raises:
        TypeError, ValueError: If they are not one name for each class.
    """
    if isinstance(classes, str):
        raise TypeError(f"write_kit: `classes` must be a list of names. Received: the single text {classes!r}.")
    expected = network.output.shape[1]
    names = tuple(classes or network.classes) or tuple(f"class {number}" for number in range(expected))
    if len(names) != expected:
        raise ValueError(
            f"write_kit: `classes` must name each of the {expected} classes of the output, in its order. Received: "
            f"{len(names)} names."
        )
    for name in names:
        if not isinstance(name, str) or not name:
            raise ValueError(f"write_kit: the name of a class must be a text that is not empty. Received: {name!r}.")
    return tuple(map(printable, names))


def settings_of(network: KitNetwork, pixels: str | Scaling | None) -> Settings:
    """Return the settings for a network.

    Args:
        network: The network.
        pixels: What it expects of pixels; None: what the file says, else 0..255.

    Raises:
        TypeError, ValueError: If `pixels` is nothing that the network can take.
    """
    known = pixels if pixels is not None else network.pixels
    kind = RAW if known is None else known
    scaling = _scaling(network, kind)
    name = printable(shortened(network.name, _LONGEST_NAME))
    operators = ", ".join(
        f"{count} {re.sub(r'[^a-zA-Z0-9_]', '_', shortened(kind, _LONGEST_NAME))}" for kind, count in network.operators.items()
    )
    # A name may end with a backslash, which must not stand at the end of a line of C++: there it would go on in the next one.
    about = (
        f"{name}: {len(network.content):,} bytes, sha256 {hashlib.sha256(network.content).hexdigest()}",
        f"input: {network.input}",
        f"output: {network.output}",
        f"operators: {operators}",
        f"pixels: {_pixels_text(network, kind, scaling)}{' (assumed: the file does not say)' if known is None else ''}",
    )
    return Settings(name, about, scaling, kind == BYTES)


def settings_file(settings: Settings, path: str) -> str:
    """Return the content of a file of settings.

    Args:
        settings: What goes into it.
        path: The file; its ending says in which language: .h, .kt or .json.
    """
    return {"h": _cpp, "kt": _kotlin, "json": _json}[path.rpartition(".")[2]](settings)


def _cpp(settings: Settings) -> str:
    scale, offset = _numbers(settings.scaling)
    return f"""\
// {_AUTHOR}
//
{_comment(settings)}
#ifndef BITAT_SETTINGS_H_
#define BITAT_SETTINGS_H_

#include "preprocess.h"

constexpr bitat::Scaling kScaling = {{
    /*scale=*/{{{scale}}},
    /*offset=*/{{{offset}}},
    /*reverse=*/{str(settings.scaling.reverse).lower()},
}};
constexpr bool kTakesBytes = {str(settings.takes_bytes).lower()};  // {_BYTES}

#endif  // BITAT_SETTINGS_H_
"""


def _kotlin(settings: Settings) -> str:
    scale, offset = _numbers(settings.scaling)
    name = json.dumps(settings.name).replace("$", r"\$")  # Kotlin's literals are JSON's, but for this
    return f"""\
package com.example.classifier

// {_AUTHOR}
//
{_comment(settings)}
object Settings {{
    val NAME = {name}
    val SCALING = Scaling(
        scale = doubleArrayOf({scale}),
        offset = doubleArrayOf({offset}),
        reverse = {str(settings.scaling.reverse).lower()},
    )
    val TAKES_BYTES = {str(settings.takes_bytes).lower()} // {_BYTES}
}}
"""


def _json(settings: Settings) -> str:
    scale, offset = _numbers(settings.scaling)
    about = ",\n".join(f"    {json.dumps(line, ensure_ascii=False)}" for line in (_AUTHOR, *settings.about))
    return f"""\
{{
  "about": [
{about}
  ],
  "name": {json.dumps(settings.name, ensure_ascii=False)},
  "scale": [{scale}],
  "offset": [{offset}],
  "reverse": {str(settings.scaling.reverse).lower()},
  "takes_bytes": {str(settings.takes_bytes).lower()}
}}
"""


def _comment(settings: Settings) -> str:
    return "\n".join(f"// {line}" for line in settings.about)


def _numbers(scaling: Scaling) -> tuple[str, str]:
    """Return scale and offset as the three languages take them."""
    scale, offset = (", ".join(map(repr, numbers)) for numbers in (scaling.scale, scaling.offset))  # type: ignore[arg-type]
    return scale, offset


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
                "of another kind needs the numbers: bitat_tf.kits.Scaling(scale=..., offset=...)."
            )
        kind = PIXELS[kind]
    if not isinstance(kind, Scaling):
        raise TypeError(
            f"write_kit: `pixels` must be one of {', '.join((*PIXELS, BYTES))}, or a bitat_tf.kits.Scaling. Received: {kind!r}."
        )
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
