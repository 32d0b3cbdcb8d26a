"""What the settings of every command that writes a folder share: names and values that can be stored and read again."""

import os
from dataclasses import Field, asdict, dataclass, fields
from types import UnionType
from typing import Any, ClassVar, TypeVar, get_args, get_origin, get_type_hints

from bitat_tf._pixels import ASPECTS
from bitat_tf._validation import check_choice, check_number

DIGITS = "digits"
MOST_BLOCKS = 13  # of a ReActNet: those of ReActNet-A

AnySettings = TypeVar("AnySettings", bound="Settings")


@dataclass(frozen=True)
class Pictures:
    """Which images a command takes, and how.

    Attributes:
        data: "digits" (scikit-learn's, embedded) or a folder of class folders of images.
        test: A folder of class folders of test images; None for those that `data` has, or a share drawn from it.
        aspect: How images become square: "crop", "stretch" or "pad", as in `load_folder`.
        subset: Number of training images to use; None for all.
        skip_corrupt: Whether images that cannot be read are left out.
        seed: Seed of what is drawn: of everything random.
    """

    data: str = DIGITS
    test: str | None = None
    aspect: str = "crop"
    subset: int | None = None
    skip_corrupt: bool = False
    seed: int = 0

    def check_pictures(self, command: str, *names: str) -> None:
        """Raise ValueError if what is of no use for the digits, further settings named among it, is given with them."""
        check_choice(command, "aspect", self.aspect, tuple(ASPECTS))
        names = ("test", "aspect", "subset", "skip_corrupt", *names)
        given = [option_name(field.name) for field in fields(self) if field.name in names and self._differs(field)]
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

    def _differs(self, field: Field) -> bool:
        return getattr(self, field.name) != field.default


@dataclass(frozen=True)
class Settings(Pictures):
    """Base of the settings of a command; subclasses are dataclasses of plain values.

    Attributes:
        command: The command that they belong to.

    The others are those of `Pictures`.
    """

    command: ClassVar[str]

    def check_integers(self, **minimum: int) -> None:
        """Raise ValueError if one of the settings named is given and below its minimum."""
        for name, least in minimum.items():
            value = getattr(self, name)
            if value is not None:
                check_number(self.command, name, value, minimum=least)

    def check_blocks(self, blocks: int | None) -> None:
        """Raise ValueError if a ReActNet has no so many blocks."""
        if blocks is not None and blocks > MOST_BLOCKS:
            raise ValueError(f"{self.command}: a ReActNet has at most {MOST_BLOCKS} blocks. Received: --blocks {blocks}.")

    @classmethod
    def normalized(cls, given: dict[str, Any]) -> dict[str, Any]:
        """Return settings as they are stored: a run may be resumed from another folder, so paths are absolute."""
        folders = {name: given[name] for name in ("data", "test") if given.get(name) not in (None, DIGITS)}
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


def option_name(name: str) -> str:
    """Return the option of the command line that sets a setting."""
    return f"--{name.replace('_', '-')}"
