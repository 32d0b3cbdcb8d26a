"""The bits, thresholds and scales of a `.tflite` file for programs that are not TFLite: microcontrollers, FPGAs, own engines.

`bitat_tf.tflite_file.dump` writes `<name>.npz`. It is enough to recompute the network; constants stand exactly as in the file.

| key | type, shape | meaning |
|---|---|---|
| `graph` | text, () | JSON, see below; `json.loads(str(arrays["graph"]))` |
| `<number>_<operator>/<role>` | | a constant input of an operator; the number counts from 000 in order of execution |
| `.../weights_bits` | uint32 (out, kh, kw, words) | kernel of `LceBconv2d`; words = ceil(input channels of a group / 32) |
| `.../multiplier`, `.../bias` | float32 (out,) | `LceBconv2d` with float or int8 output |
| `.../thresholds` | int32 (out,) | `LceBconv2d` with bits as output; it has no multiplier and bias |
| `.../weights`, `.../bias` | | of `CONV_2D` (out, kh, kw, in of a group), `DEPTHWISE_CONV_2D` (1, kh, kw, out) |
| `.../weights`, `.../bias` | | of `FULLY_CONNECTED` (out, in) |
| `.../alpha`, `.../paddings`, `.../axes`, `.../shape` | | `PRELU`, `PAD`, `MEAN`, `RESHAPE` |
| `.../input_<position>` | | any other constant input, at its position |
| `.../<role>_scale`, `.../<role>_zero_point` | float32, int32 | of a quantized constant, one value or one a channel |
| `output_<tensor>/value` | | an output of the network that is a constant |

A quantized constant stands for scale * (stored - zero point). Constants of types that numpy lacks (int4, strings), and such as
are stored without their zeros, are their bytes, uint8.

`graph`: `format` (1), `facts` (what bitat_tf wrote into the file), `inputs` and `outputs` (indices of tensors), and

| what | holds |
|---|---|
| `tensors`, each | `index`, `name`, `shape`, `type` ("float32", ...) |
| quantized ones | `quantization`: `scale`, `zero_point`, `axis` |
| packed ones | `bit_packed`: true, and `channels`: `shape` counts words of 32 channels |
| `operators`, each | `number`, `name`, `key`, `inputs` and `outputs` (indices of tensors; -1: none), `options` |
| | `constants`: for each input its key, or null |
| `options` of windows | `kernel`, `strides`, `dilation`: [rows, columns]; `groups` |
| | `padding`: "SAME" or "VALID", and from it `pads`: [[top, bottom], [left, right]] in pixels |
| | `activation`: "NONE", "RELU", "RELU_N1_TO_1" or "RELU6"; of `LceBconv2d` also `pad_value`, `channels_in` |
| other `options` | TFLite's, in snake case: `axis`, `keep_dims`, `beta`, ... |

How larq-compute-engine 0.16 computes; measured with its interpreter, on which the tests hold each line:

* **Bits.** 0 is +1, 1 is -1. Channel c is bit c % 32, the lowest first, of word c // 32. Bits beyond the last channel are 0, in
  weights and in images, so that they count nothing.
* **LceQuantize.** bit = (x < 0): 0.0, -0.0 and NaN are +1 (subnormal numbers may be taken for 0). Of int8: stored < zero point.
* **LceDequantize.** The bits as +1.0 and -1.0.
* **LceBMaxPool2d.** The bitwise and of the words in the window; pixels of padding are not in it.
* **LceBconv2d.** For output channel o, whose group has C input channels (group g = o // (out / groups) has the words from
  g * words on), and a kernel of K = kh * kw pixels:

      n           = sum over the kernel of popcount(image word xor weight word)
      accumulator = C * K - 2 * n                        # an integer; what a convolution of +1 and -1 gives
      output      = multiplier[o] * min(max(accumulator, low), high) + bias[o]              # float32
      output bit  = n > thresholds[o]                                                       # where it has thresholds

  low and high are those of `activation`: without limits, 0 and none, -1 and 1, 0 and 6; they act before multiplier and bias.
  Thresholds have activation, multiplier and bias in them already: bit 1, that is -1, stands for a float output below 0. The
  converter turns the signs of kernels whose multiplier would be negative, so there is one rule for all channels; -2**31 makes
  the bit always 1, 2**31 - 1 always 0.
  An int8 output is that float output, divided by the scale of the tensor, rounded to the nearest integer, plus the zero point,
  cut to -128..127.
* **Padding of LceBconv2d.** `pad_value` 1, "same one padding": pixels outside the image have words 0, all channels +1.
  `pad_value` 0, "same zero padding": pixels outside add neither to n nor to C * K (K counts the pixels inside), as in Keras.
  larq-compute-engine's kernels do otherwise where a kernel, with its dilation, is larger than the image, and its reference
  kernel has no such padding. With "VALID" `pad_value` says nothing.
* **Padding of all windows.** For "SAME" total = max((outputs - 1) * stride + (kernel - 1) * dilation + 1 - inputs, 0), half of
  it, rounded down, before the image; `pads` has it. Average pooling divides by the pixels inside.
"""

import re
from typing import Any

import numpy as np

from bitat_tf.tflite_file.content import constant, facts
from bitat_tf.tflite_file.operators import indices, operator_name, tensor_name, tensor_shape, type_name
from bitat_tf.tflite_file.options import read_options
from bitat_tf.tflite_file.schema import schema

FORMAT = 1
_ROLES = {
    "LceBconv2d": {1: "weights_bits", 2: "multiplier", 3: "bias", 4: "thresholds"},
    "CONV_2D": {1: "weights", 2: "bias"},
    "DEPTHWISE_CONV_2D": {1: "weights", 2: "bias"},
    "FULLY_CONNECTED": {1: "weights", 2: "bias"},
    "TRANSPOSE_CONV": {0: "output_shape", 1: "weights", 3: "bias"},
    "PRELU": {1: "alpha"},
    "PAD": {1: "paddings"},
    "MEAN": {1: "axes"},
    "RESHAPE": {1: "shape"},
}
_WINDOWS = ("LceBconv2d", "LceBMaxPool2d", "CONV_2D", "DEPTHWISE_CONV_2D", "MAX_POOL_2D", "AVERAGE_POOL_2D")


def describe(model: schema.ModelT) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return the graph as plain values for JSON, and the constants by their keys; the docstring of this module lists both.

    Raises:
        ValueError: If the file has several subgraphs, or an operator is not as its kind is written.
    """
    if len(model.subgraphs or ()) != 1:
        raise ValueError(
            f"expected a .tflite file with one subgraph. Received: {len(model.subgraphs or ())}. Loops and conditions, whose "
            "bodies are subgraphs, have no form as a list of operators; convert the network without them."
        )
    graph = model.subgraphs[0]
    tensors = [_tensor(number, tensor) for number, tensor in enumerate(graph.tensors or ())]
    arrays: dict[str, np.ndarray] = {}
    operators = []
    count = len(graph.operators or ())
    for number, operator in enumerate(graph.operators or ()):
        name = operator_name(model, operator)
        key = f"{number:0{max(3, len(str(count - 1)))}d}_{re.sub(r'[^A-Za-z0-9_]', '_', name)}"
        try:
            entry, own = _operator(model, tensors, operator, name, key)
        except ValueError as error:
            raise ValueError(f"operator {number} ({name}): {error}") from error
        operators.append({"number": number, **entry})
        arrays.update(own)
    for number in indices(graph.outputs):
        values = _values(model, graph.tensors[number])
        if values is not None:
            tensors[number]["constant"] = f"output_{number}/value"
            arrays[f"output_{number}/value"] = values
    return {
        "format": FORMAT,
        "facts": facts(model),
        "inputs": indices(graph.inputs),
        "outputs": indices(graph.outputs),
        "tensors": tensors,
        "operators": operators,
    }, arrays


def _tensor(number: int, tensor: schema.TensorT) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "index": number,
        "name": tensor_name(tensor),
        "shape": list(tensor_shape(tensor)),
        "type": type_name(tensor.type),
    }
    quantization = tensor.quantization
    if quantization is not None and quantization.scale is not None and len(quantization.scale):
        entry["quantization"] = {
            "scale": [float(scale) for scale in quantization.scale],
            "zero_point": indices(quantization.zeroPoint) or [0] * len(quantization.scale),
            "axis": int(quantization.quantizedDimension),
        }
    return entry


def _operator(model, tensors, operator, name: str, key: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    inputs, outputs = indices(operator.inputs), indices(operator.outputs)
    if (name in _WINDOWS or name.startswith("Lce")) and (not inputs or inputs[0] < 0 or not outputs):
        raise ValueError(f"expected an input and an output. Received: inputs {inputs}, outputs {outputs}.")
    arrays: dict[str, np.ndarray] = {}
    constants: list[str | None] = []
    for position, number in enumerate(inputs):
        values = None if number < 0 else _values(model, model.subgraphs[0].tensors[number])
        if values is None:
            constants.append(None)
            continue
        role = _ROLES.get(name, {}).get(position, f"input_{position}")
        constants.append(f"{key}/{role}")
        arrays[f"{key}/{role}"] = values
        quantization = tensors[number].get("quantization")
        if quantization is not None:
            arrays[f"{key}/{role}_scale"] = np.array(quantization["scale"], np.float32)
            arrays[f"{key}/{role}_zero_point"] = np.array(quantization["zero_point"], np.int32)
    options = read_options(operator, name)
    if name == "LceBconv2d":
        _check_binary_convolution(tensors, inputs, constants)
        arrays[f"{key}/weights_bits"] = arrays[f"{key}/weights_bits"].view(np.uint32)
    if name in _WINDOWS:
        options |= _window(tensors, name, inputs, outputs, options)
    _mark_bits(tensors, name, inputs, outputs)
    return {
        "name": name,
        "key": key,
        "inputs": inputs,
        "outputs": outputs,
        "constants": constants,
        "options": options,
    }, arrays


def _check_binary_convolution(tensors, inputs: list[int], constants: list[str | None]) -> None:
    given = [position for position, key in enumerate(constants) if key is not None]
    types = [tensors[inputs[position]]["type"] for position in given]
    shapes = [tensors[inputs[position]]["shape"] for position in given]
    known = (([1, 2, 3], ["int32", "float32", "float32"]), ([1, 4], ["int32", "int32"]))
    if (given, types) in known and len(shapes[0]) == 4 and all(shape == shapes[0][:1] for shape in shapes[1:]):
        return
    raise ValueError(
        "expected a constant kernel of 4 dimensions in words of 32 bits, and for each output channel either multiplier and "
        f"bias, float32, or a threshold, int32. Received: constants of {', '.join(types) or 'no type'} at inputs {given}, of "
        f"shapes {shapes}. The file is of another version of larq-compute-engine: convert it again with 0.16."
    )


def _window(tensors, name: str, inputs: list[int], outputs: list[int], options: dict[str, Any]) -> dict[str, Any]:
    """Return what follows from the shapes: kernel, groups, and the pixels of padding on each side."""
    source, target = tensors[inputs[0]]["shape"], tensors[outputs[0]]["shape"]
    if len(source) != 4 or len(target) != 4 or "strides" not in options:
        raise ValueError(f"expected images of 4 dimensions, and strides. Received: {source}, {target}, options {options}.")
    found: dict[str, Any] = {}
    if name in ("LceBconv2d", "CONV_2D", "DEPTHWISE_CONV_2D"):
        weights = tensors[inputs[1]]["shape"]
        if len(weights) != 4:
            raise ValueError(f"expected a kernel of 4 dimensions. Received: shape {weights}.")
        found["kernel"] = weights[1:3]
        if name == "LceBconv2d":
            channels, per_group = options["channels_in"], 32 * weights[3]
            # A single group may end within a word; several groups end with words.
            groups = 1 if channels <= per_group else channels // max(per_group, 1)
            if channels < 1 or -(-channels // 32) != groups * weights[3] or weights[0] % groups:
                raise ValueError(f"expected a kernel for {channels} channels. Received: words of the shape {weights}.")
            found["groups"] = groups
        elif name == "CONV_2D":
            if not weights[3] or source[3] % weights[3]:
                raise ValueError(f"expected a kernel for {source[3]} channels. Received: shape {weights}.")
            found["groups"] = source[3] // weights[3]
    window = {**options, **found}["kernel"]
    dilation = options.get("dilation", [1, 1])
    pads = []
    for axis in (0, 1):
        needed = (target[1 + axis] - 1) * options["strides"][axis] + (window[axis] - 1) * dilation[axis] + 1
        total = max(needed - source[1 + axis], 0) if options["padding"] == "SAME" else 0
        pads.append([total // 2, total - total // 2])
    return {**found, "pads": pads}


def _mark_bits(tensors, name: str, inputs: list[int], outputs: list[int]) -> None:
    """Say of packed outputs how many channels they have: their shape counts words."""
    if name == "LceQuantize":
        channels = tensors[inputs[0]]["shape"][-1] if tensors[inputs[0]]["shape"] else 1
    elif name == "LceBMaxPool2d":
        channels = tensors[inputs[0]].get("channels")
    elif name == "LceBconv2d" and tensors[outputs[0]]["type"] == "int32":
        channels = tensors[inputs[1]]["shape"][0]
    else:
        return
    tensors[outputs[0]] |= {"bit_packed": True, "channels": channels}


def _values(model, tensor: schema.TensorT) -> np.ndarray | None:
    data = model.buffers[tensor.buffer].data
    if data is None or not len(data):
        return None
    values = None if tensor.sparsity is not None else constant(model, tensor)
    # What has no type in numpy (int4, strings), or is stored without its zeros, stays as its bytes.
    return np.array(data, np.uint8) if values is None else values
