"""Where the C++ sources of bitat-runtime are: kits that build its delegate hold a copy of them."""

import os
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path, PurePosixPath

_FILES = ("CMakeLists.txt", "LICENSE")
_FOLDERS = ("cmake", "include", "src")
_HEADER = "include/bitat_delegate.h"


def runtime_sources(folder: str | os.PathLike | None = None, places: Iterable[Path] | None = None) -> dict[str, bytes]:
    """Return the sources of bitat-runtime, by their paths in its folder.

    They are not a part of this package. An installed bitat-runtime has them beside its Python files (`native`); in a checkout
    they are in `runtime`.

    Args:
        folder: Where to take them from: the folder of the runtime's CMakeLists.txt. Default: the installed package
            bitat_runtime, or the checkout that this package is in.
        places: Where they may be if `folder` is None; the first folder that holds them is taken. Default: these two.

    Raises:
        ValueError: If they are not there.
        OSError: If they cannot be read.
    """
    if folder is not None:
        root = Path(folder)
        if not _holds(root):
            raise ValueError(
                f"write_kit: `runtime` must be the folder of bitat-runtime's CMakeLists.txt and {_HEADER}. Received: "
                f"{str(root)!r}, which does not hold both."
            )
    else:
        found = next(filter(_holds, _places() if places is None else places), None)
        if found is None:
            raise ValueError(
                "write_kit: this kit builds the delegate of bitat-runtime from its C++ sources, and none were found: "
                "bitat-runtime is not installed, or without them. Install it from a checkout with `pip install ./runtime`, or "
                "pass the folder `runtime` of a checkout as `runtime` (--runtime DIR). The target 'raspberry_pi' needs none."
            )
        root = found
    paths = [root / name for name in _FILES if (root / name).is_file()]
    for name in _FOLDERS:
        paths += sorted(path for path in (root / name).rglob("[!.]*") if path.is_file())
    return {str(PurePosixPath(path.relative_to(root))): path.read_bytes() for path in paths}


def _holds(root: Path) -> bool:
    return (root / "CMakeLists.txt").is_file() and (root / _HEADER).is_file() and (root / "src").is_dir()


def _places() -> Iterator[Path]:
    """Yield where the sources may be, without importing the package: it may be there without its library."""
    spec = find_spec("bitat_runtime")
    for folder in (spec and spec.submodule_search_locations) or ():
        yield Path(folder) / "native"
        yield Path(folder).parent  # of an editable installation
    yield Path(__file__).parents[2] / "runtime"
