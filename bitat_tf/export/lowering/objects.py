"""Reading the objects of a `.tflite` file, and adding to them."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from bitat_tf.tflite_file.schema import schema


def code_of(model: Any, operator: Any) -> int:
    """Return the builtin operator of an operator."""
    code = model.operatorCodes[operator.opcodeIndex]
    return max(code.builtinCode, code.deprecatedBuiltinCode)


def custom_name(model: Any, operator: Any) -> str:
    """Return the name of a custom operator, "" of another one."""
    return (model.operatorCodes[operator.opcodeIndex].customCode or b"").decode()


def readers(graph: Any) -> Counter[int]:
    """Return how often each tensor is read, by operators and as outputs of the file."""
    found = Counter(int(number) for operator in graph.operators for number in operator.inputs)
    found.update(int(number) for number in graph.outputs)
    return found


def new_operator(model: Any, code: int, inputs: Sequence[int], output: int) -> Any:
    """Return an operator of a builtin kind, of the version that takes floats and int8, which is not in the graph yet."""
    kind, operator = schema.OperatorCodeT(), schema.OperatorT()
    kind.builtinCode = kind.deprecatedBuiltinCode = code
    kind.version = 2
    model.operatorCodes.append(kind)
    operator.opcodeIndex = len(model.operatorCodes) - 1
    operator.inputs, operator.outputs = np.array(inputs, np.int32), np.array([output], np.int32)
    return operator
