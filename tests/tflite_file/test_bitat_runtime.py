"""bitat-runtime as the other thing that runs files: whether it is there, and that it does what larq-compute-engine does."""

import sys

import numpy as np
import pytest

import bitat_tf
from bitat_tf._keras import keras
from bitat_tf.tflite_file import running
from bitat_tf.tflite_file.content import parse, serialize
from bitat_tf.tflite_file.runtime import MissingRuntimeError, require_runtime, runtime_obstacle

needs_runtime = pytest.mark.skipif(runtime_obstacle() is not None, reason=f"bitat-runtime {runtime_obstacle()}")


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    """Return a file whose first operator is binary: no float one rounds before a sign."""
    path = tmp_path_factory.mktemp("file") / "model.tflite"
    inputs = keras.Input((6, 6, 32))
    x = bitat_tf.layers.BinaryConv2D(32, 3, padding="same", name="first")(inputs)
    y = bitat_tf.layers.BinaryConv2D(64, 3, name="second")(x)
    model = keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Flatten()(y)))
    for layer in bitat_tf.layers.binary_layers(model):
        layer.set_binary()
    bitat_tf.export.to_tflite(model, path, minimum_agreement=0.0)  # sums of 0 are on the second sign's threshold
    return path.read_bytes()


def samples(count=5):
    return np.random.default_rng(0).normal(size=(count, 6, 6, 32)).astype(np.float32)


@needs_runtime
def test_it_does_what_larq_compute_engine_does(content):
    (expected,) = running.run(content, samples())
    (found,), used = running.run_in_runtime(content, samples())
    assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
    # The dense layer sums its floats in another order.
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())
    import bitat_runtime

    assert used.startswith(f"bitat-runtime {bitat_runtime.__version__} ({bitat_runtime.kernel_families()[-1]}) in ")


@needs_runtime
def test_several_outputs_come_in_the_order_of_the_file(content):
    model = parse(content)
    graph = model.subgraphs[0]
    codes = [model.operatorCodes[operator.opcodeIndex].customCode for operator in graph.operators]
    # The first convolution writes bits, the second one floats.
    inner = [operator.outputs[0] for operator, code in zip(graph.operators, codes, strict=True) if code == b"LceBconv2d"][1]
    graph.outputs, model.signatureDefs = np.array([graph.outputs[0], inner], np.int32), None
    expected = running.run(serialize(model), samples())
    found, _ = running.run_in_runtime(serialize(model), samples())
    assert [one.shape for one in found] == [one.shape for one in expected] == [(5, 3), (5, 4, 4, 64)]
    np.testing.assert_array_equal(found[1], expected[1])


@needs_runtime
def test_what_it_refuses_is_told_in_a_line(content):
    model = parse(content)
    for code in model.operatorCodes:
        code.customCode = b"LceUnknown" if code.customCode == b"LceBconv2d" else code.customCode
    with pytest.raises(running.ChildFailure, match="LceUnknown") as refused:
        running.run_in_runtime(serialize(model), samples(1))
    assert "\n" not in refused.value.reason
    assert not refused.value.crashed


def test_a_package_that_is_not_there(monkeypatch):
    monkeypatch.setitem(sys.modules, "bitat_runtime", None)
    assert runtime_obstacle().startswith("is not installed: `pip install bitat-runtime`, or `pip install ./runtime`")
    with pytest.raises(MissingRuntimeError, match=r"^verify: engine='runtime' needs bitat-runtime, which is not installed: "):
        require_runtime("verify: engine='runtime'")


@needs_runtime
@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ImportError("no library"), "is installed without its library.*apt-get install g\\+\\+.*--force-reinstall"),
        (OSError("wrong ELF class"), r"its library cannot be used \(wrong ELF class\)\. Install it again: `pip install"),
        (ValueError("of version 0.0"), r"its library cannot be used \(of version 0.0\)"),
    ],
    ids=["none", "foreign", "old"],
)
def test_a_library_that_cannot_be_used(error, message, monkeypatch):
    def families():
        raise error

    monkeypatch.setattr("bitat_runtime.kernel_families", families)
    with pytest.raises(MissingRuntimeError, match=message):
        require_runtime("verify")
