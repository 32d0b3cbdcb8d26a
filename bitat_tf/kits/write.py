"""A folder with everything that a `.tflite` file needs to run on a device: `write_kit`."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from bitat_tf._files import write_bytes
from bitat_tf._pixels import Scaling
from bitat_tf._tables import ShownAsTable
from bitat_tf.kits.network import KitNetwork, read_network
from bitat_tf.kits.picture import encoded, read_picture
from bitat_tf.kits.runtime_sources import runtime_sources
from bitat_tf.kits.settings import Settings, class_names, settings_file, settings_of
from bitat_tf.kits.targets import ALL, TARGETS, project_files


@dataclass(frozen=True)
class Kit(ShownAsTable):
    """What `write_kit` wrote.

    Attributes:
        folder: Where it stands.
        files: Paths in it.
        classes: Names of the classes, in the order of the output.
        notes: What was not given and the file did not say, so that it was assumed; each in a sentence.
        target: What it is for.
    """

    folder: Path
    files: tuple[str, ...]
    classes: tuple[str, ...]
    notes: tuple[str, ...]
    target: str


def write_kit(
    path: str | os.PathLike,
    folder: str | os.PathLike,
    classes: Sequence[str] | None = None,
    pixels: str | Scaling | None = None,
    overwrite: bool = False,
    target: str = ALL,
    picture: str | os.PathLike | np.ndarray | None = None,
    runtime: str | os.PathLike | None = None,
) -> Kit:
    """Write a project that runs an image classifier on Android, a Raspberry Pi, or elsewhere from C++.

    The network runs in a stock interpreter, and its binary operators in the delegate of bitat-runtime. Pictures are prepared
    as `bitat_tf.data` does in training.

    | target | what is written | the interpreter |
    |---|---|---|
    | "android" | a complete Gradle project of an app | LiteRT 1.4 |
    | "cpp" | a program with its CMake project | TensorFlow Lite's C library |
    | "raspberry_pi" | a Python script | LiteRT's Python package |
    | "all" | all three, each in a folder of its name | |

    A project is copied as it stands in `bitat_tf/kits/projects`. What belongs to the network is added: `model.tflite`,
    `labels.txt`, a picture, and one file of settings, which says what the network expects of pixels.

    Args:
        path: A `.tflite` file with one input, shape (1, height, width, 1 or 3), and one output, shape (1, classes), each
            float32, uint8 or int8.
        folder: Where the kit goes: a new or an empty folder.
        classes: Names of the classes, in the order of the output. Default: those in the file, else "class 0", ... Of
            characters that cannot stand in a line (of class folders with a line break in their name) escape sequences are
            written.
        pixels: What the file expects of pixels: "0..255", "0..1", "-1..1", "imagenet", "caffe", "bytes" for a file of integers
            that takes the bytes of a picture, or a `Scaling`. Default: what the file says, else "0..255".
        overwrite: Whether the folder may hold something; files of the kit's names are replaced, others stay.
        target: What the kit is for, one of the table.
        picture: A picture to classify: a file, or an array of shape (height, width, 1 or 3), uint8. Default: one of many
            colours that shows nothing.
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
        >>> kit = write_kit(report.path, os.path.join(folder, "pi"), classes=["cat", "dog"], target="raspberry_pi")
        >>> kit.files
        ('README.md', 'classify.py', 'settings.json', 'model.tflite', 'labels.txt', 'picture.png')
        >>> kit.classes
        ('cat', 'dog')
    """
    folder = Path(folder)
    if target != ALL and target not in TARGETS:
        raise ValueError(f"write_kit: `target` must be one of {', '.join([*TARGETS, ALL])}. Received: {target!r}.")
    _check_folder(folder, overwrite)
    network = read_network(path)
    names, settings = class_names(network, classes), settings_of(network, pixels)
    image = read_picture(picture)
    places = {f"{name}/": name for name in TARGETS} if target == ALL else {"": target}
    sources = runtime_sources(runtime) if any(TARGETS[name].runtime for name in places.values()) else {}
    contents = {
        place + name: content
        for place, project in places.items()
        for name, content in kit_files(project, network.content, names, settings, image, sources).items()
    }
    for name, content in contents.items():
        write_bytes(folder / name, content)
    notes = _notes(network, bool(classes), pixels is not None, picture is not None)
    return Kit(folder, tuple(contents), names, notes, target)


def kit_files(
    target: str,
    network: bytes,
    classes: Sequence[str],
    settings: Settings,
    picture: Image.Image,
    sources: dict[str, bytes],
) -> dict[str, bytes]:
    """Return the files of a kit, by their paths in its folder.

    Args:
        target: A key of `TARGETS`.
        network: Content of the `.tflite` file.
        classes: Names of the classes, a line each.
        settings: Of the network.
        picture: A picture to classify.
        sources: Of bitat-runtime, by their paths in its folder.
    """
    place = TARGETS[target]
    return {
        **project_files(target),
        f"{place.assets}model.tflite": network,
        f"{place.assets}labels.txt": "".join(f"{name}\n" for name in classes).encode(),
        place.assets + place.picture: encoded(picture, Path(place.picture).suffix),
        place.settings: settings_file(settings, place.settings).encode(),
        **({f"runtime/{name}": content for name, content in sources.items()} if place.runtime else {}),
    }


def _check_folder(folder: Path, overwrite: bool) -> None:
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"write_kit: the kit goes into a folder. Received: {str(folder)!r}, which is a file.")
    if not overwrite and folder.exists() and any(folder.iterdir()):
        raise ValueError(
            f"write_kit: the folder must be new or empty. Received: {str(folder)!r}, which holds "
            f"{min(entry.name for entry in folder.iterdir())!r}. Choose another one, or pass overwrite=True."
        )


def _notes(network: KitNetwork, classes: bool, pixels: bool, picture: bool) -> tuple[str, ...]:
    notes = []
    if not (classes or network.classes):
        notes.append("The file has no names of classes: they are called 'class 0', ... in labels.txt.")
    if not pixels and network.pixels is None:
        notes.append("The file does not say what it expects of pixels: 0..255 is assumed.")
    if not picture:
        notes.append("No picture was given: one of many colours that shows nothing stands in its place.")
    return tuple(notes)
