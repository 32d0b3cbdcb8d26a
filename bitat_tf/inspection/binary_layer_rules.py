"""Rules about a binary layer by itself: its quantizers, its kernel, its groups, its padding, its channels."""

from collections.abc import Iterator
from typing import Any, cast

import numpy as np
from keras import ops

from bitat_tf.inspection import rules
from bitat_tf.inspection.findings import ERROR, NOTE, WARNING, Finding
from bitat_tf.inspection.kernel_layers import WORD, is_binary
from bitat_tf.model_graph import LayerCall
from bitat_tf.quantizers import RSign

# Both sides of zero, zero itself, and where surrogate gradients or clipping change.
_SAMPLES = np.array([-2.0, -1.0, -0.5, -1e-3, -1e-6, 0.0, 1e-6, 1e-3, 0.5, 1.0, 2.0], np.float32)
_SPREAD = 1e-5  # rounding; all weights of an output channel share one scale on the device


def findings_of_layer(call: LayerCall) -> Iterator[Finding]:
    """Yield what keeps one call of a quantized layer from being an `LceBconv2d`, and what makes it a costly one.

    Args:
        call: A call of any layer; for layers without quantizers nothing is yielded.
    """
    layer = call.layer
    if not is_binary(layer):
        return
    channels = cast(int, call.input_shapes[0][-1])  # a built layer knows its channels
    what = describe_signs(layer.input_quantizer, channels)
    if what:
        name = getattr(layer.input_quantizer, "name", None) or getattr(layer.input_quantizer, "__name__", "")
        effect = f"its input quantizer {name} {what}: the export refuses it"
        cure = "Use RSign, or a sign that is -1 below 0 and +1 from 0 on; put scales on the layer's output."
        yield Finding(rules.INPUT_VALUES, ERROR, call.path, effect, cure)
    what = describe_kernel(layer.quantized_kernel(layer.latent_kernel))
    if what:
        effect = f"its quantized kernel is not +-alpha with one alpha per output channel ({what}): the export refuses it"
        cure = "Use kernel_quantizer='magnitude_aware_sign' or 'ste_sign'."
        yield Finding(rules.KERNEL_VALUES, ERROR, call.path, effect, cure)
    yield from _groups_and_channels(call, channels)
    if getattr(layer, "padding", "valid") == "same":
        yield from _padding(call)


def wasted_bits(channels: int) -> int:
    """Return how many bits of a pixel hold no channel: a pixel's channels are packed into whole words of 32 bits.

    Examples:
        >>> wasted_bits(40), wasted_bits(64)
        (24, 0)
    """
    return -channels % WORD


def describe_signs(quantizer: Any, channels: int) -> str:
    """Return what an input quantizer does that is no sign: -1 below 0 and +1 from 0 on; "" if it is one.

    RSign is one, whatever its thresholds.

    Args:
        quantizer: A layer or function; a layer is built for `channels`.
        channels: Size of the last axis of its input.

    Examples:
        >>> describe_signs(bitat_tf.quantizers.SteSign(), 4), describe_signs(keras.layers.ReLU(), 4)
        ('', 'gives 0, 1e-06, 0.001, 0.5, ... instead of -1 and +1')
    """
    if type(quantizer) is RSign:
        return ""
    samples = np.tile(_SAMPLES[None, :, None, None], (1, 1, 1, channels))
    found = ops.convert_to_numpy(quantizer(ops.array(samples))).astype(np.float32)
    if np.array_equal(found, np.where(samples >= 0, 1.0, -1.0)):
        return ""
    values = np.unique(found)
    if {*values} <= {-1.0, 1.0}:
        return "does not change from -1 to +1 at 0"
    return f"gives {', '.join(f'{value:g}' for value in values[:4])}{', ...' if len(values) > 4 else ''} instead of -1 and +1"


def describe_kernel(kernel: np.ndarray) -> str:
    """Return why a quantized kernel, output channels last, is not +-alpha with one alpha per output channel; "" if it is.

    Examples:
        >>> describe_kernel(np.array([[1.0, -2.0], [-1.0, 2.0]]))
        ''
        >>> describe_kernel(np.array([[1.0, 1.0], [-1.0, 0.0]]))
        'the magnitudes of output channels 1 differ'
    """
    if not np.isfinite(kernel).all():
        return "it holds NaN or infinite values"
    magnitudes = np.abs(kernel).reshape(-1, kernel.shape[-1])
    spread = np.flatnonzero(np.ptp(magnitudes, axis=0) > _SPREAD * magnitudes.max(axis=0))
    if not spread.size:
        return ""
    return f"the magnitudes of output channels {', '.join(map(str, spread[:5]))}{', ...' if spread.size > 5 else ''} differ"


def _groups_and_channels(call: LayerCall, channels: int) -> Iterator[Finding]:
    groups = getattr(call.layer, "groups", 1)
    if groups > 1 and wasted_bits(channels // groups):
        effect = (
            f"its groups have {channels // groups} channels, no multiple of 32: no binary kernel runs it, the export refuses it"
        )
        cure = "Use groups of 32, 64, ... channels, or groups=1."
        yield Finding(rules.GROUPS, ERROR, call.path, effect, cure)
    elif groups > 1:
        effect = "it has groups: bitat-runtime runs it, larq-compute-engine with its indirect and reference kernels alone"
        cure = "Run the file in bitat-runtime, or with use_indirect_bgemm=True; groups=1 runs everywhere."
        yield Finding(rules.GROUPS, NOTE, call.path, effect, cure)
    elif wasted_bits(channels):
        words = -(-channels // WORD)
        share = wasted_bits(channels) / (words * WORD)
        effect = (
            f"{channels} input channels are packed into {words} word{'s' if words > 1 else ''} of 32 bits: {share:.0%} of its "
            "weights' bits, and of its work, are for nothing"
        )
        yield Finding(rules.CHANNELS, NOTE, call.path, effect, "Use a multiple of 32 channels before it.")


def _padding(call: LayerCall) -> Iterator[Finding]:
    value = float(call.layer.pad_values)
    if value == 0.0 and max(call.layer.kernel_size) > 1:
        effect = "it pads with zeros, which are no bits: its output is float, where it could be bits for the next binary layer"
        yield Finding(rules.ZERO_PADDING, WARNING, call.path, effect, "Use pad_values=1.0.")
    elif value not in (0.0, 1.0):
        effect = f"it pads with {value:g}: binary kernels pad with 1 or 0, and the export refuses it"
        yield Finding(rules.PADDING_VALUE, ERROR, call.path, effect, "Use pad_values=1.0.")
