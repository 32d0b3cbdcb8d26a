"""Random networks through `binarize`, `check` and the export: same outputs in float state, and a file that does the same."""

import numpy as np
import pytest
from file_against_keras import check_file

from bitat_tf import binarize, check, plan_binarization
from bitat_tf.layers import RPReLU, binary_layers
from bitat_tf.model_graph import CallGraph
from tests.random_networks import RandomNetwork

FAST, SLOW, ALL = 3, 60, 300


def marks(seed):
    """Return the marks of a random network: most are for `make test-slow` only."""
    return [] if seed < FAST else [pytest.mark.slow] if seed < SLOW else [pytest.mark.slow, pytest.mark.exhaustive]


def outputs_of(model, x) -> list[np.ndarray]:
    outputs = model(x, training=False)
    return [np.asarray(output) for output in (outputs if isinstance(outputs, (list, tuple)) else [outputs])]


def largest_relative_difference(expected, found) -> float:
    return max(float(np.abs(a - b).max() / max(float(np.abs(a).max()), 1e-6)) for a, b in zip(expected, found, strict=True))


@pytest.mark.parametrize("seed", [pytest.param(seed, marks=marks(seed)) for seed in range(ALL)])
def test_random_network(seed):
    network = RandomNetwork(seed)
    model = network.build()
    x = network.inputs(model)
    options = {
        "activation": network.choose(("keep", "rprelu")),
        "depthwise": network.choose(("keep", "expand")),
        "first_and_last": network.random.random() < 0.2,
    }
    expected = outputs_of(model, x)
    before = [weight.copy() for weight in model.get_weights()]

    if not plan_binarization(model, first_and_last=options["first_and_last"], depthwise=options["depthwise"]).binary:
        # A network of a first and a last layer has none that can become binary; the message says so for each.
        with pytest.raises(ValueError, match=r"can be made binary\. Received: stem: the first layer"):
            binarize(model, verbose=0, **options)
        return
    binary = binarize(model, verbose=0, **options)

    # The same outputs in float state, and the model that was given is as it was.
    assert largest_relative_difference(expected, outputs_of(binary, x)) < 1e-4
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))

    for layer in binary_layers(binary):
        layer.input_quantizer.threshold.assign(network.random.normal(0, 0.3, layer.input_quantizer.threshold.shape))
        layer.set_binary()
        # Latent zeros of an expanded depthwise convolution become +1: so do they in the file.
    for call in CallGraph(binary).calls:
        if isinstance(call.layer, RPReLU):
            weights = call.layer.get_weights()
            call.layer.set_weights([network.random.normal(0, 0.3, weight.shape) for weight in weights])
    assert check(binary).ok
    check_file(binary, x if isinstance(x, list) else [x])
