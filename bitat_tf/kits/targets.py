"""The projects that a kit can be, and where in them that goes which differs from network to network."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

ALL = "all"

_PROJECTS = Path(__file__).parent / "projects"

# What builds leave in a project's folder, and Python's installer beside a script.
_NO_SOURCES = frozenset(("build", "venv", "local.properties", ".cxx", ".gradle", ".idea", ".kotlin", "__pycache__"))


@dataclass(frozen=True)
class Target:
    """Where the parts of a network go in a project; all paths are from the project's folder.

    Attributes:
        settings: The file that is written anew for each network. Its ending says in which language.
        assets: The folder of `model.tflite`, `labels.txt` and the picture, with a slash at its end; empty: the project's own.
        picture: Name of the picture, a PNG or a PPM.
        runtime: Whether the project builds the delegate of bitat-runtime, whose sources then go into its folder `runtime`.
    """

    settings: str
    assets: str
    picture: str
    runtime: bool


TARGETS: Mapping[str, Target] = MappingProxyType(
    {
        "android": Target(
            settings="app/src/main/java/com/example/classifier/Settings.kt",
            assets="app/src/main/assets/",
            picture="picture.png",
            runtime=True,
        ),
        # A PPM is read without any library.
        "cpp": Target(settings="settings.h", assets="", picture="picture.ppm", runtime=True),
        "raspberry_pi": Target(settings="settings.json", assets="", picture="picture.png", runtime=False),
    }
)


def project_files(target: str) -> dict[str, bytes]:
    """Return the files of a project of this package, by their paths in its folder.

    Args:
        target: A key of `TARGETS`.

    Examples:
        >>> sorted(project_files("raspberry_pi"))
        ['README.md', 'classify.py', 'settings.json']
    """
    root = _PROJECTS / target
    paths = [path for path in sorted(root.rglob("*")) if path.is_file()]
    names = {path.relative_to(root): path for path in paths}
    return {name.as_posix(): path.read_bytes() for name, path in names.items() if _NO_SOURCES.isdisjoint(name.parts)}
