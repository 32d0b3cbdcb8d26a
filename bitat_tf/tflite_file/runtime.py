"""bitat-runtime, which runs files in a stock interpreter: whether it can be used here. It is not needed by anything else."""

import importlib.util

RUNTIME = "bitat-runtime"
_INSTALL = "`pip install bitat-runtime`, or `pip install ./runtime` in a checkout of bitat_tf"


class MissingRuntimeError(ImportError):
    """bitat-runtime was asked for, and cannot be used here."""


def runtime_obstacle() -> str | None:
    """Return why bitat-runtime cannot be used here, as what follows on its name ("is not installed: ..."); None if it can.

    Examples:
        >>> runtime_obstacle() is None or "install" in runtime_obstacle()
        True
    """
    if importlib.util.find_spec("bitat_runtime") is None:
        return f"is not installed: {_INSTALL}"
    try:
        import bitat_runtime

        bitat_runtime.kernel_families()  # loads the library
    except ImportError:
        return (
            "is installed without its library, since no C++ compiler worked: install one (Debian, Ubuntu: `apt-get install "
            "g++`), and bitat-runtime again with `pip install --force-reinstall --no-deps --no-cache-dir`, by its name or, in "
            "a checkout of bitat_tf, as ./runtime"
        )
    except (OSError, ValueError) as error:
        return f"is installed, and its library cannot be used ({error}). Install it again: {_INSTALL}"
    return None


def require_runtime(where: str) -> None:
    """Raise an error unless bitat-runtime can be used here.

    Args:
        where: Name and argument of the public function that was asked to use it, for the message.

    Raises:
        MissingRuntimeError: If it cannot be used; the message says why, and how it is installed.
    """
    obstacle = runtime_obstacle()
    if obstacle is not None:
        raise MissingRuntimeError(f"{where} needs {RUNTIME}, which {obstacle}.")
