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
    return split_for("split_folder", directory, test_share, seed, test)


def split_for(
    where: str, directory: str | os.PathLike, test_share: float, seed: int, test: str | os.PathLike | None
) -> FolderSplit:
    """Return what `split_folder` does; its errors begin with `where`."""
    check_share(where, "test_share", test_share)
    check_integer(where, "seed", seed, 0)
    root, listing = Path(directory), _Listing(where)
    inside = listing.folders(listing.checked(root))
    folders = {folder.name.lower(): folder for folder in inside}
    held_out = [folders[name] for name in _HELD_OUT if name in folders]
    if "train" in folders and (held_out or (test is not None and listing.holds_folders_alone(folders["train"]))):
        train_root, test_root = folders["train"], held_out[0] if test is None else Path(test)
        listing.leave_out(inside, (train_root, test_root))
        listing.leave_out_beside(root)
    elif test is not None:
        train_root, test_root = root, Path(test)
    else:
        if "train" in folders and listing.holds_folders_alone(folders["train"]):
            raise ValueError(
                f"{where}: {root} holds train/ but none of test/, val/, validation/. Add one, name another folder of test "
                f"images (command line: --test), or load {folders['train']} itself, of which a share then becomes the test set."
            )
        classes = listing.class_folders(root)
        names = tuple(folder.name for folder in classes)
        files = listing.files_of(classes)
        cure = f"Add images of these classes in {root}, remove the classes, or arrange all images in train/ and test/."
        drawn = draw_share(where, files.labels, test_share, seed, names.__getitem__, cure)
        train, rest = files.take(np.flatnonzero(~drawn)), files.take(np.flatnonzero(drawn))
        return FolderSplit(train, rest, tuple(map(printable, names)), True, listing.left_out)
    train_classes, test_classes = (listing.class_folders(listing.checked(each)) for each in (train_root, test_root))
    names, others = (tuple(folder.name for folder in each) for each in (train_classes, test_classes))
    if names != others:
        raise ValueError(
            f"{where}: train and test must have the same classes. Received: only in "
            f"{train_root}: {listed(sorted(set(names) - set(others)))}; only in {test_root}: "
            f"{listed(sorted(set(others) - set(names)))}. Rename or add the missing folders."
        )
    train, rest = listing.files_of(train_classes), listing.files_of(test_classes)
    both = {path.resolve() for path in train.paths} & {path.resolve() for path in rest.paths}
    if both:
        raise ValueError(
            f"{where}: a test image must not be a training image. Received: {train_root} and {test_root}, which have "
            f"{len(both)} files in common. Name another folder as `test`, or leave it out for a share drawn from all."
        )
    return FolderSplit(train, rest, tuple(map(printable, names)), False, listing.left_out)


@dataclass(frozen=True, eq=False)
class _Listing:
    """Lists folders for `where`, with which errors begin, and counts what is left out."""

    where: str
    left_out: Counter[str] = field(default_factory=Counter)

    def checked(self, root: Path) -> Path:
        if not root.exists():
            raise FileNotFoundError(f"{self.where}: there is no directory {root}. Check the path. {_LAYOUT}.")
        if not root.is_dir():
            raise NotADirectoryError(f"{self.where}: {root} is a file. {_LAYOUT}; unpack an archive first.")
        return root

    def visible(self, directory: Path) -> list[Path]:
        try:
            os.stat(os.path.join(directory, "."))  # which takes the right to enter it
            entries = [entry for entry in directory.iterdir() if not entry.name.startswith(".")]
        except PermissionError as error:
            raise PermissionError(
                f"{self.where}: the directory {directory} is not readable ({error.strerror}). Give yourself the "
                "right to read and enter it and the folders below."
            ) from error
        return sorted(entries, key=lambda entry: entry.name)

    def folders(self, directory: Path) -> list[Path]:
        return [entry for entry in self.visible(directory) if os.path.isdir(entry)]

    def holds_folders_alone(self, directory: Path) -> bool:
        """Whether a folder called train holds class folders, and is not a class of pictures of trains."""
        inside = self.visible(directory)
        return bool(inside) and all(map(os.path.isdir, inside))

    def leave_out(self, folders: Sequence[Path], used: Sequence[Path]) -> None:
        """Count what is in folders that do not hold one of those in use, in whatever way these are named."""
        for folder in folders:
            if any(path.resolve().is_relative_to(folder.resolve()) for path in used):
                continue
            try:
                count = len(self.visible(folder))
            except PermissionError:  # such as lost+found
                self.left_out[f"{printable(folder.name)}/, which is not readable"] += 1
            else:
                self.left_out.update({f"everything in {printable(folder.name)}/": count} if count else {})

    def leave_out_beside(self, directory: Path) -> None:
        beside = [entry for entry in self.visible(directory) if not os.path.isdir(entry) and is_image(entry)]
        self.left_out.update(["images beside the class folders"] * len(beside))

    def class_folders(self, directory: Path) -> list[Path]:
        folders = self.folders(directory)
        if len(folders) < 2:
            found = f"one class folder, {folders[0].name!r}," if folders else "no class folders"
            raise ValueError(f"{self.where}: {found} in {directory}. {_LAYOUT}.")
        self.leave_out_beside(directory)
        return folders

    def files_of(self, classes: Sequence[Path]) -> ImageFiles:
        found = [self.images_below(folder) for folder in classes]
        empty = [str(folder) for folder, paths in zip(classes, found, strict=True) if not paths]
        if empty:
            others = f" Received: {named(self.left_out)}, which are none that Pillow reads." if self.left_out else ""
            raise ValueError(
                f"{self.where}: no image in {listed(empty)}. Expected: in every class folder images such as .jpg and .png."
                f"{others} Add images, convert them, or remove the folders."
            )
        labels = np.repeat(np.arange(len(classes), dtype=np.int64), [len(paths) for paths in found])
        return ImageFiles([path for paths in found for path in paths], labels)

    def images_below(self, folder: Path) -> list[Path]:
        found: list[Path] = []
        for entry in self.visible(folder):
            if os.path.isdir(entry):
                if entry.is_symlink():  # which may lead in a circle
                    self.left_out["linked folders"] += 1
                else:
                    found += self.images_below(entry)
            elif is_image(entry):
                found.append(entry)
            elif entry.name.lower() not in _SYSTEM and not _is_text(entry):
                self.left_out[printable(entry.suffix) or "without an ending"] += 1
        return found


def _is_text(path: Path) -> bool:
    if path.suffix or not os.path.isfile(path):
        return path.suffix.lower() in _TEXTS
    try:
        with path.open("rb") as file:
            return all(byte >= 32 or byte in b"\t\r\n" for byte in file.read(1024))
    except OSError:  # so that it is counted
        return False


def named(left_out: Mapping[str, int]) -> str:
    """Return what was left out as one text, the most first: ".heic (40), linked folders (1)"."""
    return ", ".join(f"{what} ({count})" for what, count in sorted(left_out.items(), key=lambda item: -item[1]))
