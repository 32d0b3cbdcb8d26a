"""The linter: what of a model will be binary on the device, and what will cost accuracy, told before days of training."""

from collections.abc import Iterator

import keras

from bitat_tf._validation import check_model
from bitat_tf.inspection import rules
from bitat_tf.inspection.binary_layer_rules import findings_of_layer
from bitat_tf.inspection.device_forms import findings_of_forms
from bitat_tf.inspection.findings import ERROR, NOTE, WARNING, CheckReport, Finding, sorted_findings
from bitat_tf.inspection.kernel_layers import (
    first_calls,
    float_operator,
    holds_binary,
    is_binary,
    last_calls,
    obstacle,
)
from bitat_tf.inspection.outlook import outlook_of
from bitat_tf.inspection.plan import BINARY, plan_layers
from bitat_tf.inspection.surroundings import findings_of_adaptation, findings_of_surroundings
from bitat_tf.layers import BinaryLayer, binary_layers
from bitat_tf.model_graph import CallGraph, is_graph, layers_inside


def check(model: keras.Model) -> CheckReport:
    """Tell before training what of a model cannot be binary on the device, and what will cost it accuracy or time.

    Every binary layer becomes one `LceBconv2d` operator in the file of `export.to_tflite`; what cannot is an error here. Of a
    float network, without a binary layer, it tells what `bitat_tf.binarize` would make of it. Every rule has a number;
    `docs/rules.md` explains them.

    Args:
        model: A built model. In a subclassed one, whose graph is not known, only the kinds of its layers are looked at.

    Returns:
        A `CheckReport`: prints as a table; `report.errors`, `report.findings`, `report.outlook`, `report.to_dicts()`.

    Raises:
        TypeError: If it is no Keras model.
        ValueError: If it has no weights yet.

    Examples:
        >>> model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(32, 3), keras.layers.BatchNormalization(),
        ...     bitat_tf.layers.BinaryConv2D(32, 3, groups=2, name="grouped"), keras.layers.BatchNormalization(),
        ...     bitat_tf.layers.BinaryConv2D(32, 3, name="whole"), keras.layers.Flatten(), keras.layers.Dense(2)])
        >>> report = check(model)
        >>> [(finding.layer, finding.effect.split(":")[0]) for finding in report.errors]
        [('grouped', 'its groups have 16 channels, no multiple of 32')]
        >>> report.binary_layers
        ('whole',)

    References:
        - [Larq's guide to model optimization](https://docs.larq.dev/compute-engine/model_optimization_guide/)
    """
    check_model(model, "check")
    if not is_graph(model):
        return CheckReport(model.name, sorted_findings(_subclassed(model)))
    graph = CallGraph(model)
    outlook = outlook_of(model, graph)
    findings = [finding for call in graph.calls for finding in findings_of_layer(call)]
    plans = plan_layers(graph) if outlook else {}
    binary = {id(call.layer) for call in graph.calls if is_binary(call.layer)}
    binary |= {key for key, plan in plans.items() if plan.action == BINARY}
    findings += findings_of_surroundings(graph, binary)
    findings += findings_of_adaptation(model, graph)
    findings += _model_as_a_whole(graph)
    if outlook is None:  # which says the same of a float network
        findings += _float_layers(graph)
    wrong = {finding.layer for finding in findings if finding.severity == ERROR}
    layers: dict[bool, list[str]] = {True: [], False: []}
    for call in graph.calls:
        if float_operator(call.layer) is not None:
            layers[is_binary(call.layer) and call.path not in wrong].append(call.path)
    return CheckReport(model.name, sorted_findings(findings), tuple(layers[True]), tuple(layers[False]), outlook)


def _float_layers(graph: CallGraph) -> Iterator[Finding]:
    """Name the float layers, those that could be binary and those that could not; the first and the last are best float."""
    ends = {id(call) for call in (*first_calls(graph), *last_calls(graph))}
    for call in graph.calls:
        if is_binary(call.layer):
            continue
        found = obstacle(call.layer)
        if found is not None:
            inside = holds_binary(call.layer)
            effect = "its binary layers cannot be exported" if inside else "it stays float"
            yield Finding(rules.KIND, ERROR if inside else NOTE, call.path, f"{effect}: {found[0]}", found[1])
        elif float_operator(call.layer) is not None and id(call) not in ends:
            effect, cure = "it stays float: it is a layer of Keras", "Pass the trained model to bitat_tf.binarize."
            yield Finding(rules.NOT_YET_BINARY, NOTE, call.path, effect, cure)


def _subclassed(model: keras.Model) -> Iterator[Finding]:
    effect = f"it is a subclassed model ({type(model).__name__}): its graph is not known, and it cannot be exported"
    severity = ERROR if binary_layers(model) else NOTE
    yield Finding(rules.NO_GRAPH, severity, "", effect, "Build it with keras.Model(inputs, outputs).")
    for layer in layers_inside(model):
        found = obstacle(layer) if layer.built and not is_binary(layer) else None
        if found is not None and not holds_binary(layer):
            yield Finding(rules.KIND, NOTE, layer.name, f"it stays float: {found[0]}", found[1])


def _model_as_a_whole(graph: CallGraph) -> Iterator[Finding]:
    unknown = [source.path for source in graph.sources if None in source.output_shapes[0][1:]]
    if unknown:
        effect = f"the size of its input {', '.join(unknown)} is not known, and to_tflite needs it"
        cure = "Export a model of a fixed input_shape with these weights."
        yield Finding(rules.INPUT_SIZE, WARNING, "", effect, cure)
    severity = ERROR if any(is_binary(call.layer) for call in graph.calls) else NOTE
    yield from findings_of_forms(graph, severity)
    for call in graph.calls:
        if any(isinstance(part, keras.layers.RNN) and not part.unroll for part in (call.layer, *layers_inside(call.layer))):
            effect = "it is a recurrent layer with a loop, which TensorFlow's converter refuses where the batch size is open"
            yield Finding(rules.RECURRENT, severity, call.path, effect, "Build it with unroll=True.")
    layers = {id(call.layer): call.layer for call in graph.calls if isinstance(call.layer, BinaryLayer)}
    waiting = [layer.name for layer in layers.values() if layer.state != "binary"]
    if waiting:
        effect = f"{len(waiting)} of {len(layers)} binary layers are not binary yet; to_tflite takes them once they are"
        cure = "Train with callbacks.SequentialBinarization, or call binarize_post_training."
        yield Finding(rules.NOT_YET_BINARY, NOTE, "", effect, cure)
