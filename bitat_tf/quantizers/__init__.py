r"""Quantizers: Larq's, with its names, arguments and formulas, on any backend of Keras; and `RSign`.

Functions and layers of the same quantizer have the same name, as in Larq: `ste_sign(x)`, `SteSign()`. Binary layers take a
quantizer as its function, its layer, or its name: "ste_sign", "approx_sign", "swish_sign", "magnitude_aware_sign", "ste_tern".
"""

from bitat_tf.quantizers.functions import approx_sign, hard_tanh, ste_sign, ste_tern, swish_sign
from bitat_tf.quantizers.layers import ApproxSign, MagnitudeAwareSign, Quantizer, SteSign, SteTern, SwishSign, get
from bitat_tf.quantizers.rsign import RSign

__all__ = [
    "ApproxSign",
    "MagnitudeAwareSign",
    "Quantizer",
    "RSign",
    "SteSign",
    "SteTern",
    "SwishSign",
    "approx_sign",
    "get",
    "hard_tanh",
    "ste_sign",
    "ste_tern",
    "swish_sign",
]
