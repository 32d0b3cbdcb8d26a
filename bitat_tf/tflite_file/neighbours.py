"""Which operators of a file stand between and around its binary ones."""

from collections.abc import Sequence

from bitat_tf.tflite_file.operators import Operator

ELEMENTWISE = frozenset(
    """ADD SUB MUL DIV ADD_N SQUARED_DIFFERENCE MAXIMUM MINIMUM POW FLOOR_DIV FLOOR_MOD PRELU RELU RELU6 RELU_N1_TO_1
    RELU_0_TO_1 LEAKY_RELU ELU GELU LOGISTIC TANH HARD_SWISH ABS NEG SIGN SQUARE SQRT RSQRT EXP LOG SIN COS FLOOR CEIL ROUND
    SELECT SELECT_V2 GREATER GREATER_EQUAL LESS LESS_EQUAL EQUAL NOT_EQUAL""".split()
)
"""Operators that compute each value of the output from the values at the same place."""


def consumers(operators: Sequence[Operator]) -> list[list[int]]:
    """Return for each operator the indices of those that read what it computes, each once."""
    found: list[list[int]] = [[] for _ in operators]
    for operator in operators:
        for source in dict.fromkeys(operator.sources):
            if source >= 0:
                found[source].append(operator.index)
    return found


def is_elementwise(operator: Operator) -> bool:
    """Return whether an operator computes value by value, in float."""
    return operator.arithmetic == "float" and operator.name in ELEMENTWISE


def between_binary(operators: Sequence[Operator]) -> list[int]:
    """Return the indices of the float operators that a binary one leads to, and that lead to a binary one."""
    after = _reached(operators, [operator.arithmetic == "binary" for operator in operators])
    before = _reached_back(operators, [operator.arithmetic == "binary" for operator in operators])
    return [
        operator.index
        for operator in operators
        if operator.arithmetic == "float" and after[operator.index] and before[operator.index]
    ]


def elementwise_around_binary(operators: Sequence[Operator]) -> list[int]:
    """Return the indices of the float element-wise operators that binary kernels cost.

    Those between binary operators, and those that only element-wise ones divide from a binary operator: the threshold before
    the first one, and what follows the last one.
    """
    passes = [is_elementwise(operator) for operator in operators]
    binary = [operator.arithmetic == "binary" for operator in operators]
    after, before = _reached(operators, binary, passes), _reached_back(operators, binary, passes)
    between = {*between_binary(operators)}
    return [
        operator.index
        for operator in operators
        if passes[operator.index] and (operator.index in between or after[operator.index] or before[operator.index])
    ]


def _reached(operators: Sequence[Operator], starts: list[bool], passes: list[bool] | None = None) -> list[bool]:
    """Return for each operator whether a path leads to it from a start; paths go only through operators that let pass."""
    reached = [False] * len(operators)
    for operator in operators:
        # A loop cannot be in an order of execution; a source that comes later stands in a file that cannot run.
        for source in operator.sources:
            if 0 <= source < operator.index:
                goes_on = reached[source] and (passes is None or passes[source])
                reached[operator.index] |= starts[source] or goes_on
    return reached


def _reached_back(operators: Sequence[Operator], starts: list[bool], passes: list[bool] | None = None) -> list[bool]:
    reached = [False] * len(operators)
    for operator in reversed(operators):
        goes_on = reached[operator.index] and (passes is None or passes[operator.index])
        if starts[operator.index] or goes_on:
            for source in operator.sources:
                if 0 <= source < operator.index:
                    reached[source] = True
    return reached
