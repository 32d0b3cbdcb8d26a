"""Whether the parts of a `.tflite` file fit together: what TFLite's own code takes for granted of a file that it reads."""

from collections.abc import Iterator
from math import ceil, prod

from bitat_tf.tflite_file.content import item_size
from bitat_tf.tflite_file.macs import KERNEL_RANKS, WORD
from bitat_tf.tflite_file.operators import custom_options, indices, operator_name, tensor_name, tensor_shape, type_name
from bitat_tf.tflite_file.schema import schema


def check_structure(model: schema.ModelT) -> None:
    """Raise ValueError with the first part of a file that does not fit the others.

    Indices are in range, constants have the size that their shape says, kernels have the dimensions that their operators need.

    Args:
        model: As `bitat_tf.tflite_file.content.parse` returns it.
    """
    fault = next(_faults(model), None)
    if fault is not None:
        raise ValueError(
            f"expected a .tflite file whose parts fit together. Received: one in which {fault}. It was damaged, or written by "
            "a faulty program: export it again, or copy it again from where it came."
        )


def _faults(model: schema.ModelT) -> Iterator[str]:
    for what in ("operatorCodes", "subgraphs", "buffers"):
        if any(part is None for part in getattr(model, what) or ()):
            yield f"one of the {what} is missing"
    if not model.subgraphs:
        yield "there is no network"
    if not model.buffers:
        yield "there are no buffers"
    if any(buffer.size and not len([] if buffer.data is None else buffer.data) for buffer in model.buffers):
        yield "weights stand behind the end of the network, as in files of more than 2 GB, which this version does not read"
    for entry in model.metadata or ():
        if entry is None or not _in_range(entry.buffer, model.buffers):
            yield "an entry of the metadata has no buffer"
    if not model.subgraphs[0].tensors or not model.subgraphs[0].operators:
        yield "the network has no operators"
    for number, graph in enumerate(model.subgraphs):
        for fault in _graph_faults(model, graph):
            yield fault + (f" (subgraph {number})" if number else "")


def _graph_faults(model: schema.ModelT, graph: schema.SubGraphT) -> Iterator[str]:
    tensors = graph.tensors or ()
    if any(part is None for part in (*tensors, *(graph.operators or ()))):
        yield "a tensor or an operator is missing"
    for index, tensor in enumerate(tensors):
        yield from _tensor_faults(model, index, tensor)
    for what, numbers in (("input", indices(graph.inputs)), ("output", indices(graph.outputs))):
        for number in numbers:
            if not _in_range(number, tensors):
                yield f"tensor {number} is an {what} of the network, of {len(tensors)} tensors"
    for index, operator in enumerate(graph.operators or ()):
        for fault in _operator_faults(model, tensors, operator):
            yield f"operator {index} {fault}"


def _tensor_faults(model: schema.ModelT, index: int, tensor: schema.TensorT) -> Iterator[str]:
    name = f"tensor {index} ({tensor_name(tensor)!r})"
    shape = tensor_shape(tensor)
    if any(size < 0 for size in shape):
        yield f"{name} has the shape {shape}"
    if not _in_range(tensor.buffer, model.buffers):
        yield f"{name} has buffer {tensor.buffer}, of {len(model.buffers)} buffers"
        return
    data = model.buffers[tensor.buffer].data
    size = item_size(tensor.type)
    if type_name(tensor.type) == "int4":
        expected = ceil(prod(shape) / 2)
    elif size is None or tensor.sparsity is not None:  # strings, resources, and what is stored without its zeros
        return
    else:
        expected = prod(shape) * size
    if data is not None and len(data) and len(data) != expected:
        yield f"{name} of shape {shape} and type {type_name(tensor.type)} has {len(data):,} bytes, not {expected:,}"


def _operator_faults(model: schema.ModelT, tensors, operator: schema.OperatorT) -> Iterator[str]:
    if not _in_range(operator.opcodeIndex, model.operatorCodes or ()):
        yield f"has the code {operator.opcodeIndex}, of {len(model.operatorCodes or ())} codes"
        return
    name = operator_name(model, operator)
    reads, writes = indices(operator.inputs), indices(operator.outputs)
    # -1 is an input that is left out.
    wrong = [number for number in reads if not -1 <= number < len(tensors)]
    wrong += [number for number in writes if not _in_range(number, tensors)]
    if wrong:
        yield f"({name}) has tensor {wrong[0]}, of {len(tensors)} tensors"
        return
    needed = {"TRANSPOSE_CONV": 3, "BATCH_MATMUL": 2}.get(name, 2 if name in KERNEL_RANKS else 0)
    if len(reads) < needed or -1 in reads[:needed] or (needed and not writes):
        yield f"({name}) has {len(reads)} inputs and {len(writes)} outputs"
        return
    if name in KERNEL_RANKS:
        kernel = tensor_shape(tensors[reads[1]])
        if len(kernel) != KERNEL_RANKS[name]:
            yield f"({name}) has a kernel of shape {kernel}, which needs {KERNEL_RANKS[name]} dimensions"
        elif name == "LceBconv2d":
            yield from _binary_faults(operator, kernel)
    if name == "BATCH_MATMUL" and len(tensor_shape(tensors[reads[0]])) < 2:
        yield f"({name}) multiplies a tensor of shape {tensor_shape(tensors[reads[0]])}"


def _binary_faults(operator: schema.OperatorT, kernel: tuple[int, ...]) -> Iterator[str]:
    try:
        channels = custom_options(operator).get("channels_in")
    except ValueError as error:
        yield f"(LceBconv2d) cannot be understood: {error}"
        return
    words = kernel[-1]
    if not isinstance(channels, int) or channels < 1 or not words:
        yield f"(LceBconv2d) has {channels!r} input channels and a kernel of shape {kernel}"
    # One group has words enough for all channels; several have whole words each, and the same number.
    elif ceil(channels / WORD) != words and channels % (words * WORD):
        yield f"(LceBconv2d) has {channels} input channels, which a kernel of shape {kernel} cannot have"


def _in_range(number: int, parts) -> bool:
    return 0 <= number < len(parts)
