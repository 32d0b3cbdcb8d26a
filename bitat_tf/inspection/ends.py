"""The first and the last convolutions and dense layers of a network, which are best left float."""

from bitat_tf.inspection.float_layers import float_operator
from bitat_tf.model_graph import CallGraph, LayerCall


def first_calls(graph: CallGraph) -> list[LayerCall]:
    """Return the calls of convolutions and dense layers below which there is no other one."""
    below: dict[int, bool] = {id(source): False for source in graph.sources}
    first = []
    for call in graph.calls:
        has = any(below[id(source)] for source in call.inputs)
        computes = float_operator(call.layer) is not None
        if computes and not has:
            first.append(call)
        below[id(call)] = has or computes
    return first


def last_calls(graph: CallGraph) -> list[LayerCall]:
    """Return the calls of convolutions and dense layers above which there is no other one."""
    above: dict[int, bool] = {}
    last = []
    for call in reversed(graph.calls):
        has = any(above[id(consumer)] for consumer in graph.consumers(call))
        computes = float_operator(call.layer) is not None
        if computes and not has:
            last.append(call)
        above[id(call)] = has or computes
    return last[::-1]
