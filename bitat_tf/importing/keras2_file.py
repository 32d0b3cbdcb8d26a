"""What stands in a file of Keras 2, looked at before Keras 2 makes objects of it: Keras imports and calls what a file names.

For the child process of `keras2_child`, as `larq_stand_ins` is.
"""

import json
import operator
import os
import zipfile

# They hold code, or are made of names of functions; or they read files.
_REFUSED = {
    "Lambda": "holds Python code",
    "TFSMLayer": "holds a program of TensorFlow",
    "TFOpLambda": "calls an operator of TensorFlow",
    "SlicingOpLambda": "slices a tensor",
    "TensorFlowOpLayer": "calls an operator of TensorFlow",
    "__lambda__": "is Python code",
    "StringLookup": "may read a file",
    "IntegerLookup": "may read a file",
    "TextVectorization": "may read a file",
}
_PARTS = ("activations", "constraints", "initializers", "layers", "models", "regularizers")
_OF_COMPILING = ("losses", "metrics", "optimizers", "optimizers.schedules")  # of a nested model
_MORE = {"Functional", "Policy", "TensorShape", "TypeSpec", "__tensor__", "__numpy__", "__tuple__"}
# Keras imports the module that an entry names, unless it is one of its own.
_MODULES = ("builtins", "keras", "tf_keras")
_LARQ = "larq"
_REPLACE = "Replace it by layers of Keras where the model was built"
_CURE = "Build the model with Keras 3 and take the weights over"


class Unusable(ValueError):
    """What is wrong with the file, in one line."""


def configuration(path, kind):
    """Return what a file says of its model, of whatever `kind` `file_sizes.kind_of` has found it to be."""
    import file_sizes  # beside this file, where the child process finds it

    if kind == file_sizes.FOLDER:
        from tf_keras.protobuf import saved_metadata_pb2

        found = saved_metadata_pb2.SavedMetadata()
        try:
            with open(os.path.join(path, "keras_metadata.pb"), "rb") as file:
                found.ParseFromString(file.read())
        except FileNotFoundError:
            raise Unusable("it is no SavedModel of Keras: it has no keras_metadata.pb") from None
        return [_not_compiled(json.loads(node.metadata)) for node in found.nodes]
    if kind == file_sizes.ARCHIVE:
        with zipfile.ZipFile(path) as archive:
            return _not_compiled(json.loads(archive.read("config.json")))
    import h5py

    with h5py.File(path, "r") as file:
        if "model_config" not in file.attrs:
            raise Unusable("it holds weights only: build the model with tf_keras, load them, and save the model")
        text = file.attrs["model_config"]
        return json.loads(text.decode() if isinstance(text, bytes) else text)


def _not_compiled(config):
    """Return a configuration without how its model was compiled, which is not loaded; that of a nested model is."""
    if not isinstance(config, dict):
        return config
    return {key: value for key, value in config.items() if key not in ("compile_config", "training_config")}


def with_functions_by_name(value):
    """Return the configuration of an HDF5 file with functions as Keras 2 reads them there, which writes Larq's otherwise."""
    if isinstance(value, list):
        return [with_functions_by_name(inner) for inner in value]
    if not isinstance(value, dict):
        return value
    if value.get("class_name") == "function":
        return value["config"]
    return {key: with_functions_by_name(inner) for key, inner in value.items()}


def check(configuration, keras, larq):
    """Raise Unusable unless all that a configuration names is of Keras itself or of Larq, and holds no code.

    Args:
        configuration: What `configuration` returns.
        keras: The module of Keras 2.
        larq: The module `larq_stand_ins`.
    """
    larqs = {*larq.LAYERS, *larq.QUANTIZERS, *larq.FUNCTIONS, *larq.CONSTRAINTS, *larq.METRICS}
    published = {name for part in (*_PARTS, *_OF_COMPILING) for name in dir(operator.attrgetter(part)(keras))} | larqs
    waiting = [(configuration, None)]  # each with the layer that has it
    while waiting:
        value, owner = waiting.pop()
        if isinstance(value, list):
            waiting += [(inner, _name_of(inner) or owner) for inner in reversed(value)]
        if not isinstance(value, dict):
            continue
        kind, inner = value.get("class_name"), value.get("config")
        if kind not in (*larq.QUANTIZERS, *larq.WITHOUT_COUNTERPART):
            owner = _name_of(value) or owner
        if kind in _REFUSED:
            raise Unusable(f"layer {owner or kind} ({kind}) {_REFUSED[kind]}. {_REPLACE}")
        names = [name for key, name in value.items() if str(key).endswith(("activation", "quantizer"))]
        for name in [kind, inner, *names]:
            if isinstance(name, str) and name in larq.WITHOUT_COUNTERPART:
                raise Unusable(f"layer {owner} has {name} of Larq, for which bitat_tf has nothing. {_REPLACE}")
        if kind in larq.LAYERS and isinstance(inner, dict):
            _check_quantizers(inner, owner, larq)
        if kind == "function":
            if not isinstance(inner, str) or inner not in published:
                raise Unusable(f"{inner} is no function of Keras' own. {_CURE}")
        elif kind is not None and (not isinstance(kind, str) or kind not in published | _MORE):
            raise Unusable(f"{kind} is no class of Keras' own. {_CURE}")
        if kind is not None and not _is_of_keras(value, larqs):
            raise Unusable(f"{kind} is said to be of {value['module']}. Expected: classes of Keras and Larq. {_CURE}")
        waiting += [(inner, owner) for inner in reversed(value.values())]


def _name_of(entry):
    """Return the name of a layer or model; None if an entry is none."""
    config = entry.get("config") if isinstance(entry, dict) else None
    return config.get("name") if isinstance(config, dict) else None


def _check_quantizers(config, layer, larq):
    for name, value in config.items():
        if name.endswith("_quantizer"):
            try:
                larq.quantizer(value)
            except ValueError as error:
                raise Unusable(f"layer {layer} has {error}. {_REPLACE}") from None


def _is_of_keras(entry, larqs):
    """Return whether Keras imports no module but its own for an entry; for Larq's names it has what stands for them."""
    module = entry.get("module")
    name = entry.get("config") if entry["class_name"] == "function" else entry.get("registered_name")
    top = str(module).split(".")[0]
    return module is None or top in _MODULES or (top == _LARQ and name in larqs)
