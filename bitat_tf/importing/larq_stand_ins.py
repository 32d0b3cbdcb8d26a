"""Larq's names, and what stands for them in Keras 2 where there is no Larq: classes and functions with Larq's formulas.

For the child process of `keras2_child`, which runs as a script: nothing of this package is imported here, and Keras 2 and
TensorFlow are handed over.
"""

import json

# The Keras layer beneath each of Larq's, and the weights that a quantizer of it makes discrete.
_KERNEL = {"kernel_quantizer": "kernel"}
_DEPTHWISE, _POINTWISE = {"depthwise_quantizer": "depthwise_kernel"}, {"pointwise_quantizer": "pointwise_kernel"}
LAYERS = {
    "QuantConv1D": ("Conv1D", _KERNEL),
    "QuantConv2D": ("Conv2D", _KERNEL),
    "QuantConv2DTranspose": ("Conv2DTranspose", _KERNEL),
    "QuantConv3D": ("Conv3D", _KERNEL),
    "QuantConv3DTranspose": ("Conv3DTranspose", _KERNEL),
    "QuantDense": ("Dense", _KERNEL),
    "QuantDepthwiseConv2D": ("DepthwiseConv2D", _DEPTHWISE),
    "QuantSeparableConv1D": ("SeparableConv1D", {**_DEPTHWISE, **_POINTWISE}),
    "QuantSeparableConv2D": ("SeparableConv2D", {**_DEPTHWISE, **_POINTWISE}),
}
# Each quantizer's name as a function, and its arguments with their defaults.
QUANTIZERS = {
    "ApproxSign": ("approx_sign", {}),
    "MagnitudeAwareSign": ("magnitude_aware_sign", {"clip_value": 1.0}),
    "SteSign": ("ste_sign", {"clip_value": 1.0}),
    "SteTern": ("ste_tern", {"threshold_value": 0.05, "ternary_weight_networks": False, "clip_value": 1.0}),
    "SwishSign": ("swish_sign", {"beta": 5.0}),
}
FUNCTIONS = {"hard_tanh": "hard_tanh", **{function: kind for kind, (function, _) in QUANTIZERS.items()}}
CONSTRAINTS = ("WeightClip", "weight_clip")
METRICS = ("FlipRatio",)
WITHOUT_COUNTERPART = {
    "DoReFa",
    "DoReFaQuantizer",
    "NoOp",
    "NoOpQuantizer",
    "QuantLocallyConnected1D",
    "QuantLocallyConnected2D",
    "SteHeaviside",
    "dorefa_quantizer",
    "leaky_tanh",
    "ste_heaviside",
}


def named(identifier):
    """Return which quantizer of Larq, by its class, or `hard_tanh` a configuration names, with its arguments; None for others.

    Args:
        identifier: What stands in a layer's configuration for a quantizer or an activation: None, a name, or a dictionary.

    Examples:
        >>> named("ste_sign"), named({"class_name": "SwishSign", "config": {"name": "swish_sign_2", "beta": 3.0}})
        (('SteSign', {}), ('SwishSign', {'beta': 3.0}))
        >>> named("relu") is named(None) is None
        True
    """
    given = {}
    if isinstance(identifier, dict):
        inner = identifier.get("config")
        identifier, given = (identifier.get("class_name"), inner) if isinstance(inner, dict) else (inner, {})
    kind = FUNCTIONS.get(identifier, identifier) if isinstance(identifier, str) else None
    if kind not in QUANTIZERS:
        return ("hard_tanh", {}) if kind == "hard_tanh" else None
    return kind, {name: given[name] for name in QUANTIZERS[kind][1] if name in given}


def quantizer(identifier):
    """Return the class and the arguments of the quantizer that stands in a configuration; None for none.

    Raises:
        ValueError: If it is none of `QUANTIZERS`.
    """
    found = named(identifier)
    if (found is None and identifier is not None) or found == ("hard_tanh", {}):
        parts = [identifier.get(key) for key in ("config", "class_name")] if isinstance(identifier, dict) else [identifier]
        name = next((part for part in parts if isinstance(part, str)), identifier)
        raise ValueError(f"{name} as a quantizer, for which bitat_tf has nothing")
    return found


def _sign(tf, x):
    return tf.sign(tf.sign(x) + 0.1)


def quantized(tf, kind, x, given):
    """Return what a quantizer of Larq makes of a tensor.

    Args:
        tf: The module of TensorFlow.
        kind: The quantizer's class in Larq.
        x: The tensor.
        given: Its arguments, where they are not the default ones.
    """
    if kind == "MagnitudeAwareSign":
        return tf.reduce_mean(tf.abs(x), axis=list(range(len(x.shape) - 1))) * _sign(tf, x)
    if kind == "SteTern":
        arguments = {**QUANTIZERS[kind][1], **given}
        threshold = arguments["threshold_value"]
        if arguments["ternary_weight_networks"]:
            threshold = 0.7 * tf.reduce_sum(tf.abs(x)) / tf.cast(tf.size(x), x.dtype)
        return tf.sign(tf.sign(x + threshold) + tf.sign(x - threshold))
    return _sign(tf, x)


def quantize_kernels(tf, model):
    """Make the kernels of a model of stand-ins those that Larq's layers compute with, made anew at each call there."""
    for layer in model.submodules:
        for argument, kernel in LAYERS.get(type(layer).__name__, ("", {}))[1].items():
            found = quantizer(layer.larqs_own().get(argument))
            if found is not None:
                weights = getattr(layer, kernel)
                weights.assign(quantized(tf, found[0], tf.convert_to_tensor(weights), found[1]))


def stand_ins(tf, keras):
    """Return what Keras 2 is to make of each of Larq's names, where a file has it.

    The layers are Keras' own, with the input quantizer and the padding of Larq's; `quantize_kernels` does the rest.

    Args:
        tf: The module of TensorFlow.
        keras: The module of Keras 2.
    """

    class Quantizer(keras.layers.Layer):
        def __init__(self, **given):
            own = {name: given.pop(name) for name in QUANTIZERS[type(self).__name__][1] if name in given}
            super().__init__(**given)
            self.larq = json.dumps(own)  # a dictionary would be a part of the model for Keras

        def call(self, inputs):
            return quantized(tf, type(self).__name__, inputs, json.loads(self.larq))

        def get_config(self):
            return {**super().get_config(), **json.loads(self.larq)}

    class QuantizedLayer:
        def __init__(self, *args, **given):
            given.pop("metrics", None)  # of earlier versions of Larq
            own = {name: given.pop(name) for name in [*given] if name == "pad_values" or name.endswith("_quantizer")}
            own = {name: getattr(value, "__name__", value) for name, value in own.items()}  # Keras has put functions for names
            super().__init__(*args, **given)
            self.larq = json.dumps(own)

        def larqs_own(self):
            return json.loads(self.larq)

        def call(self, inputs):
            own = self.larqs_own()
            found = quantizer(own.get("input_quantizer"))
            if found is not None:
                inputs = quantized(tf, found[0], inputs, found[1])
            if not own.get("pad_values") or self.padding != "same":
                return super().call(inputs)
            inputs = tf.pad(inputs, _paddings(tf, self, inputs), constant_values=own["pad_values"])
            self.padding = "valid"
            outputs = super().call(inputs)
            self.padding = "same"
            return outputs

        def get_config(self):
            return {**super().get_config(), **self.larqs_own()}

    class WeightClip(keras.constraints.Constraint):
        def __init__(self, clip_value=1.0):
            self.clip_value = clip_value

        def get_config(self):
            return {"clip_value": self.clip_value}

    def function(name):
        def of_larq(x):
            return tf.clip_by_value(x, -1, 1) if name == "hard_tanh" else quantized(tf, FUNCTIONS[name], x, {})

        of_larq.__name__ = name  # under which Keras saves it
        return of_larq

    return {
        **{kind: type(kind, (Quantizer,), {}) for kind in QUANTIZERS},
        **{kind: type(kind, (QuantizedLayer, getattr(keras.layers, base)), {}) for kind, (base, _) in LAYERS.items()},
        **{kind: type(kind, (WeightClip,), {}) for kind in CONSTRAINTS},
        **{name: function(name) for name in FUNCTIONS},
    }


def _paddings(tf, layer, inputs):
    """Return the border of "same", as Larq has it."""
    shape = inputs.shape if inputs.shape[1:].is_fully_defined() else tf.shape(inputs)
    sides = []
    axes = zip(layer.kernel_size, layer.strides, layer.dilation_rate, strict=True)
    for axis, (kernel, stride, dilation) in enumerate(axes, 1):
        outputs = (shape[axis] + stride - 1) // stride
        total = tf.maximum((outputs - 1) * stride + (kernel - 1) * dilation + 1 - shape[axis], 0)
        sides.append((total // 2, total - total // 2))
    return [(0, 0), *sides, (0, 0)]
