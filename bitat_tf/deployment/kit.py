"""A folder with everything that a `.tflite` file needs to run on a device: `write_kit`."""

import hashlib
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from bitat_tf._files import write_bytes, write_text
from bitat_tf._pixels import BYTES, PIXELS, RAW, Scaling
from bitat_tf.deployment.kit_network import KitNetwork, read_network

_TEMPLATES = (
    "README.md",
    "benchmark.sh",
    "cpp/CMakeLists.txt",
    "cpp/jpeg_picture.h",
    "cpp/main.cc",
    "cpp/pictures.h",
    "cpp/png_picture.h",
    "cpp/preprocess.h",
    "cpp/settings.h",
    "android/Classifier.kt",
    "android/Preprocess.kt",
    "android/build.gradle.kts",
)
_PLACE = re.compile(r"@([A-Z][A-Z_]*)@")
_KNOWN_TENSORFLOW = {"0.16.0": "2.16.1"}


@dataclass(frozen=True)
class Kit:
    """What `write_kit` wrote.

    Attributes:
        folder: Where it stands.
        files: Paths in it.
        engine_version: Version of larq-compute-engine that the device needs.
        classes: Names of the classes, in the order of the output.
        notes: What the file did not say, so that it was assumed; each in a sentence.
    """

    folder: Path
    files: tuple[str, ...]
    engine_version: str
    classes: tuple[str, ...]
    notes: tuple[str, ...]


def write_kit(
    path: str | os.PathLike,
    folder: str | os.PathLike,
    classes: Sequence[str] | None = None,
    pixels: str | Scaling | None = None,
    overwrite: bool = False,
) -> Kit:
    """Write a folder that takes an image classifier to Android, a Raspberry Pi or another board of 64-bit ARM.

    It holds the file, its labels, a C++ program, a Kotlin class, a script that measures, and a README for this very file. All
    of it prepares pictures as `bitat_tf.data` does in training.

    Args:
        path: A `.tflite` file of larq-compute-engine, with one input, shape (1, height, width, 1 or 3), and one output, shape
            (1, classes), each float32, uint8 or int8.
        folder: Where the kit goes: a new or an empty folder.
        classes: Names of the classes, in the order of the output. Default: those in the file, else "class 0", ...
        pixels: What the file expects of pixels: a key of `bitat_tf._pixels.PIXELS` ("0..255", "-1..1", "imagenet", ...),
            "bytes" for a file of integers that takes the bytes of a picture, or a `Scaling`. Default: what the file says, else
            "0..255".
        overwrite: Whether the folder may hold something; files of the kit's names are replaced, others stay.

    Returns:
        A `Kit`.

    Raises:
        ValueError: If the file is damaged or no image classifier, the folder holds something, the classes do not fit the
            output, or the pixels not the input.
        OSError: If the file cannot be read or the folder cannot be written.

    Example:
        >>> model = bitat_tf.applications.ReActNet((8, 8, 1), 2, width=0.5, blocks=((64, 1),))
        >>> for layer in bitat_tf.layers.binary_layers(model):
        ...     layer.set_binary()
        >>> report = bitat_tf.export.to_tflite(model, os.path.join(folder, "model.tflite"))
        >>> kit = write_kit(report.path, os.path.join(folder, "kit"), classes=["cat", "dog"])
        >>> kit.classes, "cpp/main.cc" in kit.files
        (('cat', 'dog'), True)
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"write_kit: the kit goes into a folder. Received: {str(folder)!r}, which is a file.")
    if not overwrite and folder.exists() and any(folder.iterdir()):
        raise ValueError(
            f"write_kit: the folder must be new or empty. Received: {str(folder)!r}, which holds "
            f"{min(entry.name for entry in folder.iterdir())!r}. Choose another one, or pass overwrite=True."
        )
    network = read_network(path)
    labels = _labels(network, classes)
    kind = pixels if pixels is not None else network.pixels if network.pixels is not None else RAW
    values = _values(network, labels, kind, pixels is None and network.pixels is None)
    texts = {name: _filled((files(__package__) / "templates" / name).read_text("utf-8"), values) for name in _TEMPLATES}

    write_bytes(folder / "model.tflite", network.content)
    write_text(folder / "labels.txt", "".join(f"{label}\n" for label in labels))
    for name, text in texts.items():
        write_text(folder / name, text)
    script = folder / "benchmark.sh"
    mode = script.stat().st_mode
    script.chmod(mode | (mode & 0o444) >> 2)  # who may read it may run it
    notes = []
    if not (classes or network.classes):
        notes.append("The file has no names of classes: they are called 'class 0', ... in labels.txt.")
    if pixels is None and network.pixels is None:
        notes.append("The file does not say what it expects of pixels: 0..255 is assumed.")
    if not network.engine_known:
        notes.append(
            f"The file does not say which converter wrote it: the installed one, {network.engine_version}, is assumed."
        )
    return Kit(folder, ("model.tflite", "labels.txt", *_TEMPLATES), network.engine_version, labels, tuple(notes))


def _labels(network: KitNetwork, classes: Sequence[str] | None) -> tuple[str, ...]:
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


def _values(network: KitNetwork, labels: tuple[str, ...], kind: str | Scaling, assumed: bool) -> dict[str, str]:
    """Return what stands in the places of the templates."""
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


def _filled(text: str, values: Mapping[str, str]) -> str:
    return _PLACE.sub(lambda match: values[match[1]], text)
