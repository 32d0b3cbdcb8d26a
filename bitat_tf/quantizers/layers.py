"""Larq's quantizers as layers, and `get`."""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from bitat_tf._validation import check_number
from bitat_tf.quantizers.functions import approx_sign, ste_sign, ste_tern, swish_sign


class Quantizer(keras.layers.Layer):
    """Base class of quantizers that are layers.

    Attributes:
        precision: Bits of the output.

    Examples:
        >>> SteSign().precision, SteTern().precision
        (1, 2)
    """

    precision: int | None = None

    def compute_output_shape(self, input_shape):
        """Return the shape of the input."""
        return input_shape


@keras.saving.register_keras_serializable(package="bitat_tf")
class SteSign(Quantizer):
    """`ste_sign` as a layer.

    Args:
        clip_value: As in `ste_sign`. Default 1.
        **kwargs: Keyword arguments of a Keras layer.

    Examples:
        >>> np.asarray(SteSign()(np.array([[-0.5, 0.0]]))).tolist()
        [[-1.0, 1.0]]
    """

    precision = 1

    def __init__(self, clip_value: float | None = 1.0, **kwargs):
        super().__init__(**kwargs)
        if clip_value is not None:
            check_number(type(self).__name__, "clip_value", clip_value)
        self.clip_value = clip_value

    def call(self, inputs):
        """Return the signs."""
        return ste_sign(inputs, self.clip_value)

    def get_config(self):
        """Return the arguments of the constructor."""
        return {**super().get_config(), "clip_value": self.clip_value}


@keras.saving.register_keras_serializable(package="bitat_tf")
class ApproxSign(Quantizer):
    """`approx_sign` as a layer.

    Examples:
        >>> np.asarray(ApproxSign()(np.array([[-0.5, 0.0]]))).tolist()
        [[-1.0, 1.0]]
    """

    precision = 1

    def call(self, inputs):
        """Return the signs."""
        return approx_sign(inputs)


@keras.saving.register_keras_serializable(package="bitat_tf")
class SwishSign(Quantizer):
    """`swish_sign` as a layer.

    Args:
        beta: As in `swish_sign`. Default 5.
        **kwargs: Keyword arguments of a Keras layer.

    Examples:
        >>> np.asarray(SwishSign()(np.array([[-0.5, 0.0]]))).tolist()
        [[-1.0, 1.0]]
    """

    precision = 1

    def __init__(self, beta: float = 5.0, **kwargs):
        super().__init__(**kwargs)
        self.beta = beta

    def call(self, inputs):
        """Return the signs."""
        return swish_sign(inputs, self.beta)

    def get_config(self):
        """Return the arguments of the constructor."""
        return {**super().get_config(), "beta": self.beta}


@keras.saving.register_keras_serializable(package="bitat_tf")
class MagnitudeAwareSign(SteSign):
    r"""Signs times their mean magnitude, one an output channel, as `larq.quantizers.MagnitudeAwareSign`.

    \[ q(w)_{\cdot m} = \alpha_m \, \mathrm{sign}(w_{\cdot m}), \qquad \alpha_m = \mathrm{mean} |w_{\cdot m}| \]

    alpha counts as a constant for the gradient, which is that of `ste_sign`.

    Args:
        clip_value: As in `ste_sign`. Default 1.
        **kwargs: Keyword arguments of a Keras layer.

    Examples:
        >>> np.asarray(MagnitudeAwareSign()(np.array([[-0.5, 1.0], [0.25, -3.0]]))).tolist()
        [[-0.375, 2.0], [0.375, -2.0]]

    References:
        - [Bi-Real Net](https://arxiv.org/abs/1808.00278), section 3.3
    """

    @staticmethod
    def scale(kernel):
        """Return alpha of a kernel of shape (..., m), shape (m,)."""
        return ops.stop_gradient(ops.mean(ops.abs(kernel), axis=tuple(range(len(kernel.shape) - 1))))

    def call(self, inputs):
        """Return alpha times the signs."""
        return self.scale(inputs) * ste_sign(inputs, self.clip_value)


@keras.saving.register_keras_serializable(package="bitat_tf")
class SteTern(Quantizer):
    """`ste_tern` as a layer.

    Args:
        threshold_value, ternary_weight_networks, clip_value: As in `ste_tern`.
        **kwargs: Keyword arguments of a Keras layer.

    Examples:
        >>> np.asarray(SteTern()(np.array([[-0.5, 0.01]]))).tolist()
        [[-1.0, 0.0]]
    """

    precision = 2

    def __init__(
        self,
        threshold_value: float = 0.05,
        ternary_weight_networks: bool = False,
        clip_value: float | None = 1.0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.threshold_value = threshold_value
        self.ternary_weight_networks = ternary_weight_networks
        self.clip_value = clip_value

    def call(self, inputs):
        """Return -1, 0 and +1."""
        return ste_tern(inputs, self.threshold_value, self.ternary_weight_networks, self.clip_value)

    def get_config(self):
        """Return the arguments of the constructor."""
        own = {name: getattr(self, name) for name in ("threshold_value", "ternary_weight_networks", "clip_value")}
        return {**super().get_config(), **own}


_NAMED = {
    "ste_sign": SteSign,
    "approx_sign": ApproxSign,
    "swish_sign": SwishSign,
    "magnitude_aware_sign": MagnitudeAwareSign,
    "ste_tern": SteTern,
}


def get(identifier: Any) -> Quantizer | Callable | None:
    """Return a quantizer from its name, its configuration, or as it is.

    Args:
        identifier: None; "ste_sign", "approx_sign", "swish_sign", "magnitude_aware_sign" or "ste_tern", or the name of the
            class, as in Larq; what Keras saves of a quantizer; a layer; a function of a tensor.

    Raises:
        ValueError: If the name is unknown.
        TypeError: If it is none of these.

    Examples:
        >>> get("ste_sign").name.startswith("ste_sign"), get("SwishSign").beta
        (True, 5.0)
    """
    if isinstance(identifier, dict):
        identifier = keras.saving.deserialize_keras_object(identifier)
    if isinstance(identifier, str):
        classes = {**_NAMED, **{kind.__name__: kind for kind in _NAMED.values()}}
        if identifier not in classes:
            raise ValueError(
                f"Unknown quantizer. Expected: one of {', '.join(map(repr, _NAMED))}, a layer of bitat_tf.quantizers or a "
                f"function. Received: {identifier!r}."
            )
        return classes[identifier]()
    if identifier is None or callable(identifier):
        return identifier
    raise TypeError(f"A quantizer must be a name, a layer or a function. Received: {identifier!r}.")
