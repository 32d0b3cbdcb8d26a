"""Files with one to three parts changed at random: what a program sees that reads a file of unknown origin.

The flatbuffer stays whole, for TFLite reads it before any delegate is asked; what it holds need not fit together any more. Only
what belongs to operators of larq-compute-engine is changed, of which TFLite itself looks at next to nothing: what becomes of
it is for the delegate to check.
"""

import copy

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from damage import convolution, pooling
from flatbuffers import flexbuffers
from random_graphs import RandomGraph
from random_operators import random_case
from tflite_writer import TYPES, serialize

INTEGERS = (0, 1, -1, 2, 3, 31, 32, 33, 64, 1000, 2**20, 2**31 - 1, 2**31, -(2**31), 2**32, 2**32 + 1, 2**62, -(2**63))
SIZES = (0, 1, 1, 2, 3, 5, 31, 32, 33, 64, 300, -1, -2, 2**16, 2**31 - 1, -(2**31))
SCALES = (0.0, -0.5, float("nan"), float("inf"), 1e-45, 1e38, 0.25)
_MOST_VALUES = 2**21  # of a tensor, so that no file takes seconds; more only where the product leaves the range of 32 bits


def options_of(operator: schema.OperatorT) -> dict:
    """Return the custom options of an operator that is whole."""
    custom = b"" if operator.customOptions is None else bytes(operator.customOptions)
    return flexbuffers.Loads(bytearray(custom)) if custom else {}


def reads_nothing(model: schema.ModelT) -> bool:
    """Return whether an operator reads a tensor that is no constant, no input, and that nothing writes.

    TFLite's partitioner, which every delegate must ask, writes beside its memory then, and no delegate can know of it before.
    """
    graph = model.subgraphs[0]
    known = {int(number) for operator in graph.operators for number in operator.outputs} | {int(one) for one in graph.inputs}
    for operator in graph.operators:
        for number in operator.inputs:
            data = None if number < 0 else model.buffers[graph.tensors[number].buffer].data
            if number >= 0 and number not in known and (data is None or not len(data)):
                return True
    return False


class Mutation:
    """A changed file.

    Attributes:
        content: Its bytes.
        text: What was changed, for messages.
    """

    def __init__(self, seed: int, networks: list[schema.ModelT]):
        self.random = np.random.default_rng(seed)
        while True:
            self.change(seed, networks)
            if not reads_nothing(self.model):
                break
        self.content = serialize(self.model)

    def change(self, seed: int, networks: list[schema.ModelT]) -> None:
        self.model = self.base(seed, networks)
        self.graph = self.model.subgraphs[0]
        self.operators = [operator for operator in self.graph.operators if self.name(operator).startswith("Lce")]
        self.options = {id(operator): options_of(operator) for operator in self.operators}
        changes = (
            self.custom_bytes,
            self.custom_bytes,
            self.option,
            self.option,
            self.shape,
            self.shape,
            self.type,
            self.read_tensors,
            self.written_tensor,
            self.buffer,
            self.values,
            self.quantization,
            self.ends,
        )
        done = [self.choose(*changes)() for _ in range(self.choose(1, 1, 2, 3))]
        self.text = f"seed {seed}: {'; '.join(done)}"

    def choose(self, *options):
        return options[self.random.integers(len(options))]

    def base(self, seed: int, networks: list[schema.ModelT]) -> schema.ModelT:
        kind = self.choose("case", "case", "graph", "convolution", "pooling", "network")
        if kind == "case":
            return random_case(seed).graph.model()
        if kind == "graph":
            return RandomGraph(seed).graph.model()
        if kind == "convolution":
            return convolution(self.choose("float32", "int8", "int32"), padding=self.choose("SAME", "VALID")).model()
        return pooling().model() if kind == "pooling" else copy.deepcopy(self.choose(*networks))

    def name(self, operator: schema.OperatorT) -> str:
        name = self.model.operatorCodes[operator.opcodeIndex].customCode
        return "" if name is None else name if isinstance(name, str) else name.decode()

    def operator(self) -> schema.OperatorT:
        return self.operators[self.random.integers(len(self.operators))]

    def tensor(self) -> tuple[int, schema.TensorT]:
        """Return a tensor of an operator of larq-compute-engine."""
        operator = self.operator()
        numbers = [number for number in [*operator.inputs, *operator.outputs] if number >= 0]
        number = int(self.choose(*numbers)) if numbers else 0
        return number, self.graph.tensors[number]

    def custom_bytes(self) -> str:
        operator = self.operator()
        data = bytearray(b"" if operator.customOptions is None else bytes(operator.customOptions))
        kind = self.choose("flip", "flip", "flips", "cut", "append", "noise")
        if kind in ("flip", "flips") and data:
            for _ in range(1 if kind == "flip" else 8):
                data[self.random.integers(len(data))] ^= 1 << int(self.random.integers(8))
        elif kind == "cut":
            del data[int(self.random.integers(len(data) + 1)) :]
        elif kind == "append":
            data += self.random.bytes(int(self.random.integers(1, 9)))
        else:
            data = bytearray(self.random.bytes(int(self.random.integers(0, 200))))
        operator.customOptions = np.frombuffer(bytes(data), np.uint8) if data else None
        return f"custom options of {self.name(operator)} ({kind})"

    def option(self) -> str:
        operator = self.operator()
        options = dict(self.options[id(operator)])
        if not options:
            return self.custom_bytes()
        name = self.choose(*sorted(options))
        options[name] = self.choose(*INTEGERS, "text", 1.5, None, True, [1, 2])
        if options[name] is None:
            del options[name]
        operator.customOptions = np.frombuffer(bytes(flexbuffers.Dumps(options)), np.uint8)
        return f"{name} of {self.name(operator)} = {options.get(name)}"

    def shape(self) -> str:
        number, tensor = self.tensor()
        shape = [] if tensor.shape is None else [int(size) for size in tensor.shape]
        kind = self.choose("size", "size", "size", "drop", "add", "none")
        if kind == "size" and shape:
            shape[self.random.integers(len(shape))] = self.choose(*SIZES)
        elif kind == "drop" and shape:
            del shape[self.random.integers(len(shape))]
        elif kind == "add":
            shape.insert(int(self.random.integers(len(shape) + 1)), int(self.choose(*SIZES)))
        else:
            shape = []
        product = np.prod([abs(size) for size in shape], dtype=np.float64)
        if _MOST_VALUES < product < 2**33:
            return self.shape()
        tensor.shape = shape
        tensor.shapeSignature = None
        return f"shape of tensor {number} = {shape}"

    def type(self) -> str:
        number, tensor = self.tensor()
        tensor.type = self.choose(*TYPES.values())
        return f"type of tensor {number} = {tensor.type}"

    def read_tensors(self) -> str:
        operator = self.operator()
        inputs = [int(number) for number in operator.inputs]
        kind = self.choose("replace", "replace", "drop", "add", "swap", "none", "missing")
        any_tensor = int(self.random.integers(len(self.graph.tensors)))
        place = int(self.random.integers(len(inputs))) if inputs else 0
        if kind == "replace" and inputs:
            inputs[place] = any_tensor
        elif kind == "drop" and inputs:
            del inputs[place]
        elif kind == "add":
            inputs.insert(place, any_tensor)
        elif kind == "swap":
            self.random.shuffle(inputs)
        elif kind == "missing" and inputs:
            inputs[place] = -1
        else:
            inputs = []
        operator.inputs = inputs
        return f"inputs of {self.name(operator)} = {inputs}"

    def written_tensor(self) -> str:
        operator = self.operator()
        number = int(self.random.integers(len(self.graph.tensors)))
        operator.outputs = self.choose([number], [number], [], [*operator.outputs, number])
        return f"outputs of {self.name(operator)} = {operator.outputs}"

    def buffer(self) -> str:
        number, tensor = self.tensor()
        data = self.model.buffers[tensor.buffer].data
        kind = self.choose("other", "shorter", "longer", "empty")
        if kind == "other" or data is None or not len(data):
            tensor.buffer = int(self.random.integers(len(self.model.buffers)))
        else:
            buffer = schema.BufferT()
            cut = int(self.random.integers(1, len(data) + 1))
            content = bytes(data)
            buffer.data = {"shorter": content[:-cut], "longer": content + content[:cut], "empty": b""}[kind]
            buffer.data = np.frombuffer(buffer.data, np.uint8) if buffer.data else None
            tensor.buffer = len(self.model.buffers)
            self.model.buffers.append(buffer)
        return f"buffer of tensor {number} ({kind})"

    def values(self) -> str:
        """Change the values of a constant: weights, thresholds, multipliers that are NaN."""
        number, tensor = self.tensor()
        data = self.model.buffers[tensor.buffer].data
        if data is None or not len(data):
            return self.buffer()
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(self.random.bytes(len(data)), np.uint8)
        tensor.buffer = len(self.model.buffers)
        self.model.buffers.append(buffer)
        return f"values of tensor {number}"

    def quantization(self) -> str:
        number, tensor = self.tensor()
        quantization = schema.QuantizationParametersT()
        count = int(self.choose(0, 1, 1, 1, 2, 33))
        quantization.scale = [float(self.choose(*SCALES)) for _ in range(count)] or None
        quantization.zeroPoint = [int(self.choose(0, 1, -128, 127, 300, 2**31 - 1, -(2**31)))] * count or None
        quantization.quantizedDimension = int(self.choose(0, 0, 3, -1, 100))
        tensor.quantization = self.choose(quantization, quantization, quantization, None)
        return f"quantization of tensor {number}: {quantization.scale}, {quantization.zeroPoint}"

    def ends(self) -> str:
        """Change what is an input or an output of the file."""
        number = int(self.random.integers(len(self.graph.tensors)))
        kind = self.choose("outputs", "outputs", "inputs")
        before = [int(one) for one in getattr(self.graph, kind)]
        setattr(self.graph, kind, self.choose([number], [*before, number], [number, *before]))
        return f"{kind} of the file = {getattr(self.graph, kind)}"
