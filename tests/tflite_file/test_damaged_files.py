"""Files that are damaged or of another kind give one clean error, and never take the process with them."""

import gzip
import io
import os
import re
import zipfile

import h5py
import numpy as np
import pytest
from written_files import small_file

from bitat_tf.tflite_file import content as file_content
from bitat_tf.tflite_file import inspect, read, reading, running
from bitat_tf.tflite_file.engines import available_engines
from bitat_tf.tflite_file.schema import schema
from bitat_tf.tflite_file.structure import check_structure

FACTS = {"format": 1, "name": "net", "expected_binary": 2, "classes": [], "versions": {"larq": "0.14"}}
KINDS = ("cut", "flip", "several flips", "header", "zeros", "noise", "appended", "removed", "swapped", "doubled")
FAST = 30


@pytest.fixture(scope="module")
def plain_content():
    return small_file()


@pytest.fixture
def _engines_in_turns(seed, monkeypatch):
    """Let each engine that is installed prepare its share of the files."""
    engines = available_engines()
    chosen = (engines[seed // len(KINDS) % len(engines)],) if engines else ()
    monkeypatch.setattr(reading, "available_engines", lambda: chosen)


@pytest.fixture
def model(plain_content):
    return file_content.parse(plain_content)


@pytest.fixture(scope="module")
def sealed_content(plain_content):
    return file_content.sealed(file_content.parse(plain_content), FACTS)


def corrupted(content, seed):
    """Return damaged content; each kind of damage comes in turn, at random places."""
    generator = np.random.default_rng(seed)
    data = bytearray(content)
    kind = KINDS[seed % len(KINDS)]
    start, stop = sorted(int(place) for place in generator.integers(0, len(data), 2))
    if kind == "cut":
        data = data[:start]
    elif kind in ("flip", "several flips"):
        for place in generator.integers(0, len(data), 1 if kind == "flip" else 20):
            data[place] ^= 1 << int(generator.integers(8))
    elif kind == "header":
        data[:8] = generator.bytes(4) + (b"TFL3" if seed % 4 < 2 else generator.bytes(4))
    elif kind == "zeros":
        data[start:stop] = bytes(stop - start)
    elif kind == "noise":
        data[start : start + 64] = generator.bytes(min(64, len(data) - start))
    elif kind == "appended":
        data += generator.bytes(int(generator.integers(1, 1000)))
    elif kind == "removed":
        del data[start : start + int(generator.integers(1, 100))]
    elif kind == "swapped":
        data[start:stop] = data[start:stop][::-1]
    else:
        data[start:start] = data[start : start + int(generator.integers(4, 100))]
    return bytes(data)


def numbers(fast, total):
    """Return seeds, those after the first few for the slow tests."""
    return [
        pytest.param(seed, marks=() if seed < fast else [pytest.mark.slow, pytest.mark.exhaustive]) for seed in range(total)
    ]


@pytest.mark.usefixtures("_engines_in_turns")
@pytest.mark.parametrize("seed", numbers(FAST, 200))
def test_every_damage_to_a_sealed_file_is_seen(seed, sealed_content, tmp_path):
    path = tmp_path / "damaged.tflite"
    damaged = corrupted(sealed_content, seed)
    if damaged == sealed_content:
        pytest.skip("this damage changed nothing")
    path.write_bytes(damaged)
    with pytest.raises(ValueError, match=re.escape(str(path))) as error:
        inspect(path)
    assert "Received: " in str(error.value)
    assert "expected " in str(error.value)


@pytest.mark.usefixtures("_engines_in_turns")
@pytest.mark.parametrize("seed", numbers(FAST, 200))
def test_damage_to_a_file_without_seal_is_an_error_or_a_report(seed, plain_content, tmp_path):
    """Weights that changed cannot be told from others; whatever else happens, it is no crash and no other exception."""
    path = tmp_path / "damaged.tflite"
    path.write_bytes(corrupted(plain_content, seed))
    try:
        report = inspect(path)
    except ValueError as error:
        assert str(path) in str(error)  # noqa: PT017 (it need not fail)
        assert "Received: " in str(error)  # noqa: PT017
    else:
        assert report.to_dict()["operators"]
        assert str(report)


@pytest.mark.parametrize("place", [0, 1, 30, 90])
def test_damage_to_the_seal_itself_is_seen(place, sealed_content, tmp_path):
    """Its mark, its digest, the facts: without a mark the file is still known as one that had a seal."""
    start = sealed_content.index(b"bitat_tf sha256 ")
    damaged = bytearray(sealed_content)
    damaged[start + place] ^= 1
    (tmp_path / "damaged.tflite").write_bytes(damaged)
    with pytest.raises(ValueError, match="expected a .tflite file as bitat_tf wrote it"):
        inspect(tmp_path / "damaged.tflite")


def archive():
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        file.writestr("model.tflite", b"TFL3" * 100)
    return stream.getvalue()


FOREIGN = {
    "empty": b"",
    "short": b"\0\0\0\0TFL",
    "text": b"this is a model, really\n" * 100,
    "zip": archive(),
    "gzip": gzip.compress(b"TFL3" * 100),
    "png": b"\x89PNG\r\n\x1a\n" + bytes(1000),
    "identifier alone": b"\x1c\0\0\0TFL3",
    "identifier and zeros": b"\x1c\0\0\0TFL3" + bytes(1000),
    "identifier and ones": b"\xff\xff\xff\xffTFL3" + b"\xff" * 1000,
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_files_of_another_kind(kind, tmp_path):
    path = tmp_path / "model.tflite"
    path.write_bytes(FOREIGN[kind])
    with pytest.raises(ValueError, match=rf"{re.escape(str(path))}.*Received: "):
        inspect(path)


def test_keras_file(tmp_path):
    path = tmp_path / "weights.h5"
    with h5py.File(path, "w") as file:
        file["kernel"] = np.ones(10)
    with pytest.raises(ValueError, match="has TFL3 at byte 4. Received: .* that start with .*HDF"):
        inspect(path)


def test_what_cannot_be_opened(tmp_path, sealed_content):
    with pytest.raises(FileNotFoundError, match="nowhere.tflite"):
        inspect(tmp_path / "nowhere.tflite")
    with pytest.raises(OSError, match=re.escape(tmp_path.name)):
        inspect(tmp_path)
    closed = tmp_path / "closed.tflite"
    closed.write_bytes(sealed_content)
    closed.chmod(0)
    if not os.access(closed, os.R_OK):  # the superuser may read everything
        with pytest.raises(PermissionError, match=re.escape("closed.tflite")):
            inspect(closed)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.tflite")
    with pytest.raises(ValueError, match="Received: a pipe or a device"):
        inspect(tmp_path / "pipe.tflite")


def test_a_file_beyond_two_gigabytes_is_not_read(tmp_path, plain_content):
    path = tmp_path / "large.tflite"
    with path.open("wb") as file:
        file.write(plain_content)
        file.truncate(2**31)  # takes no space: the rest is a hole
    with pytest.raises(ValueError, match="less than 2,147,483,648 bytes. Received: 2,147,483,648"):
        inspect(path)


def test_read_gives_the_content(sealed_content, tmp_path):
    path = tmp_path / "model.tflite"
    path.write_bytes(sealed_content)
    file = read(path)
    assert (file.content, file.sealed, file.facts, file.obstacle) == (sealed_content, True, FACTS, None)
    assert file.engine == next(iter(available_engines()), None)
    assert file_content.serialize(file.model)


def test_a_crash_of_the_interpreter_is_an_error(sealed_content, tmp_path, monkeypatch):
    """The other process reads the file, and crashes when the interpreter prepares it."""
    (tmp_path / "crash.py").write_text("import os\nos.write(1, b'parsed')\nos.abort()\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(running, "CHILD", "crash")
    (tmp_path / "model.tflite").write_bytes(sealed_content)
    with pytest.raises(
        ValueError, match=r"model.tflite: .* Received: one that cannot be read \(the process that read it ended"
    ):
        inspect(tmp_path / "model.tflite")


def _graph(model):
    return model.subgraphs[0]


def _operator(model, name):
    codes = {number for number, code in enumerate(model.operatorCodes) if code.customCode == name}
    return next(operator for operator in _graph(model).operators if operator.opcodeIndex in codes)


def _kernel(model):
    return _graph(model).tensors[_operator(model, b"LceBconv2d").inputs[1]]


def _set(thing, name, value):
    setattr(thing, name, value)


def _entry(buffer):
    entry = schema.MetadataT()
    entry.name, entry.buffer = b"min_runtime_version", buffer
    return entry


STRUCTURE = {
    "no network": (lambda model: _set(model, "subgraphs", []), "there is no network"),
    "no operators": (lambda model: _set(_graph(model), "operators", None), "the network has no operators"),
    "no tensors": (lambda model: _set(_graph(model), "tensors", None), "the network has no operators"),
    "no buffers": (lambda model: _set(model, "buffers", []), "there are no buffers"),
    "code": (lambda model: _set(_graph(model).operators[3], "opcodeIndex", 99), "operator 3 has the code 99, of "),
    "input of an operator": (
        lambda model: _set(_graph(model).operators[3], "inputs", [0, 9999]),
        r"operator 3 \(CONV_2D\) has tensor 9999",
    ),
    "output of an operator": (
        lambda model: _set(_graph(model).operators[4], "outputs", [-1]),
        r"operator 4 \(PRELU\) has tensor -1",
    ),
    "too few inputs": (lambda model: _set(_graph(model).operators[3], "inputs", [0]), r"\(CONV_2D\) has 1 inputs"),
    "left out kernel": (lambda model: _set(_graph(model).operators[3], "inputs", [0, -1]), r"\(CONV_2D\) has 2 inputs"),
    "input": (lambda model: _set(_graph(model), "inputs", [-1]), "tensor -1 is an input of the network"),
    "output": (lambda model: _set(_graph(model), "outputs", [9999]), "tensor 9999 is an output of the network"),
    "buffer": (lambda model: _set(_kernel(model), "buffer", 9999), "has buffer 9999, of "),
    "shape": (lambda model: _set(_kernel(model), "shape", [16, -3, 3, 2]), r"has the shape \(16, -3, 3, 2\)"),
    "size": (lambda model: _set(_kernel(model), "shape", [16, 3, 4, 2]), "has 1,152 bytes, not 1,536"),
    "rank": (lambda model: _set(_kernel(model), "shape", [16, 9, 2]), "needs 4 dimensions"),
    "words": (lambda model: _set(_kernel(model), "shape", [32, 3, 3, 1]), "40 input channels, which a kernel of shape"),
    "no options": (lambda model: _set(_operator(model, b"LceBconv2d"), "customOptions", None), "has None input channels"),
    "options": (
        lambda model: _set(_operator(model, b"LceBconv2d"), "customOptions", np.full(9, 255, np.uint8)),
        "options cannot be read",
    ),
    "other options": (
        lambda model: _set(_operator(model, b"LceBconv2d"), "customOptions", np.array([7, 4, 1], np.uint8)),
        "options are no table",
    ),
    "weights elsewhere": (lambda model: _set(model.buffers[1], "size", 16), "more than 2 GB"),
    "metadata": (lambda model: _set(model, "metadata", [_entry(9999)]), "an entry of the metadata has no buffer"),
    "hole": (lambda model: model.operatorCodes.append(None), "one of the operatorCodes is missing"),
    "missing tensor": (lambda model: _graph(model).tensors.append(None), "a tensor or an operator is missing"),
}


@pytest.mark.parametrize("case", STRUCTURE)
def test_parts_that_do_not_fit(case, model):
    check_structure(model)
    damage, message = STRUCTURE[case]
    if case == "weights elsewhere":
        model.buffers[1].data = None
    damage(model)
    with pytest.raises(ValueError, match=rf"expected a .tflite file whose parts fit together. Received: .*{message}.*export"):
        check_structure(model)


def test_structure_is_seen_in_a_file_that_the_interpreter_refuses(model, tmp_path):
    _kernel(model).shape = np.array([16, 3, 4, 2], np.int32)
    (tmp_path / "model.tflite").write_bytes(file_content.serialize(model))
    with pytest.raises(ValueError, match="Received: .*has 1,152 bytes, not 1,536"):
        inspect(tmp_path / "model.tflite")
