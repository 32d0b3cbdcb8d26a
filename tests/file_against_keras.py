"""A file of a model against Keras: outputs to rounding, the signs before each binary layer bit by bit."""

from collections import Counter

import numpy as np
import tensorflow as tf
from engines import run_everywhere

from bitat_tf.export.inside import _binary_convolutions, _divergences, _matched, _with_outputs, model_calls
from bitat_tf.export.lowering import TensorFlowOperators, convert, expand_model, lower, run, steps
from bitat_tf.tflite_file.content import serialize
from bitat_tf.tflite_file.operators import read_operators

FLOAT_KERNELS = ("CONV_2D", "FULLY_CONNECTED", "DEPTHWISE_CONV_2D")


def outputs_of(program, inputs):
    """Return what TensorFlow computes of a program."""
    tensors = run(program, [tf.constant(array) for array in inputs], TensorFlowOperators())
    return [tensors[id(output)].numpy() for output in program.outputs]


def written(program):
    """Return the content of a program's file."""
    return serialize(convert(program))


def counts(content):
    """Return how often each operator stands in a file."""
    return Counter(operator.name for operator in read_operators(content))


def assert_close(found, expected, rounding=1e-5):
    """Assert that outputs are the same to rounding, relative to the largest."""
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=rounding * max(1.0, float(np.abs(theirs).max())), rtol=0)


def check_file(model, inputs, exact=False):
    """Assert that the steps of a model, before and after folding, and its file in every engine do what Keras does.

    Args:
        model: A binarized model.
        inputs: An array for each of its inputs.
        exact: Whether all values are exact, so that no sign may differ; else those of values on a threshold may.
    """
    calls, expected = model_calls(model, inputs)
    program = lower(model)
    content = written(program)
    raw = expand_model(model)
    found = counts(content)
    assert found["LceBconv2d"] == len(calls)
    own_kernels = sum(isinstance(step, steps.Linear) for step in program.steps())
    layers = [step.layer for step in program.steps() if isinstance(step, steps.KerasCall)]
    inside_of_layers = sum(bool(getattr(layer, "weights", ())) for layer in layers)  # an operator has none
    assert own_kernels <= sum(found[name] for name in FLOAT_KERNELS) <= own_kernels + 2 * inside_of_layers

    readers = _binary_convolutions(content)
    with_signs = _with_outputs(content, [tensor for tensor, _, _ in readers])
    fell = False
    for engine, arrays in run_everywhere(with_signs, inputs, program):
        inside = [(key, channels, array) for (_, key, channels), array in zip(readers, arrays[len(expected) :], strict=True)]
        matched = _matched(calls, inside)
        assert len(matched) == len(calls), engine
        divergences = _divergences(matched, np.zeros(len(inputs[0]), bool), near=1e-5)
        # What follows a value that fell on the other side of its threshold differs too.
        assert all(one.explained for one in divergences), (engine, divergences)
        assert not (exact and divergences), (engine, divergences)
        fell = fell or bool(divergences)
        if not divergences:
            assert_close(arrays[: len(expected)], expected, 1e-4)
    if not fell:
        assert_close(outputs_of(raw, inputs), expected)
        assert_close(outputs_of(program, inputs), expected)
