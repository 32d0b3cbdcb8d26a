"""What a `.keras` file may name: the classes, functions and operators that Keras makes or calls while it loads a model."""

import functools
import inspect
import sys
from collections.abc import Iterator
from typing import Any

import keras

# They hold Python code, or take it from a file; the first ones are of Keras 2.
CODE = (
    "TFOpLambda",
    "SlicingOpLambda",
    "TensorFlowOpLayer",
    "ClassMethod",
    "InstanceMethod",
    "InstanceProperty",
    "Lambda",
    "TFSMLayer",
    "JaxLayer",
    "FlaxLayer",
    "TorchModuleWrapper",
    "__lambda__",
)
# Where Keras looks for functions of which a file holds the name only.
_FUNCTIONS = ("activations", "constraints", "initializers", "losses", "metrics", "optimizers", "regularizers")
_CLASSES = (*_FUNCTIONS, "optimizers.schedules", "layers", "models", "dtype_policies", "quantizers", "random")
_NOT_FUNCTIONS = {"get", "serialize", "deserialize"}  # they make what stands in their arguments
# They read files that the model file names.
_READERS = {"StringLookup", "IntegerLookup", "TextVectorization"}
_TOP = "keras"
_FUNCTIONAL = ("keras.src.models.functional", "Functional")  # Keras publishes no name of it
# Of a call's arguments; what they hold stands below them.
_TENSOR = "__keras_tensor__"
_VALUES = (_TENSOR, "__numpy__", "__tensor__", "__bytes__", "__slice__", "__ellipsis__")
# The modules of Keras' operators, and those operators that take functions or make others.
_OPERATORS = tuple(f"keras.src.ops.{part}" for part in ("core", "einops", "image", "linalg", "math", "nn", "numpy"))
_NOT_OPERATORS = {
    "AssociativeScan",
    "Cond",
    "ForiLoop",
    "JVP",
    "Map",
    "Operation",
    "Scan",
    "Switch",
    "VectorizedMap",
    "WhileLoop",
}


def objects_in(value: Any) -> Iterator[dict[str, Any]]:
    """Yield all that Keras would make an object or a function of, or call, at any depth."""
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            if "class_name" in value or "inbound_nodes" in value:
                yield value
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value


def names_an_operator(entry: dict[str, Any]) -> bool:
    """Return whether an entry says that it is an operator: what Keras writes of `x + y`, `x[:, 1:]` or `keras.ops.relu(x)`."""
    return str(entry.get("module")).startswith("keras.src.ops.") and not is_registered(entry)


def is_operator(entry: dict[str, Any]) -> bool:
    """Return whether an operator may be called because a file names it.

    Allowed are those of `keras.ops` that compute outputs from inputs, what Python's operators and slices stand for among them;
    none that take functions, such as `keras.ops.map`.

    Examples:
        >>> [is_operator({"module": "keras.src.ops." + where, "class_name": name})
        ...     for where, name in (("numpy", "Add"), ("nn", "Relu"), ("core", "Map"), ("function", "Function"))]
        [True, True, False, False]
    """
    kind, module = entry.get("class_name"), entry.get("module")
    if not isinstance(kind, str) or module not in _OPERATORS or kind in _NOT_OPERATORS:
        return False
    if entry.get("registered_name") not in (None, kind):
        return False
    found = getattr(sys.modules.get(str(module)), kind, None)
    return inspect.isclass(found) and issubclass(found, keras.Operation) and not issubclass(found, keras.layers.Layer)


def is_called_at_once(entry: dict[str, Any]) -> bool:
    """Return whether Keras would call a layer with what stands in the file, instead of outputs of other layers.

    Keras records no such call: without an output of a layer among the arguments there is nothing to record.
    """
    nodes = entry.get("inbound_nodes") or []
    if not isinstance(nodes, list):
        return True
    return not all(isinstance(node, dict) and _names_a_layer(node) for node in nodes)


def is_registered(entry: dict[str, Any]) -> bool:
    """Return whether an entry is of a class that this package or the user has registered."""
    kind = entry.get("class_name")
    name = entry.get("registered_name", kind)
    found = keras.saving.get_registered_object(name) if isinstance(name, str) else None
    return found is not None and kind in (name, str(name).rsplit(">")[-1], getattr(found, "__name__", None))


def is_known(entry: dict[str, Any]) -> bool:
    """Return whether what Keras would make of an entry is Keras' own, ours or registered.

    Classes of Keras are those that it publishes, less those in `CODE` and those that read further files.
    """
    kind, module = entry.get("class_name"), entry.get("module")
    if kind == "function":
        return _is_function(entry.get("config"), module)
    if kind in _VALUES or is_registered(entry):
        return True
    # Without a module, the form of Keras 2, Keras looks for a name among all that it holds itself, functions too.
    if not isinstance(kind, str) or not isinstance(module, str) or kind not in _known_classes():
        return False
    if not _are_functions(entry.get("config")) or entry.get("registered_name") not in (None, kind):
        return False
    return _is_module_of(module, kind)


def _is_function(name: Any, module: Any) -> bool:
    if not isinstance(name, str):
        return False
    if keras.saving.get_registered_object(name) is not None:
        return True
    published = ("builtins", *(f"{_TOP}.{part}" for part in _FUNCTIONS))
    return module in published and name in _known_functions()


def _are_functions(config: Any) -> bool:
    """Return whether every activation that a layer's configuration names, if any, is a known one."""
    if not isinstance(config, dict):
        return True
    names = [value for key, value in config.items() if key.endswith("activation") and isinstance(value, str)]
    return all(_is_function(name, "builtins") for name in names)


def _is_module_of(module: str, kind: str) -> bool:
    """Return whether a class is found in a module of Keras that is imported already, so that none is imported for a file."""
    if (module, kind) == _FUNCTIONAL:
        return True
    if module in (_TOP, *(f"{_TOP}.{part}" for part in _CLASSES)):
        return inspect.isclass(dict(_published(module)).get(kind))
    return module.startswith(f"{_TOP}.") and getattr(sys.modules.get(module), kind, None) in _known_classes()[kind]


@functools.cache
def _known_classes() -> dict[str, list[type]]:
    """Return the classes that Keras publishes, by name: those that may be made."""
    found: dict[str, list[type]] = {_FUNCTIONAL[1]: []}
    for part in _CLASSES:
        for name, value in _published(f"{_TOP}.{part}"):
            if inspect.isclass(value) and name not in CODE and name not in _READERS:
                found.setdefault(name, []).append(value)
    return found


@functools.cache
def _known_functions() -> set[str]:
    # Short names such as "mse" and "glorot_uniform" are among them; the second is a class.
    names = (name for part in _FUNCTIONS for name, value in _published(f"{_TOP}.{part}") if callable(value))
    return {name for name in names if name[0].islower()} - _NOT_FUNCTIONS


def _published(module: str) -> list[tuple[str, Any]]:
    found: Any = keras
    for name in module.split(".")[1:]:
        found = getattr(found, name, None)
    return [(name, value) for name, value in vars(found).items() if name[0] != "_"] if found is not None else []


def _names_a_layer(value: Any) -> bool:
    """Return whether the output of a layer is anywhere in a call's arguments."""
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            if value.get("class_name") == _TENSOR:
                return True
            waiting += [inner for key, inner in value.items() if not (key == "config" and value.get("class_name") in _VALUES)]
        elif isinstance(value, list):
            waiting += value
    return False
