"""What runs files: which engine is taken, that both do what the formula says, and what is said where none is there."""

import sys

import numpy as np
import pytest
from engines import needs_both, needs_lce, needs_one, needs_runtime
from written_files import Writer, binary_file, expected_convolution

import bitat_tf
from bitat_tf.tflite_file import MissingEngineError, running
from bitat_tf.tflite_file.content import parse, sealed, serialize
from bitat_tf.tflite_file.engines import (
    ENGINES,
    LCE,
    RUNTIME,
    Engine,
    available_engines,
    default_engine,
    engine_obstacle,
    run_tflite,
)
from bitat_tf.tflite_file.inputs import on_grid, stored_inputs

BOTH = [pytest.param(RUNTIME, marks=needs_runtime), pytest.param(LCE, marks=needs_lce)]


def samples(*shape, count=5):
    return np.random.default_rng(0).normal(size=(count, *(shape or (8, 8, 64)))).astype(np.float32)


def close(found, expected):
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("engine", BOTH)
def test_a_file_gives_what_the_formula_gives(engine):
    content, formula = binary_file()
    close(run_tflite(content, samples(), engine), formula(samples()))


def several(batch=1, dynamic=False, integers=None):
    """Return a file of two inputs, b before a, and three outputs, and the formula of these."""
    writer = Writer(batch, dynamic)
    b, a = (writer.input((6, 6, channels), f"serving_{name}:0") for name, channels in (("b", 40), ("a", 8)))
    (y, of_b), (x, of_a) = (
        writer.binary_convolution(writer.quantize(number), channels, 16) for number, channels in ((b, 40), (a, 8))
    )
    writer.signature(("b", "a"))

    def formula(in_a, in_b):
        out_a, out_b = expected_convolution(in_a, *of_a), expected_convolution(in_b, *of_b)
        return [out_a, out_a + out_b, out_b]

    return writer.content(x, writer.add(x, y), y), formula


@pytest.mark.parametrize("engine", BOTH)
@pytest.mark.parametrize(("batch", "dynamic"), [(1, False), (1, True), (4, False)], ids=["one", "any", "four"])
def test_several_inputs_and_outputs_in_the_order_of_the_file(batch, dynamic, engine):
    content, formula = several(batch, dynamic)
    in_a, in_b = samples(6, 6, 8), samples(6, 6, 40)
    runner = Engine("here", engine)
    found = runner.run("a file", content, [in_b, in_a])
    for one, expected in zip(found, formula(in_a, in_b), strict=True):
        close(one, expected)
    assert runner.description.startswith(engine)
    assert all(map(np.array_equal, run_tflite(content, {"a": in_a, "b": in_b}, engine), found))


@pytest.mark.parametrize("names", [("a", "b"), ("serving_a:0", "serving_b:0"), ("a", "serving_b:0")])
def test_inputs_go_by_the_names_of_the_model_and_of_the_file(names):
    in_a, in_b = samples(6, 6, 8), samples(6, 6, 40)
    found = stored_inputs("here", parse(several()[0]), dict(zip(names, (in_a, in_b), strict=True)))
    assert [array.shape for array in found] == [in_b.shape, in_a.shape]
    assert all(map(np.array_equal, found, (in_b, in_a)))


@needs_both
def test_without_a_name_it_is_bitat_runtime():
    runner = Engine("here")
    assert (runner.name, default_engine("here"), available_engines()) == (RUNTIME, RUNTIME, ENGINES)
    runner.run("a file", binary_file()[0], [samples()])
    import bitat_runtime

    kernels = bitat_runtime.kernel_families()[-1]
    assert runner.description.startswith(f"bitat-runtime {bitat_runtime.__version__} ({kernels}) in ")


@pytest.fixture
def hidden(monkeypatch):
    """Return a function that makes packages look as if they were not installed."""

    def hide(*packages):
        for package in packages:
            monkeypatch.setitem(sys.modules, package, None)

    return hide


@needs_lce
def test_without_bitat_runtime_it_is_larq_compute_engine(hidden):
    hidden("bitat_runtime")
    assert (Engine("here").name, available_engines()) == (LCE, (LCE,))
    content, formula = binary_file()
    close(run_tflite(content, samples()), formula(samples()))


def test_without_both_the_message_says_how_bitat_runtime_is_installed(hidden, tmp_path):
    hidden("bitat_runtime", "larq_compute_engine")
    assert available_engines() == ()
    message = (
        r"run_tflite runs a file, which needs bitat-runtime. It is not installed: `pip install ./runtime` in a checkout of "
        r"bitat_tf\.$"
    )
    with pytest.raises(MissingEngineError, match=message):
        run_tflite(binary_file()[0], samples())
    # To look into a file nothing needs to run.
    (tmp_path / "model.tflite").write_bytes(binary_file()[0])
    report = bitat_tf.tflite_file.inspect(tmp_path / "model.tflite")
    assert (report.engine, report.loadable, report.totals.binary_convolutions) == (None, None, 1)
    assert "loadable        not tried: neither bitat-runtime nor larq-compute-engine is installed" in str(report)


def test_one_that_is_named_and_not_there(hidden):
    hidden("bitat_runtime", "larq_compute_engine")
    with pytest.raises(MissingEngineError, match=r"^verify: engine='bitat-runtime' needs bitat-runtime, which is not inst.*\."):
        Engine("verify", RUNTIME)
    with pytest.raises(MissingEngineError, match="engine='larq-compute-engine' needs larq-compute-engine, which is not inst"):
        Engine("verify", LCE)
    with pytest.raises(
        ValueError, match="verify: `engine` must be one of 'bitat-runtime', 'larq-compute-engine'. Received: engine='larq'"
    ):
        Engine("verify", "larq")


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
    with pytest.raises(MissingEngineError, match=message):
        Engine("verify", RUNTIME)
    assert RUNTIME not in available_engines()
    assert engine_obstacle(RUNTIME)


@pytest.mark.parametrize("engine", BOTH)
def test_what_it_refuses_is_told_in_a_line(engine):
    model = parse(binary_file()[0])
    for code in model.operatorCodes:
        code.customCode = b"LceUnknown" if code.customCode == b"LceBconv2d" else code.customCode
    with pytest.raises(running.ChildFailure, match="LceUnknown") as refused:
        running.run(serialize(model), [samples(count=1)], engine)
    assert "\n" not in refused.value.reason
    assert not refused.value.crashed
    with pytest.raises(ValueError, match=rf"^run_tflite: {engine}.* could not run the file: .*LceUnknown.*\.$"):
        run_tflite(serialize(model), samples(), engine)


@pytest.mark.parametrize("engine", BOTH)
@pytest.mark.parametrize("kind", ["INT8", "UINT8"])
def test_values_go_onto_the_grid_of_an_integer_input(kind, engine):
    """A file that gives back what it is given: no arithmetic is between the two."""
    writer = Writer()
    number = writer.input((2, 3), kind=kind)
    output = writer.flatten(number, kind)
    for tensor in (number, output):
        writer.grid(tensor, 0.5, 3)
    values = np.array([[[0.0, 1.0, -2.0], [0.74, 0.76, 1e9]]])
    found = run_tflite(writer.content(output), values, engine)
    low, high = np.iinfo(kind.lower()).min, np.iinfo(kind.lower()).max
    assert found.tolist() == [[3, 5, max(-1, low), 4, 5, high]]


def test_bytes_of_pictures_stay_as_they_are():
    pixels = np.array([0.0, 127.4, 255.0])
    assert on_grid(pixels, np.dtype("uint8"), 0.1, 7, takes_bytes=True).tolist() == [0, 127, 255]
    assert on_grid(pixels, np.dtype("int8"), 0.1, 7, takes_bytes=True).tolist() == [-128, -1, 127]


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (lambda a, b: [b], "the file has 2 inputs, so a list of 2 arrays is expected, or a dict of them. Received: 1"),
        (lambda a, b: {"a": a}, "expected a dict with arrays for 'b', 'a'. Received: 'a'"),
        (lambda a, b: {"a": a, "c": b}, "expected a dict with arrays for 'b', 'a'. Received: 'a', 'c'"),
        (
            lambda a, b: [a, b],
            r"'serving_b:0' must have the shape \(n >= 1, 6, 6, 40\).*Received: \(5, 6, 6, 8\), \(5",
        ),
        (lambda a, b: [b, a[:2]], r"'serving_a:0' must have .* with the same n for all inputs. Received: .*\(2, 6, 6, 8\)"),
        (lambda a, b: [b[:0], a[:0]], "must have the shape"),
    ],
    ids=["too few", "missing", "unknown", "swapped", "of two lengths", "none"],
)
def test_inputs_that_do_not_fit(inputs, message):
    with pytest.raises(ValueError, match=f"here: .*{message}"):
        stored_inputs("here", parse(several()[0]), inputs(samples(6, 6, 8), samples(6, 6, 40)))


@needs_one
def test_files_of_the_user_are_not_in_its_way(tmp_path, monkeypatch):
    """Modules in the folder that the user works in, of the names of those that the process needs."""
    for name in ("numpy", "json", "bitat_tf", "flatbuffers"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit(5)\n")
    monkeypatch.chdir(tmp_path)
    content, formula = binary_file()
    close(run_tflite(sealed(parse(content), {}), samples()), formula(samples()))
