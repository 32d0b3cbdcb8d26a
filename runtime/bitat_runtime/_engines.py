"""The interpreters that files can run in: LiteRT's or TensorFlow's, imported only when one is used."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import sys
from dataclasses import dataclass
from typing import Any

_MODULES = {"litert": "ai_edge_litert", "tensorflow": "tensorflow"}
_INSTALL = {"litert": "pip install ai-edge-litert", "tensorflow": "pip install tensorflow"}


@dataclass(frozen=True)
class Engine:
    """An interpreter's class, with its name and version."""

    name: str
    interpreter: Any

    @property
    def version(self) -> str:
        """The version of the package that holds the interpreter, "unknown" if it is not installed by a package manager."""
        module = _MODULES[self.name]
        own = getattr(sys.modules.get(module), "__version__", None)
        if own is not None:  # else all that is installed is looked through for it: a third of a second
            return str(own)
        for distribution in importlib.metadata.packages_distributions().get(module, []):
            return importlib.metadata.version(distribution)
        return "unknown"


def find_engine(name: str | None) -> Engine:
    """Return the engine of that name, or LiteRT if it is installed, else TensorFlow.

    Raises:
        ImportError: It is not installed, or none is.
        ValueError: There is no engine of that name.
    """
    if name is not None and name not in _MODULES:
        raise ValueError(f"engine={name!r} is no engine. Expected 'litert', 'tensorflow', or None for what is installed.")
    for candidate in _MODULES if name is None else [name]:
        if importlib.util.find_spec(_MODULES[candidate]) is not None:
            return Engine(candidate, _interpreter_class(candidate))
    if name is not None:
        raise ImportError(f"engine={name!r} needs the package {_MODULES[name]}, which is not installed: {_INSTALL[name]}.")
    raise ImportError(
        "No TFLite interpreter is installed to run the file in. Install one of them: LiteRT, which is small "
        f"(`{_INSTALL['litert']}`), or TensorFlow (`{_INSTALL['tensorflow']}`)."
    )


def _interpreter_class(name: str) -> Any:
    if name == "litert":
        from ai_edge_litert.interpreter import Interpreter

        return Interpreter
    import tensorflow

    return tensorflow.lite.Interpreter
