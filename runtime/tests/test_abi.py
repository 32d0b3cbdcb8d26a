"""The declarations of TFLite's C structs against the interpreters that are installed.

No wheel of TensorFlow or LiteRT ships `tensorflow/lite/core/c/common.h`. So a delegate that is compiled with the declarations
tells what it sees of a graph, and that must be what the file and the interpreter's own interface say of it: wrong offsets show.
Where a header is found all the same, offsets are compared with it as well.
"""

import ctypes
import importlib.util
import shutil
import site
import subprocess
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

RUNTIME = Path(__file__).parents[1]
SOURCE = RUNTIME / "src"
TYPES = {1: np.float32, 2: np.int32, 4: np.int64, 6: np.bool_, 9: np.int8}
ADD, AVERAGE_POOL, CONCATENATION = 0, 1, 2
REPORT = ctypes.CFUNCTYPE(None, ctypes.c_char_p)

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="there is no C++ compiler")


def interpreters():
    names = ["tensorflow", *(["litert"] if importlib.util.find_spec("ai_edge_litert") else [])]
    return names


def interpreter_class(name):
    if name == "tensorflow":
        return tf.lite.Interpreter
    from ai_edge_litert.interpreter import Interpreter

    return Interpreter


class Probe:
    """The delegate of tests/native/layout_probe.cc."""

    def __init__(self, library):
        self.lines = []
        self._report = REPORT(lambda line: self.lines.append(line.decode()))
        create = ctypes.CDLL(str(library)).tflite_plugin_create_delegate
        create.restype = ctypes.c_void_p
        create.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, REPORT]
        self._delegate = create(None, None, 0, self._report)

    def _get_native_delegate_pointer(self):
        return self._delegate

    def rows(self, kind):
        return [line.split("|")[1:] for line in self.lines if line.startswith(kind)]


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    path = tmp_path_factory.mktemp("probe") / "probe.so"
    source = RUNTIME / "tests" / "native" / "layout_probe.cc"
    subprocess.run(["g++", "-std=c++17", "-shared", "-fPIC", f"-I{SOURCE}", source, "-o", path], check=True)
    return path


@pytest.fixture(scope="module")
def quantized_file():
    """A network of built-in operators with int8 tensors, ADD, CONCATENATION and AVERAGE_POOL_2D."""
    inputs = tf.keras.Input((8, 8, 4))
    x = tf.keras.layers.Conv2D(4, 3, padding="same")(inputs)
    x = tf.keras.layers.AveragePooling2D((2, 1), (2, 1))(tf.keras.layers.Add()([x, inputs]))
    model = tf.keras.Model(inputs, tf.keras.layers.Concatenate()([x, tf.keras.layers.ReLU()(x)]))
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    samples = np.random.default_rng(0).standard_normal((8, 1, 8, 8, 4)).astype(np.float32)
    converter.representative_dataset = lambda: ([sample] for sample in samples)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    return converter.convert()


def seen(name, library, content, threads):
    probe = Probe(library)
    interpreter = interpreter_class(name)(model_content=content, num_threads=threads, experimental_delegates=[probe])
    return probe, interpreter


@pytest.mark.parametrize("name", interpreters())
@pytest.mark.parametrize("threads", [1, 3])
def test_context(name, threads, library, quantized_file):
    probe, interpreter = seen(name, library, quantized_file, threads)
    ((tensors, recommended, functions),) = probe.rows("context")
    assert int(recommended) == threads
    assert int(tensors) == len(probe.rows("tensor")) >= len(interpreter.get_tensor_details()) > 5
    assert functions == "1"


@pytest.mark.parametrize("name", interpreters())
def test_tensors(name, library, quantized_file):
    probe, interpreter = seen(name, library, quantized_file, 1)
    rows = {int(row[0]): row[1:] for row in probe.rows("tensor")}
    quantized = constants = 0
    for details in interpreter.get_tensor_details():
        text, kind, shape, size, allocation, scale, zero_point, affine_scale, has_data, variable = rows[details["index"]]
        assert text == details["name"]
        assert TYPES[int(kind)] == details["dtype"]
        assert tuple(int(one) for one in shape.split(",") if one) == tuple(details["shape"])
        assert np.float32(scale) == np.float32(details["quantization"][0])
        assert int(zero_point) == details["quantization"][1]
        scales = details["quantization_parameters"]["scales"]
        assert np.float32(affine_scale) == (scales[0] if len(scales) else 0)
        quantized += len(scales) > 0
        if allocation == "1":  # in the file
            assert int(size) == np.prod(details["shape"], dtype=int) * np.dtype(details["dtype"]).itemsize
            assert has_data == "1"
            constants += 1
        assert variable == "0"
    assert quantized >= 5
    assert constants >= 2


@pytest.mark.parametrize("name", interpreters())
def test_nodes(name, library, quantized_file):
    probe, interpreter = seen(name, library, quantized_file, 1)
    rows = probe.rows("node")
    operators = [one for one in interpreter._get_ops_details() if one["op_name"] != "DELEGATE"]
    assert len(rows) == len(operators)
    options = {}
    for row, operator in zip(rows, operators, strict=True):
        node, custom, code, inputs, outputs, size, option = row
        assert int(node) == operator["index"]
        assert [int(one) for one in inputs.split(",")] == list(operator["inputs"])
        assert [int(one) for one in outputs.split(",")] == list(operator["outputs"])
        assert (custom, size) == ("", "0")
        options[int(code)] = option
    assert options[AVERAGE_POOL] == "1212"  # strides (2, 1) and windows (2, 1), the width first
    assert options[CONCATENATION] in ("3", "-1")
    assert options[ADD] == "0"


@pytest.mark.parametrize("name", interpreters())
def test_custom_operators(name, library, small_network):
    probe, _ = seen(name, library, small_network.content, 1)
    custom = [row for row in probe.rows("node") if row[1]]
    assert {row[1] for row in custom} == {"LceQuantize", "LceBconv2d"}
    assert all(int(row[2]) == 32 for row in custom)
    assert all(int(row[5]) > 20 for row in custom if row[1] == "LceBconv2d")


def test_headers(tmp_path):
    """Compare with the header itself, where a package ships one."""
    found = [header for folder in site.getsitepackages() for header in Path(folder).glob("*/include/*/lite/core/c/common.h")]
    if not found:
        pytest.skip("no installed package ships TFLite's common.h")
    include = found[0].parents[4]
    fields = {
        "TfLiteTensor": ("type", "data", "dims", "params", "allocation_type", "bytes", "name", "is_variable", "quantization")
    }
    fields["TfLiteNode"] = ("inputs", "outputs", "user_data", "builtin_data", "custom_initial_data", "custom_initial_data_size")
    fields["TfLiteContext"] = ("tensors_size", "tensors", "ResizeTensor", "ReportError", "recommended_num_threads")
    fields["TfLiteDelegate"] = ("data_", "Prepare", "flags")
    prints = [f'std::printf("%zu ", offsetof({kind}, {field}));' for kind, names in fields.items() for field in names]
    printed = []
    for header in (f'"{SOURCE / "abi" / "tflite.h"}"', f'"{found[0]}"'):
        program = tmp_path / "layout.cc"
        program.write_text(f"#include <cstddef>\n#include <cstdio>\n#include {header}\nint main() {{ {' '.join(prints)} }}\n")
        subprocess.run(["g++", "-std=c++17", f"-I{include}", program, "-o", tmp_path / "layout"], check=True)
        printed.append(subprocess.run([tmp_path / "layout"], check=True, capture_output=True, text=True).stdout)
    assert printed[0] == printed[1]
