"""What a dump writes and says, and what it refuses."""

import json

import numpy as np
import pytest
from written_files import Writer, binary_file

from bitat_tf.tflite_file import content as file_content
from bitat_tf.tflite_file import dump
from bitat_tf.tflite_file.description import describe


def grouped_file():
    """Return a file of a convolution of two groups: a kernel of one word for 64 channels."""
    writer = Writer()
    bits = writer.quantize(writer.input((8, 9, 64)))
    output, _ = writer.binary_convolution(bits, 64, 8, groups=2)
    return writer.content(output)


def test_what_the_dump_says(tmp_path):
    (tmp_path / "net.tflite").write_bytes(grouped_file())
    (tmp_path / "folder").mkdir()
    for destination, name in (("folder", "folder/net"), ("new/", "new/net"), ("v1.5", "v1.5"), ("a.npz", "a")):
        found = dump(tmp_path / "net.tflite", f"{tmp_path}/{destination}")
        assert found.path == f"{tmp_path}/{name}.npz"
    assert (found.operators, found.binary_operators, found.binary_weights) == (2, 1, 8 * 9 * 32)
    assert "1, 2,304 weights of one bit" in str(found)
    assert json.loads(json.dumps(found.to_dict()))["binary_operators"] == 1
    with np.load(found.path) as arrays:
        graph = json.loads(str(arrays["graph"]))
        assert len(arrays.files) == found.arrays + 1
    assert graph["operators"][1]["options"] == {
        "channels_in": 64,
        "kernel": [3, 3],
        "strides": [1, 1],
        "dilation": [1, 1],
        "padding": "VALID",
        "pads": [[0, 0], [0, 0]],
        "pad_value": 0,
        "activation": "NONE",
        "groups": 2,
    }


def write_small(folder):
    """Write a file of which operator number 1 is a binary convolution."""
    content, _ = binary_file((8, 9, 33), 8)
    (folder / "net.tflite").write_bytes(content)
    return content


def test_files_that_are_there_stay(tmp_path):
    write_small(tmp_path)
    (tmp_path / "bits.npz").write_text("mine")
    with pytest.raises(FileExistsError, match=r"a name that is free. Received: .*bits\.npz, which exists.*overwrite=True"):
        dump(tmp_path / "net.tflite", tmp_path / "bits")
    assert (tmp_path / "bits.npz").read_text() == "mine"
    first = dump(tmp_path / "net.tflite", tmp_path / "bits", overwrite=True)
    content = (tmp_path / "bits.npz").read_bytes()
    assert dump(tmp_path / "net.tflite", tmp_path / "bits", overwrite=True) == first
    assert content == (tmp_path / "bits.npz").read_bytes()  # no dates in it


def test_damaged_and_foreign_files(tmp_path):
    content = write_small(tmp_path)
    (tmp_path / "text.tflite").write_text("not a file of tflite at all")
    (tmp_path / "half.tflite").write_bytes(content[: len(content) // 2])
    for name, message in (("text", "expected the content of a .tflite file"), ("half", "expected a .tflite file")):
        with pytest.raises(ValueError, match=rf"{name}\.tflite: {message}"):
            dump(tmp_path / f"{name}.tflite", tmp_path / "bits")
    with pytest.raises(FileNotFoundError):
        dump(tmp_path / "none.tflite", tmp_path / "bits")
    with pytest.raises(ValueError, match=r"expected a folder, or a path with a name. Received: '\.npz'"):
        dump(tmp_path / "net.tflite", ".npz")
    assert not [path for path in tmp_path.iterdir() if "bits" in path.name]


def convolution(model):
    return model.subgraphs[0].operators[1]


def without_multiplier(model):
    convolution(model).inputs = np.where(np.arange(5) == 2, -1, convolution(model).inputs)


def with_short_bias(model):
    model.subgraphs[0].tensors[convolution(model).inputs[3]].shape = np.array([4, 2], np.int32)


def without_options(model):
    convolution(model).customOptions = None


def with_two_subgraphs(model):
    model.subgraphs.append(model.subgraphs[0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without_multiplier, r"operator 1 \(LceBconv2d\): expected a constant kernel .* at inputs \[1, 3\].*0\.16"),
        (with_short_bias, r"of shapes \[\[8, 3, 3, 2\], \[8\], \[4, 2\]\]"),
        (without_options, r"operator 1 \(LceBconv2d\): expected options of LceBconv2d with integers for strides"),
        (with_two_subgraphs, "expected a .tflite file with one subgraph. Received: 2"),
    ],
)
def test_files_of_other_writers(change, message):
    model = file_content.parse(binary_file((8, 9, 33), 8)[0])
    describe(model)
    change(model)
    with pytest.raises(ValueError, match=message):
        describe(model)
