"""Files that take integers, such as the bytes of a picture, instead of float values."""

import copy
from typing import Any

import numpy as np

from bitat_tf.export.lowering.objects import code_of
from bitat_tf.tflite_file.schema import schema

_SHIFT = 128  # from int8 to uint8


def take_integers(model: Any, graph: Any, input_type: str) -> None:
    """Let each float input that is only quantized to int8 take the integers themselves, in place.

    An input of uint8 has the same scale and a zero point that is higher by 128; a QUANTIZE operator takes the 128 off.

    Args:
        model: The objects of the file.
        graph: Its subgraph.
        input_type: "int8" or "uint8".
    """
    for position, number in enumerate(graph.inputs):
        reading = [operator for operator in graph.operators if number in operator.inputs]
        if len(reading) != 1 or code_of(model, reading[0]) != schema.BuiltinOperator.QUANTIZE:
            continue
        (quantize,) = reading
        integers = int(quantize.outputs[0])
        if input_type == "int8":
            graph.operators = [operator for operator in graph.operators if operator is not quantize]
            _rename_end(model, int(number), integers)
            graph.inputs[position] = integers
        else:
            tensor = copy.deepcopy(graph.tensors[integers])
            tensor.type = schema.TensorType.UINT8
            tensor.quantization.zeroPoint = np.array(tensor.quantization.zeroPoint, np.int64) + _SHIFT
            graph.tensors[int(number)] = tensor


def _rename_end(model: Any, old: int, new: int) -> None:
    for signature in model.signatureDefs or []:
        for end in signature.inputs or []:
            end.tensorIndex = new if end.tensorIndex == old else end.tensorIndex
