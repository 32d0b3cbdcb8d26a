"""Files that take integers: the bytes of a picture, instead of float values."""

import numpy as np

from bitat_tf.tflite_file.content import parse, serialize
from bitat_tf.tflite_file.schema import schema

_SHIFT = 128  # from int8 to uint8


def with_uint8_input(content: bytes) -> bytes:
    """Return a file with an int8 input as one that takes uint8: larq-compute-engine's converter knows int8 only.

    The new input has the same scale, and a zero point that is higher by 128; a QUANTIZE operator takes the 128 off.
    """
    model = parse(content)
    graph = model.subgraphs[0]
    old = int(graph.inputs[0])
    tensor, quantization = schema.TensorT(), schema.QuantizationParametersT()
    source = graph.tensors[old]
    tensor.name, tensor.shape, tensor.type = source.name + b"_uint8", source.shape, schema.TensorType.UINT8
    tensor.shapeSignature, tensor.buffer = source.shapeSignature, 0
    tensor.hasRank = source.hasRank
    quantization.scale = np.array(source.quantization.scale, np.float32)
    quantization.zeroPoint = np.array(source.quantization.zeroPoint, np.int64) + _SHIFT
    tensor.quantization = quantization
    graph.tensors.append(tensor)
    new = len(graph.tensors) - 1

    quantize = schema.OperatorT()
    quantize.opcodeIndex = _quantize_code(model)
    quantize.inputs, quantize.outputs = np.array([new], np.int32), np.array([old], np.int32)
    quantize.builtinOptionsType, quantize.builtinOptions = schema.BuiltinOptions.QuantizeOptions, schema.QuantizeOptionsT()
    graph.operators.insert(0, quantize)
    graph.inputs = np.array([new], np.int32)
    for signature in model.signatureDefs or []:
        for entry in signature.inputs or []:
            entry.tensorIndex = new if entry.tensorIndex == old else entry.tensorIndex
    return serialize(model)


def _quantize_code(model: schema.ModelT) -> int:
    wanted = schema.BuiltinOperator.QUANTIZE
    for number, code in enumerate(model.operatorCodes):
        if max(code.builtinCode, code.deprecatedBuiltinCode) == wanted:
            return number
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = wanted
    code.version = 2
    model.operatorCodes.append(code)
    return len(model.operatorCodes) - 1
