"""The same model through larq-compute-engine's own converter, where that is installed: another opinion."""

import importlib
import os
import tempfile

import keras
import tensorflow as tf

from bitat_tf.export.conversion import Conversion
from bitat_tf.export.lowering.same_padding import write_out_padding
from bitat_tf.export.plain import count_binary_operators, plain_function, to_plain_network
from bitat_tf.export.report import count_operators
from bitat_tf.tflite_file.content import parse
from bitat_tf.tflite_file.operators import Operator, read_operators


def convert_with_larq(model: keras.Model, allow_partial: bool = False) -> Conversion:
    """Return a model as larq-compute-engine's converter writes it.

    Args:
        model: A functional or sequential model, binarized.
        allow_partial: Whether binary layers may stay float: not binarized yet, or not recognized by the converter.

    Raises:
        ValueError: If the converter cannot write the model, or leaves a binary layer float.
        ImportError: If larq-compute-engine is not installed.
    """
    try:
        importlib.import_module("larq_compute_engine")
    except ImportError as error:
        raise ImportError(
            "to_tflite: converter='larq-compute-engine' needs larq-compute-engine, on Python 3.10 to 3.12: "
            "`pip install larq-compute-engine`. converter='direct', the default, needs nothing."
        ) from error
    plain = to_plain_network(model, allow_partial)
    try:
        content = converted_by_larq(plain)
    except RuntimeError as error:
        raise ValueError(
            f"to_tflite: larq-compute-engine cannot convert the model ({error}). Received: {plain.name!r}. A layer of it has "
            "no form on the device: recurrent layers need unroll=True; bitat_tf.check(model) names what it knows of."
        ) from error
    expected = _check_fused(count_binary_operators(plain), read_operators(content), allow_partial)
    objects = parse(content)
    write_out_padding(objects, objects.subgraphs[0])
    return Conversion(objects, expected)


def converted_by_larq(network: keras.Model) -> bytes:
    """Return a network of TensorFlow's operators as larq-compute-engine's converter writes it.

    Args:
        network: From `to_plain_network`, or a float model.

    Raises:
        RuntimeError: If it cannot write the network.
    """
    engine = importlib.import_module("larq_compute_engine")
    with tempfile.TemporaryDirectory() as folder:
        save_plain(network, folder)
        return engine.convert_saved_model(folder)


def save_plain(network: keras.Model, folder: str | os.PathLike) -> None:
    """Save a network of TensorFlow's operators as what larq-compute-engine's converter takes, TensorFlow's SavedModel.

    Args:
        network: From `to_plain_network`, or a float model.
        folder: Where it goes.
    """
    function, holder = plain_function(network)
    tf.saved_model.save(holder, os.fspath(folder), signatures=function)


def _check_fused(least: int, operators: list[Operator], allow_partial: bool) -> int:
    """Return how many binary operators a file must hold: those that it has, where none was left float."""
    fused = count_operators(operators).get("LceBconv2d", 0)
    left = [operator.output for operator in operators if operator.binary_kernel]
    if (fused < least or left) and not allow_partial:
        raise ValueError(
            f"to_tflite: {least} binary layers must become LceBconv2d operators. Received: {fused} of them"
            + (f", and float operators with a binary kernel at {', '.join(left)}" if left else "")
            + ". larq-compute-engine's converter did not recognize them; converter='direct', the default, writes them all. "
            "Pass allow_partial=True to write the file all the same."
        )
    return max(least, fused + len(left))
