"""Options: each declared once, as a field of a dataclass. From it come what is checked, the command line and its help."""

import argparse
import dataclasses
from collections.abc import Collection
from dataclasses import dataclass, fields
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

from bitat_tf._validation import check_choice, check_number

_KEY = "option"


@dataclass(frozen=True)
class Option:
    """What is known of an option besides its name, type and default.

    Attributes:
        help: What it is, for the command line.
        group: Heading in the help.
        metavar: Stands for the value in the help; "" for "N" or "X".
        choices: The values that there are; empty for all.
        minimum, exclusive, maximum: Of numbers, as in `check_number`.
        folders: Default with folders of images, where it is another one than with the digits; None if it is not.
        otherwise: What the help says of the default; None for the default itself, if there is one.
    """

    help: str
    group: str = ""
    metavar: str = ""
    choices: tuple[str, ...] = ()
    minimum: float = 0
    exclusive: bool = False
    maximum: float = float("inf")
    folders: Any = None
    otherwise: str | None = None

    def described(self, default: Any) -> str:
        """Return the help, with the default."""
        if self.otherwise is not None:
            text = f"default: {self.otherwise}" if self.otherwise else ""
        elif self.folders is not None:
            text = f"default {_shown(self.folders)}, digits {_shown(default)}"
        elif default is None or isinstance(default, (bool, tuple)) and not default:
            text = ""
        else:
            text = f"default {_shown(default)}"
        return (f"{self.help} ({text})" if text else self.help).replace("%", "%%")


def option(default: Any, help: str, **known: Any) -> Any:  # noqa: A002 (as in argparse)
    """Return a field of a dataclass that is an option of commands; see `Option`."""
    return dataclasses.field(default=default, metadata={_KEY: Option(help, **known)})


def options_of(settings: Any) -> dict[str, Option]:
    """Return the options of a dataclass, or of one of its objects, by name."""
    return {field.name: field.metadata[_KEY] for field in fields(settings) if _KEY in field.metadata}


def option_name(name: str) -> str:
    """Return the option of the command line that sets a field."""
    return f"--{name.replace('_', '-')}"


def check_options(where: str, settings: Any) -> None:
    """Raise ValueError if an option has a value that it cannot have; None stands for one that is not given."""
    hints = get_type_hints(type(settings))
    for name, one in options_of(settings).items():
        values = getattr(settings, name)
        for value in values if isinstance(values, tuple) else (values,):
            if value is not None and one.choices:
                check_choice(where, name, value, one.choices)
            elif value is not None and _kind(hints[name])[0] in (int, float):
                check_number(where, name, value, one.minimum, one.exclusive, one.maximum)


def add_options(
    parser: argparse.ArgumentParser, settings: type, without: Collection[str] = (), only: Collection[str] = ()
) -> None:
    """Add the options of a dataclass, or some of them, to a parser, those of a group under its heading."""
    hints, defaults = get_type_hints(settings), {field.name: field.default for field in fields(settings)}
    groups: dict[str, Any] = {"": parser}
    for name, one in options_of(settings).items():
        if name in without or (only and name not in only):
            continue
        if one.group not in groups:
            groups[one.group] = parser.add_argument_group(one.group)
        kind, many = _kind(hints[name])
        known: dict[str, Any] = {"help": one.described(defaults[name])}
        if kind is bool:
            known["action"] = "store_true"
        else:
            known |= {"choices": one.choices} if one.choices else {"metavar": one.metavar or "NX"[kind is float]}
            known |= {} if kind is str else {"type": kind}
            known |= {"action": "append"} if many and kind is str else {"nargs": "+"} if many else {}
        groups[one.group].add_argument(option_name(name), **known)


def _kind(hint: Any) -> tuple[type, bool]:
    """Return the type of an option's values, and whether it may have several."""
    if isinstance(hint, UnionType):
        hint = next(one for one in get_args(hint) if one is not NoneType)
    return (get_args(hint)[0], True) if get_origin(hint) is tuple else (hint, False)


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return " ".join(map(_shown, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
