"""The kernels in a `.tflite` file, each known by its signs: an independent way to find a Keras layer in the file."""

import hashlib
from collections import Counter

import numpy as np
from flatbuffers import flexbuffers

from bitat_tf._keras import keras
from bitat_tf.layers import BinaryDense
from bitat_tf.tflite_file.schema import schema

OPERATORS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV", "LceBconv2d")
NAMES = {value: name for name, value in vars(schema.BuiltinOperator).items() if not name.startswith("_")}


def fingerprint(kernel: np.ndarray) -> str:
    """Return what of a kernel, output channels first, survives folding: its signs, up to one for each output channel.

    Of a matrix also up to one for each input: the converter folds a normalization before a dense layer into it.
    """
    signs = np.asarray(kernel).reshape(len(kernel), -1) < 0
    signs = signs ^ signs[:, :1]
    if np.ndim(kernel) == 2:
        signs = signs ^ signs[:1]
    return hashlib.sha256(np.packbits(signs).tobytes()).hexdigest()[:12] + str(kernel.shape)


def kernels_in_file(content: bytes) -> Counter:
    """Return how often a file has each (operator, fingerprint)."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(content, 0))
    graph = model.subgraphs[0]
    found = Counter()
    for operator in graph.operators:
        code = model.operatorCodes[operator.opcodeIndex]
        name = code.customCode.decode() if code.customCode else NAMES[max(code.builtinCode, code.deprecatedBuiltinCode)]
        if name not in OPERATORS:
            continue
        tensor = graph.tensors[operator.inputs[1]]
        data = np.asarray(model.buffers[tensor.buffer].data, np.uint8)
        if name == "LceBconv2d":
            # One bit a weight, 1 for -1, packed from the lowest bit on into words of 32 input channels.
            words = data.view(np.uint32).reshape(tensor.shape)
            bits = ((words[..., None] >> np.arange(32, dtype=np.uint32)) & 1).reshape(*words.shape[:-1], -1)
            channels = flexbuffers.Loads(bytearray(operator.customOptions))["channels_in"]  # of all groups
            found[name, fingerprint(1.0 - 2.0 * bits[..., :channels])] += 1
        else:
            kernel = data.view(np.float32).reshape(tensor.shape)
            found[name, fingerprint(np.moveaxis(kernel, -1, 0) if name == "DEPTHWISE_CONV_2D" else kernel)] += 1
    return found


def expected_kernels(calls) -> Counter:
    """Return the same for predictions: pairs of a layer and the operators named for it, one pair a call."""
    expected = Counter()
    for layer, operators in calls:
        for operator, kernel in zip(operators.split(" + "), _kernels(layer), strict=True):
            expected[operator, fingerprint(kernel)] += 1
    return expected


def _kernels(layer) -> list[np.ndarray]:
    """Return the kernels of a layer, output channels first as in the file."""
    if hasattr(layer, "depthwise_kernel"):
        depthwise = layer.depthwise_kernel.numpy()
        depthwise = np.moveaxis(depthwise.reshape(1, *depthwise.shape[:2], -1), -1, 0)
        rest = [np.moveaxis(layer.pointwise_kernel.numpy(), -1, 0)] if hasattr(layer, "pointwise_kernel") else []
        return [depthwise, *rest]
    kernel = np.array(getattr(layer, "latent_kernel", layer.kernel))
    if isinstance(layer, keras.layers.Conv2DTranspose):
        return [kernel.transpose(2, 0, 1, 3)]
    if isinstance(layer, BinaryDense) and layer.state == "binary":
        kernel = kernel[None, None]
    return [np.moveaxis(kernel, -1, 0)]
