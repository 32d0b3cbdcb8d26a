"""What `bitat-tf kit` makes a kit from: a file, or the file of a run with a picture of the run's data."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from bitat_tf.data import load_digits
from bitat_tf.data.decoding import EXTENSIONS
from bitat_tf.workflow.config import DIGITS
from bitat_tf.workflow.run_folder import RunFolder

_TEST_FOLDERS = ("test", "val", "validation", "")


def kit_source(path: str | os.PathLike, with_picture: bool) -> tuple[Path, Path | np.ndarray | None]:
    """Return a `.tflite` file and a picture for it.

    Args:
        path: The file, or the folder of a finished run.
        with_picture: Whether a picture is wanted.

    Returns:
        The file, and a picture: a file, or an array of shape (height, width, channels), uint8; None if `path` is no run, or
        the run's pictures are not there any more.

    Raises:
        ValueError: If `path` is a folder that holds no finished run.
        OSError: If the folder cannot be read.
    """
    path = Path(path)
    if not path.is_dir():
        return path, None
    folder = RunFolder(path)
    if not folder.config.is_file() or not folder.tflite.is_file():
        raise ValueError(
            f"kit: expected a .tflite file, or the folder of a finished run. Received: {path}, a folder without config.json "
            "and model.tflite. Name the file itself."
        )
    return folder.tflite, _picture(folder) if with_picture else None


def _picture(folder: RunFolder) -> Path | np.ndarray | None:
    """Return a test picture of a run's data, or whichever comes first where the test set is drawn."""
    try:
        data = json.loads(folder.config.read_text("utf-8"))["settings"]["data"]
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"kit: {folder.config} is damaged ({error!r}). Name the .tflite file itself.") from error
    if data == DIGITS:
        return load_digits().test_images[0].astype(np.uint8)
    return next((picture for part in _TEST_FOLDERS for picture in _pictures(Path(data) / part)), None)


def _pictures(folder: Path) -> Iterator[Path]:
    """Yield the pictures of a folder of class folders, by name; without listing all of it first."""
    for name, folders, names in os.walk(folder):
        folders.sort()
        for each in sorted(names):
            if each.lower().endswith(EXTENSIONS) and not each.startswith("."):
                yield Path(name) / each
