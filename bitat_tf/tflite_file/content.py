"""The content of a `.tflite` file as objects and as bytes, and the seal by which damage to it is seen.

The objects are those of TFLite's schema: a `ModelT` with its subgraphs, tensors, operators and buffers.
"""

import hashlib
import json
from typing import Any

import flatbuffers
import numpy as np

from bitat_tf.tflite_file.schema import schema

_FACTS = {
    "name": str,
    "expected_binary": int,
    "float_layers": list,
    "int8": bool,
    "classes": list,
    "pixels": str,
    "versions": dict,
}
SEAL_FORMAT = 1  # of the facts in a seal
_IDENTIFIER = b"TFL3"
_ALIGNMENT = 16  # of buffers, as TFLite's schema demands; Python's packer knows nothing of it
_METADATA = b"bitat_tf"
_MARK = b"bitat_tf sha256 "
_OPEN = b"0" * 64  # stands in the place of the digest while the digest is computed


def check_identifier(content: bytes) -> None:
    """Raise ValueError unless the content begins as a `.tflite` file does."""
    if len(content) < 8 or content[4:8] != _IDENTIFIER:
        what = "an empty file" if not content else f"{len(content):,} bytes that start with {bytes(content[:8])!r}"
        raise ValueError(f"expected the content of a .tflite file, which has TFL3 at byte 4. Received: {what}.")


def parse(content: bytes) -> schema.ModelT:
    """Return the objects of a `.tflite` file.

    Only for a file that is whole: what Python's flatbuffers do with a damaged one is not defined. `read` takes any file.

    Raises:
        ValueError: If the content is no TFLite file.
    """
    check_identifier(content)
    return schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(content, 0))


def serialize(model: schema.ModelT) -> bytes:
    """Return the bytes of a model; buffers are aligned to 16 bytes, as by TFLite's own writer."""
    size = sum(0 if buffer.data is None else len(buffer.data) for buffer in model.buffers)
    builder = flatbuffers.Builder(size + 2**16)
    own = model.buffers
    model.buffers = [_AlignedBuffer(buffer) for buffer in own]
    try:
        builder.Finish(model.Pack(builder), _IDENTIFIER)
    finally:
        model.buffers = own
    return bytes(builder.Output())


class _AlignedBuffer:
    """Packs a buffer with the alignment that Python's generated code leaves out."""

    def __init__(self, buffer: schema.BufferT):
        self._buffer = buffer

    def Pack(self, builder: flatbuffers.Builder) -> int:  # noqa: N802 (the name that the generated code calls)
        data = self._buffer.data
        offset = None
        if data is not None and len(data):
            content = np.ascontiguousarray(data, np.uint8).tobytes()
            builder.StartVector(1, len(content), _ALIGNMENT)
            builder.head -= len(content)
            builder.Bytes[builder.head : builder.head + len(content)] = content
            offset = builder.EndVector()
        schema.BufferStart(builder)
        if offset is not None:
            schema.BufferAddData(builder, offset)
        return schema.BufferEnd(builder)


def facts(model: schema.ModelT) -> dict[str, Any]:
    """Return what `sealed` wrote into the file beside the network; empty if the file is not of bitat_tf.

    Raises:
        ValueError, TypeError: If it is nothing that `sealed` would write.
    """
    entry = _own_entry(model)
    if entry is None:
        return {}
    data = np.asarray(model.buffers[entry.buffer].data, np.uint8).tobytes()
    found = json.loads(data[len(_MARK) + len(_OPEN) :].decode())
    if not isinstance(found, dict):
        raise ValueError("it is no object of JSON")
    for name, kind in _FACTS.items():
        value = found.get(name)
        whole = value is None or isinstance(value, kind)
        if not whole or kind is list and not all(isinstance(one, str) for one in value or ()):
            expected = "a list of texts" if kind is list else f"of type {kind.__name__}"
            raise ValueError(f"its {name} is {value!r:.100}, and not {expected}")
    return found


def sealed(model: schema.ModelT, content_facts: dict[str, Any]) -> bytes:
    """Return the bytes of a model with a seal: facts about it as JSON, and a digest of the whole file.

    Both stand in an entry of the metadata, which interpreters pass over.

    Args:
        model: The model; a seal that it has is replaced.
        content_facts: Plain values.
    """
    entry = _own_entry(model)
    if entry is None:
        entry = schema.MetadataT()
        entry.name, entry.buffer = _METADATA, len(model.buffers)
        model.buffers.append(schema.BufferT())
        model.metadata = [*(model.metadata or []), entry]
    # The mark must stand there once: in a name of a class its s is written as a number.
    text = json.dumps(content_facts).replace("bitat_tf sha256", "bitat_tf \\u0073ha256")
    model.buffers[entry.buffer].data = np.frombuffer(_MARK + _OPEN + text.encode(), np.uint8)
    content = serialize(model)
    place = content.rindex(_MARK + _OPEN) + len(_MARK)
    digest = hashlib.sha256(content).hexdigest().encode()
    return content[:place] + digest + content[place + len(_OPEN) :]


def check_seal(content: bytes) -> bool:
    """Return whether a file has a seal; raise ValueError if it has, and was changed since it was written."""
    place = content.rfind(_MARK)
    if place < 0:
        return False
    place += len(_MARK)
    digest = content[place : place + len(_OPEN)]
    whole = content[:place] + _OPEN + content[place + len(_OPEN) :]
    if hashlib.sha256(whole).hexdigest().encode() != digest:
        raise ValueError(
            "expected a .tflite file as bitat_tf wrote it. Received: one that was changed or damaged since: its sha256 is "
            "not the one that stands in it. Export it again, or copy it again from where it came."
        )
    return True


def _own_entry(model: schema.ModelT) -> schema.MetadataT | None:
    return next((entry for entry in model.metadata or [] if entry.name == _METADATA), None)


def constant(model: schema.ModelT, tensor: schema.TensorT) -> np.ndarray | None:
    """Return the values of a constant tensor, in its shape; None if the tensor is computed, or of strings.

    int4 values and the words of binary kernels come as they are packed: uint8 and int32.
    """
    data = model.buffers[tensor.buffer].data
    if data is None or not len(data) or tensor.type not in _DTYPES:
        return None
    values = np.ascontiguousarray(data, np.uint8).view(_DTYPES[tensor.type])
    return values.reshape(() if tensor.shape is None else tuple(tensor.shape))


_DTYPES = {
    getattr(schema.TensorType, name.upper()): np.dtype(name)
    for name in (
        "float16",
        "float32",
        "float64",
        "int8",
        "int16",
        "int32",
        "int64",
        "uint8",
        "uint16",
        "uint32",
        "uint64",
        "bool",
        "complex64",
    )
}


def item_size(tensor_type: int) -> int | None:
    """Return the bytes of a value of a tensor type of the schema; None where values have no fixed size."""
    return _DTYPES[tensor_type].itemsize if tensor_type in _DTYPES else None


def data_type(tensor_type: int) -> np.dtype:
    """Return numpy's type for a tensor type of the schema.

    Raises:
        ValueError: If numpy has none (strings, int4, ...).
    """
    if tensor_type not in _DTYPES:
        raise ValueError(f"expected numbers that numpy knows. Received: a tensor of type {tensor_type} of TFLite's schema.")
    return _DTYPES[tensor_type]
