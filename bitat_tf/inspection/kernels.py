"""Which operator the device runs for each convolution and dense layer, and why it is a float one."""

from dataclasses import dataclass
from typing import Any, cast

import larq as lq
import numpy as np

from bitat_tf._keras import keras, tf
from bitat_tf.inspection.findings import ERROR, NOTE, WARNING, Finding
from bitat_tf.inspection.float_layers import WORD, float_operator
from bitat_tf.inspection.signs import SignProblem, filter_problem, sign_problem
from bitat_tf.layers import BinaryDense, BinaryLayer
from bitat_tf.model_graph import CallGraph, LayerCall
from bitat_tf.quantizers import revive_dead_channels

BINARY_OPERATOR = "LceBconv2d"
_STAYS_FLOAT = "the layer stays a float convolution, silently"
_TAKEN_FOR_A_SIGN = "the converter takes it for a sign, and the file computes something else"
# What is not in the file, and may stand between a sign and its convolution.
_VANISHING = (keras.layers.Dropout, keras.layers.SpatialDropout2D, keras.layers.GaussianNoise, keras.layers.GaussianDropout)


@dataclass(frozen=True)
class Kernel:
    """What computes one call of a layer on the device.

    Attributes:
        operator: Operator of the file.
        binary: Whether it is a binary kernel, once the layer is binary.
        findings: Rules that the call does not follow.
    """

    operator: str
    binary: bool
    findings: tuple[Finding, ...] = ()


def predict_kernels(graph: CallGraph) -> dict[int, Kernel]:
    """Return the kernel of every call that has one, by `id(call)`; binary layers are taken as binary already.

    Args:
        graph: The calls of the model.

    Examples:
        >>> model = keras.Sequential([keras.Input((8, 8, 32)), bitat_tf.layers.BinaryConv2D(32, 3), keras.layers.Conv2D(8, 1)])
        >>> [kernel.operator for kernel in predict_kernels(CallGraph(model)).values()]
        ['LceBconv2d', 'CONV_2D']
    """
    signs = _SignForms()
    kernels = {}
    for call in graph.calls:
        kernel = _predict(call, signs)
        if kernel is not None:
            kernels[id(call)] = kernel
    return kernels


def is_quantized(layer: keras.layers.Layer) -> bool:
    """Return whether a layer is meant to compute with quantized inputs or weights: ours, and Larq's with quantizers."""
    return isinstance(layer, BinaryLayer) or any(quantizer is not None for quantizer in _quantizers(layer))


def _quantizers(layer: keras.layers.Layer) -> list[Any]:
    # depthwise and pointwise ones belong to Larq's depthwise and separable layers
    names = ("input_quantizer", "kernel_quantizer", "depthwise_quantizer", "pointwise_quantizer")
    return [getattr(layer, name, None) for name in names]


class _SignForms:
    """Judges quantizers, each kind once: tracing one takes longer than all the rest of a check."""

    def __init__(self) -> None:
        self._known: dict[str, SignProblem | None] = {}

    def problem(self, quantizer: Any, channels: int) -> SignProblem | None:
        key = self._key(quantizer)
        if key is None:
            return sign_problem(quantizer, channels)
        if key not in self._known:
            self._known[key] = sign_problem(quantizer, channels)
        return self._known[key]

    @staticmethod
    def _key(quantizer: Any) -> str | None:
        if not isinstance(quantizer, lq.quantizers.Quantizer):
            return None
        config = {name: value for name, value in quantizer.get_config().items() if name != "name"}
        return f"{type(quantizer).__module__}.{type(quantizer).__qualname__} {config}"


def _predict(call: LayerCall, signs: _SignForms) -> Kernel | None:
    layer = call.layer
    operator = float_operator(layer)
    if operator is None:
        return None
    if not is_quantized(layer):
        return Kernel(operator, False)
    if not isinstance(layer, (lq.layers.QuantConv2D, BinaryDense)):
        return Kernel(operator, False, (_not_accelerated(call, operator),))
    of_input, misread = _findings_of_input(call, signs)
    others = [*_findings_of_kernel(call), *_findings_of_geometry(call)]
    stays_float = [finding for finding in ([] if misread else of_input) + others if finding.severity == ERROR]
    return Kernel(operator if stays_float else BINARY_OPERATOR, not stays_float, (*of_input, *others))


def _not_accelerated(call: LayerCall, operator: str) -> Finding:
    kind = type(call.layer).__name__
    ours = "BinaryDense, which runs as a 1x1 convolution" if isinstance(call.layer, keras.layers.Dense) else "BinaryConv2D"
    effect = f"a {kind} has no binary kernel: it runs as a float {operator}, its input packed and unpacked for nothing"
    return Finding(14, ERROR, call.path, effect, f"Use bitat_tf.layers.{ours}, or leave the layer float.")


def _findings_of_input(call: LayerCall, signs: _SignForms) -> tuple[list[Finding], bool]:
    """Return what is wrong with the sign of a layer's input, and whether the converter takes it for a sign all the same."""
    layer, channels = call.layer, cast(int, call.input_shapes[0][-1])  # a built layer knows its channels
    if layer.kernel_quantizer is None:
        effect = "only its input is quantized, and both sides must be binary: " + _STAYS_FLOAT
        cure = "Give it a kernel_quantizer, or use bitat_tf.layers.BinaryConv2D."
        return [Finding(5, ERROR, call.path, effect, cure)], False
    if layer.input_quantizer is None:
        return _findings_of_sign_before(call, signs), False
    problem = signs.problem(layer.input_quantizer, channels)
    if problem is None:
        return [], False
    cures = {
        1: "Write it as tf.where(x >= 0, 1.0, -1.0) with scalars, or use one of Larq's or RSign.",
        2: "Write the gradient with tf.custom_gradient, or use one of Larq's quantizers or RSign.",
        3: "Use a sign of -1 and +1, and put scales on the layer's output.",
    }
    quantizer = layer.input_quantizer
    name = getattr(quantizer, "name", None) or getattr(quantizer, "__name__", type(quantizer).__name__)
    effect = f"its input quantizer {name} {problem.what}: {_TAKEN_FOR_A_SIGN if problem.fused else _STAYS_FLOAT}"
    return [Finding(problem.rule, ERROR, call.path, effect, cures[problem.rule])], problem.fused


def _findings_of_sign_before(call: LayerCall, signs: _SignForms) -> list[Finding]:
    """Look for the sign of a layer without an input quantizer in the layers before it."""
    source = call.inputs[0]
    between: list[str] = []
    while source.inputs and float_operator(source.layer) is None:
        if _is_sign(source, signs):
            if not between:
                return []
            effect = f"{', '.join(between)} between its sign and its convolution keeps the two apart: {_STAYS_FLOAT}"
            return [Finding(13, ERROR, call.path, effect, "Put the sign right before the convolution, as input_quantizer.")]
        if not isinstance(source.layer, _VANISHING):
            between.append(source.layer.name)
        source = source.inputs[0]
    effect = "only its kernel is quantized, and both sides must be binary: " + _STAYS_FLOAT
    return [Finding(5, ERROR, call.path, effect, "Give it an input_quantizer.")]


def _is_sign(call: LayerCall, signs: _SignForms) -> bool:
    """Return whether a layer of whatever kind computes a sign of its input, as the converter knows it."""
    if len(call.inputs) != 1 or call.input_shapes != call.output_shapes or len(call.input_shapes[0]) != 4:
        return False
    try:
        return signs.problem(call.layer, cast(int, call.input_shapes[0][-1])) is None
    except (TypeError, ValueError, AttributeError, LookupError, AssertionError, NotImplementedError, tf.errors.OpError):
        return False  # a layer of the user's own, made for other pictures than the samples


def _findings_of_kernel(call: LayerCall) -> list[Finding]:
    layer = call.layer
    if layer.kernel_quantizer is None:
        return []
    with lq.context.quantized_scope(False):
        latent = np.array(layer.kernel)
    if isinstance(layer, BinaryLayer):
        latent = revive_dead_channels(latent)  # as the export does
    problem = filter_problem(np.asarray(layer.kernel_quantizer(latent)))
    if problem is None:
        return []
    return [
        Finding(
            4,
            ERROR,
            call.path,
            f"the quantized kernel is not +-alpha with one alpha per output channel ({problem}): {_STAYS_FLOAT}",
            "Use kernel_quantizer='magnitude_aware_sign' or 'ste_sign'; give weights of a dead channel small random values.",
        )
    ]


def _findings_of_geometry(call: LayerCall) -> list[Finding]:
    layer, channels = call.layer, cast(int, call.input_shapes[0][-1])
    found = []

    def add(rule: int, severity: str, effect: str, cure: str) -> None:
        found.append(Finding(rule, severity, call.path, effect, cure))

    if layer.compute_dtype != "float32":
        effect = f"the layer computes in {layer.compute_dtype}; the file has it in float32: to_tflite converts a float32 copy"
        add(18, NOTE, effect, "Nothing needs to be done; verify compares the file with the model.")
    padded = getattr(layer, "padding", "valid") == "same" and layer.input_quantizer is not None and layer.pad_values != 0.0
    if padded and None in call.input_shapes[0][1:]:
        effect = f"it pads pictures of unknown size {call.input_shapes[0][1:]} with ones: {_STAYS_FLOAT}"
        add(17, ERROR, effect, "Export a model of a fixed input_shape with these weights.")
    if getattr(layer, "data_format", "channels_last") != "channels_last":
        add(13, ERROR, f"its data format is channels first: {_STAYS_FLOAT}", "Use data_format='channels_last'.")
    found.extend(_findings_of_channels(call.path, layer, channels))
    if getattr(layer, "padding", "valid") == "same":
        found.extend(_findings_of_padding(call.path, layer))
    return found


def _findings_of_padding(path: str, layer: keras.layers.Layer) -> list[Finding]:
    if layer.input_quantizer is None or layer.pad_values == 0.0:
        if max(layer.kernel_size) == 1:
            return []
        effect = "it pads with zeros: a correction at the borders, no bits written for a binary layer after it, no int8 output"
        return [Finding(6, WARNING, path, effect, "Use pad_values=1.0.")]
    if layer.pad_values == 1.0:
        return []
    effect = f"it pads with {layer.pad_values:g}, for which there is no kernel: {_STAYS_FLOAT}"
    return [Finding(6, ERROR, path, effect, "Use pad_values=1.0.")]


def _findings_of_channels(path: str, layer: keras.layers.Layer, channels: int) -> list[Finding]:
    groups = getattr(layer, "groups", 1)
    if groups > 1 and channels // groups % WORD:
        effect = f"its groups have {channels // groups} channels, no multiple of 32: {_STAYS_FLOAT}"
        return [Finding(15, ERROR, path, effect, "Use groups of 32, 64, ... channels, or groups=1.")]
    if groups > 1:
        effect = (
            "it has groups: only larq-compute-engine's indirect and reference kernels run it, the default one refuses the file"
        )
        return [Finding(15, WARNING, path, effect, "Run the file with use_indirect_bgemm=True, or use groups=1.")]
    filters = layer.units if isinstance(layer, BinaryDense) else layer.filters
    if channels % WORD or filters % 8:
        effect = f"{channels} input and {filters} output channels do not fill the kernel's words: it runs, slower than it could"
        return [Finding(16, NOTE, path, effect, "Use multiples of 32 input channels and of 8 output channels.")]
    return []
