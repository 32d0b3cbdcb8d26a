"""Reading the objects of a `.tflite` file."""

from collections import Counter
from typing import Any


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
