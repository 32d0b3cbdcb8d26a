"""What the converter fuses: rules of TensorFlow Lite and of larq-compute-engine, each as one small function.

Every rule looks at one operator, changes the graph and returns True where it applies. They were found by converting networks
with larq-compute-engine 0.16 and reading the files; the names in the comments are those of the patterns in the sources
(`tensorflow/compiler/mlir/lite/transforms`, `larq_compute_engine/mlir/transforms`).
"""

from collections.abc import Callable, Hashable

from bitat_tf.inspection.file_size.operators import Constant, Operator, OperatorGraph, Size, join_names

BINARY = "LceBconv2d"
_LINEAR = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV", BINARY)
_CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D")
_ACTIVATIONS = ("RELU", "RELU6", "RELU_N1_TO_1")
_WITH_ACTIVATION = ("ADD", "SUB", "MUL", "MAX_POOL_2D", "AVERAGE_POOL_2D", *_LINEAR[:-1])
_ELEMENTWISE = ("ADD", "SUB", "MUL")


def fuse(graph: OperatorGraph) -> None:
    """Apply all rules until none applies any more."""
    changed = True
    while changed:
        changed = False
        users = graph.users()
        for operator in list(graph.operators):
            # A rule may take operators away, and with them users: these are counted anew after a change.
            while id(operator) in users and any(rule(graph, users, operator) for rule in RULES):
                changed = True
                users = graph.users()
    _biases_of_matrix_products(graph)


def _only_user(users: dict[int, list[Operator]], source: Operator) -> bool:
    return len(users[id(source)]) == 1


def _pass_on(graph: OperatorGraph, users: dict, operator: Operator) -> bool:
    """Layers that do nothing when a network is used, and reshapes to the same shape."""
    if operator.kind == "" or (operator.kind == "RESHAPE" and operator.shape == operator.inputs[0].shape):
        graph.remove(operator)
        return True
    return False


def _affine_into_linear(graph: OperatorGraph, users: dict, operator: Operator) -> bool:
    """Batch normalization, biases and shifts into the kernel before: FuseAffine*, FuseMul/AddIntoBConv2D (`HasOneUse`)."""
    if not operator.is_affine:
        return False
    source = operator.inputs[0]
    if source.kind not in _LINEAR or not _only_user(users, source) or (source.activation and source.kind != BINARY):
        return False
    if operator.kind == "SUB" and source.kind == "FULLY_CONNECTED":
        return False  # there is a pattern for ADD and one for MUL
    kernel = 1 if source.kind in ("TRANSPOSE_CONV", BINARY) else 0  # a binary one is scaled by its multipliers
    if operator.kind != "MUL" and len(source.constants) <= kernel + 1:
        source.constants.append(Constant(source.channels, value="zeros"))
    for constant in source.constants[kernel if operator.kind == "MUL" else kernel + 1 :]:
        constant.value = _both(constant, operator.constants[0])
    source.name = join_names(source.name, operator.name)
    source.unit_scale = False
    graph.remove(operator)
    return True


def _activation_into_operator(graph: OperatorGraph, users: dict, operator: Operator) -> bool:
    """FuseActivationIntoConv..., and FuseActFnIntoConvOpPat: binary convolutions take a ReLU only without scales."""
    if operator.kind not in _ACTIVATIONS:
        return False
    source = operator.inputs[0]
    if not _only_user(users, source):
        return False
    if source.kind == BINARY:
        fits = operator.kind == "RELU" and source.unit_scale and source.padding != "SAME" and not source.activation
    else:
        fits = source.kind in _WITH_ACTIVATION and source.activation in ("", operator.kind)
        fits = fits or source.kind == operator.kind == "RELU"  # twice
    if not fits:
        return False
    if source.kind != operator.kind:
        source.activation = operator.kind
        source.name = join_names(source.name, operator.name)
    graph.remove(operator)
    return True


def _add_after_add(graph: OperatorGraph, users: dict, operator: Operator) -> bool:
    """Two constants that are added one after the other become one."""
    source = operator.inputs[0] if operator.inputs else None
    if source is None or not (operator.is_affine and source.is_affine) or not operator.kind == source.kind == "ADD":
        return False
    if not _only_user(users, source):
        return False
    larger = max(source.constants[0].size, operator.constants[0].size)
    source.constants = [Constant(larger, int(larger > 1), value=_both(source.constants[0], operator.constants[0]))]
    source.name = join_names(source.name, operator.name)
    graph.remove(operator)
    return True


def _elementwise_before_reshape(graph: OperatorGraph, users: dict, operator: Operator) -> bool:
    """MoveBinaryOpBeforeReshape: constants of channels, and ReLUs, go before a reshape that keeps the channels."""
    if len(operator.inputs) != 1 or operator.kind not in (*_ELEMENTWISE, *_ACTIVATIONS):
        return False
    if any(constant.size not in (1, operator.channels) for constant in operator.constants):
        return False
    reshape = operator.inputs[0]
    if reshape.kind != "RESHAPE" or not _only_user(users, reshape) or reshape.inputs[0].channels != reshape.channels:
        return False
    followers = users[id(operator)]
    if operator.is_affine and len(followers) == 1 and followers[0].kind in _ACTIVATIONS:
        return False  # which it takes up first, so that a binary convolution beyond the reshape cannot absorb it any more
    # The two change places: the reshape keeps its object, so that its users stay as they are.
    reshape.kind, operator.kind = operator.kind, reshape.kind
    reshape.constants, operator.constants = operator.constants, reshape.constants
    reshape.call, operator.call = operator.call, reshape.call
    reshape.activation, operator.activation = operator.activation, reshape.activation
    reshape.shape = reshape.inputs[0].shape
    return True


def _reshape_after_reshape(graph: OperatorGraph, users: dict, operator: Operator) -> bool:
    """Only the last of several reshapes counts, and a mean over pixels can keep the axes itself."""
    if operator.kind != "RESHAPE" or not _only_user(users, operator.inputs[0]):
        return False
    source = operator.inputs[0]
    if source.kind == "RESHAPE":
        graph.remove(source)
        return True
    if source.kind in ("MEAN", "REDUCE_MAX") and _without_ones(source.shape) == _without_ones(operator.shape):
        keeps = len(operator.shape) == len(source.inputs[0].shape)
        if not keeps or any(user.is_affine or user.kind in _ACTIVATIONS for user in users[id(operator)]):
            return False  # these go before the reshape first
        source.shape = operator.shape
        graph.remove(operator)
        return True
    return False


def _reshape_before_fully_connected(graph: OperatorGraph, users: dict, operator: Operator) -> bool:
    """A matrix product takes the last axis, whatever stands before it; broadcasting adds axes by itself."""
    if operator.kind != "RESHAPE" or not users[id(operator)]:
        return False
    before, after = operator.inputs[0].shape, operator.shape
    followers = users[id(operator)]
    if before[-1] == after[-1] and all(user.kind == "FULLY_CONNECTED" for user in followers):
        graph.remove(operator)
        return True
    adds_axes = len(after) > len(before) and tuple(after[len(after) - len(before) + 1 :]) == tuple(before[1:])
    ones = all(size == 1 for size in after[1 : len(after) - len(before) + 1])
    if adds_axes and ones and all(user.kind in _ELEMENTWISE and len(user.inputs) == 2 for user in followers):
        graph.remove(operator)
        return True
    return False


def _affine_before_fully_connected(graph: OperatorGraph, users: dict, operator: Operator) -> bool:
    """FuseAddAndFullyConnected, FuseMulAndFullyConnected: into all products with a bias that take the result."""
    if not operator.is_affine or operator.kind == "SUB":
        return False
    followers = users[id(operator)]
    if not followers or not all(user.kind == "FULLY_CONNECTED" and len(user.constants) == 2 for user in followers):
        return False
    graph.remove(operator)
    return True


def _scalar_before_convolution(graph: OperatorGraph, users: dict, operator: Operator) -> bool:
    """FuseBinaryOpToFollowingAffineOp: a factor always, a summand only where nothing is padded."""
    followers = users[id(operator)]
    if not operator.is_affine or operator.constants[0].size != 1 or not followers:
        return False
    if any(user.kind not in _CONVOLUTIONS or (operator.kind != "MUL" and user.padding != "VALID") for user in followers):
        return False
    graph.remove(operator)
    return True


def _padding_into_convolution(graph: OperatorGraph, users: dict, operator: Operator) -> bool:
    """FusePadding of larq-compute-engine: zeros around the picture, where "same" pads to the same size."""
    if operator.kind not in _CONVOLUTIONS or operator.inputs[0].kind != "PAD" or operator.padding != "VALID":
        return False
    pad = operator.inputs[0]
    pictures = pad.inputs[0].shape[1:3]
    same = all(
        -(-size // stride) == out for size, stride, out in zip(pictures, operator.strides, operator.shape[1:3], strict=True)
    )
    paddings = pad.padding if isinstance(pad.padding, tuple) else ()
    if not same or not _only_user(users, pad) or any(not 0 <= end - begin <= 1 for begin, end in paddings):
        return False
    operator.padding = "SAME"
    graph.remove(pad)
    return True


def _bits_between_binary_convolutions(graph: OperatorGraph, users: dict, operator: Operator) -> bool:
    """bitpack_activations: the convolution compares with one threshold a channel, and writes bits."""
    if operator.kind != "LceQuantize":
        return False
    source = operator.inputs[0]
    if source.kind != BINARY or source.padding == "SAME" or len(source.constants) != 3 or not _only_user(users, source):
        return False
    kernel, scale, bias = source.constants
    source.constants = [kernel, Constant(source.channels, value=_both(scale, bias))]
    source.name = join_names(source.name, operator.name)
    graph.remove(operator)
    return True


def _sign_before_max_pooling(graph: OperatorGraph, users: dict, operator: Operator) -> bool:
    """The largest of several numbers has the largest sign: the pooling runs on bits (`LceBMaxPool2d`)."""
    if operator.kind != "LceQuantize" or operator.inputs[0].kind != "MAX_POOL_2D" or operator.inputs[0].activation:
        return False
    pool = operator.inputs[0]
    if not _only_user(users, pool):
        return False
    pool.kind, operator.kind = "LceQuantize", "LceBMaxPool2d"
    pool.shape = pool.inputs[0].shape
    return True


def _biases_of_matrix_products(graph: OperatorGraph) -> None:
    """FuseAddAndFullyConnected again: from the last product on, one takes over the bias of the one before."""
    users = graph.users()
    for operator in reversed(graph.operators):
        source = operator.inputs[0] if operator.inputs else operator
        both = operator.kind == source.kind == "FULLY_CONNECTED" and operator is not source
        if (
            both
            and not source.activation
            and len(operator.constants) == len(source.constants) == 2
            and _only_user(users, source)
        ):
            source.constants.pop()


def _hard_swish(graph: OperatorGraph, users: dict, operator: Operator) -> bool:
    """X * relu6(x + 3) * (1/6) is HARD_SWISH, in whichever order it is written."""
    if operator.kind != "MUL" or operator.activation:
        return False
    product = operator
    if len(operator.inputs) == 1:  # (x * relu6(x + 3)) * (1/6)
        product = operator.inputs[0]
        if product.kind != "MUL" or not _only_user(users, product):
            return False
    if len(product.inputs) != 2:
        return False
    for gate, value in (product.inputs, product.inputs[::-1]):
        parts = [product]
        if product is operator and gate.kind == "MUL" and len(gate.inputs) == 1:  # x * (relu6(x + 3) * (1/6))
            parts.append(gate)
            gate = gate.inputs[0]
        elif product is operator:
            continue
        if gate.kind == "ADD" and gate.activation == "RELU6" and gate.inputs == [value]:
            operator.kind, operator.inputs, operator.constants = "HARD_SWISH", [value], []
            gone = [id(part) for part in (*parts, gate) if part is not operator]
            graph.operators = [one for one in graph.operators if id(one) not in gone]
            return True
    return False


def _both(first: Constant, second: Constant) -> Hashable | None:
    """Return what a constant holds that is made of two others: the same again, where a shared layer is called twice."""
    return None if first.value is None or second.value is None else (first.value, second.value)


def _without_ones(shape: Size) -> list[int]:
    return [size for size in shape[1:] if size != 1]


RULES: tuple[Callable[[OperatorGraph, dict[int, list[Operator]], Operator], bool], ...] = (
    _pass_on,
    _affine_into_linear,
    _activation_into_operator,
    _add_after_add,
    _reshape_after_reshape,
    _elementwise_before_reshape,
    _reshape_before_fully_connected,
    _affine_before_fully_connected,
    _scalar_before_convolution,
    _padding_into_convolution,
    _bits_between_binary_convolutions,
    _sign_before_max_pooling,
    _hard_swish,
)
