"""The classes of TFLite's flatbuffer schema: `schema.ModelT`, `schema.SubGraphT`, `schema.TensorT`, ...

TensorFlow and LiteRT both bring them, as one file of generated code that needs nothing but the package flatbuffers. It is
loaded by its path, since importing TensorFlow takes seconds. What is written with one of them is the same, byte by byte, as
what is written with the other.
"""

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

__all__ = ["schema"]

_PLACES = {"tensorflow": "lite/python/schema_py_generated.py", "ai_edge_litert": "schema_py_generated.py"}


def load_schema(package: str) -> ModuleType | None:
    """Return the generated classes that a package brings; None if it is not installed, or has none.

    Args:
        package: "tensorflow" or "ai_edge_litert".
    """
    found = importlib.util.find_spec(package)  # finds it, and runs nothing of it
    if found is None or found.origin is None:
        return None
    path = Path(found.origin).parent / _PLACES[package]
    if not path.exists():
        return None
    spec = importlib.util.spec_from_file_location(f"{package}_schema", path)
    if spec is None or spec.loader is None:
        return None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _first_schema() -> ModuleType:
    for package in _PLACES:
        module = load_schema(package)
        if module is not None:
            return module
    raise ImportError(
        f"bitat_tf reads .tflite files with the schema in {' or '.join(_PLACES)}, and found neither. Install TensorFlow as "
        "bitat_tf's own requirements have it: `pip install --upgrade bitat_tf`."
    )


if TYPE_CHECKING:  # the same classes under a name that a type checker can follow
    from ai_edge_litert import schema_py_generated as schema
else:
    schema = _first_schema()
