"""What the settings of every command that writes a folder share: names and values that can be stored and read again."""

import os
from collections.abc import Collection
from dataclasses import asdict, dataclass, fields
from types import UnionType
from typing import Any, ClassVar, TypeVar, get_args, get_origin, get_type_hints

from bitat_tf._pixels import ASPECTS
from bitat_tf.workflow.options import check_options, option, option_name, options_of

DIGITS = "digits"
MOST_BLOCKS = 13  # of a ReActNet: those of ReActNet-A
FOLDERS = "'digits' (scikit-learn's, embedded), or a folder of class folders of images"

AnySettings = TypeVar("AnySettings", bound="Settings")


@dataclass(frozen=True)
class Pictures:
    """Which images a command takes, and how: each field is an option, which says what it is."""

    data: str = option(
        DIGITS,
        f"{FOLDERS}, either in train/ and test/ or in one folder, of which a fifth becomes the test set",
        group="data",
        metavar="digits|DIR",
    )
    test: str | None = option(
        None,
        "folder of class folders of test images; all of --data, or of its train/, trains then",
        group="data",
        metavar="DIR",
    )
    aspect: str = option(
        "crop",
        "how images become square: crop cuts to the middle, stretch squashes as Keras does, pad adds black",
        group="data",
        choices=tuple(ASPECTS),
    )
    subset: int | None = option(
        None, "use N training images, evenly over the classes", group="data", minimum=2, otherwise="all"
    )
    skip_corrupt: bool = option(False, "leave images out that cannot be read", group="data", otherwise="an error")
    seed: int = option(0, "seed of everything random", maximum=2**31 - 1)

    def check_pictures(self, command: str, only_folders: Collection[str] = ()) -> None:
        """Raise ValueError if an option has a value that it cannot have, or is for folders only and given for the digits."""
        check_options(command, self)
        names = ("test", "aspect", "subset", "skip_corrupt", *only_folders)
        given = [option_name(one.name) for one in fields(self) if one.name in names and getattr(self, one.name) != one.default]
        if self.data == DIGITS and given:
            raise ValueError(f"{command}: {', '.join(given)}: only for folders of images. Received: the digits as data.")

    @classmethod
    def taken_from(cls, options: dict[str, Any], command: str) -> "Pictures | None":
        """Take what was given of images out of the options of a command; None where no images are named."""
        given = {field.name: options.pop(field.name) for field in fields(cls) if field.name in options}
        if "data" not in given:
            if given:
                raise ValueError(f"{command}: {', '.join(map(option_name, given))}: only for images. Received: no --data.")
            return None
        pictures = cls(**given)
        pictures.check_pictures(command)
        return pictures

    @property
    def squares(self) -> str:
        """How images of folders became square, in words; empty for the digits, which are."""
        return "" if self.data == DIGITS else ASPECTS[self.aspect]


@dataclass(frozen=True)
class Settings(Pictures):
    """Base of the settings of a command; subclasses are dataclasses of plain values.

    Attributes:
        command: The command that they belong to.
        only_folders: Options that are of no use for the digits, besides those of `Pictures`.

    The others are its options.
    """

    command: ClassVar[str]
    only_folders: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self):
        self.check_pictures(self.command, self.only_folders)

    @classmethod
    def for_folders(cls) -> dict[str, Any]:
        """Return the defaults that are others with folders of images."""
        return {name: one.folders for name, one in options_of(cls).items() if one.folders is not None}

    @classmethod
    def normalized(cls, given: dict[str, Any]) -> dict[str, Any]:
        """Return settings as they are stored: a run may be resumed from another folder, so paths are absolute."""
        named = {name: given[name] for name in ("data", "test") if given.get(name) is not None}
        folders = {name: value for name, value in named.items() if (name, value) != ("data", DIGITS)}
        return {**given, **{name: os.path.abspath(folder) for name, folder in folders.items()}}

    @classmethod
    def completed(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Return stored settings with what versions before this one did not store; a subclass that needs it says what."""
        return values

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        values = asdict(self)
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    @classmethod
    def from_dict(cls: type[AnySettings], values: Any) -> AnySettings:
        """Return the settings that `to_dict` gave."""
        known = {field.name for field in fields(cls)}
        if not isinstance(values, dict):
            raise ValueError(f"{cls.__name__}: settings must be names and values. Received: {values!r}.")
        unknown = sorted(set(values) - known)
        if unknown:
            raise ValueError(f"{cls.__name__}: unknown settings {', '.join(unknown)}. Was the run made by another version?")
        values = cls.completed(values)
        hints = get_type_hints(cls)
        for name, value in values.items():
            if not _fits(value, hints[name]):
                expected = getattr(hints[name], "__name__", str(hints[name]))
                raise ValueError(f"{cls.command}: {option_name(name)} must be of type {expected}. Received: {value!r}.")
        return cls(**values)


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value, as JSON gives it, is of the type that a field of the settings has."""
    if isinstance(hint, UnionType):
        return any(_fits(value, one) for one in get_args(hint))
    if get_origin(hint) is tuple:
        return isinstance(value, (list, tuple)) and all(isinstance(entry, get_args(hint)[0]) for entry in value)
    if hint in (int, float):
        return isinstance(value, (int, hint)) and not isinstance(value, bool)
    return isinstance(value, hint)
