"""Reads a model of Keras 2 in a process of its own, with tf_keras, for `keras2`: the two Keras cannot share one.

Run as a script, so that nothing of this package is imported: OLD FOLDER, and "any size" if that is allowed. It writes
`model.json` and `arrays.npz` into the folder: the configuration, the weights of each layer by its path, random inputs with the
outputs that the model has for them, and with those that it has for weights that differ by rounding: signs of nearly 0 turn, and
the outputs with them. What cannot be read is said in one line of standard error, with exit code 2.
"""

import json
import os
import sys
import zipfile
import zlib

_ROUNDING, _ROUNDING_OF_HALF = 1e-6, 1e-3  # relative, of each weight
ANY_SIZE = "any size"
_UNKNOWN_SIZE = 64  # of an axis of an input whose size the model does not know

# What Keras 2 raises for a file that it cannot read: it has no exception of its own for that.
ERRORS = (
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    ImportError,
    RuntimeError,
    OSError,
    EOFError,
    AssertionError,
    zipfile.BadZipFile,
    zlib.error,
)


def weights_of(model, prefix=""):
    """Yield the path and the weights of every layer of a model, and of those nested in it."""
    for layer in model.layers:
        if hasattr(layer, "layers"):
            yield from weights_of(layer, f"{prefix}{layer.name}/")
        else:
            yield f"{prefix}{layer.name}", layer.get_weights()


def outputs_of(model, inputs, kind):
    """Yield the name and the values of each output of a model."""
    import numpy as np
    import tensorflow as tf

    outputs = model(inputs if len(inputs) > 1 else inputs[0], training=False)
    for number, values in enumerate(tf.nest.flatten(outputs)):
        yield f"{kind} {number}", np.asarray(values)


def main(path, folder, size="limited"):
    """Read the model and write what it is."""
    os.environ["TF_USE_LEGACY_KERAS"] = "1"

    import file_sizes  # beside this script, as the next ones

    limited = size != ANY_SIZE
    kind = file_sizes.kind_of(path)
    file_sizes.check_file(path, kind, limited)

    import keras2_file
    import larq_stand_ins as larq
    import numpy as np
    import saved_graph
    import tensorflow as tf
    import tf_keras as keras

    configuration = keras2_file.configuration(path, kind)
    keras2_file.check(configuration, keras, larq)
    saved_graph.check_graph(configuration, limited)
    with keras.utils.custom_object_scope(larq.stand_ins(tf, keras)):
        if kind == file_sizes.FOLDER:
            model = keras.models.load_model(path, compile=False)
        elif kind == file_sizes.ARCHIVE:
            model = keras.models.load_model(path, compile=False, safe_mode=True)
        else:
            model = keras.models.model_from_config(keras2_file.with_functions_by_name(configuration))
            model.load_weights(path)
    class_name = type(model).__name__
    if class_name not in ("Functional", "Sequential", "Model") or not hasattr(model, "inputs") or not model.inputs:
        raise keras2_file.Unusable(
            f"its model is a {class_name}: functional and sequential models with known inputs are imported"
        )
    for layer in model.submodules:
        if any(base.__name__ == "RevivedLayer" for base in type(layer).__mro__):
            raise keras2_file.Unusable(
                f"layer {layer.name} ({type(layer).__name__}) cannot be made of what the file says of it"
            )
    generator = np.random.default_rng(0)
    inputs = []
    for tensor in model.inputs:
        shape = [2, *(size or _UNKNOWN_SIZE for size in tensor.shape[1:])]
        inputs.append(generator.normal(size=shape) if tensor.dtype.is_floating else generator.integers(0, 2, shape))
    inputs = [values.astype(tensor.dtype.as_numpy_dtype) for values, tensor in zip(inputs, model.inputs, strict=True)]
    arrays = {f"input {number}": values for number, values in enumerate(inputs)}
    for name, weights in weights_of(model):
        arrays.update((f"{name}:{number}", values) for number, values in enumerate(weights))
    larq.quantize_kernels(tf, model)
    for name, weights in weights_of(model):
        changed = [number for number, values in enumerate(weights) if not np.array_equal(values, arrays[f"{name}:{number}"])]
        arrays.update((f"{name}:{number}:quantized", weights[number]) for number in changed)
    arrays.update(outputs_of(model, inputs, "output"))
    half = any("16" in str(layer.compute_dtype) for layer in model.layers)
    for weight in model.weights:
        if weight.dtype.is_floating:
            factors = 1 + (_ROUNDING_OF_HALF if half else _ROUNDING) * generator.normal(size=weight.shape)
            weight.assign(weight * factors.astype(weight.dtype.as_numpy_dtype))
    arrays.update(outputs_of(model, inputs, "shaken output"))
    with open(os.path.join(folder, "model.json"), "w") as file:
        file.write(json.dumps({"class_name": class_name, "config": json.loads(model.to_json())["config"]}))
    np.savez(os.path.join(folder, "arrays.npz"), **{name.replace("/", "\\"): values for name, values in arrays.items()})


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except ModuleNotFoundError as error:
        sys.exit(f"{error.name} is missing" if error.name != "tf_keras" else "tf_keras")
    except ERRORS as error:
        sys.stderr.write(f"UNUSABLE {(str(error).strip().splitlines() or [repr(error)])[0][:300]}\n")
        sys.exit(2)
