"""Reads a model of Keras 2 in a process of its own, with tf_keras, for `bitat-tf import`: the two Keras cannot share one.

Run as a script, so that nothing of this package is imported: OLD FOLDER. It writes `model.json` and `arrays.npz` into the
folder: the configuration, the weights of each layer by its path, and random inputs with the outputs that the model has for
them. What cannot be read is said in one line of standard error, with exit code 2.
"""

import json
import os
import sys
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
_MORE = {"Functional", "Policy", "TensorShape", "TypeSpec", "__tensor__", "__numpy__", "__tuple__", "function"}
_UNKNOWN_SIZE = 64  # of an axis of an input whose size the model does not know


# What Keras 2 raises for a file that it cannot read: it has no exception of its own for that.
ERRORS = (ValueError, TypeError, KeyError, IndexError, AttributeError, ImportError, RuntimeError, OSError, AssertionError)


class Unusable(ValueError):
    """What is wrong with the file, in one line."""


def configuration(path):
    """Return what a file says of its model, of whatever it holds: a `.keras` archive, HDF5 or a SavedModel."""
    if os.path.isdir(path):
        from tf_keras.protobuf import saved_metadata_pb2

        found = saved_metadata_pb2.SavedMetadata()
        try:
            with open(os.path.join(path, "keras_metadata.pb"), "rb") as file:
                found.ParseFromString(file.read())
        except FileNotFoundError:
            raise Unusable("it is no SavedModel of Keras: it has no keras_metadata.pb") from None
        return [json.loads(node.metadata) for node in found.nodes]
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            return json.loads(archive.read("config.json"))
    import h5py

    with h5py.File(path, "r") as file:
        if "model_config" not in file.attrs:
            raise Unusable("it holds weights only: build the model with tf_keras, load them, and save the model")
        text = file.attrs["model_config"]
        return json.loads(text.decode() if isinstance(text, bytes) else text)


def check(configuration, keras):
    """Raise Unusable unless all that a configuration names is of Keras itself, and holds no code."""
    published = {name for part in _PARTS for name in dir(getattr(keras, part))} | _MORE
    waiting = [configuration]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            kind = value.get("class_name")
            inner = value.get("config")
            name = inner.get("name", kind) if isinstance(inner, dict) else kind
            if kind in _REFUSED:
                raise Unusable(
                    f"layer {name} ({kind}) {_REFUSED[kind]}. Replace it by layers of Keras where the model was built"
                )
            if kind is not None and (not isinstance(kind, str) or kind not in published):
                raise Unusable(f"{kind} is no class of Keras' own. Build the model with Keras 3 and take the weights over")
            waiting += [inner for key, inner in value.items() if key not in ("compile_config", "training_config")]
        elif isinstance(value, list):
            waiting += value


def weights_of(model, prefix=""):
    """Yield the path and the weights of every layer of a model, and of those nested in it."""
    for layer in model.layers:
        if hasattr(layer, "layers"):
            yield from weights_of(layer, f"{prefix}{layer.name}/")
        else:
            yield f"{prefix}{layer.name}", layer.get_weights()


def main(path, folder):
    """Read the model and write what it is."""
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    import numpy as np
    import tensorflow as tf
    import tf_keras as keras

    check(configuration(path), keras)
    model = keras.models.load_model(path, compile=False, **({} if os.path.isdir(path) else {"safe_mode": True}))
    kind = type(model).__name__
    if kind not in ("Functional", "Sequential", "Model") or not hasattr(model, "inputs") or not model.inputs:
        raise Unusable(f"its model is a {kind}: functional and sequential models with known inputs are imported")
    generator = np.random.default_rng(0)
    inputs = []
    for tensor in model.inputs:
        shape = [2, *(size or _UNKNOWN_SIZE for size in tensor.shape[1:])]
        inputs.append(generator.normal(size=shape) if tensor.dtype.is_floating else generator.integers(0, 2, shape))
    inputs = [values.astype(tensor.dtype.as_numpy_dtype) for values, tensor in zip(inputs, model.inputs, strict=True)]
    outputs = model(inputs if len(inputs) > 1 else inputs[0], training=False)
    arrays = {f"input {number}": values for number, values in enumerate(inputs)}
    arrays.update((f"output {number}", np.asarray(values)) for number, values in enumerate(tf.nest.flatten(outputs)))
    for name, weights in weights_of(model):
        arrays.update((f"{name}:{number}", values) for number, values in enumerate(weights))
    with open(os.path.join(folder, "model.json"), "w") as file:
        file.write(json.dumps({"class_name": kind, "config": json.loads(model.to_json())["config"]}))
    np.savez(os.path.join(folder, "arrays.npz"), **{name.replace("/", "\\"): values for name, values in arrays.items()})


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except ModuleNotFoundError as error:
        sys.exit(f"{error.name} is missing" if error.name != "tf_keras" else "tf_keras")
    except ERRORS as error:
        sys.stderr.write(f"UNUSABLE {(str(error).strip().splitlines() or [repr(error)])[0][:300]}\n")
        sys.exit(2)
