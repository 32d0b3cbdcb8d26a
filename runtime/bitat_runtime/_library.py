"""Finds the native library, loads it once and declares its functions (include/bitat_delegate.h)."""

from __future__ import annotations

import ctypes
import functools
import os
import platform
import sys
from pathlib import Path

_FILE_NAME = "libbitat_delegate.dylib" if sys.platform == "darwin" else "libbitat_delegate.so"

ReportError = ctypes.CFUNCTYPE(None, ctypes.c_char_p)

# Result and arguments of every function of the library. A delegate is a pointer that Python does not look into.
_PROTOTYPES: dict[str, tuple[object, list[object]]] = {
    "tflite_plugin_create_delegate": (
        ctypes.c_void_p,
        [ctypes.POINTER(ctypes.c_char_p), ctypes.POINTER(ctypes.c_char_p), ctypes.c_size_t, ReportError],
    ),
    "tflite_plugin_destroy_delegate": (None, [ctypes.c_void_p]),
    "bitat_version": (ctypes.c_char_p, []),
    "bitat_kernel_families": (ctypes.c_char_p, []),
    "bitat_kernel": (ctypes.c_char_p, [ctypes.c_void_p]),
    "bitat_last_error": (ctypes.c_char_p, [ctypes.c_void_p]),
    "bitat_profile": (ctypes.c_size_t, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t]),
    "bitat_reset_profile": (None, [ctypes.c_void_p]),
}


def library_path() -> Path:
    """Return where the library lies that was installed with this package.

    Raises:
        ImportError: The package was installed without its library, because nothing could compile it then.
    """
    import bitat_runtime

    # More than one folder where the package is installed as editable: the sources and what was built from them.
    for folder in bitat_runtime.__path__:
        path = Path(folder) / _FILE_NAME
        if path.is_file():
            return path
    raise ImportError(
        f"bitat_runtime is installed without its library {_FILE_NAME}: when it was installed, no C++ compiler (or no CMake) "
        "worked. Get the library in one of these ways: install a C++17 compiler (Debian, Ubuntu: apt-get install g++) and "
        "install again with `pip install -v --force-reinstall --no-cache-dir bitat-runtime`, which also shows what fails; "
        f"install a wheel that was built for this platform ({sys.platform}, {platform.machine()}); or build the library "
        "elsewhere with CMake and pass library=PATH."
    )


def load(library: str | os.PathLike[str] | None = None) -> ctypes.CDLL:
    """Load a library, the installed one unless another is named, with its functions declared.

    Raises:
        ImportError: No library is named and none is installed.
        FileNotFoundError: There is no file of that name.
        OSError: The system cannot load the file.
        ValueError: The file is another library, or one of another version than this package.
    """
    path = library_path() if library is None else Path(library)
    if not path.is_file():
        raise FileNotFoundError(f"library={str(library)!r} is no file. Expected a {_FILE_NAME}, or None for the installed one.")
    return _load(str(path.resolve()))


@functools.cache
def _load(path: str) -> ctypes.CDLL:
    import bitat_runtime

    try:
        native = ctypes.CDLL(path)
    except OSError as error:
        raise OSError(
            f"{path} cannot be loaded here: {error}. It may be of another processor or need a newer C library: build it on "
            "this machine, or install the wheel of this platform."
        ) from error
    for name, (result, arguments) in _PROTOTYPES.items():
        try:
            function = getattr(native, name)
        except AttributeError:
            raise ValueError(f"{path} is not a {_FILE_NAME}: it has no function {name}.") from None
        function.restype, function.argtypes = result, arguments
    version = native.bitat_version().decode()
    if version != bitat_runtime.__version__:
        raise ValueError(
            f"{path} is of version {version}, the Python package bitat_runtime of version {bitat_runtime.__version__}. "
            "Use a library and a package of one version."
        )
    return native


def kernel_families(library: str | os.PathLike[str] | None = None) -> tuple[str, ...]:
    """Return the kernels that this processor can run, from the slowest to the fastest.

    Args:
        library: A `libbitat_delegate` to ask; None: the one that is installed with this package.

    Returns:
        Names that `delegate(kernel=...)` takes, for example `("portable", "avx2", "avx512")`.

    Raises:
        ImportError: The package was installed without its library.
    """
    return tuple(load(library).bitat_kernel_families().decode().split(","))
