"""The schema may come from TensorFlow, LiteRT or larq-compute-engine: what is read and written with it is the same."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
from engines import needs_lce
from written_files import Writer, small_file

from bitat_tf.tflite_file import content as file_content
from bitat_tf.tflite_file import read
from bitat_tf.tflite_file.schema import load_schema, schema

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").rglob("*.tflite"))
FACTS = {"format": 1, "name": "net", "expected_binary": 2, "classes": ["a", "b"]}


def schema_of_lce():
    folder = Path(importlib.util.find_spec("larq_compute_engine").origin).parent
    spec = importlib.util.spec_from_file_location("lce_schema", folder / "mlir" / "python" / "tflite_schema.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SOURCES = {
    "tensorflow": lambda: load_schema("tensorflow"),
    "litert": lambda: load_schema("ai_edge_litert"),
    "larq-compute-engine": schema_of_lce,
}


@pytest.fixture(params=["tensorflow", "litert", pytest.param("larq-compute-engine", marks=needs_lce)])
def other_schema(request, monkeypatch):
    """Let files be read and written with another package's schema."""
    found = SOURCES[request.param]()
    if found is None:
        pytest.skip(f"{request.param} is not installed")
    monkeypatch.setattr(file_content, "schema", found)


def quantized_file():
    """Return a file with everything that a file of ours may have beside operators: a grid, a signature, any batch size."""
    writer = Writer(dynamic=True)
    number = writer.input((2, 3), "picture", kind="INT8")
    writer.grid(number, 0.5, 3)
    writer.signature(["picture"])
    return writer.content(writer.flatten(number, "INT8"))


@pytest.mark.parametrize("write", [small_file, quantized_file])
def test_a_seal_is_the_same_whatever_schema_wrote_it(write, other_schema, monkeypatch):
    content = write()
    sealed = file_content.sealed(file_content.parse(content), FACTS)
    monkeypatch.setattr(file_content, "schema", schema)
    assert file_content.sealed(file_content.parse(content), FACTS) == sealed
    assert file_content.check_seal(sealed)
    assert file_content.facts(file_content.parse(sealed)) == FACTS


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_sealed_files_of_earlier_versions_come_back_byte_by_byte(path, other_schema):
    content = path.read_bytes()
    assert file_content.serialize(file_content.parse(content)) == content
    assert read(path).sealed


def test_nothing_else_of_tensorflow_is_loaded():
    code = "import sys, bitat_tf.tflite_file; print([name for name in ('tensorflow', 'keras') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[]", done.stderr


def test_where_neither_package_is_there_it_says_so():
    code = "import sys; sys.modules['tensorflow'] = sys.modules['ai_edge_litert'] = None; import bitat_tf.tflite_file"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "ImportError: bitat_tf reads .tflite files with the schema in tensorflow or ai_edge_litert, and found neither" in (
        done.stderr
    )
