"""What a `.keras` file may name: the classes, functions and operators that Keras makes or calls while it loads a model."""

import functools
import inspect
import re
import sys
from collections.abc import Iterator
from typing import Any

import keras

LAYERS_OF_OPERATORS = ("TFOpLambda", "SlicingOpLambda")
# They hold Python code, or take it: a method or an attribute of any object, by its name.
CODE = ("Lambda", "TensorFlowOpLayer", "TFSMLayer", "ClassMethod", "InstanceMethod", "InstanceProperty", "__lambda__")
_CONSTANT = "_CONSTANT_VALUE"
# Where Keras looks for functions of which a file holds the name only.
_FUNCTIONS = ("activations", "constraints", "initializers", "losses", "metrics", "optimizers", "regularizers")
_CLASSES = (*_FUNCTIONS, "optimizers.schedules", "layers", "layers.experimental", "models", "mixed_precision")
_NOT_FUNCTIONS = {"get", "serialize", "deserialize"}  # they make what stands in their arguments
# They read files that the model file names.
_READERS = {"StringLookup", "IntegerLookup", "TextVectorization", "DenseFeatures"}
_MORE_CLASSES = {"Functional", "BatchNormalizationV1", "BatchNormalizationV2", *LAYERS_OF_OPERATORS}
_ARRAYS = ("__numpy__", "__tensor__", "__bytes__")
_INITIALIZERS = "tensorflow.python.ops.init_ops_v2"  # of TensorFlow itself: EfficientNetV2 has them
_MODULES = {f"{package}{part}" for package in ("keras", "tf_keras") for part in ("", *(f".{name}" for name in _CLASSES))}
_MODULES |= {"keras.layers.experimental.preprocessing", "keras.metrics.experimental", "keras.optimizers.experimental"}
# Operators that compute outputs from inputs: without files, Python functions, or variables.
_OPERATOR_GROUPS = ("__operators__.", "math.", "nn.", "image.", "linalg.", "signal.")
_OPERATORS = set(
    "abs acos acosh add add_n argmax argmin argsort asin asinh atan atan2 atanh batch_to_space bitcast boolean_mask "
    "broadcast_to cast clip_by_norm clip_by_value complex concat convert_to_tensor cos cosh cumsum divide einsum "
    "ensure_shape equal exp expand_dims eye fill floor gather gather_nd greater greater_equal identity identity_n "
    "less less_equal linspace logical_and logical_not logical_or matmul maximum meshgrid minimum multiply negative "
    "norm not_equal one_hot ones ones_like pad pow range rank realdiv reduce_all reduce_any reduce_logsumexp "
    "reduce_max reduce_mean reduce_min reduce_prod reduce_sum repeat reshape reverse roll round saturate_cast "
    "scalar_mul sequence_mask shape shape_n sigmoid sign sin sinh size slice sort space_to_batch space_to_batch_nd "
    "split sqrt square squeeze stack stop_gradient strided_slice subtract tan tanh tensordot tile transpose truediv "
    "truncatediv truncatemod div floor_div floormod depth_to_space space_to_depth unstack "
    "where zeros zeros_like random.normal random.uniform "
    "quantization.fake_quant_with_min_max_args quantization.fake_quant_with_min_max_vars".split()
)
_NOT_OPERATORS = {"nn.fixed_unigram_candidate_sampler"}  # reads a file


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


def is_operator(name: Any) -> bool:
    """Return whether an operator of TensorFlow may be called because a file names it.

    Allowed are `tf.math`, `tf.nn`, `tf.image`, `tf.linalg`, `tf.signal`, what Python's operators and slices stand for, and
    operators for shapes and numbers such as `concat`, `cast` and `where`; all of them functions of their arguments alone.

    Examples:
        >>> [is_operator(name) for name in ("math.add", "concat", "compat.v1.pad", "load_op_library", "io.write_file")]
        [True, True, True, False, False]
    """
    # Small letters: a function. Classes (linalg.LinearOperator..., nn.RNNCell...) have large ones.
    if not isinstance(name, str) or re.fullmatch(r"[a-z_]\w*(\.[a-z_]\w*)*", name, re.ASCII) is None:
        return False
    name = name.removeprefix("compat.v1.")
    return name in _OPERATORS or (name.startswith(_OPERATOR_GROUPS) and name not in _NOT_OPERATORS)


def is_called_at_once(entry: dict[str, Any]) -> bool:
    """Return whether Keras would call a layer with what stands in the file, instead of outputs of other layers.

    Keras records no such call: without an output of a layer among the arguments there is nothing to record.
    """
    nodes = entry.get("inbound_nodes") or []
    operator = entry.get("class_name") in LAYERS_OF_OPERATORS
    if not isinstance(nodes, list):
        return True
    try:
        return any(not _names_a_layer(node) and (operator or _holds_constant(node)) for node in nodes)
    except RecursionError:  # no network nests its arguments so deeply
        return True


def is_registered(entry: dict[str, Any]) -> bool:
    """Return whether an entry is of a class that Larq, this package or the user has registered."""
    kind = entry.get("class_name")
    name = entry.get("registered_name", kind) if "module" in entry else kind
    found = keras.saving.get_registered_object(name) if isinstance(name, str) else None
    return found is not None and kind in (name, str(name).rsplit(">")[-1], getattr(found, "__name__", None))


def is_known(entry: dict[str, Any]) -> bool:
    """Return whether what Keras would make of an entry is Keras' own, Larq's, ours or registered.

    Classes of Keras are those that it publishes, less those in `CODE` and those that read further files.
    """
    kind, module = entry.get("class_name"), entry.get("module")
    if kind == "function":
        return _is_function(entry.get("config"), module)
    if kind in _ARRAYS:
        return True
    if is_registered(entry):
        return True
    if not isinstance(kind, str) or kind not in _known_classes():
        return False
    if not _are_functions(entry.get("config")):
        return False
    if "module" not in entry:
        return True  # in the older form, without a module, Keras looks among its own and the registered ones
    return entry.get("registered_name") in (None, kind) and _is_module_of(module, kind)


def _is_function(name: Any, module: Any) -> bool:
    if not isinstance(name, str):
        return False
    return (module == "builtins" and name in _known_functions()) or keras.saving.get_registered_object(name) is not None


def _are_functions(config: Any) -> bool:
    """Return whether every activation that a layer's configuration names, if any, is a known one."""
    if not isinstance(config, dict):
        return True
    names = [value for key, value in config.items() if key.endswith("activation") and isinstance(value, str)]
    return all(name in _known_classes() or _is_function(name, "builtins") for name in names)


def _is_module_of(module: Any, kind: str) -> bool:
    """Return whether a module is one of Keras' that has been imported already, so that nothing is imported for a file."""
    if module in _MODULES:
        return True
    if module == _INITIALIZERS:
        return inspect.isclass(getattr(keras.initializers, kind, None))
    if not isinstance(module, str) or not module.startswith(("keras.", "tf_keras.")):
        return False
    imported = sys.modules.get(module if module.startswith("tf_") else f"tf_{module}")
    return inspect.isclass(getattr(imported, kind, None))


@functools.cache
def _known_classes() -> set[str]:
    return {name for part in _CLASSES for name, value in _published(part) if inspect.isclass(value)}.union(_MORE_CLASSES) - {
        *CODE,
        *_READERS,
    }


@functools.cache
def _known_functions() -> set[str]:
    # Short names of Keras 2, such as "mse" and "glorot_uniform", are among them; the second is a class.
    names = {name for part in _FUNCTIONS for name, value in _published(part) if callable(value) and name[0].islower()}
    return names - _NOT_FUNCTIONS


def _published(part: str) -> list[tuple[str, Any]]:
    module: Any = keras
    for name in part.split("."):
        module = getattr(module, name, None)
    return [(name, value) for name, value in vars(module).items() if name[0] != "_"] if module is not None else []


def _names_a_layer(value: Any) -> bool:
    """Return whether [name, node, tensor, ...], which stands for the output of a layer, is anywhere in a call's arguments."""
    if isinstance(value, dict):
        return any(map(_names_a_layer, value.values()))
    if not isinstance(value, list):
        return False
    if value[:1] == [_CONSTANT]:
        return any(map(_names_a_layer, value[3:]))
    if len(value) in (3, 4) and isinstance(value[0], str) and all(type(index) is int for index in value[1:3]):
        return True
    return any(map(_names_a_layer, value))


def _holds_constant(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_holds_constant, value.values()))
    return isinstance(value, list) and (value[:1] == [_CONSTANT] or any(map(_holds_constant, value)))
