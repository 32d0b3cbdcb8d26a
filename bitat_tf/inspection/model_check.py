"""The linter: what of a model will be binary on the device, before days of training are spent on it."""

from collections.abc import Iterator

from bitat_tf._keras import keras
from bitat_tf._validation import check_model
from bitat_tf.inspection.ends import first_calls, last_calls
from bitat_tf.inspection.findings import ERROR, NOTE, WARNING, CheckReport, Finding, KernelPrediction, sorted_findings
from bitat_tf.inspection.float_layers import float_operator, obstacle
from bitat_tf.inspection.kernels import is_quantized, predict_kernels
from bitat_tf.inspection.neighbours import findings_of_neighbours
from bitat_tf.layers import binary_layers
from bitat_tf.model_graph import CallGraph, is_graph


def check(model: keras.Model) -> CheckReport:
    """Check a model against the rules for fully fused binary kernels, without converting it.

    Run it before training: a layer that breaks a rule trains well and stays float on the device, silently. Every rule has a
    number; `docs/rules.md` explains them. The prediction is for the file that `export.to_tflite` writes once all binary layers
    are binary.

    Args:
        model: A built model. In a subclassed one, whose graph is not known, only the kinds of its layers are looked at.

    Returns:
        A `CheckReport`: prints as a table; `report.errors`, `report.findings`, `report.kernels`, `report.to_dicts()`.

    Raises:
        TypeError: If it is no Keras 2 model.
        ValueError: If it has no weights yet.

    Examples:
        >>> model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(32, 3), keras.layers.BatchNormalization(),
        ...     lq.layers.QuantConv2D(32, 3, kernel_quantizer="ste_sign", kernel_constraint="weight_clip", name="half"),
        ...     bitat_tf.layers.BinaryConv2D(32, 3), keras.layers.Flatten(), keras.layers.Dense(2)])
        >>> report = check(model)
        >>> [(finding.rule, finding.layer) for finding in report.errors]
        [(5, 'half')]
        >>> [kernel.operator for kernel in report.kernels]
        ['CONV_2D', 'CONV_2D', 'LceBconv2d', 'FULLY_CONNECTED']

    References:
        - [Larq's guide to model optimization](https://docs.larq.dev/compute-engine/model_optimization_guide/)
    """
    check_model(model, "check")
    if not is_graph(model):
        return CheckReport(model.name, sorted_findings(_subclassed(model)), ())
    graph = CallGraph(model)
    kernels = predict_kernels(graph)
    findings = [finding for kernel in kernels.values() for finding in kernel.findings]
    findings += findings_of_neighbours(graph, kernels)
    findings += _float_layers(graph)
    findings += _model_as_a_whole(graph)
    predictions = tuple(
        KernelPrediction(call.path, kernels[id(call)].operator, kernels[id(call)].binary)
        for call in graph.calls
        if id(call) in kernels
    )
    return CheckReport(model.name, sorted_findings(findings), predictions)


def _float_layers(graph: CallGraph) -> Iterator[Finding]:
    """Name the float layers, those that could be binary and those that could not; the first and the last are best float."""
    ends = {id(call) for call in (*first_calls(graph), *last_calls(graph))}
    for call in graph.calls:
        if is_quantized(call.layer):
            continue
        found = obstacle(call.layer)
        if found is not None:
            inside = _holds_quantized(call.layer)
            effect = "its binary layers cannot be exported" if inside else "it stays float"
            yield Finding(14, ERROR if inside else NOTE, call.path, f"{effect}: {found[0]}", found[1])
        elif float_operator(call.layer) is not None and id(call) not in ends:
            effect, cure = "it stays float: it is a layer of Keras", "Pass the trained model to bitat_tf.binarize."
            yield Finding(21, NOTE, call.path, effect, cure)


def _holds_quantized(layer: keras.layers.Layer) -> bool:
    """Return whether a layer without a graph holds quantized layers."""
    return any(is_quantized(part) for part in layer._flatten_layers(include_self=False))


def _subclassed(model: keras.Model) -> Iterator[Finding]:
    yield Finding(
        22,
        ERROR if binary_layers(model) else NOTE,
        "",
        f"it is a subclassed model ({type(model).__name__}): its graph is not known, and it cannot be exported",
        "Build it with keras.Model(inputs, outputs).",
    )
    for layer in model._flatten_layers(include_self=False):
        found = obstacle(layer) if layer.built and not is_quantized(layer) else None
        if found is not None and not _holds_quantized(layer):
            yield Finding(14, NOTE, layer.name, f"it stays float: {found[0]}", found[1])


def _model_as_a_whole(graph: CallGraph) -> Iterator[Finding]:
    if len(graph.sources) != 1 or len(graph.outputs) != 1:
        effect = f"it has {len(graph.sources)} inputs and {len(graph.outputs)} outputs, and to_tflite takes one of each"
        yield Finding(23, WARNING, "", effect, "Export a model of one input and one output that shares the layers.")
    batch = {shape[0] or 1 for source in graph.sources for shape in source.output_shapes} - {1}
    if batch:
        effect = f"its batch size is fixed at {', '.join(map(str, sorted(batch)))}, and the file takes one picture at a time"
        yield Finding(18, NOTE, "", effect, "Nothing needs to be done; to time batches, run the file once a picture.")
    unknown = [source.path for source in graph.sources if None in source.output_shapes[0][1:]]
    if unknown:
        effect = f"the size of its input {', '.join(unknown)} is not known, and to_tflite wants to know it"
        yield Finding(17, WARNING, "", effect, "Export a model of a fixed input_shape with these weights.")
    quantized = [call for call in graph.calls if is_quantized(call.layer)]
    for call in graph.calls:
        if any(isinstance(part, keras.layers.RNN) and not part.unroll for part in call.layer._flatten_layers()):
            effect = "it is a recurrent layer with a loop, and the converter refuses the model"
            yield Finding(26, ERROR if quantized else NOTE, call.path, effect, "Build it with unroll=True.")
    rest = [call for call in graph.calls if not is_quantized(call.layer) and float_operator(call.layer)]
    if quantized and rest:
        effect = f"{len(rest)} float convolutions and dense layers stay float32, not int8"
        yield Finding(19, NOTE, "", effect, "If their size or time matters, put tf.quantization.fake_quant_* into the model.")
