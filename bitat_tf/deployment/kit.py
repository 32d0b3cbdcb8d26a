"""A folder with everything that a `.tflite` file needs to run on a device: `write_kit`."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np
from PIL import Image

from bitat_tf._files import write_bytes
from bitat_tf._pixels import RAW, Scaling
from bitat_tf.deployment.kit_network import KitNetwork, read_network
from bitat_tf.deployment.kit_picture import encoded, read_picture
from bitat_tf.deployment.kit_runtime import runtime_sources
from bitat_tf.deployment.kit_targets import ALL, LARQ, TARGETS, Target
from bitat_tf.deployment.kit_values import filled, labels_of, values_of


@dataclass(frozen=True)
class Kit:
    """What `write_kit` wrote.

    Attributes:
        folder: Where it stands.
        files: Paths in it.
        engine_version: Version of larq-compute-engine that wrote the file; the target "larq" needs the same on the device.
        classes: Names of the classes, in the order of the output.
        notes: What was not given and the file did not say, so that it was assumed; each in a sentence.
        target: What it is for.
    """

    folder: Path
    files: tuple[str, ...]
    engine_version: str
    classes: tuple[str, ...]
    notes: tuple[str, ...]
    target: str = LARQ


def write_kit(
    path: str | os.PathLike,
    folder: str | os.PathLike,
    classes: Sequence[str] | None = None,
    pixels: str | Scaling | None = None,
    overwrite: bool = False,
    target: str = LARQ,
    picture: str | os.PathLike | np.ndarray | None = None,
    runtime: str | os.PathLike | None = None,
) -> Kit:
    """Write a folder that takes an image classifier to Android, a Raspberry Pi or another board of 64-bit ARM.

    All of it prepares pictures as `bitat_tf.data` does in training.

    | target | what is written | what runs the network |
    |---|---|---|
    | "larq" | the file, its labels, a C++ program, Kotlin classes, a script that measures | larq-compute-engine's own runtime |
    | "android" | a complete Gradle project of an app, with a picture | LiteRT, with the delegate of bitat-runtime |
    | "cpp" | a C++ program with its CMake project, and a picture | TensorFlow Lite's C library, with the same delegate |
    | "raspberry-pi" | a Python script and a picture | LiteRT's Python package and bitat-runtime's |
    | "all" | the last three, each in a folder of its own | |

    Args:
        path: A `.tflite` file of larq-compute-engine, with one input, shape (1, height, width, 1 or 3), and one output, shape
            (1, classes), each float32, uint8 or int8.
        folder: Where the kit goes: a new or an empty folder.
        classes: Names of the classes, in the order of the output. Default: those in the file, else "class 0", ...
        pixels: What the file expects of pixels: a key of `bitat_tf._pixels.PIXELS` ("0..255", "-1..1", "imagenet", ...),
            "bytes" for a file of integers that takes the bytes of a picture, or a `Scaling`. Default: what the file says, else
            "0..255".
        overwrite: Whether the folder may hold something; files of the kit's names are replaced, others stay.
        target: What the kit is for, one of the table.
        picture: A picture to classify: a file, or an array of shape (height, width, 1 or 3), uint8. Default: one of many
            colours that shows nothing. The target "larq" takes none.
        runtime: The folder of bitat-runtime's C++ sources, for "android" and "cpp", which hold a copy of them. Default: those
            of the installed package, or of the checkout.

    Returns:
        A `Kit`.

    Raises:
        ValueError: If the file is damaged or no image classifier, the folder holds something, the classes do not fit the
            output, the pixels not the input, the picture is none, or there are no C++ sources.
        OSError: If the file cannot be read or the folder cannot be written.

    Examples:
        >>> model = bitat_tf.applications.ReActNet((8, 8, 1), 2, width=0.5, blocks=((64, 1),))
        >>> for layer in bitat_tf.layers.binary_layers(model):
        ...     layer.set_binary()
        >>> report = bitat_tf.export.to_tflite(model, os.path.join(folder, "model.tflite"))
        >>> kit = write_kit(report.path, os.path.join(folder, "kit"), classes=["cat", "dog"])
        >>> kit.classes, "cpp/main.cc" in kit.files
        (('cat', 'dog'), True)
        >>> write_kit(report.path, os.path.join(folder, "pi"), target="raspberry-pi").files
        ('model.tflite', 'labels.txt', 'picture.png', 'README.md', 'classify.py')
    """
    folder = Path(folder)
    parts = _parts(target)
    if target == LARQ and (picture is not None or runtime is not None):
        raise ValueError(
            "write_kit: `picture` and `runtime` are for the targets that use bitat-runtime. Received: target='larq'. Leave "
            f"them out, or choose one of {', '.join([*TARGETS, ALL][1:])}."
        )
    _check_folder(folder, overwrite)
    network = read_network(path)
    labels = labels_of(network, classes)
    kind = pixels if pixels is not None else network.pixels if network.pixels is not None else RAW
    values = values_of(network, labels, kind, pixels is None and network.pixels is None)
    image = None if target == LARQ else read_picture(picture)
    sources = runtime_sources(runtime) if any(part.runtime for part in parts.values()) else {}
    contents: dict[str, bytes] = {}
    for place, part in parts.items():
        for name, content in _contents(part, network, labels, values, image, sources).items():
            contents[place + name] = content

    for name, content in contents.items():
        write_bytes(folder / name, content)
    for place, part in parts.items():
        for name in part.executable:
            script = folder / (place + name)
            mode = script.stat().st_mode
            script.chmod(mode | (mode & 0o444) >> 2)  # who may read it may run it
    notes = _notes(network, bool(classes), pixels is not None, target, picture is not None)
    return Kit(folder, tuple(contents), network.engine_version, labels, notes, target)


def _parts(target: str) -> dict[str, Target]:
    """Return the targets with the folders that they go into."""
    if target == ALL:
        return {f"{name.replace('-', '_')}/": part for name, part in TARGETS.items() if name != LARQ}
    if target not in TARGETS:
        raise ValueError(f"write_kit: `target` must be one of {', '.join([*TARGETS, ALL])}. Received: {target!r}.")
    return {"": TARGETS[target]}


def _check_folder(folder: Path, overwrite: bool) -> None:
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"write_kit: the kit goes into a folder. Received: {str(folder)!r}, which is a file.")
    if not overwrite and folder.exists() and any(folder.iterdir()):
        raise ValueError(
            f"write_kit: the folder must be new or empty. Received: {str(folder)!r}, which holds "
            f"{min(entry.name for entry in folder.iterdir())!r}. Choose another one, or pass overwrite=True."
        )


def _contents(
    target: Target,
    network: KitNetwork,
    labels: tuple[str, ...],
    values: dict[str, str],
    picture: Image.Image | None,
    sources: dict[str, bytes],
) -> dict[str, bytes]:
    """Return the files of a kit by their paths in it."""
    contents = {target.model: network.content, target.labels: "".join(f"{label}\n" for label in labels).encode()}
    if target.picture is not None and picture is not None:
        contents[target.picture] = encoded(picture, Path(target.picture).suffix)
    own = {**values, "RUNTIME": target.runtime or ""}
    for name, template in target.templates.items():
        contents[name] = filled((files(__package__) / "templates" / template).read_text("utf-8"), own).encode()
    if target.runtime is not None:
        contents |= {f"{target.runtime}/{name}": content for name, content in sources.items()}
    return contents


def _notes(network: KitNetwork, classes: bool, pixels: bool, target: str, picture: bool) -> tuple[str, ...]:
    notes = []
    if not (classes or network.classes):
        notes.append("The file has no names of classes: they are called 'class 0', ... in labels.txt.")
    if not pixels and network.pixels is None:
        notes.append("The file does not say what it expects of pixels: 0..255 is assumed.")
    if target == LARQ and not network.engine_known:
        notes.append(
            f"The file does not say which converter wrote it: the installed one, {network.engine_version}, is assumed."
        )
    if target != LARQ and not picture:
        notes.append("No picture was given: one of many colours that shows nothing stands in its place.")
    return tuple(notes)
