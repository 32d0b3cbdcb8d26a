"""The C header of a dump, through a C compiler; what is written, and what is not."""

import shutil
import subprocess

import larq_compute_engine as lce
import numpy as np
import pytest

from bitat_tf._keras import keras
from bitat_tf.applications import ReActNet
from bitat_tf.export import to_plain_larq
from bitat_tf.layers import BinaryConv2D, binary_layers
from bitat_tf.tflite_file import content as file_content
from bitat_tf.tflite_file import dump
from bitat_tf.tflite_file.c_header import c_header
from bitat_tf.tflite_file.description import describe


def converted(model) -> bytes:
    for layer in binary_layers(model):
        layer.set_binary()
    return lce.convert_keras_model(to_plain_larq(model))


def small_reactnet() -> bytes:
    return converted(ReActNet((8, 8, 1), 10, width=0.5, blocks=((64, 1),)))


def write_small(folder) -> bytes:
    """Write a file of which the last operator, number 1, is a binary convolution."""
    layer = BinaryConv2D(8, 3, use_bias=False, padding="same")
    content = converted(keras.Sequential([keras.Input((8, 9, 33)), layer]))
    (folder / "net.tflite").write_bytes(content)
    return content


def fnv(data: bytes) -> int:
    value = 0xCBF29CE484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001B3 % 2**64
    return value


PROGRAM = """
#include <stdio.h>
#include "{header}"
static uint64_t fnv(const void *data, size_t size) {{
    uint64_t value = 0xCBF29CE484222325u;
    for (size_t i = 0; i < size; i++) value = (value ^ ((const unsigned char *)data)[i]) * 0x100000001B3u;
    return value;
}}
int main(void) {{
{lines}
    return 0;
}}
"""


def run_c(folder, header, expressions):
    """Compile a header without a warning, and return what C makes of expressions."""
    if not shutil.which("gcc"):
        pytest.skip("no C compiler")
    lines = "\n".join(f'    printf("%llu\\n", (unsigned long long)({expression}));' for expression in expressions)
    (folder / "main.c").write_text(PROGRAM.format(header=header, lines=lines))
    flags = ["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]
    subprocess.run(["gcc", *flags, "main.c", "-o", "main"], cwd=folder, check=True)
    return [int(line) for line in subprocess.run(["./main"], cwd=folder, check=True, capture_output=True).stdout.split()]


def test_c_has_the_same_arrays(tmp_path):
    (tmp_path / "net.tflite").write_bytes(small_reactnet())
    with np.load(dump(tmp_path / "net.tflite", tmp_path / "bits").arrays_path) as file:
        arrays = {key: file[key] for key in file if key != "graph"}
    names = ["bits_" + key.replace("/", "_") for key in arrays]
    first = next(key.split("/")[0].upper() for key in arrays if "LceBconv2d" in key)
    values = ["INPUT_HEIGHT", "OUTPUT_CHANNELS", "KERNEL_WIDTH", "STRIDE_HEIGHT", "PAD_TOP", "PAD_VALUE", "CLAMP_MAX"]
    macros = [f"BITS_{first}_{value}" for value in values]
    found = run_c(tmp_path, "bits.h", [*(f"fnv({name}, sizeof {name})" for name in names), *macros])
    assert found == [*(fnv(array.tobytes()) for array in arrays.values()), 8, 16, 3, 1, 1, 1, 2**31 - 1]


EXTREMES = [
    np.array([np.nan, np.inf, -np.inf, -0.0, 1e-45, -1.1754942e-38, 3.4028235e38, 0.1, 1, -12345678, 1e8], np.float32),
    np.array([np.inf, 0.1, -0.0, 5e-324, 1 / 3, 2**53], np.float64),
    *(np.array([np.iinfo(kind).min, np.iinfo(kind).max, 0], kind) for kind in "bhiqBHIQ"),
    np.array([True, False]),
    np.array([0.1, -2], np.float16),
    np.zeros((2, 0), np.float32),
    np.array(3, np.int32),
]


@pytest.mark.parametrize("name", ["1st net", "int", "_Bool", "__x", "größe */ ??/", "a-b.c", ""])
def test_any_name_and_any_value_is_valid_c(name, tmp_path):
    keys = [f"000_Odd/input_{number}" for number in range(len(EXTREMES))]
    tensors = [{"index": n, "name": f'*/ "{name}" /* \\', "shape": [], "type": "float32"} for n in range(len(EXTREMES) + 1)]
    operator = {"number": 0, "name": "Odd */ ??/\n", "key": "000_Odd", "options": {}, "constants": keys}
    operator |= {"inputs": list(range(len(EXTREMES))), "outputs": [len(EXTREMES)]}
    text = c_header(
        name, f"{name}.tflite", {"tensors": tensors, "operators": [operator]}, dict(zip(keys, EXTREMES, strict=True))
    )
    (tmp_path / "net.h").write_text(text)
    prefix = next(line.split()[1] for line in text.splitlines() if line.startswith("#define")).removesuffix("_H_INCLUDED")
    arrays = [line.split("[")[0].split()[-1] for line in text.splitlines() if line.startswith("static const")]
    assert len({*arrays}) == len(arrays) == len(EXTREMES) - 1  # C has no arrays without values
    assert all(array.upper().startswith(prefix) for array in arrays)
    expected = [fnv(array.tobytes()) for array in EXTREMES if array.size]
    assert run_c(tmp_path, "net.h", [f"fnv({array}, sizeof {array})" for array in arrays]) == expected


def test_files_that_are_there_stay(tmp_path):
    write_small(tmp_path)
    (tmp_path / "bits.h").write_text("mine")
    with pytest.raises(FileExistsError, match=r"names that are free. Received: .*bits\.h, which exist.*overwrite=True"):
        dump(tmp_path / "net.tflite", tmp_path / "bits")
    assert (tmp_path / "bits.h").read_text() == "mine"
    assert not (tmp_path / "bits.npz").exists()
    first = dump(tmp_path / "net.tflite", tmp_path / "bits", overwrite=True)
    contents = [(tmp_path / name).read_bytes() for name in ("bits.npz", "bits.h")]
    assert dump(tmp_path / "net.tflite", tmp_path / "bits", overwrite=True) == first
    assert contents == [(tmp_path / name).read_bytes() for name in ("bits.npz", "bits.h")]  # no dates in them


def test_a_full_disk_leaves_no_half_dump(tmp_path, monkeypatch):
    write_small(tmp_path)

    def full(path, text):
        raise OSError(28, "No space left on device")

    monkeypatch.setitem(dump.__globals__, "write_text", full)
    with pytest.raises(OSError, match="No space left"):
        dump(tmp_path / "net.tflite", tmp_path / "bits")
    assert [path.name for path in tmp_path.iterdir()] == ["net.tflite"]


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


def without_multiplier(model):
    operator = model.subgraphs[0].operators[-1]
    operator.inputs = np.where(np.arange(5) == 2, -1, operator.inputs)


def with_short_bias(model):
    graph = model.subgraphs[0]
    graph.tensors[graph.operators[-1].inputs[3]].shape = np.array([4, 2], np.int32)


def without_options(model):
    model.subgraphs[0].operators[-1].customOptions = None


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
def test_files_of_other_writers(change, message, tmp_path):
    model = file_content.parse(write_small(tmp_path))
    describe(model)
    change(model)
    with pytest.raises(ValueError, match=message):
        describe(model)
