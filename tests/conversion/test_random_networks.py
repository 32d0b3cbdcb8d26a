"""Random networks through `binarize`, `check`, `fold` and the converter: same outputs, every prediction against the file."""

import numpy as np
import pytest
from engines import converted_by_lce

from bitat_tf import binarize, check, plan_binarization, summary
from bitat_tf.export import fold, to_plain_larq
from bitat_tf.export.intermediate import Comparison
from bitat_tf.layers import RPReLU, binary_layers
from bitat_tf.model_graph import CallGraph
from bitat_tf.tflite_file.running import run
from tests.file_kernels import expected_kernels, kernels_in_file
from tests.random_networks import RandomNetwork

FAST, ALL = 10, 300


def marks(seed):
    """Return the marks of a random network: those after the first few are for `make test-slow` only."""
    return [] if seed < FAST else [pytest.mark.slow, pytest.mark.exhaustive]


def outputs_of(model, x) -> list[np.ndarray]:
    outputs = model(x, training=False)
    return [np.asarray(output) for output in (outputs if isinstance(outputs, (list, tuple)) else [outputs])]


def largest_relative_difference(expected, found) -> float:
    return max(float(np.abs(a - b).max() / max(float(np.abs(a).max()), 1e-6)) for a, b in zip(expected, found, strict=True))


@pytest.mark.parametrize("seed", [pytest.param(seed, marks=marks(seed)) for seed in range(ALL)])
def test_random_network(seed, record_property):
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
    folded = fold(to_plain_larq(binary))
    content = converted_by_lce(folded)

    # Every convolution and dense layer is found in the file, as the operator that `summary` names.
    layers = [call.layer for call in CallGraph(binary).calls]
    operators = [row.kernel for row in summary(binary).rows]
    predicted = expected_kernels(pair for pair in zip(layers, operators, strict=True) if pair[1])
    assert kernels_in_file(content) == predicted

    found_outputs, wanted = outputs_of(folded, x), outputs_of(binary, x)
    close = [close_samples(*pair) for pair in zip(wanted, found_outputs, strict=True)]
    # A value on a threshold may round to the other side.
    assert np.mean(close) >= 0.5
    if len(binary.inputs) == len(binary.outputs) == 1:
        comparison = Comparison(folded, content)
        close = close_samples(outputs_of(folded, x)[0], run(content, x)[0])
        partings = [comparison.parting(sample, run(comparison.content, sample[None])) for sample in x]
        record_property("on_threshold", sum(parting is not None for parting in partings))
        assert not [parting for parting in partings if parting is not None and not parting.explained]
        # Where nothing parts inside, neither do the outputs.
        assert all(same for same, parting in zip(close, partings, strict=True) if parting is None)


def close_samples(wanted: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Return which samples are the same to rounding."""
    differences = np.abs(found - wanted).reshape(len(wanted), -1).max(axis=1)
    return differences < 1e-3 * max(float(np.abs(wanted).max()), 1e-6)
