"""A described network (`description`) as a C99 header: arrays of constants, and macros for sizes."""

import math
import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

_C_TYPES = {
    "float32": "float",
    "float64": "double",
    "int8": "int8_t",
    "int16": "int16_t",
    "int32": "int32_t",
    "int64": "int64_t",
    "uint8": "uint8_t",
    "uint16": "uint16_t",
    "uint32": "uint32_t",
    "uint64": "uint64_t",
    "bool": "uint8_t",
}
_CLAMPS = {"NONE": (-(2**31), 2**31 - 1), "RELU": (0, 2**31 - 1), "RELU_N1_TO_1": (-1, 1), "RELU6": (0, 6)}
_NOT_FINITE = {"nan": "NAN", "inf": "INFINITY", "-inf": "-INFINITY"}
_INTRODUCTION = """\
Constants of the network in {source}, written by bitat_tf. One block an operator, in order of execution.
Arrays are flat, the last index fastest; images are height, width, channels. Bits: 0 is +1, 1 is -1, channel c is bit c % 32
(lowest first) of word c / 32; bits beyond the last channel are 0.
LceQuantize: bit = x < 0, of int8 x < zero point. LceDequantize: +1 or -1. LceBMaxPool2d: and of the words in the window.
LceBconv2d, output channel o, whose group of inputs has C channels; weights[o][row][column][word]:
  n = sum over the kernel of popcount(input ^ weights); a = C * KERNEL_HEIGHT * KERNEL_WIDTH - 2 * n.
  Pixels of padding: PAD_VALUE 1: words 0, as if +1. PAD_VALUE 0: they and their weights are left out: C is not added for them.
  With thresholds: output bit = n > thresholds[o]. Else y = multiplier[o] * min(max(a, CLAMP_MIN), CLAMP_MAX) + bias[o]; an
  int8 output is y / OUTPUT_SCALE, rounded to the nearest integer, plus OUTPUT_ZERO_POINT, cut to -128..127."""


def c_header(name: str, source: str, graph: dict[str, Any], arrays: dict[str, np.ndarray]) -> str:
    """Return the text of the header.

    Args:
        name: What the names of arrays and macros begin with; what C does not allow in a name becomes "_".
        source: The name of the file that the network comes from.
        graph: As `bitat_tf.tflite_file.description.describe` returns it.
        arrays: As it returns them.

    Returns:
        C99. Names are `<name>_<key>`, "/" becoming "_"; those of macros are in capitals.
    """
    prefix = identifier(name)
    guard = f"{prefix.upper()}_H_INCLUDED"
    body = "\n".join(_blocks(prefix, graph, arrays))
    introduction = "\n".join(f" * {_comment(line)}" for line in _INTRODUCTION.format(source=source).split("\n"))
    includes = "#include <stdint.h>\n" + ("#include <math.h>\n" if re.search(r"\b(NAN|INFINITY)\b", body) else "")
    return f"/*\n{introduction}\n */\n#ifndef {guard}\n#define {guard}\n\n{includes}\n{body}\n#endif\n"


def identifier(text: str) -> str:
    """Return a text as the beginning of a name in C, one that C does not keep for itself."""
    text = re.sub(r"[^A-Za-z0-9_]", "_", text).lstrip("_")
    return text if text[:1].isalpha() else f"network_{text}".rstrip("_")


def _comment(text: str) -> str:
    """Return a text without what could end a comment, or open another."""
    return re.sub(r"[^\w .,:;()\[\]<>=+*^%/'&|-]", "_", text, flags=re.ASCII).replace("*/", "*_").replace("/*", "_*")


def _blocks(prefix: str, graph: dict[str, Any], arrays: dict[str, np.ndarray]) -> Iterator[str]:
    written: dict[tuple[int, str], str] = {}  # constants that several operators share stand once
    for operator in graph["operators"]:
        yield f"/* {_comment(_summary(graph, operator))} */"
        base = f"{prefix}_{identifier_part(operator['key'])}"
        for macro, value in _macros(graph, operator):
            yield f"#define {base.upper()}_{macro} {value}"
        for number, key in zip(operator["inputs"], operator["constants"], strict=True):
            if key is None:
                continue
            for suffix in ("", "_scale", "_zero_point"):
                if key + suffix not in arrays:
                    continue
                array, own = arrays[key + suffix], f"{prefix}_{identifier_part(key + suffix)}"
                other = written.setdefault((number, f"{array.dtype}{suffix}"), own)
                yield f"#define {own} {other}" if other != own else _array(own, array)
        yield ""
    for key in arrays:
        if key.startswith("output_"):
            yield _array(f"{prefix}_{identifier_part(key)}", arrays[key])


def identifier_part(text: str) -> str:
    """Return a text as a part of a name in C."""
    return re.sub(r"[^A-Za-z0-9_]", "_", text)


def _summary(graph: dict[str, Any], operator: dict[str, Any]) -> str:
    computed = [
        number for number, key in zip(operator["inputs"], operator["constants"], strict=True) if key is None and number >= 0
    ]
    sources = ", ".join(_tensor(graph["tensors"][number]) for number in computed)
    targets = ", ".join(_tensor(graph["tensors"][number]) for number in operator["outputs"])
    return f"{operator['number']} {operator['name']}: {sources} to {targets}"


def _tensor(tensor: dict[str, Any]) -> str:
    packed = f" of bits, {tensor['channels']} channels" if tensor.get("bit_packed") else ""
    return f"tensor {tensor['index']} {tensor['name'][:60]!r} {tensor['type']}{tensor['shape']}{packed}"


def _macros(graph: dict[str, Any], operator: dict[str, Any]) -> Iterator[tuple[str, str]]:
    options = operator["options"]
    for what, numbers in (("INPUT", operator["inputs"][:1]), ("OUTPUT", operator["outputs"][:1])):
        tensor = graph["tensors"][numbers[0]] if numbers and numbers[0] >= 0 else {"shape": []}
        if len(tensor["shape"]) == 4:
            sizes = [*tensor["shape"][1:3], tensor.get("channels", tensor["shape"][3])]
            yield from (
                (f"{what}_{axis}", str(size)) for axis, size in zip(("HEIGHT", "WIDTH", "CHANNELS"), sizes, strict=True)
            )
        quantization = tensor.get("quantization")
        if quantization and len(quantization["scale"]) == 1:
            yield f"{what}_SCALE", _single(quantization["scale"][0])
            yield f"{what}_ZERO_POINT", _integer(quantization["zero_point"][0])
    for key, name in (("kernel", "KERNEL"), ("strides", "STRIDE"), ("dilation", "DILATION")):
        if key in options:
            yield f"{name}_HEIGHT", str(options[key][0])
            yield f"{name}_WIDTH", str(options[key][1])
    if "pads" in options:
        sides = (("TOP", "BOTTOM"), ("LEFT", "RIGHT"))
        for pair, names in zip(options["pads"], sides, strict=True):
            yield from ((f"PAD_{side}", str(size)) for side, size in zip(names, pair, strict=True))
    for key in ("pad_value", "groups", "axis"):
        if isinstance(options.get(key), int):
            yield key.upper(), _integer(options[key])
    activation = options.get("activation", "NONE")
    if operator["name"] == "LceBconv2d":
        for name, value in zip(("CLAMP_MIN", "CLAMP_MAX"), _CLAMPS.get(activation, _CLAMPS["NONE"]), strict=True):
            yield name, _integer(value)
    elif isinstance(activation, str) and activation != "NONE":
        yield "ACTIVATION", f'"{identifier_part(activation)}"'


def _array(name: str, array: np.ndarray) -> str:
    if not array.size:
        return f"/* {name} has no values */"
    if str(array.dtype) not in _C_TYPES:  # half floats and complex numbers: their bytes
        note = f" (bytes of {array.dtype})"
        array = np.frombuffer(array.tobytes(), np.uint8)
    else:
        note = ""
    size = " * ".join(map(str, array.shape)) or "1"
    head = f"static const {_C_TYPES[str(array.dtype)]} {name}[{size}] = {{"
    return "\n".join([head + (f" /*{note} */" if note else ""), *_lines(array), "};"])


def _lines(array: np.ndarray) -> Iterator[str]:
    flat, write = array.reshape(-1), _writer(array)
    a_line = {"float32": 7, "uint32": 9, "float64": 5, "int64": 5, "uint64": 5}.get(str(array.dtype), 10)
    for start in range(0, len(flat), a_line):
        yield "    " + " ".join(f"{write(value)}," for value in flat[start : start + a_line].tolist())


def _writer(array: np.ndarray) -> Callable[[Any], str]:
    if array.dtype == np.float32:
        return _single
    if array.dtype == np.float64:
        return _double
    return "0x{:08x}u".format if array.dtype == np.uint32 else lambda value: _integer(int(value))


def _single(value: float) -> str:
    """Return a number that C reads back bit by bit: 9 digits tell any two floats apart."""
    text = f"{value:.9g}"
    if not math.isfinite(value):
        return _NOT_FINITE[text]
    return f"{text}f" if "." in text or "e" in text else f"{text}.0f"


def _double(value: float) -> str:
    return repr(float(value)) if math.isfinite(value) else _NOT_FINITE[str(value)]


def _integer(value: int) -> str:
    for bits, suffix in ((31, ""), (63, "LL")):
        if -(2**bits) < value < 2**bits:
            return f"{value}{suffix}"
        if value == -(2**bits):  # C has no negative literals: 2**bits alone would be too large
            return f"(-{2**bits - 1}{suffix} - 1)"
    return f"{value}ULL"
