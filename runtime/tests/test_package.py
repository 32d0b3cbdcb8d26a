"""The Python package: what `predict` takes and refuses, what it says of a file, profiles, engines.

Expected predictions come from larq-compute-engine's own interpreter. The networks begin with a binary operator, so that
engines differ by the rounding of the last float operators only.
"""

import copy
import importlib.util
import math
import os
import pickle
import re

import numpy as np
import pytest
from conftest import ConvertedNetwork
from lce_files import Graph

import bitat_runtime
from bitat_runtime._engines import find_engine

ENGINES = [
    pytest.param(name, marks=pytest.mark.skipif(importlib.util.find_spec(module) is None, reason=f"{module} is not installed"))
    for name, module in (("tensorflow", "tensorflow"), ("litert", "ai_edge_litert"))
]


def assert_predicted(found: np.ndarray | list[np.ndarray], network: ConvertedNetwork) -> None:
    found = found if isinstance(found, list) else [found]
    assert [(a.dtype, a.shape) for a in found] == [(a.dtype, a.shape) for a in network.outputs]
    for a, b in zip(found, network.outputs, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=2e-6 * np.abs(b).max())


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", ["small_network", "branched_network", "fixed_network", "quantized_network"])
def test_predictions_are_those_of_larq_compute_engine(name, engine, request):
    network = request.getfixturevalue(name)
    interpreter = bitat_runtime.Interpreter(network.content, num_threads=2, engine=engine)
    assert interpreter.engine == engine
    samples = network.samples if len(network.samples) > 1 else network.samples[0]
    assert_predicted(interpreter.predict(samples), network)


@pytest.mark.parametrize("kernel", bitat_runtime.kernel_families())
def test_every_kernel_gives_the_same_bits(kernel, small_network):
    interpreter = bitat_runtime.Interpreter(small_network.path, kernel=kernel)
    assert interpreter.delegate.kernel == kernel
    portable = bitat_runtime.Interpreter(str(small_network.path), kernel="portable")
    np.testing.assert_array_equal(interpreter.predict(small_network.samples[0]), portable.predict(small_network.samples[0]))


@pytest.mark.parametrize("batch_size", [1, 2, 3, 7, 100])
def test_batches_change_nothing(batch_size, small_network, branched_network):
    for network in (small_network, branched_network):
        interpreter = bitat_runtime.Interpreter(network.content)
        assert_predicted(interpreter.predict(network.samples, batch_size=batch_size), network)
        assert_predicted(interpreter.predict(network.samples), network)  # and back to the batch size of the file


def test_batches_run_at_once_where_the_file_allows_it(small_network):
    interpreter = bitat_runtime.Interpreter(small_network.content, profile=True)
    interpreter.predict(small_network.samples[0], batch_size=4)  # the first time it is tried whether they may
    interpreter.reset_profile()
    interpreter.predict(small_network.samples[0], batch_size=4)
    assert {step.runs for step in interpreter.profile()} == {2}  # 4 and 3 samples


def test_a_file_with_fixed_sizes_runs_sample_by_sample(fixed_network):
    interpreter = bitat_runtime.Interpreter(fixed_network.content)
    for batch_size in (3, None, 5):
        assert_predicted(interpreter.predict(fixed_network.samples[0], batch_size=batch_size), fixed_network)


def test_samples_may_be_an_array_a_list_a_mapping_or_an_iterator(branched_network, small_network):
    interpreter = bitat_runtime.Interpreter(branched_network.content)
    left, right = branched_network.samples
    for batch_size in (None, 2):
        assert_predicted(interpreter.predict([left, right], batch_size), branched_network)
        assert_predicted(interpreter.predict((left, right), batch_size), branched_network)
        assert_predicted(interpreter.predict({"right": right, "serving_default_left:0": left}, batch_size), branched_network)
        assert_predicted(interpreter.predict(zip(left, right, strict=True), batch_size), branched_network)
        mappings = ({"left": a, "right": b} for a, b in zip(left, right, strict=True))
        assert_predicted(interpreter.predict(mappings, batch_size), branched_network)
        alone = bitat_runtime.Interpreter(small_network.content)
        assert_predicted(alone.predict(iter(small_network.samples[0]), batch_size), small_network)
        assert_predicted(alone.predict(small_network.samples, batch_size), small_network)


def test_no_samples_give_empty_predictions(small_network, branched_network):
    assert bitat_runtime.Interpreter(small_network.content).predict(small_network.samples[0][:0]).shape == (0, 7)
    empty = bitat_runtime.Interpreter(branched_network.content).predict([a[:0] for a in branched_network.samples])
    assert [a.shape for a in empty] == [(0, *a.shape[1:]) for a in branched_network.outputs]


def test_progress_goes_to_the_error_output(small_network, capsys):
    bitat_runtime.Interpreter(small_network.content).predict(small_network.samples[0], batch_size=4, verbose=1)
    assert capsys.readouterr().err.endswith("\r4 samples\r7 samples\n")


WRONG_SAMPLES = [
    (lambda x: x[0], ValueError, r"shape \(8, 8, 40\). Expected \(samples, 8, 8, 40\). For a single sample, .*newaxis"),
    (lambda x: x[..., :39], ValueError, r"serving_default_picture:0 was given the shape \(7, 8, 8, 39\). Expected \(samples"),
    (
        lambda x: x.astype(np.float64),
        TypeError,
        r"given float64 numbers. Expected float32: pass samples.astype\(numpy.f",
    ),
    (lambda x: list(x), ValueError, r"Received 7 arrays, expected 1: .*numpy.stack"),
    (lambda x: [x.tolist()], TypeError, "was given a list. Expected a numpy array"),
    (
        lambda x: {"image": x},
        ValueError,
        r"'image', which names no input of the file. Expected arrays for \['serv",
    ),
    (lambda x: {}, ValueError, r"The inputs \['serving_default_picture:0'\] have no samples"),
    (lambda x: 3, TypeError, "samples are of the type int. Expected an array with the samples"),
    (lambda x: iter([3]), TypeError, "A sample is of the type int. Expected an array"),
    (lambda x: iter([x]), ValueError, r"given the shape \(1, 7, 8, 8, 40\)"),
    (lambda x: np.float32(3), TypeError, "samples are of the type float32"),
    (lambda x: np.array(3, np.float32), ValueError, r"given the shape \(\). Expected"),
]


@pytest.mark.parametrize(("change", "error", "message"), WRONG_SAMPLES)
def test_wrong_samples_are_refused_before_they_run(change, error, message, small_network):
    interpreter = bitat_runtime.Interpreter(small_network.content)
    with pytest.raises(error, match=message):
        interpreter.predict(change(small_network.samples[0]))


def test_wrong_samples_of_several_inputs_are_refused(branched_network):
    interpreter = bitat_runtime.Interpreter(branched_network.content)
    left, right = branched_network.samples
    with pytest.raises(ValueError, match="different numbers of samples: .*right:0': 3"):
        interpreter.predict([left, right[:3]])
    with pytest.raises(ValueError, match=r"Received 1 arrays, expected 2: one for each input, \['serving_default_left:0'"):
        interpreter.predict(left)


def test_numbers_of_a_quantized_input_are_explained(quantized_network):
    interpreter = bitat_runtime.Interpreter(quantized_network.content)
    (details,) = interpreter.input_details
    floats = np.float32(quantized_network.samples[0] - np.float32(details.zero_point)) * np.float32(details.scale)
    with pytest.raises(TypeError, match="given float32 numbers. Expected int8: pass quantized numbers: ") as caught:
        interpreter.predict(floats)
    advice = re.search(r"numbers: (numpy\..*)\.$", str(caught.value))[1]
    quantized = eval(advice, {"numpy": np, "samples": floats})  # what is advised has to be right
    np.testing.assert_array_equal(quantized, quantized_network.samples[0])


@pytest.mark.parametrize("name", ["branched_network", "quantized_network"])
def test_details_are_those_of_larq_compute_engine(name, request):
    network, lce = request.getfixturevalue(name), pytest.importorskip("larq_compute_engine")
    ours, theirs = bitat_runtime.Interpreter(network.content), lce.testing.Interpreter(network.content)
    for details, types, shapes, scales, zeros in (
        (ours.input_details, theirs.input_types, theirs.input_shapes, theirs.input_scales, theirs.input_zero_points),
        (ours.output_details, theirs.output_types, theirs.output_shapes, theirs.output_scales, theirs.output_zero_points),
    ):
        assert [d.dtype for d in details] == types
        assert [d.shape for d in details] == shapes
        assert [d.scale for d in details] == scales
        assert [d.zero_point for d in details] == zeros
    assert str(ours.input_details[0]).startswith(ours.input_details[0].name)


def test_the_profile_tells_every_step(small_network):
    interpreter = bitat_runtime.Interpreter(small_network.content, fusion="off", profile=True)
    interpreter.predict(small_network.samples[0])
    profile = interpreter.profile()
    assert [step.name for step in profile] == ["LceQuantize", "LceBconv2d", "LceQuantize", "LceBconv2d"]
    assert len({node for step in profile for node in step.nodes}) == 4
    assert {step.runs for step in profile} == {7}
    assert profile.macs == small_network.macs
    assert all(step.seconds > 0 and step.output for step in profile)
    assert math.isclose(profile.seconds_per_run, sum(step.seconds for step in profile) / 7)
    table = str(profile).splitlines()
    assert table[0].split() == ["step", "nodes", "output", "runs", "ms", "share", "G", "MAC/s"]
    assert [line.split()[0] for line in table[1:]] == ["LceQuantize", "LceBconv2d", "LceQuantize", "LceBconv2d", "sum"]
    shares = [float(line.split()[-2].rstrip("%")) for line in table[1:-1]]
    assert sum(shares) == pytest.approx(100, abs=0.3)
    interpreter.reset_profile()
    assert {step.runs for step in interpreter.profile()} == {0}
    interpreter.predict(small_network.samples[0][:2])
    assert {step.runs for step in interpreter.profile()} == {2}


def test_a_profile_without_measurements_says_so(small_network):
    interpreter = bitat_runtime.Interpreter(small_network.content)
    interpreter.predict(small_network.samples[0])
    assert {(step.runs, step.seconds) for step in interpreter.profile()} == {(0, 0.0)}
    assert "make the delegate with profile=True" in str(interpreter.profile())
    assert len(bitat_runtime.delegate().profile()) == 0
    assert "took no operator" in str(bitat_runtime.delegate().profile())


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"kernel": "sse"}, ValueError, "sse"),
        ({"fusion": "all"}, ValueError, "all"),
        ({"fusion": ["prelu", "matmul"]}, ValueError, "matmul"),
        ({"num_threads": 257}, ValueError, "257"),
        ({"num_threads": -1}, ValueError, "-1"),
        ({"num_threads": 1.5}, TypeError, "float"),
    ],
)
def test_wrong_options_of_a_delegate_are_named(options, error, message):
    with pytest.raises(error, match=message):
        bitat_runtime.delegate(**options)


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickle.dumps])
def test_what_holds_native_memory_is_not_copied(duplicate, small_network):
    interpreter = bitat_runtime.Interpreter(small_network.content)
    with pytest.raises(TypeError, match=r"Interpreter cannot be copied or pickled: .*Make another one of the same file"):
        duplicate(interpreter)
    with pytest.raises(TypeError, match=r"Delegate cannot be copied or pickled: .*bitat_runtime.delegate\(\)"):
        duplicate(interpreter.delegate)
    assert_predicted(interpreter.predict(small_network.samples[0]), small_network)


USES = {
    "kernel": lambda ended: ended.kernel,
    "last_error": lambda ended: ended.last_error,
    "profile": lambda ended: ended.profile(),
    "reset_profile": lambda ended: ended.reset_profile(),
    "an interpreter": lambda ended: find_engine(None).interpreter(
        model_content=Graph().content(), experimental_delegates=[ended]
    ),
}


@pytest.mark.parametrize("use", USES)
def test_a_delegate_that_has_ended_says_so(use):
    ended = bitat_runtime.delegate()
    ended.__del__()
    with pytest.raises(ValueError, match=r"This delegate has ended .*Make another one: bitat_runtime.delegate\(\)"):
        USES[use](ended)
    assert "has ended" in repr(ended)
    assert ended.families == bitat_runtime.kernel_families()


def test_the_path_may_be_no_utf_8(small_network, tmp_path):
    path = tmp_path / os.fsdecode(b"caf\xe9.tflite")
    path.write_bytes(small_network.content)
    assert_predicted(bitat_runtime.Interpreter(path).predict(small_network.samples[0]), small_network)


def test_numbers_of_threads_may_be_numpys(small_network):
    interpreter = bitat_runtime.Interpreter(small_network.content, num_threads=np.int64(2))
    assert_predicted(interpreter.predict(small_network.samples[0], batch_size=np.int64(3)), small_network)
    with pytest.raises(TypeError, match="float"):
        bitat_runtime.Interpreter(small_network.content, num_threads=2.0)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"num_threads": 0}, ValueError, "num_threads=0 is not a number of threads. Expected 1 or more, or None"),
        ({"engine": "onnx"}, ValueError, "engine='onnx' is no engine. Expected 'litert', 'tensorflow'"),
        ({"model": b""}, ValueError, "no bytes"),
        ({"model": b"not a file of that kind"}, ValueError, "(?i)model"),
        ({"model": "missing.tflite"}, FileNotFoundError, "missing.tflite is not a file"),
        ({"model": 3}, TypeError, "of the type int. Expected the path of a .tflite file or its bytes"),
    ],
)
def test_wrong_arguments_of_an_interpreter_are_named(options, error, message, small_network):
    with pytest.raises(error, match=message):
        bitat_runtime.Interpreter(**{"model": small_network.content} | options)


def test_the_error_of_a_refused_file_begins_with_the_operator_and_the_reason():
    graph = Graph()
    bits = graph.quantize(graph.input((1, 4, 4, 32)))
    kernel, ones = np.zeros((8, 3, 3, 1), np.int32), np.ones(8, np.float32)
    graph.outputs.append(graph.bconv(bits, kernel, channels_in=32, multiplier=ones, bias=ones, activation="TANH"))
    with pytest.raises(RuntimeError, match=r"\ALceBconv2d \(node 1\): .*activation.*\n(litert|tensorflow): "):
        bitat_runtime.Interpreter(graph.content())


def test_a_wrong_batch_size_is_named(small_network):
    with pytest.raises(ValueError, match="batch_size=0 is not a number of samples"):
        bitat_runtime.Interpreter(small_network.content).predict(small_network.samples[0], batch_size=0)


def test_without_an_engine_the_error_names_both(small_network, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"(?s)pip install ai-edge-litert.*pip install tensorflow"):
        bitat_runtime.Interpreter(small_network.content)
    with pytest.raises(ImportError, match="engine='litert' needs the package ai_edge_litert, .*pip install ai-edge-litert"):
        bitat_runtime.Interpreter(small_network.content, engine="litert")
