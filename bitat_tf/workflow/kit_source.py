"""What `bitat-tf kit` makes a kit from: a file, or the file of a run with a picture of the run's data."""

import json
import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bitat_tf.data import load_digits
from bitat_tf.data.decoding import is_image
from bitat_tf.kits.picture import read_picture
from bitat_tf.workflow.config import DIGITS
from bitat_tf.workflow.run_folder import RunFolder

_OF_KITS = "crop"
_TEST_FOLDERS = ("test", "val", "validation", "")
_TRIES = 20  # of a data set of 16-bit pictures none would do


class KitSource(NamedTuple):
    """What a kit is made from.

    Attributes:
        file: The `.tflite` file.
        picture: A picture for it: a file, or an array of shape (height, width, channels), uint8; None without one.
        notes: What the user of the kit should know.
    """

    file: Path
    picture: Path | np.ndarray | None = None
    notes: tuple[str, ...] = ()


def source_of_kit(path: str | os.PathLike, with_picture: bool) -> KitSource:
    """Return a `.tflite` file and a picture for it.

    Args:
        path: The file, or the folder of a finished run.
        with_picture: Whether a picture is wanted.

    Returns:
        The file, and a picture; none if `path` is no run, or the run's pictures are not there any more or of no use for a kit.

    Raises:
        ValueError: If `path` is a folder that holds no finished run.
        OSError: If the folder cannot be read.
    """
    path = Path(path)
    if not path.is_dir():
        return KitSource(path)
    folder = RunFolder(path)
    if not folder.config.is_file() or not folder.tflite.is_file():
        raise ValueError(
            f"kit: expected a .tflite file, or the folder of a finished run. Received: {path}, a folder without config.json "
            "and model.tflite. Name the file itself."
        )
    try:
        settings = json.loads(folder.config.read_text("utf-8"))["settings"]
        data, test, aspect = settings["data"], settings.get("test"), settings.get("aspect", _OF_KITS)
    except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"kit: {folder.config} is damaged ({error!r}). Name the .tflite file itself.") from error
    notes = (
        f"the network was trained with --aspect {aspect}. The programs of the kit cut pictures to their central square: give "
        "them square pictures, or change their preparation of pictures.",
    )
    picture, why = _picture(data, test) if with_picture else (None, ())
    return KitSource(folder.tflite, picture, (*why, *(() if aspect == _OF_KITS else notes)))


def _picture(data: str, test: str | None) -> tuple[Path | np.ndarray | None, tuple[str, ...]]:
    """Return a test picture of a run's data, or whichever comes first where the test set is drawn; without one, why."""
    if data == DIGITS:
        return load_digits().test_images[0].astype(np.uint8), ()
    folders = [Path(test)] if test else [Path(data) / part for part in _TEST_FOLDERS]
    why: tuple[str, ...] = ()
    for picture in islice((picture for folder in folders for picture in _pictures(folder)), _TRIES):
        try:
            read_picture(picture)
        except (OSError, ValueError) as error:
            reason = str(error).removeprefix("write_kit: ")
            why = (f"no picture of the run's data is of use for the kit ({reason}). Name one with --picture.",)
        else:
            return picture, ()
    return None, why


def _pictures(folder: Path) -> Iterator[Path]:
    """Yield the pictures of a folder of class folders, by name; without listing all of it first."""
    for name, folders, names in os.walk(folder):
        folders[:] = sorted(folder for folder in folders if not folder.startswith("."))
        for each in sorted(names):
            if not each.startswith(".") and is_image(Path(name, each)):
                yield Path(name, each)
