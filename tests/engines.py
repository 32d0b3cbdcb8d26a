"""The engines that are installed here, for tests that hold files against all of them."""

import pytest

from bitat_tf.tflite_file.engines import LCE, RUNTIME, available_engines, engine_obstacle

HAS_LCE, HAS_RUNTIME = LCE in available_engines(), RUNTIME in available_engines()
needs_lce = pytest.mark.skipif(not HAS_LCE, reason=f"{LCE} {engine_obstacle(LCE)}")
needs_runtime = pytest.mark.skipif(not HAS_RUNTIME, reason=f"{RUNTIME} {engine_obstacle(RUNTIME)}")
needs_both = pytest.mark.skipif(not (HAS_LCE and HAS_RUNTIME), reason="one of the two engines is not installed")
needs_one = pytest.mark.skipif(not available_engines(), reason="nothing runs files here")


def larq_compute_engine():
    """Return larq-compute-engine, or skip the test."""
    return pytest.importorskip("larq_compute_engine")


def converted_by_lce(model) -> bytes:
    """Return the file of a plain or float network, as larq-compute-engine's own converter writes it, or skip the test."""
    larq_compute_engine()
    from bitat_tf.export.larq_converter import converted_by_larq

    return converted_by_larq(model)


def run_everywhere(content, inputs, program=None):
    """Yield the name of each engine and the outputs that it gives for a file, shape (n, ...) each.

    Args:
        content: The file.
        inputs: An array for each of its inputs.
        program: What it was written from: larq-compute-engine is left out where it has no kernel for it.
    """
    given = inputs if len(inputs) > 1 else inputs[0]
    if HAS_RUNTIME:
        import bitat_runtime

        yield "bitat-runtime", _listed(bitat_runtime.Interpreter(content).predict(given))
    if HAS_LCE and (program is None or _has_lce_kernels(program)):
        import larq_compute_engine as lce

        yield "larq-compute-engine", _listed(lce.testing.Interpreter(content, use_indirect_bgemm=True).predict(given))


def _has_lce_kernels(program):
    """Return whether larq-compute-engine computes all binary convolutions: no groups, and no zeros around odd channels."""
    return all(
        step.inputs[0].channels == step.kernel.shape[2] and not (step.pads_zeros and step.kernel.shape[2] % 2)
        for step in program.binary_convolutions()
    )


def _listed(outputs):
    return outputs if isinstance(outputs, list) else [outputs]
