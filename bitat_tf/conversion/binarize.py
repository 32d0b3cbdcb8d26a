"""`binarize`: a trained float model becomes one whose layers can be made binary."""

from dataclasses import replace

import keras
from rich import get_console

from bitat_tf._validation import check_choice, check_model, check_number
from bitat_tf.conversion.changes import Changes, changed
from bitat_tf.conversion.frozen import unfreeze
from bitat_tf.conversion.shortcuts import describe_shortcut, end_of_layer
from bitat_tf.conversion.skip import Skip, without_skipped
from bitat_tf.inspection.adaptation import layers_that_must_train, notes
from bitat_tf.inspection.kernel_layers import float_operator, obstacle
from bitat_tf.inspection.plan import BINARY, EXPAND, FLOAT, BinarizationPlan, LayerPlan, plan_layers
from bitat_tf.layers import BinaryLayer
from bitat_tf.model_graph import RELU, CallGraph, LayerCall, activation_of, is_graph, relu_bounds
from bitat_tf.regularizers import DisentangledRegularizer


def binarize(
    model: keras.Model,
    skip: Skip = None,
    *,
    first_and_last: bool = False,
    activation: str = "keep",
    shortcuts: bool = False,
    depthwise: str = "keep",
    momentum: float | None = 0.9,
    disentangled_regularizer: DisentangledRegularizer | None = None,
    verbose: int = 1,
) -> keras.Model:
    """Return a copy of a trained float model in which convolutions and dense layers are binary layers, in float state.

    The new model computes what `model` does, to rounding (but for `shortcuts`): `BinaryConv2D` and `BinaryDense` are float
    layers until a schedule makes them binary. Compile it, and train it with `callbacks.SequentialBinarization`, or pass it to
    `binarize_post_training`. Layers that stay float are listed, all of them, with the reason and the cure.

    What transfer learning leaves behind is undone at the binary layers and at all layers that they feed, and said: layers that
    are frozen (`trainable = False`) train again, so that batch normalizations get statistics of the binary network. Layers
    below stay frozen.

    Args:
        model: A functional or sequential model, trained; nested models, shared layers, several inputs and outputs are fine. It
            is not changed.
        skip: Layers that stay float: a name or pattern ("block_1_*", "backbone/conv_?"), a function that takes a layer which
            would become binary and returns whether to skip it, or a list of those.
        first_and_last: Whether the first and the last convolution or dense layer become binary too. Default False: they cost
            the most accuracy and save the least.
        activation: "keep" (default), or "rprelu": every ReLU before a binary layer becomes an `RPReLU` that starts as a ReLU.
        shortcuts: Whether to add a shortcut around each binary layer and its batch normalization, as in Bi-Real Net: identity,
            average pooling where it has strides, copies where it multiplies the channels. Default False, since it changes
            what the model computes: train the float model again before it is made binary.
        depthwise: "keep" (default): depthwise convolutions stay float. "expand": each becomes a full convolution that computes
            the same, as ReActNet has it in place of MobileNet's; it has as many times more weights as there are channels.
        momentum: The most that the moving averages of batch normalizations keep of their past, in [0, 1]: the statistics of a
            layer that has just become binary are new, and with Keras' 0.99 take hundreds of steps to show in validation and in
            a short schedule's result. Default 0.9, as in `applications`; None leaves them as they are.
        disentangled_regularizer: Of every binary layer: each gets a copy of it. Default as in `BinaryConv2D`.
        verbose: 1 (default) prints the layers that stay float, with what was frozen and trains again; 0 nothing.

    Returns:
        A new functional `keras.Model`, not compiled. Layers keep their names; of binary layers that share one, in nested
        models, the later ones get a number, since a schedule tells layers by their names.

    Raises:
        TypeError: If `model` is no Keras model, or `skip` holds something else than names and functions.
        ValueError: If the model is subclassed, has no layer that can be made binary (the message lists why), holds a layer
            that cannot be copied, or a pattern of `skip` matches nothing.

    Examples:
        >>> model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(8, 3, name="first"),
        ...     keras.layers.Conv2D(8, 3, activation="relu", name="second"), keras.layers.Flatten(), keras.layers.Dense(2)])
        >>> binary = binarize(model, verbose=0)
        >>> [layer.name for layer in bitat_tf.layers.binary_layers(binary)]
        ['second']
        >>> x = np.random.rand(2, 8, 8, 3).astype("float32")
        >>> bool(np.allclose(model(x), binary(x), atol=1e-5))
        True

    References:
        - [Bi-Real Net](https://arxiv.org/abs/1808.00278) for `shortcuts`
        - [ReActNet](https://arxiv.org/abs/2003.03488) for `activation` and `depthwise`
    """
    check_choice("binarize", "activation", activation, ("keep", "rprelu"))
    if momentum is not None:
        check_number("binarize", "momentum", momentum, maximum=1.0)
    if disentangled_regularizer is not None and not isinstance(disentangled_regularizer, DisentangledRegularizer):
        raise TypeError(
            "binarize: `disentangled_regularizer` must be a bitat_tf.regularizers.DisentangledRegularizer. Received: "
            f"{disentangled_regularizer!r}. Regularizers of Keras stay where the float layers have them."
        )
    graph, plans = _layer_plans(model, skip, first_and_last, shortcuts, depthwise)
    plan = _plan(model, graph, plans)
    if not plan.binary:
        reasons = "; ".join(f"{layer.layer}: {layer.reason}" for layer in plan.layers[:10])
        raise ValueError(
            f"binarize: no layer of model {model.name!r} can be made binary. Received: {reasons or 'no layer with a kernel'}"
            f"{'; ...' if len(plan.layers) > 10 else ''}. `plan_binarization` lists every layer with the cure."
        )
    binary = frozenset(key for key, layer in plans.items() if layer.action != FLOAT)
    ends = {}
    if shortcuts:
        calls = [call for call in graph.calls if id(call.layer) in binary and plans[id(call.layer)].action == BINARY]
        fitting = [call for call in calls if describe_shortcut(graph, call)[0]]
        ends = {id(end_of_layer(graph, call).node): call.node for call in fitting}
    relus = _relus_before(graph, binary) if activation == "rprelu" else frozenset()
    changes = Changes(binary, relus, ends, disentangled_regularizer, momentum)
    new = changed(model, changes)
    unfreeze(new)
    if verbose:
        get_console().print(plan)
    return new


def plan_binarization(
    model: keras.Model, skip: Skip = None, *, first_and_last: bool = False, shortcuts: bool = False, depthwise: str = "keep"
) -> BinarizationPlan:
    """Return what `binarize` would do with every layer that computes with a kernel, without doing it.

    Args:
        model: As in `binarize`.
        skip: As in `binarize`.
        first_and_last: As in `binarize`.
        shortcuts: As in `binarize`.
        depthwise: As in `binarize`.

    Returns:
        A `BinarizationPlan`: prints as a table of the layers that stay float; `plan.to_dicts()` has all, `plan.notes` what is
        said of frozen layers.

    Raises:
        TypeError, ValueError: As `binarize`, but for a model without a layer that can be made binary.

    Examples:
        >>> model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(8, 3), keras.layers.DepthwiseConv2D(3),
        ...     keras.layers.Conv2D(8, 1), keras.layers.Flatten(), keras.layers.Dense(2)])
        >>> [(layer.kind, layer.action) for layer in plan_binarization(model).layers]
        [('Conv2D', 'float'), ('DepthwiseConv2D', 'float'), ('Conv2D', 'binary'), ('Dense', 'float')]
    """
    return _plan(model, *_layer_plans(model, skip, first_and_last, shortcuts, depthwise))


def _plan(model: keras.Model, graph: CallGraph, plans: dict[int, LayerPlan]) -> BinarizationPlan:
    return BinarizationPlan(model.name, tuple(plans.values()), notes(model, _must_train(graph, plans)))


def _must_train(graph: CallGraph, plans: dict[int, LayerPlan]) -> set[int]:
    binary = {key for key, layer in plans.items() if layer.action != FLOAT}
    return layers_that_must_train(graph, lambda layer: id(layer) in binary or isinstance(layer, BinaryLayer))


def _layer_plans(
    model: keras.Model, skip: Skip, first_and_last: bool, shortcuts: bool, depthwise: str
) -> tuple[CallGraph, dict[int, LayerPlan]]:
    check_choice("binarize", "depthwise", depthwise, ("keep", "expand"))
    check_model(model, "binarize")
    if not is_graph(model):
        raise ValueError(
            f"binarize: the model must be functional or sequential. Received: a subclassed one, {type(model).__name__}, "
            "whose graph is not known. Build it with keras.Model(inputs, outputs), or use bitat_tf.layers in it."
        )
    graph = CallGraph(model)
    plans = without_skipped(graph, plan_layers(graph, first_and_last, expand=depthwise == "expand"), skip)
    if shortcuts:
        for call in graph.calls:
            plan = plans.get(id(call.layer))
            if plan is not None and plan.action in (BINARY, EXPAND) and not plan.shortcut:
                text = "none: an expanded layer" if plan.action == EXPAND else describe_shortcut(graph, call)[1]
                plans[id(call.layer)] = replace(plan, shortcut=text)
    return graph, plans


def _relus_before(graph: CallGraph, binary: frozenset[int]) -> frozenset[int]:
    """Return the layers with a ReLU from which a binary layer is reached without another convolution or dense layer between."""
    leads_to_binary: dict[int, bool] = {}

    def leads(call: LayerCall) -> bool:
        for consumer in graph.consumers(call):
            stops = float_operator(consumer.layer) is not None or obstacle(consumer.layer) is not None
            if id(consumer.layer) in binary or (not stops and leads_to_binary[id(consumer)]):
                return True
        return False

    for call in reversed(graph.calls):
        leads_to_binary[id(call)] = leads(call)
    return frozenset(id(call.layer) for call in graph.calls if leads_to_binary[id(call)] and _becomes_rprelu(call, binary))


def _becomes_rprelu(call: LayerCall, binary: frozenset[int]) -> bool:
    if None in call.output_shapes[0][-1:]:
        return False  # RPReLU has one slope a channel
    if relu_bounds(call.layer) is not None:
        return relu_bounds(call.layer) == RELU
    own = type(call.layer) in (keras.layers.Conv2D, keras.layers.Dense, keras.layers.DepthwiseConv2D)
    if not (own or id(call.layer) in binary) or call.layer.activity_regularizer is not None:
        return False  # such a regularizer is a function of what comes out of the ReLU
    return relu_bounds(activation_of(call.layer)) == RELU
