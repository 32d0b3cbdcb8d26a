"""The operators that activations become in the file."""

import math
from typing import Any

import larq as lq

from bitat_tf._keras import keras
from bitat_tf.inspection.file_size.operators import Constant
from bitat_tf.inspection.file_size.steps import Chain, scalar
from bitat_tf.layers import RPReLU

_L = keras.layers
# Operators of an activation; "*" behind one stands for a scalar constant of its own.
_ACTIVATIONS = {
    "linear": "",
    "relu": "RELU",
    "relu6": "RELU6",
    "hard_tanh": "RELU_N1_TO_1",
    "tanh": "TANH",
    "sigmoid": "LOGISTIC",
    "softmax": "SOFTMAX",
    "elu": "ELU",
    "exponential": "EXP",
    "leaky_relu": "LEAKY_RELU",
    "swish": "LOGISTIC MUL",
    "silu": "LOGISTIC MUL",
    "gelu": "NEG MUL* Erfc MUL* MUL",
    "selu": "GREATER* MUL* EXP SUB* MUL* SELECT",
    "hard_sigmoid": "MUL* ADD* MINIMUM* RELU",
    "softplus": "EXP ADD* LOG",
    "softsign": "Softsign",
    "mish": "EXP ADD* LOG TANH MUL",
}


def activation_steps(chain: Chain, activation: Any) -> None:
    """Add the operators of an activation function or layer."""
    if activation is None:
        return
    if getattr(activation, "precision", 32) == 1:
        chain.add("LceQuantize")
        return
    start = chain.last
    steps = _ACTIVATIONS.get(getattr(activation, "__name__", ""), "RELU").split()
    for number, step in enumerate(steps):
        kind, constants = step.rstrip("*"), [scalar()] if step.endswith("*") else []
        joins_start = number and not constants and kind in ("MUL", "ADD", "SELECT")
        chain.add(kind, constants, inputs=[chain.last, start] if joins_start else None)


def _rprelu(chain: Chain) -> None:
    layer, channels = chain.call.layer, chain.input_shape[-1]
    name = len(layer.name) + len("/shift_before")
    chain.add("SUB", [Constant(channels, name=name, value=("before", id(layer)))])
    _prelu(chain, layer.prelu)
    chain.add("ADD", [Constant(channels, name=name, value=("after", id(layer)))])


def _prelu(chain: Chain, layer: Any = None) -> None:
    alpha = (chain.call.layer if layer is None else layer).alpha
    chain.add("PRELU", [Constant(math.prod(alpha.shape), len(alpha.shape), value=("alpha", id(alpha)))])


def _relu(chain: Chain) -> None:
    layer = chain.call.layer
    highest = None if layer.max_value is None else float(layer.max_value)
    if float(layer.threshold):
        _threshold(chain)
    elif float(layer.negative_slope):
        chain.add("LEAKY_RELU")
    elif highest is None or highest == 6.0:
        chain.add("RELU6" if highest else "RELU")
    else:
        chain.add("RELU")
        chain.add("MINIMUM", [scalar()])
        chain.add("RELU")


def _threshold(chain: Chain) -> None:
    start = chain.last
    chain.add("GREATER", [scalar()])
    chain.add("CAST")
    chain.add("MUL", inputs=[start, chain.last])


def _activation(chain: Chain) -> None:
    activation_steps(chain, chain.call.layer.activation)
    if not chain.operators:
        chain.add("")


def _sign(chain: Chain) -> None:
    activation_steps(chain, chain.call.layer)


ACTIVATION_RULES = (
    (RPReLU, _rprelu),
    (_L.PReLU, _prelu),
    (_L.ReLU, _relu),
    (_L.ThresholdedReLU, _threshold),
    (_L.LeakyReLU, lambda chain: chain.add("LEAKY_RELU")),
    (_L.ELU, lambda chain: chain.add("ELU")),
    (_L.Softmax, lambda chain: chain.add("SOFTMAX")),
    (_L.Activation, _activation),
    (lq.quantizers.Quantizer, _sign),
)
