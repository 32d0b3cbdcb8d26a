"""Which files below a folder are images of which class, and what else is there."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bitat_tf._printable import printable
from bitat_tf.data._checks import check_integer, check_share, draw_share, listed
from bitat_tf.data.decoding import ImageFiles, is_image

_HELD_OUT = ("test", "val", "validation")
_LAYOUT = (
    "Expected: one folder of images for each class, at least two, either in train/ and test/ "
    "(or val/, validation/) or directly in the directory"
)
# Expected beside images, and not worth a word: what systems put there, and texts.
_SYSTEM = {"thumbs.db", "desktop.ini"}
_TEXTS = {".txt", ".md", ".rst", ".csv", ".tsv", ".json", ".jsonl", ".xml", ".yaml", ".yml", ".html", ".htm", ".log", ".py"}


@dataclass(frozen=True, eq=False)
class FolderSplit:
    """The image files of a folder, as training and test set.

    Attributes:
        train: Training files: `paths`, and `labels`, the class index of each.
        test: Test files.
        class_names: The name of each class index.
        drawn: Whether the test files were drawn from all, as there is no folder of test images.
        left_out: What lies there and is no image, with its number, as in {".heic": 40, "linked folders": 1}.
    """

    train: ImageFiles
    test: ImageFiles
    class_names: tuple[str, ...]
    drawn: bool
    left_out: Counter[str] = field(default_factory=Counter)


def split_folder(
    directory: str | os.PathLike, test_share: float = 0.2, seed: int = 0, test: str | os.PathLike | None = None
) -> FolderSplit:
    """List the images of a folder as training and test set: those that `load_folder` and the commands take for the same seed.

    A network that is trained on the training files of this split has not seen the test files that `bitat-tf binarize`, `export`
    and `verify` measure accuracy on.

    Args:
        directory: Holds `train/` and `test/` (or `val/`, `validation/`) with one folder for each class, or
            these class folders themselves, which are then split.
        test_share: Share of each class that becomes the test set, where there is no folder of test images.
        seed: Seed of the split.
        test: A folder with the test images in class folders; all of `directory`, or of its `train/`, is for training then.

    Raises:
        OSError: If a folder does not exist, is no directory, or is not readable.
        TypeError: If an argument has the wrong type.
        ValueError: If the folders do not form a data set, or an argument is out of range.

    Examples:
        >>> split = split_folder("pictures", seed=0)  # doctest: +SKIP
        >>> paths, labels = split.train.paths, split.train.labels  # doctest: +SKIP
    """
    check_share("load_folder", "test_share", test_share)
    check_integer("load_folder", "seed", seed, 0)
    root, left_out = Path(directory), Counter[str]()
    folders = {folder.name.lower(): folder for folder in _visible(_checked(root)) if folder.is_dir()}
    held_out = [folders[name] for name in _HELD_OUT if name in folders]
    if "train" in folders and (held_out or (test is not None and _holds_folders_alone(folders["train"]))):
        train_root, test_root = folders["train"], held_out[0] if test is None else Path(test)
        unused = [folder for folder in folders.values() if folder not in (train_root, test_root)]
        left_out.update({f"everything in {printable(folder.name)}/": len(_visible(folder)) for folder in unused})
        left_out.update(_beside(root))
    elif test is not None:
        train_root, test_root = root, Path(test)
    else:
        if "train" in folders and _holds_folders_alone(folders["train"]):
            raise ValueError(
                f"load_folder: {root} holds train/ but none of test/, val/, validation/. Add one, name another folder of test "
                f"images (command line: --test), or load {folders['train']} itself, of which a share then becomes the test set."
            )
        classes = _class_folders(root, left_out)
        names = tuple(folder.name for folder in classes)
        files = _files_of(classes, left_out)
        cure = f"Add images of these classes in {root}, remove the classes, or arrange all images in train/ and test/."
        drawn = draw_share("load_folder", files.labels, test_share, seed, names.__getitem__, cure)
        train, rest = files.take(np.flatnonzero(~drawn)), files.take(np.flatnonzero(drawn))
        return FolderSplit(train, rest, tuple(map(printable, names)), True, left_out)
    train_classes, test_classes = (_class_folders(_checked(each), left_out) for each in (train_root, test_root))
    names, others = (tuple(folder.name for folder in each) for each in (train_classes, test_classes))
    if names != others:
        raise ValueError(
            f"load_folder: train and test must have the same classes. Received: only in "
            f"{train_root}: {listed(sorted(set(names) - set(others)))}; only in {test_root}: "
            f"{listed(sorted(set(others) - set(names)))}. Rename or add the missing folders."
        )
    train, rest = _files_of(train_classes, left_out), _files_of(test_classes, left_out)
    both = {path.resolve() for path in train.paths} & {path.resolve() for path in rest.paths}
    if both:
        raise ValueError(
            f"load_folder: a test image must not be a training image. Received: {train_root} and {test_root}, which have "
            f"{len(both)} files in common. Name another folder as `test`, or leave it out for a share drawn from all."
        )
    return FolderSplit(train, rest, tuple(map(printable, names)), False, left_out)


def _checked(root: Path) -> Path:
    if not root.exists():
        raise FileNotFoundError(f"load_folder: there is no directory {root}. Check the path. {_LAYOUT}.")
    if not root.is_dir():
        raise NotADirectoryError(f"load_folder: {root} is a file. {_LAYOUT}; unpack an archive first.")
    return root


def _holds_folders_alone(directory: Path) -> bool:
    """Whether a folder called train holds class folders, and is not a class of pictures of trains."""
    inside = _visible(directory)
    return bool(inside) and all(entry.is_dir() for entry in inside)


def _class_folders(directory: Path, left_out: Counter[str]) -> list[Path]:
    folders = [entry for entry in _visible(directory) if entry.is_dir()]
    if len(folders) < 2:
        found = f"one class folder, {folders[0].name!r}," if folders else "no class folders"
        raise ValueError(f"load_folder: {found} in {directory}. {_LAYOUT}.")
    left_out.update(_beside(directory))
    return folders


def _beside(directory: Path) -> list[str]:
    return ["images beside the class folders" for entry in _visible(directory) if not entry.is_dir() and is_image(entry)]


def _files_of(classes: Sequence[Path], left_out: Counter[str]) -> ImageFiles:
    found = [_images_below(folder, left_out) for folder in classes]
    empty = [str(folder) for folder, paths in zip(classes, found, strict=True) if not paths]
    if empty:
        others = f" Received: {named(left_out)}, which are none that Pillow reads." if left_out else ""
        raise ValueError(
            f"load_folder: no image in {listed(empty)}. Expected: in every class folder images such as .jpg and .png.{others} "
            "Add images, convert them, or remove the folders."
        )
    labels = np.repeat(np.arange(len(classes), dtype=np.int64), [len(paths) for paths in found])
    return ImageFiles([path for paths in found for path in paths], labels)


def _images_below(folder: Path, left_out: Counter[str]) -> list[Path]:
    found: list[Path] = []
    for entry in _visible(folder):
        if entry.is_dir():
            if entry.is_symlink():  # which may lead in a circle
                left_out["linked folders"] += 1
            else:
                found += _images_below(entry, left_out)
        elif is_image(entry):
            found.append(entry)
        elif entry.name.lower() not in _SYSTEM and not _is_text(entry):
            left_out[printable(entry.suffix) or "without an ending"] += 1
    return found


def _is_text(path: Path) -> bool:
    if path.suffix or not path.is_file():
        return path.suffix.lower() in _TEXTS
    with path.open("rb") as file:
        return all(byte >= 32 or byte in b"\t\r\n" for byte in file.read(1024))


def named(left_out: Mapping[str, int]) -> str:
    """Return what was left out as one text, the most first: ".heic (40), linked folders (1)"."""
    return ", ".join(f"{what} ({count})" for what, count in sorted(left_out.items(), key=lambda item: -item[1]))


def _visible(directory: Path) -> list[Path]:
    try:
        entries = [entry for entry in directory.iterdir() if not entry.name.startswith(".")]
    except PermissionError as error:
        raise PermissionError(
            f"load_folder: the directory {directory} is not readable ({error.strerror}). Give yourself the "
            "right to read and enter it and the folders below."
        ) from error
    return sorted(entries, key=lambda entry: entry.name)
