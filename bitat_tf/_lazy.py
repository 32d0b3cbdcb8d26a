"""Public names that are imported when they are used for the first time.

TensorFlow takes seconds to load. Who asks for the command line's help, or looks into a file, does not need it.
"""

import ast
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any


def lazy_attributes(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """Return what a package needs as its `__getattr__` (PEP 562), which Python calls for a name that is not there yet.

    Args:
        package: The package, its `__name__`.
        homes: For each public name the module that holds it; for the name of a module itself that module.

    Examples:
        >>> lazy = lazy_attributes("json", {"JSONDecoder": "json.decoder", "tool": "json.tool"})
        >>> lazy("JSONDecoder").__name__, lazy("tool").__name__
        ('JSONDecoder', 'json.tool')
    """

    def attribute(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}{_found_elsewhere(package, name)}")
        module = import_module(homes[name])
        value = module if homes[name] == f"{package}.{name}" else getattr(module, name)
        setattr(sys.modules[package], name, value)  # from now on it is found at once
        return value

    return attribute


def _found_elsewhere(package: str, name: str) -> str:
    """Return where a public name of one of the package's rooms is, for a message; nothing is imported for it."""
    folder = Path(str(sys.modules[package].__file__)).parent
    for path in [] if name.startswith("_") else sorted(folder.glob("[a-z]*/__init__.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            is_list = isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
            if is_list and name in ast.literal_eval(node.value):  # type: ignore[attr-defined]
                return f". Did you mean {package}.{path.parent.name}.{name}?"
    return ""
