"""Random networks, binarized and converted: those of bitat_tf's own tests."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import tflite_reader
from bitat_tf import binarize, plan_binarization
from bitat_tf.export.lowering import convert, lower
from bitat_tf.layers import RPReLU, binary_layers
from bitat_tf.model_graph import CallGraph
from bitat_tf.tflite_file.content import serialize

_SOURCE = Path(__file__).parents[2] / "tests" / "random_networks.py"


def random_networks():
    """Return the module that makes random networks; it lies beside bitat_tf, not in it."""
    if not _SOURCE.exists():
        pytest.skip(f"needs {_SOURCE}")
    spec = importlib.util.spec_from_file_location("random_networks", _SOURCE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def converted_network(seed: int) -> tuple[bytes, list[np.ndarray]]:
    """Return a file as bitat_tf writes it, and inputs of batch 1; the same for the same seed.

    Networks in which nothing can become binary are passed over.
    """
    make = random_networks().RandomNetwork
    for attempt in range(20):
        network = make(seed + 1000 * attempt)
        model = network.build()
        options = {"first_and_last": network.random.random() < 0.2, "depthwise": network.choose(("keep", "expand"))}
        if plan_binarization(model, **options).binary:
            break
    binary = binarize(model, verbose=0, activation=network.choose(("keep", "rprelu")), **options)
    for layer in binary_layers(binary):
        layer.input_quantizer.threshold.assign(network.random.normal(0, 0.3, layer.input_quantizer.threshold.shape))
        layer.set_binary()
    for call in CallGraph(binary).calls:
        if isinstance(call.layer, RPReLU):
            call.layer.set_weights([network.random.normal(0, 0.3, weight.shape) for weight in call.layer.get_weights()])
    content = serialize(convert(lower(binary)))
    graph = tflite_reader.read(content)
    shapes = [graph.tensors[number].shape for number in graph.inputs]
    return content, [network.random.normal(size=shape).astype(np.float32) for shape in shapes]
