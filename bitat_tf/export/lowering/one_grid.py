"""Which steps have one int8 grid together: operators such as a maximum or a slice take and give integers of one grid.

Of nearly equal grids TensorFlow's converter would make a file that it refuses itself.
"""

from collections.abc import Iterable
from typing import Any

from bitat_tf.export.lowering import steps
from bitat_tf.export.lowering.binary_steps import MaxPool
from bitat_tf.export.lowering.program import Program
from bitat_tf.export.lowering.steps import KerasCall, Step

# TensorFlow's operators of which the device's have one grid: they choose values, or lie between them.
_ONE_GRID = {
    *("ConcatV2", "Pack", "Unpack", "Split", "SplitV", "Slice", "StridedSlice", "Gather", "GatherV2", "GatherNd", "Tile"),
    *("Maximum", "Minimum", "Max", "Min", "MaxPool", "TopK", "TopKV2", "SelectV2", "Select"),
    *("ResizeBilinear", "ResizeNearestNeighbor", "Pad", "PadV2", "MirrorPad", "DepthToSpace", "SpaceToDepth"),
    *("Transpose", "ReverseV2", "BatchToSpaceND", "SpaceToBatchND", "BroadcastTo", "ScatterNd"),
}
_SAME_VALUES = {"Identity", "Reshape", "ExpandDims", "Squeeze", "StopGradient", "EnsureShape", "Cast"}


def keeps_grid(step: Step) -> bool:
    """Return whether the output of a step has the grid of its input, as it holds nothing but values of it."""
    kinds = (steps.Reshape, steps.Rearranged, MaxPool)
    return isinstance(step, kinds) or (isinstance(step, KerasCall) and step.same_values)


def origin_of_grid(step: Step) -> Step:
    """Return the step whose grid the output of a step has."""
    while keeps_grid(step):
        step = step.inputs[0]
    return step


def members(program: Program, own: Iterable[Step], fixed: Iterable[Step]) -> dict[int, list[Step]]:
    """Return for each step that has a grid all those that share it, itself among them, by `id`.

    Args:
        program: The steps.
        own: Those that have a grid and do not keep that of their input.
        fixed: Those of `own` whose grid is what it is by the operator: it is not shared.
    """
    together = {id(step): [step] for step in own}
    fixed_steps = {id(step) for step in fixed}
    for step in program.steps():
        if id(step) not in together:
            continue
        for one in map(origin_of_grid, _inputs_of_one_grid(step)):
            if id(one) in together and id(one) not in fixed_steps and together[id(one)] is not together[id(step)]:
                joined = together[id(step)] + together[id(one)]
                together.update({id(member): joined for member in joined})
    return together


def _inputs_of_one_grid(step: Step) -> list[Step]:
    """Return the inputs of a step whose values come to its output through nothing but operators of one grid."""
    if isinstance(step, steps.Concatenation):
        return step.inputs
    if not isinstance(step, KerasCall):
        return []
    graph = step.traced().graph
    reached = _reached(graph.outputs[0])
    return [one for one, tensor in zip(step.inputs, graph.inputs, strict=False) if tensor.op.name in reached]


def _reached(output: Any) -> set[str]:
    """Return the names of the operators whose values come to a tensor so, if an operator of one grid is among them."""
    waiting, found, of_one_grid = [output.op], set(), False
    while waiting:
        operator = waiting.pop()
        if operator.name in found:
            continue
        found.add(operator.name)
        of_one_grid |= operator.type in _ONE_GRID
        if operator.type in _ONE_GRID | _SAME_VALUES:
            waiting += [tensor.op for tensor in operator.inputs if tensor.dtype.is_floating]
    return found if of_one_grid else set()
